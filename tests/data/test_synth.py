"""Synthetic sequences: the same seed gives the same film, and the truth is where the pixels are."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.data.synth.discs import APPEARANCE_CLASSES, MOTION_CLASSES, disc_classes, render_disc_clip
from seqdet.data.synth.scene import Actor, SceneOptions, render_clip, render_scene
from seqdet.data.synth.solids import CLASSES

SIZE_WH = (160, 128)


@pytest.mark.parametrize("sensor", ["thermal", "visible"])
def test_a_clip_follows_from_its_seed(sensor: str) -> None:
    def clip(seed: int) -> tuple:
        return render_clip(np.random.default_rng(seed), sensor, SIZE_WH, 3, label="bird")

    first, again, other = clip(5), clip(5), clip(6)
    assert first[0].shape == (3, 128, 160, 3)
    assert first[0].dtype == np.uint8
    np.testing.assert_array_equal(first[0], again[0])
    for mine, its in zip(first[1], again[1], strict=True):
        np.testing.assert_array_equal(mine.boxes_xyxy_px, its.boxes_xyxy_px)
    assert (first[0] != other[0]).any()


def test_a_clip_leaves_the_global_source_of_chance_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    render_clip(np.random.default_rng(0), "thermal", SIZE_WH, 1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("sensor", ["thermal", "visible"])
@pytest.mark.parametrize("kind", CLASSES)
def test_the_object_lies_in_its_box_and_fills_it(sensor: str, kind: str) -> None:
    """What changes when the object is left out lies inside of its tight box, and touches all four sides."""
    cast = (Actor(kind, 34, (0.5, 0.3), 0.1, contrast=1.0),)
    checked = 0
    for seed in range(4):
        films = [
            list(
                render_scene(
                    SceneOptions(
                        sensor,
                        (320, 256),
                        4,
                        seed=seed,
                        cast=cast,
                        compression=False,
                        loose_px=0,
                        show_objects=shown,
                    )
                )
            )
            for shown in (True, False)
        ]
        for (with_it, truth), (without, truth_without) in zip(*films, strict=True):
            np.testing.assert_array_equal(truth.boxes_xyxy_px, truth_without.boxes_xyxy_px)
            difference = np.abs(with_it.astype(int) - without).max(axis=2)
            if len(truth) != 1 or difference.max() < 40:
                continue
            left, top, right, bottom = truth.boxes_xyxy_px[0]
            rows, columns = np.nonzero(difference > 0.35 * difference.max())
            assert left <= columns.min()
            assert columns.max() + 1 <= right
            assert top <= rows.min()
            assert rows.max() + 1 <= bottom
            any_rows, any_columns = np.nonzero(difference > 2)
            # 6 % of the side and what blurs away, and no more.
            spare = 0.12 * (right - left) + 5
            assert right - left <= np.ptp(any_columns) + 1 + spare
            assert bottom - top <= np.ptp(any_rows) + 1 + spare
            checked += 1
    assert checked >= 8


def test_truth_is_valid_and_a_track_keeps_its_class() -> None:
    for seed in range(12):
        sensor = ("thermal", "visible")[seed % 2]
        options = SceneOptions(sensor, SIZE_WH, 12, fps=10, seed=seed, objects=3)
        kinds: dict[int, int] = {}
        for rgb, truth in render_scene(options):
            assert rgb.shape == (128, 160, 3)
            boxes = truth.boxes_xyxy_px
            assert boxes.dtype == np.float32
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] <= SIZE_WH).all()
            assert (boxes[:, :2] < boxes[:, 2:]).all()
            assert len(set(truth.track_ids.tolist())) == len(truth)
            for track, kind in zip(truth.track_ids.tolist(), truth.class_ids.tolist(), strict=True):
                assert kinds.setdefault(track, kind) == kind


def test_thermal_is_grey_and_visible_is_not() -> None:
    for sensor, grey in (("thermal", True), ("visible", False)):
        rgb = render_clip(np.random.default_rng(1), sensor, SIZE_WH, 1)[0]
        assert (rgb[..., 0] == rgb[..., 2]).all() == grey


def test_label_and_sequence_class() -> None:
    for kind in CLASSES:
        ids = set()
        for seed in range(4):
            _, truths, sequence_class = render_clip(
                np.random.default_rng(seed), "thermal", SIZE_WH, 2, label=kind
            )
            ids |= {int(i) for truth in truths for i in truth.class_ids}
            assert sequence_class in (-1, CLASSES.index(kind))
        assert ids == {CLASSES.index(kind)}


def test_an_object_behind_the_land_has_no_truth() -> None:
    """The lower an object flies, the more often it is hidden; the hidden has no box."""
    hidden = 0
    for seed in range(10):
        cast = (Actor("airplane", 14, (0.5, 0.97), 0.0),)
        films = [
            next(render_scene(SceneOptions("thermal", SIZE_WH, 1, seed=seed, cast=cast, show_objects=shown)))
            for shown in (True, False)
        ]
        if (films[0][0] == films[1][0]).all():
            hidden += 1
            assert len(films[0][1]) == 0
    assert hidden >= 3


@pytest.mark.parametrize(
    "wrong", [{"sensor": "radar"}, {"classes": ("kite",)}, {"frames": 0}, {"size_wh": (8, 8)}, {"fps": 0.0}]
)
def test_options_say_what_is_wrong(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"got"):
        SceneOptions(**{"sensor": "thermal", "size_wh": SIZE_WH, "frames": 1, **wrong})


# --- discs


def test_discs_follow_from_their_seed_and_stay_inside() -> None:
    first, again = (render_disc_clip(np.random.default_rng(2), (64, 48), 20) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[0].shape == (20, 48, 64, 3)
    for truth in first[1]:
        assert (truth.boxes_xyxy_px[:, :2] >= 0).all()
        assert (truth.boxes_xyxy_px[:, 2:] <= (64, 48)).all()
        assert set(truth.class_ids.tolist()) == {first[2]}


def _crops_and_tracks(cue: str, clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One crop and one path per clip, with its class."""
    crops, turns, classes = [], [], []
    for seed in range(clips):
        pictures, truths, class_id = render_disc_clip(np.random.default_rng(seed), (64, 64), 24, cue=cue)
        centres = np.array([t.boxes_xyxy_px[0, :2] + t.boxes_xyxy_px[0, 2:] for t in truths]) / 2
        x, y = np.clip(np.round(centres[12]).astype(int), 6, 58)
        crop = pictures[12, y - 6 : y + 6, x - 6 : x + 6, 0].astype(float)
        crops.append(np.abs(crop - 128).ravel())
        steps = np.diff(centres, axis=0)
        turn = np.arctan2(
            steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0], (steps[:-1] * steps[1:]).sum(axis=1)
        )
        turns.append([np.median(np.abs(turn)), 2 * (np.abs(turn) > 0.8).mean()])
        classes.append(class_id)
    return np.array(crops), np.array(turns), np.array(classes)


def _accuracy_of_nearest_mean(values: np.ndarray, classes: np.ndarray) -> float:
    """Trained on the first half of the clips, measured on the second."""
    half = len(values) // 2
    means = np.stack([values[:half][classes[:half] == k].mean(axis=0) for k in range(3)])
    nearest = ((values[half:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    return float((nearest == classes[half:]).mean())


def test_only_motion_tells_the_class_of_a_disc() -> None:
    crops, turns, classes = _crops_and_tracks("motion", 240)
    assert _accuracy_of_nearest_mean(crops, classes) < 0.47  # a third by chance
    assert _accuracy_of_nearest_mean(turns, classes) > 0.75


def test_the_control_can_be_told_by_one_crop() -> None:
    crops, turns, classes = _crops_and_tracks("appearance", 240)
    assert _accuracy_of_nearest_mean(crops, classes) > 0.6
    assert _accuracy_of_nearest_mean(turns, classes) < 0.47


def test_classes_of_the_cues() -> None:
    assert disc_classes("motion") == MOTION_CLASSES
    assert disc_classes("appearance") == APPEARANCE_CLASSES
    with pytest.raises(ValueError, match="motion or appearance"):
        disc_classes("colour")
