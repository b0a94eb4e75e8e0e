"""Labels stay on what they name: whatever is done to the pictures is done to the boxes, for a whole clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seqdet.boxes import intersection
from seqdet.data.paste import GROW, MOST_CLUTTER, Placement, paste_clutter, paste_track
from seqdet.data.transforms.geometry import (
    MIN_SIDE_PX,
    PAD_VALUE,
    ClipGeometry,
    preprocess,
    shrink,
    stands_still,
)
from seqdet.data.transforms.photometric import photometric

SOURCES_WH = [(160, 120), (97, 211), (400, 90), (64, 64)]
INPUT_WH = (128, 96)


def marked(source_wh: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """Black, with a white box in it."""
    rgb = np.zeros((source_wh[1], source_wh[0], 3), np.uint8)
    rgb[box[1] : box[3], box[0] : box[2]] = 255
    return rgb


def white_part(rgb: np.ndarray) -> np.ndarray:
    """(4,) box around what is more white than grey border."""
    rows, columns = np.nonzero(rgb.min(axis=2) > 200)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


@pytest.mark.parametrize("source_wh", SOURCES_WH)
@pytest.mark.parametrize("seed", range(8))
def test_a_marker_stays_in_its_box(source_wh: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    # The middle of the picture, so that no draw moves all of it outside.
    x1, y1 = (np.array(source_wh) * rng.uniform(0.3, 0.4, 2)).astype(int)
    x2, y2 = (np.array(source_wh) * rng.uniform(0.6, 0.7, 2)).astype(int)
    geometry = ClipGeometry.draw(rng, source_wh, INPUT_WH)
    warped = geometry.warp(marked(source_wh, (x1, y1, x2, y2)))
    assert warped.shape == (INPUT_WH[1], INPUT_WH[0], 3)
    boxes, kept = geometry.map_boxes(np.array([[x1, y1, x2, y2]], np.float32))
    found = white_part(warped)
    if kept[0]:
        # A box that was turned is kept a little smaller than its corners reach.
        turned = abs(geometry.matrix[0, 1]) > 1e-9
        tolerance = 1.5 + (0.15 * (boxes[0, 2:] - boxes[0, :2]).max() if turned else 0)
        np.testing.assert_allclose(boxes[0], found, atol=tolerance)
        assert np.all(boxes[0] >= 0)
        assert np.all(boxes[0] <= np.tile(INPUT_WH, 2))


def test_boxes_that_leave_the_picture_or_all_but_vanish_are_dropped() -> None:
    geometry = ClipGeometry(np.array([[1.0, 0, -50], [0, 1, 0]]), (100, 100))
    boxes = np.array(
        [[0, 0, 40, 40], [40, 10, 65, 30], [45, 10, 85, 30], [60, 10, 61, 30], [60, 10, 90, 30]], np.float32
    )
    mapped, kept = geometry.map_boxes(boxes)
    # Wholly out; 15 of 25 pixels; 35 of 40; thinner than MIN_SIDE_PX; untouched.
    assert kept.tolist() == [False, True, True, False, True]
    np.testing.assert_allclose(mapped[kept], [[0, 10, 15, 30], [0, 10, 35, 30], [10, 10, 40, 30]])
    assert MIN_SIDE_PX > 1
    empty, none = geometry.map_boxes(np.zeros((0, 4), np.float32))
    assert empty.shape == (0, 4)
    assert none.shape == (0,)


@pytest.mark.parametrize("source_wh", SOURCES_WH)
def test_fit_is_preprocess(source_wh: tuple[int, int]) -> None:
    box = np.array([source_wh[0] // 4, source_wh[1] // 4, source_wh[0] // 2, source_wh[1] // 2])
    rgb = marked(source_wh, tuple(box.tolist()))
    prepared, letterbox = preprocess(rgb, INPUT_WH)
    geometry = ClipGeometry.fit(source_wh, INPUT_WH)
    warped = geometry.warp(rgb)
    assert warped.shape == prepared.shape
    # Area means and bilinear samples differ at edges, by a pixel of them and not elsewhere.
    different = np.abs(warped.astype(int) - prepared).max(axis=2) > 90
    assert different.mean() < 0.02
    mapped, kept = geometry.map_boxes(box[None].astype(np.float32))
    assert kept.all()
    np.testing.assert_allclose(mapped[0], letterbox.to_input(box[None])[0], atol=0.75)
    np.testing.assert_allclose(mapped[0], white_part(prepared), atol=1.5)
    outside = prepared[0 if letterbox.offset_xy[1] else -1, 0 if letterbox.offset_xy[0] else -1]
    if letterbox.scaled_wh != INPUT_WH:
        assert outside.tolist() == [PAD_VALUE] * 3


def test_shrinking_takes_means() -> None:
    stripes = np.zeros((40, 80, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.all(np.abs(shrink(stripes, (20, 10)).astype(int) - 100) <= 1)
    assert shrink(stripes, (80, 40)) is stripes


@pytest.mark.parametrize("channels", [1, 3])
def test_a_map_without_a_turn_shows_what_one_with_next_to_none_shows(channels: int):
    noise = np.random.default_rng(0).integers(0, 256, (200, 260, channels), np.uint8)
    picture = cv2.GaussianBlur(noise.squeeze(), (0, 0), 3)
    straight, turned = 0, 0
    for seed in range(60):
        geometry = ClipGeometry.draw(np.random.default_rng(seed), (260, 200), (320, 256))
        if geometry.matrix[0, 1]:
            turned += 1
            continue
        straight += 1
        nearly = ClipGeometry(geometry.matrix + 1e-9 * np.eye(2, 3, 1), (320, 256))
        ours, warped = (each.warp_clip([picture] * 3).astype(int) for each in (geometry, nearly))
        shown = np.zeros((256, 320), bool)  # nothing of the edges, where a warp looks beyond what is shown
        left, top, right, bottom = geometry.map_boxes(np.float32([[0, 0, 260, 200]]))[0][0].astype(int)
        shown[top + 2 : bottom - 2, left + 2 : right - 2] = True
        assert np.abs(ours - warped)[:, shown].max() <= 1
    assert straight > 20
    assert turned > 10


def test_photometric_is_one_draw_a_clip_and_the_seed_decides_it() -> None:
    picture = np.random.default_rng(0).integers(40, 200, (24, 32, 3)).astype(np.uint8)
    clip = np.repeat(picture[None], 4, axis=0)
    changed, alike = 0, 0
    for seed in range(40):
        first = photometric(clip, np.random.default_rng(seed), np.random.default_rng(9))
        again = photometric(clip, np.random.default_rng(seed), np.random.default_rng(9))
        np.testing.assert_array_equal(first, again)
        assert first.shape == clip.shape
        assert first.dtype == np.uint8
        changed += not np.array_equal(first, clip)
        alike += bool((first == first[:1]).all())
        # Noise moves from frame to frame, the tone does not.
        levels = first.astype(float).mean(axis=(1, 2, 3))
        assert np.ptp(levels) < 3
    assert changed == 40
    assert 15 <= alike <= 33, "noise comes to two of five clips"
    other = photometric(clip, np.random.default_rng(1), np.random.default_rng(9))
    assert not np.array_equal(other, photometric(clip, np.random.default_rng(2), np.random.default_rng(9)))


def test_photometric_leaves_its_input_alone() -> None:
    clip = np.full((2, 16, 16, 3), 100, np.uint8)
    for seed in range(10):
        photometric(clip, np.random.default_rng(seed), np.random.default_rng(9))
    assert np.all(clip == 100)


@pytest.fixture
def donor() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Six pictures in which a bright square moves; it is hidden in the fourth."""
    pictures, boxes = [], []
    for t in range(6):
        x = 20 + 5 * t
        pictures.append(marked((100, 80), (x, 30, x + 10, 40)))
        boxes.append([x, 30, x + 10, 40])
    return pictures, np.array(boxes, np.float32), np.array([True, True, True, False, True, True])


