"""Stress sequences: what a clip says of itself is what its pixels and its geometry say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seqdet.data.synth.sprites import SHAPES
from seqdet.data.synth.stress.appearance import LOUD_NOISE, NOISE_LEVELS, clean_clip
from seqdet.data.synth.stress.axes import AXES
from seqdet.data.synth.stress.camouflage import DOT_PX
from seqdet.data.synth.stress.clip import Actor, Request, StressClip, paint, runs
from seqdet.data.synth.stress.motion import BALL_CLASSES, motion_clip
from seqdet.data.synth.stress.occlusion import HIDDEN_FRAMES, HIDDEN_PART
from seqdet.data.synth.stress.paths import MOTIONS

SIZE_WH = (96, 96)


def render(
    axis: str, seed: int, class_id: int = 0, frames: int = 32, size_wh: tuple[int, int] = SIZE_WH
) -> StressClip:
    chosen = AXES[axis]
    level = chosen.levels[seed % len(chosen.levels)]
    return chosen.render(np.random.default_rng(seed), Request(size_wh, frames, class_id, level))


def track(clip: StressClip, track_id: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The frames in which a track has a box, and the (M, 4) boxes."""
    found = [
        (index, truth.boxes_xyxy_px[truth.track_ids == track_id]) for index, truth in enumerate(clip.targets)
    ]
    kept = [(index, boxes[0]) for index, boxes in found if len(boxes)]
    return np.array([index for index, _ in kept]), np.array([box for _, box in kept]).reshape(-1, 4)


def centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


@pytest.mark.parametrize("axis", AXES)
def test_a_clip_follows_from_its_seed_and_its_truth_is_valid(axis: str) -> None:
    for class_id in range(len(AXES[axis].classes)):
        first, again = (render(axis, 3, class_id, size_wh=(128, 80)) for _ in range(2))
        other = render(axis, 4, class_id, size_wh=(128, 80))
        np.testing.assert_array_equal(first.frames, again.frames)
        assert (first.frames != other.frames).any()
        assert first.frames.shape == (32, 80, 128)
        assert first.frames.dtype == np.uint8
        assert len(first.targets) == len(first.hidden) == 32
        assert first.class_id in (class_id, -1)
        for one, same in zip(first.targets, again.targets, strict=True):
            np.testing.assert_array_equal(one.boxes_xyxy_px, same.boxes_xyxy_px)
            assert (one.boxes_xyxy_px[:, :2] >= 0).all()
            assert (one.boxes_xyxy_px[:, 2:] <= (128, 80)).all()
            assert (one.boxes_xyxy_px[:, :2] < one.boxes_xyxy_px[:, 2:]).all()
            assert len(set(one.track_ids.tolist())) == len(one)
            assert first.hidden.shape[1] >= max(one.track_ids.tolist(), default=0)
    assert ((first.hidden >= 0) & (first.hidden <= 1)).all()


