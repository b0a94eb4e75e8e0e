"""What holds for any draw of the augmentation: one map a clip, boxes on their pixels, ids kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from seqdet.data.bursts import ClipTracks, backwards, with_burst
from seqdet.data.dataset import Dataset, load_dataset
from seqdet.data.loader import BatchShape, ClipPlan, ClipRenderer
from seqdet.data.mask_windows import unknown_masks
from seqdet.data.transforms.geometry import MIN_SIDE_PX, MIN_VISIBLE, ClipGeometry, as_rgb, in_colour
from seqdet.data.windows import window_indices, with_gap
from seqdet.runs.synth import synth

INPUT_WH = (96, 64)
SEEDS = st.integers(0, 2**31 - 1)
SIZES = st.tuples(st.integers(40, 220), st.integers(40, 220))
# Pixels are whole, and one counts as the marker's from three fifths on.
SAMPLING_PX = 1.0
AUGMENTED = BatchShape(1, 4, 2, 0, True, 0.0, 0.0, 0.0, 0.0, 0.0)
ONE_FIXTURE = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("properties") / "data"
    return load_dataset(synth(out, task="discs", sequences=3, frames=16, seed=2, val_fraction=0).out)


@pytest.fixture(scope="module")
def renderer(dataset: Dataset) -> ClipRenderer:
    return ClipRenderer(dataset, dataset.sequences, INPUT_WH, 1 << 24, None)


@pytest.fixture(scope="module")
def turning(dataset: Dataset) -> ClipRenderer:
    return ClipRenderer(dataset, dataset.sequences, INPUT_WH, 1 << 24, None, dataset.classes)


@st.composite
def boxes_in(draw: st.DrawFn, size_wh: tuple[int, int]) -> np.ndarray:
    """(4,) whole edges of a box of 8 pixels and more."""
    width, height = size_wh
    left, top = draw(st.integers(0, width - 8)), draw(st.integers(0, height - 8))
    right, bottom = draw(st.integers(left + 8, width)), draw(st.integers(top + 8, height))
    return np.array([left, top, right, bottom], np.float32)


@given(data=st.data(), size_wh=SIZES, seed=SEEDS)
def test_a_marker_stays_in_its_box_under_any_draw(data: st.DataObject, size_wh: tuple[int, int], seed: int):
    box = data.draw(boxes_in(size_wh))
    rgb = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    left, top, right, bottom = box.astype(int)
    rgb[top:bottom, left:right] = 255
    geometry = ClipGeometry.draw(np.random.default_rng(seed), size_wh, INPUT_WH)
    white = geometry.warp(rgb).min(axis=2) > 160
    (mapped,), (kept,) = geometry.map_boxes(box[None])
    assert (mapped[:2] >= 0).all()
    assert (mapped[2:] <= INPUT_WH).all()
    assume(kept and white.any())
    rows, columns = np.nonzero(white)
    # The marker after the map, to a part of a pixel: its turned corners, and the upright box around them.
    corners = (
        np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) @ geometry.matrix[:, :2].T
    )
    around = np.concatenate(
        [part + geometry.matrix[:, 2] for part in (corners.min(axis=0), corners.max(axis=0))]
    )
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    seen = np.concatenate([np.clip(around[:2], 0, INPUT_WH), np.clip(around[2:], 0, INPUT_WH)])
    assert (found[:2] >= seen[:2] - SAMPLING_PX).all(), "it is nowhere else"
    assert (found[2:] <= seen[2:] + SAMPLING_PX).all()
    # The box has its middle, and its area: by so much do the corners of a turned one reach out of it.
    sides = around[2:] - around[:2]
    area = (right - left) * (bottom - top) * abs(np.linalg.det(geometry.matrix[:, :2]))
    reach = (1 - np.sqrt(area / sides.prod())) * sides / 2
    assert (reach <= (1e-6 if not geometry.matrix[0, 1] else 0.35 * sides.max())).all()
    assert (found[:2] >= mapped[:2] - reach - SAMPLING_PX).all()
    assert (found[2:] <= mapped[2:] + reach + SAMPLING_PX).all()
    if not geometry.matrix[0, 1]:  # where it was shrunk, means of areas take half a pixel more
        assert abs(found - mapped).max() <= 1.5 * SAMPLING_PX, "as large as it is"


@given(size_wh=SIZES, seed=SEEDS, frames=st.integers(1, 9), coloured=st.booleans())
def test_a_clip_at_once_is_each_of_its_pictures_through_the_same_map(
    size_wh: tuple[int, int], seed: int, frames: int, coloured: bool
):
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, size_wh[::-1], np.uint8) for _ in range(frames)]
    pictures = [as_rgb(picture) if coloured and t % 2 else picture for t, picture in enumerate(pictures)]
    for geometry in (ClipGeometry.draw(rng, size_wh, INPUT_WH), ClipGeometry(np.eye(2, 3), size_wh)):
        warped = geometry.warp_clip(pictures)
        assert warped.ndim == (4 if coloured and frames > 1 else 3)
        for picture, one in zip(pictures, in_colour(warped), strict=True):
            np.testing.assert_array_equal(one, geometry.warp(as_rgb(picture)))


@given(data=st.data(), size_wh=SIZES)
def test_the_identity_leaves_all_unchanged(data: st.DataObject, size_wh: tuple[int, int]):
    rgb = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    boxes = np.stack([data.draw(boxes_in(size_wh)) for _ in range(3)])
    identity = ClipGeometry(np.eye(2, 3), size_wh)
    np.testing.assert_array_equal(identity.warp(rgb), rgb)
    np.testing.assert_array_equal(ClipGeometry.fit(size_wh, size_wh).warp(rgb), rgb)
    mapped, kept = identity.map_boxes(boxes)
    np.testing.assert_array_equal(mapped, boxes)
    assert kept.all()


@given(data=st.data(), scale=st.floats(0.3, 2.5), shift=st.tuples(st.floats(-90, 90), st.floats(-90, 90)))
def test_boxes_are_cut_and_dropped_by_the_part_that_is_visible(
    data: st.DataObject, scale: float, shift: tuple[float, float]
):
    box = data.draw(boxes_in((96, 64))).astype(float)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    (mapped,), (kept,) = ClipGeometry(matrix, INPUT_WH).map_boxes(box[None].astype(np.float32))
    whole = box * scale + np.tile(shift, 2)
    cut = np.concatenate([np.clip(whole[:2], 0, INPUT_WH), np.clip(whole[2:], 0, INPUT_WH)])
    np.testing.assert_allclose(mapped, cut, atol=1e-3)
    sides = cut[2:] - cut[:2]
    visible = sides.prod() / (whole[2:] - whole[:2]).prod()
    assume(abs(visible - MIN_VISIBLE) > 1e-4 and abs(sides.min() - MIN_SIDE_PX) > 1e-3)
    assert kept == (visible > MIN_VISIBLE and sides.min() > MIN_SIDE_PX)


@ONE_FIXTURE
@given(seed=SEEDS, start=st.integers(0, 8))
def test_every_frame_of_a_clip_has_the_same_matrix_and_tracks_keep_their_column(
    renderer: ClipRenderer, seed: int, start: int
):
    dataset = renderer.dataset
    seen: list[np.ndarray] = []
    whole = ClipGeometry.warp_clip

    def watched(geometry: ClipGeometry, pictures: list[np.ndarray]) -> np.ndarray:
        seen.extend(geometry.matrix for _ in pictures)
        return whole(geometry, pictures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClipGeometry, "warp_clip", watched)
        batch = renderer.batch((ClipPlan(0, start, 2, 0, seed),), AUGMENTED)
    assert len(seen) == 4
    assert all(np.array_equal(matrix, seen[0]) for matrix in seen)
    labels = dataset.labels(dataset.sequences[0])
    geometry = ClipGeometry(seen[0], INPUT_WH)
    truth = [labels.at(start + 2 * t) for t in range(4)]
    ids = np.unique(np.concatenate([targets.track_ids for targets in truth]))
    for t, targets in enumerate(truth):
        mapped, kept = geometry.map_boxes(targets.boxes_xyxy_px * np.float32(64 / 96))  # kept at input size
        columns = np.flatnonzero(batch.present[0, t])
        assert ids[columns].tolist() == sorted(targets.track_ids[kept].tolist())
        for track_id, class_id, box in zip(
            targets.track_ids[kept], targets.class_ids[kept], mapped[kept], strict=True
        ):
            column = int(np.searchsorted(ids, track_id))
            assert batch.class_ids[0, t, column] == class_id
            np.testing.assert_allclose(batch.boxes_xyxy_px[0, t, column], box, atol=1e-4)


@given(frames=st.integers(2, 60), length=st.integers(1, 12), stride=st.integers(1, 4), seed=SEEDS)
def test_lost_frames_leave_one_gap_and_never_pass_the_end(frames: int, length: int, stride: int, seed: int):
    start = seed % frames
    plain = window_indices(frames, start, length, stride)
    gapped = with_gap(plain, frames, np.random.default_rng(seed))
    assert gapped[0] == plain[0]
    assert gapped[-1] <= frames - 1
    steps, before = np.diff(gapped), np.diff(plain)
    assert (steps >= before).all()
    assert (steps != before).sum() <= 1
    assert gapped[-1] - plain[-1] <= stride * (length // 3)


def numbered_clip(time: int, seed: int) -> ClipTracks:
    """Frame t is of grey 10 t + noise of a level, and the boxes of frame t begin at t."""
    rng = np.random.default_rng(seed)
    frames = np.stack([np.full((48, 64, 3), 10 * t, np.uint8) for t in range(time)])
    boxes = np.zeros((time, 2, 4), np.float32)
    boxes[:] = [5, 6, 15, 16]
    boxes += np.arange(time, dtype=np.float32)[:, None, None]
    classes = np.tile([1, 0], (time, 1))
    present = rng.random((time, 2)) < 0.8
    masks = unknown_masks((time, 2), wanted=False)
    return ClipTracks(frames, boxes, np.where(present, classes, -1), present, masks)


@given(time=st.integers(2, 20), seed=SEEDS)
def test_a_burst_keeps_every_frame_with_its_own_boxes(time: int, seed: int):
    clip = numbered_clip(time, seed)
    burst = with_burst(clip, np.random.default_rng(seed))
    assert burst.frames.shape == clip.frames.shape
    np.testing.assert_array_equal(burst.frames[0], clip.frames[0], err_msg="never the first")
    shown = np.round(burst.boxes_xyxy_px[:, 0, 0] - 5).astype(int)
    assert (np.diff(shown) >= 0).all(), "time runs on, or stands"
    for t, source in enumerate(shown):
        np.testing.assert_array_equal(burst.class_ids[t], clip.class_ids[source])
        np.testing.assert_array_equal(burst.present[t], clip.present[source])
        if source != t:  # a standing picture: the boxes are those of what it shows
            np.testing.assert_array_equal(burst.frames[t], clip.frames[source])


@given(time=st.integers(1, 9), seed=SEEDS)
def test_backwards_twice_is_nothing(time: int, seed: int):
    clip = numbered_clip(time, seed)
    for part, again in zip(clip, backwards(backwards(clip)), strict=True):
        np.testing.assert_array_equal(part, again)


@ONE_FIXTURE
@given(seed=SEEDS, allowed=st.booleans())
def test_only_allowed_classes_run_backwards_and_boxes_with_them(
    renderer: ClipRenderer, turning: ClipRenderer, seed: int, allowed: bool
):
    shape = replace(AUGMENTED, reverse_probability=1.0)
    plan = (ClipPlan(1, 3, 1, 0, seed),)
    forward = renderer.batch(plan, AUGMENTED)
    turned = (turning if allowed else renderer).batch(plan, shape)
    order = slice(None, None, -1) if allowed else slice(None)
    np.testing.assert_array_equal(turned.frames[0][order], forward.frames[0])
    np.testing.assert_array_equal(turned.boxes_xyxy_px[0][order], forward.boxes_xyxy_px[0])
    np.testing.assert_array_equal(turned.present[0][order], forward.present[0])