@pytest.mark.parametrize("seed", range(12))
def test_a_pasted_track_changes_only_what_is_around_its_boxes(donor, seed: int) -> None:
    pictures, boxes, present = donor
    frames = np.full((6, 120, 160, 3), 70, np.uint8)
    occupied = np.array([[0, 0, 60, 60]], np.float32)
    placement = Placement.draw(np.random.default_rng(seed), boxes[present], (100, 80), (160, 120))
    placed, done = paste_track(frames, pictures, boxes, present, occupied, placement)
    assert not done[~present].any()
    for t in range(6):
        rows, columns = np.nonzero((frames[t] != 70).any(axis=2))
        if not done[t]:
            assert len(rows) == 0
            assert not placed[t].any()
            continue
        x1, y1, x2, y2 = placed[t]
        margin = max(3, (GROW - 1) / 2 * 15) + 1  # the square is at most 10 * 1.5 wide
        assert len(rows) > 0, "something was pasted"
        assert columns.min() >= x1 - margin
        assert columns.max() < x2 + margin
        assert rows.min() >= y1 - margin
        assert rows.max() < y2 + margin
        bright = frames[t].max(axis=2) > 160
        inside = bright[int(np.ceil(y1)) : int(y2), int(np.ceil(x1)) : int(x2)]
        assert inside.mean() > 0.7, "the box is around the object"
        assert intersection(placed[t : t + 1], occupied).max() == 0