@pytest.mark.parametrize("axis", [name for name in AXES if name != "fast"])
def test_objects_are_8_to_24_pixels(axis: str) -> None:
    for seed in range(6):
        for truth in render(axis, seed).targets:
            boxes = truth.boxes_xyxy_px
            # What leaves the picture is cut by its edge.
            inside = ((boxes[:, :2] > 0) & (boxes[:, 2:] < SIZE_WH)).all(axis=1)
            sides = (boxes[:, 2:] - boxes[:, :2])[inside]
            assert ((sides > 7.99) & (sides < 24.01)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_painted_box_is_tight(shape: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        radius = rng.uniform(4, 12)
        path = rng.uniform(12, 84, (1, 2))
        actor = Actor(path, np.array([60.0]), radius, 0, shape)
        clip = paint(rng, SIZE_WH, 1, [actor], np.full((1, 96, 96), 128, np.float32), noise_level=0)
        rows, columns = np.nonzero(clip.frames[0] != 128)
        left, top, right, bottom = clip.targets[0].boxes_xyxy_px[0]
        assert left - 0.01 <= columns.min() + 0.5 <= left + 1.2
        assert top - 0.01 <= rows.min() + 0.5 <= top + 1.2
        assert right - 1.2 <= columns.max() + 0.5 <= right + 0.01
        assert bottom - 1.2 <= rows.max() + 0.5 <= bottom + 0.01


@pytest.mark.parametrize("axis", ["clean", "motion", "rate", "camera", "long"])
def test_the_object_stands_out_where_its_box_is(axis: str) -> None:
    rows, columns = np.ogrid[:96, :96]
    contrasts = []
    for seed in range(12):
        clip = render(axis, seed, frames=6)
        for picture, truth in zip(clip.frames.astype(float), clip.targets, strict=True):
            for left, top, right, bottom in truth.boxes_xyxy_px:
                away = np.maximum(
                    np.abs(columns + 0.5 - (left + right) / 2) * 2 / (right - left),
                    np.abs(rows + 0.5 - (top + bottom) / 2) * 2 / (bottom - top),
                )
                inside, around = picture[away < 0.3], picture[(away > 1) & (away < 1.3)]
                contrasts.append(abs(inside.mean() - np.median(around)))
    assert len(contrasts) > 60
    # The least contrast is 38; an object next to another one has less around it.
    assert np.quantile(contrasts, 0.1) > 25


def test_contrast_to_noise_is_what_the_level_says() -> None:
    for turn, level in enumerate(NOISE_LEVELS):
        inside, outside = [], []
        for seed in range(turn, 80, len(NOISE_LEVELS)):
            clip = render("noise", seed, class_id=1, frames=4)  # squares
            if clip.hidden.shape[1] > 1:
                continue
            for picture, truth in zip(clip.frames, clip.targets, strict=True):
                left, top, right, bottom = truth.boxes_xyxy_px[0]
                core = picture[int(top) + 3 : int(bottom) - 2, int(left) + 3 : int(right) - 2].astype(float)
                ground = np.ones(picture.shape, bool)
                ground[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = False
                inside.append(abs(core.mean() - picture[ground].mean()))
                outside.append(picture[ground].std())
        assert len(inside) >= 12
        # The mean of a hundred pixels is off by a tenth of the noise.
        assert np.mean(inside) / np.mean(outside) == pytest.approx(float(level), abs=0.08)
        assert np.mean(outside) == pytest.approx(LOUD_NOISE, rel=0.03)


def covered_part(shape: int, centre: np.ndarray, radius: float, wall: np.ndarray) -> float:
    """The part of a hard shape that the wall covers, from 9 x 9 points a pixel: an oracle of its own."""
    points = (np.arange(27 * 9) + 0.5) / 9 - 13.5
    right, down = np.abs(points)[None], np.abs(points)[:, None]
    far, near = np.maximum(right, down), np.minimum(right, down)
    inside = (np.hypot(right, down) <= radius, far <= radius, (far <= radius) & (near <= 0.34 * radius))[
        shape
    ]
    rows, columns = (np.floor(points + centre[axis]).astype(int) for axis in (1, 0))
    within = (inside & (rows >= 0)[:, None] & (columns >= 0)).nonzero()
    rows, columns = (np.minimum(k, 95) for k in (rows[within[0]], columns[within[1]]))
    return float(wall[rows, columns].mean())


@pytest.mark.parametrize("shape", range(3))
def test_hidden_parts_are_exact(shape: int) -> None:
    for seed in range(8):
        clip = render("occlusion", seed, shape, frames=48)
        for number in range(clip.hidden.shape[1]):
            frames, boxes = track(clip, number + 1)
            assert len(frames) == 48  # the truth goes on while it is hidden
            radius = float(boxes[0, 2] - boxes[0, 0]) / 2
            expected = [covered_part(shape, centre, radius, clip.occluder) for centre in centres(boxes)]
            # The soft edge weighs less than the middle.
            np.testing.assert_allclose(clip.hidden[:, number], expected, atol=0.13)
            np.testing.assert_allclose(clip.hidden[:, number].mean(), np.mean(expected), atol=0.02)


def test_every_object_is_hidden_for_3_to_12_frames_at_a_time_and_said_so() -> None:
    lengths = []
    for seed in range(20):
        clip = render("occlusion", seed, seed % 3, frames=48)
        said = []
        for number, column in enumerate(clip.hidden.T, 1):
            spans = runs(column >= HIDDEN_PART)
            assert spans
            lengths += [last - first for first, last in spans]
            said += [f"{number}:{first}-{last - 1}" for first, last in spans]
        assert clip.attributes["hidden"] == " ".join(said)
    assert min(lengths) >= HIDDEN_FRAMES[0]
    assert max(lengths) <= HIDDEN_FRAMES[1]
    assert len(set(lengths)) > 5


def test_nothing_is_to_be_seen_of_what_is_hidden() -> None:
    """In front of a fully hidden object the wall looks as it does without one."""
    differences = []
    for seed in range(12):
        clip = render("occlusion", seed, frames=48)
        wall = clip.frames[:, clip.occluder].astype(float)
        deviation = np.zeros(clip.frames.shape)
        deviation[:, clip.occluder] = wall - wall.mean(axis=0)
        frames, boxes = track(clip)
        for index, box in zip(frames, boxes, strict=True):
            if clip.hidden[index, 0] == 1:
                left, top, right, bottom = np.round(box).astype(int)
                differences.append(deviation[index, top:bottom, left:right].mean())
    assert len(differences) > 30
    assert np.abs(differences).max() < 3  # contrast is 38 and more


def test_bursts_spoil_the_clean_clip_only_where_they_say() -> None:
    for turn, level in enumerate(AXES["bursts"].levels):
        request = Request(SIZE_WH, 48, 1, level)
        spoiled = AXES["bursts"].render(np.random.default_rng(turn), request)
        clean = clean_clip(np.random.default_rng(turn), request)
        bad = np.zeros(48, bool)
        for span in spoiled.attributes["bursts"].split():
            first, last = map(int, span.split("-"))
            assert last - first + 1 <= 8
            bad[first : last + 1] = True
        assert 0 < bad.sum() < 36
        np.testing.assert_array_equal((spoiled.frames != clean.frames).any(axis=(1, 2)), bad)
        for one, other in zip(spoiled.targets, clean.targets, strict=True):
            np.testing.assert_array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px)


def test_a_frame_rate_changes_the_steps_not_the_motion() -> None:
    for class_id in range(len(MOTIONS)):
        slow, fast = (
            motion_clip(np.random.default_rng(7), Request(SIZE_WH, frames, class_id), fps)
            for fps, frames in ((30.0, 20), (60.0, 40))
        )
        assert (slow.fps, fast.fps) == (30, 60)
        np.testing.assert_allclose(track(slow)[1], track(fast)[1][::2], atol=1e-3)


def test_what_is_still_in_the_world_moves_with_the_ground_of_a_moving_camera() -> None:
    still = MOTIONS.index("still")
    checked, moved = 0, []
    for seed in range(8):
        clip = render("camera", seed, still)
        frames, boxes = track(clip)
        whole = ((boxes[:, :2] > 0) & (boxes[:, 2:] < SIZE_WH)).all(axis=1)
        for index, step in zip(frames[:-1], np.diff(centres(boxes), axis=0), strict=True):
            row = int(np.flatnonzero(frames == index)[0])
            if not (whole[row] and whole[row + 1] and frames[row + 1] == index + 1):
                continue
            pair = clip.frames[index : index + 2].astype(np.float32)
            shift, _ = cv2.phaseCorrelate(pair[0], pair[1], cv2.createHanningWindow(SIZE_WH, cv2.CV_32F))
            checked += 1
            moved.append(np.abs(step).max())
            np.testing.assert_allclose(shift, step, atol=0.6)
    assert checked > 60
    assert np.mean(moved) > 0.5


def test_a_long_stream_has_objects_that_come_and_go() -> None:
    clip = render("long", 1, frames=2000)
    assert clip.class_id == -1
    spans = [track(clip, number + 1)[0] for number in range(clip.hidden.shape[1])]
    assert len(spans) >= 6
    assert all(np.diff(frames).max() == 1 for frames in spans)
    assert all(120 <= len(frames) < 300 for frames in spans if frames[-1] < 1999)
    assert max(len(truth) for truth in clip.targets) <= 3


def test_the_ball_is_fast_and_small() -> None:
    for seed in range(10):
        clip = render("fast", seed)
        assert AXES["fast"].classes == BALL_CLASSES
        frames, boxes = track(clip)
        assert len(frames) == 32
        assert 3 <= (boxes[0, 2:] - boxes[0, :2]).min() <= 6
        steps = np.linalg.norm(np.diff(centres(boxes), axis=0), axis=1)
        assert 5 <= np.median(steps) <= 10


def test_a_camouflaged_object_is_seen_by_what_changes_and_nothing_else_changes() -> None:
    for seed in range(6):
        clip = render("camouflage", seed)
        for before, after, old, new, hidden in zip(
            clip.frames, clip.frames[1:], clip.targets, clip.targets[1:], clip.hidden[1:], strict=False
        ):
            changed = before != after
            near = np.zeros(changed.shape, bool)
            for box in np.concatenate([old.boxes_xyxy_px, new.boxes_xyxy_px]).astype(int):
                near[box[1] : box[3], box[0] : box[2]] = True
            assert not changed[~near].any()
            for box, part in zip(new.boxes_xyxy_px.astype(int), hidden, strict=True):
                if part == 0:
                    assert changed[box[1] : box[3], box[0] : box[2]].mean() > 0.5
            np.testing.assert_array_equal(new.boxes_xyxy_px % DOT_PX, 0)


def test_an_occlusion_needs_time() -> None:
    with pytest.raises(ValueError, match="24 frames at least"):
        render("occlusion", 0, frames=8)