def test_a_track_without_room_or_frames_is_not_pasted(donor) -> None:
    pictures, boxes, present = donor
    frames = np.full((6, 120, 160, 3), 70, np.uint8)
    everywhere = np.array([[0, 0, 160, 120]], np.float32)
    placement = Placement.draw(np.random.default_rng(0), boxes[present], (100, 80), (160, 120))
    for args in ((present, everywhere), (np.zeros(6, bool), np.zeros((0, 4), np.float32))):
        placed, done = paste_track(frames, pictures, boxes, *args, placement)
        assert not done.any()
        assert not placed.any()
    assert np.all(frames == 70)


def sky(rng: np.random.Generator, size_wh: tuple[int, int], low: float, high: float) -> np.ndarray:
    """A picture that brightens downwards, with a sensor's noise."""
    rows = np.linspace(low, high, size_wh[1])[:, None, None] + rng.normal(0, 1, (size_wh[1], size_wh[0], 3))
    return np.clip(rows, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(6))
def test_a_pasted_object_brings_no_sky_along(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = sky(rng, (100, 80), 60, 120)
    picture[38:42, 40:48] = 250  # the object is smaller than its box, as loose labels have it
    box = np.array([[34, 32, 54, 48]], np.float32)
    frames = sky(rng, (160, 120), 150, 90)[None]
    before = frames.copy().astype(int)
    placement = Placement.draw(rng, box, (100, 80), (160, 120))
    _, done = paste_track(frames, [picture], box, np.array([True]), np.zeros((0, 4)), placement)
    assert done.all()
    still = Placement(placement.mirror_px, placement.scale, placement.shift_xy)
    x1, y1, x2, y2 = still.boxes(np.array([[40, 38, 48, 42]], np.float32))[0]
    changed = np.abs(frames.astype(int) - before).max(axis=(0, 3)) > 10
    ys, xs = np.nonzero(changed)
    reach = 3  # of interpolation and the soft edge
    assert changed.any()
    assert xs.min() >= x1 - reach
    assert xs.max() < x2 + reach
    assert ys.min() >= y1 - reach
    assert ys.max() < y2 + reach


def test_clutter_stands_still_behind_what_moves() -> None:
    pasted = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        donor = sky(rng, (120, 90), 60, 70)
        donor[rng.integers(0, 80, 60), rng.integers(0, 110, 60)] = 240  # lamps
        frames = np.repeat(sky(rng, (160, 120), 150, 90)[None], 4, axis=0)
        before = frames.copy()
        boxes = np.stack([[20 + 20 * t, 10, 60 + 20 * t, 110] for t in range(4)]).astype(np.float32)[:, None]
        present = np.ones((4, 1), bool)
        number = paste_clutter(
            frames, donor, np.zeros((0, 4)), boxes, present, np.random.default_rng([seed, 1])
        )
        assert 0 <= number <= MOST_CLUTTER
        pasted += number
        covered = np.zeros(frames.shape[:3], bool)
        for t in range(4):
            x1, y1, x2, y2 = boxes[t, 0].astype(int)
            covered[t, y1:y2, x1:x2] = True
        np.testing.assert_array_equal(frames[covered], before[covered])
        open_sky = ~covered.any(axis=0)
        change = frames.astype(int) - before
        assert (change[:, open_sky] == change[:1, open_sky]).all(), "the same in every frame"
        if number:
            assert np.abs(change).max() > 20, "it stands out"
        again = before.copy()
        paste_clutter(again, donor, np.zeros((0, 4)), boxes, present, np.random.default_rng([seed, 1]))
        np.testing.assert_array_equal(again, frames)
    assert pasted >= 10


def test_an_empty_sky_gives_no_clutter() -> None:
    frames = np.full((3, 60, 80, 3), 90, np.uint8)
    flat = np.full((50, 70, 3), 120, np.uint8)
    arguments = np.zeros((0, 4)), np.zeros((3, 0, 4)), np.zeros((3, 0), bool)
    assert paste_clutter(frames, flat, *arguments, np.random.default_rng(0)) == 0
    assert np.all(frames == 90)


def test_a_moving_camera_is_told_from_a_still_one() -> None:
    rng = np.random.default_rng(0)
    land = np.cumsum(np.cumsum(rng.normal(0, 1, (140, 180)), axis=0), axis=1)
    land = ((land - land.min()) / np.ptp(land) * 200 + rng.normal(0, 5, land.shape)).clip(0, 255)
    views = [np.repeat(land[10:130, 10 + x : 170 + x, None], 3, axis=2).astype(np.uint8) for x in (0, 1, 6)]
    noisy = (views[0] + rng.normal(0, 3, views[0].shape)).clip(0, 255).astype(np.uint8)
    assert stands_still(np.stack([views[0], noisy]))
    assert not stands_still(np.stack([views[0], views[1]]))
    assert not stands_still(np.stack([views[0], noisy, views[2]]))
