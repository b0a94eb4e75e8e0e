"""Sizes of tracked boxes: noise goes, growth stays, and what a frame cuts off is not taken for a size."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.results.track_sizes import with_steady_sizes
from seqdet.results.tracks import associate, initial_track_state

PICTURE_WH = (640, 480)
MEMORY_S = 0.4


def steadied(make_detections, boxes, fps=30.0, memory_s=MEMORY_S, picture_wh=PICTURE_WH):
    """(T, 4) boxes of one object -> (T, 4) as they are shown."""
    state, shown = initial_track_state(3), []
    for t, box in enumerate(np.asarray(boxes, np.float32)):
        detections = make_detections([box], 0.9)
        association = associate(state, detections, t, t / fps)
        assert association.rows.tolist() == [0], "one object, one track"
        state, steady = with_steady_sizes(
            state, association, detections.boxes_xyxy_px, t / fps, picture_wh, memory_s
        )
        shown.append(steady[0])
    return np.array(shown)


def around(centres, sides):
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def sides_of(boxes):
    return boxes[:, 2:] - boxes[:, :2]


@pytest.mark.parametrize("fps", [10.0, 30.0, 60.0])
def test_noise_goes_and_centres_stay(make_detections, fps: float) -> None:
    rng = np.random.default_rng(0)
    frames = int(8 * fps)
    centres = 200 + np.cumsum(rng.normal(0, 1, (frames, 2)), axis=0)
    sides = np.array([20.0, 14.0]) * np.exp(rng.normal(0, 0.15, (frames, 2)))
    shown = steadied(make_detections, around(centres, sides), fps)
    np.testing.assert_allclose((shown[:, :2] + shown[:, 2:]) / 2, centres, atol=1e-3)
    after = int(fps)
    noise = np.log(sides_of(shown)[after:]).std(axis=0)
    assert (noise < 0.15 * (0.75 if fps == 10 else 0.6)).all()
    middle = np.exp(np.log(sides_of(shown)[after:]).mean(axis=0))
    np.testing.assert_allclose(middle, np.array([20.0, 14.0]), rtol=0.06)


@pytest.mark.parametrize("rate", [-0.6, 0.5])
def test_an_object_that_comes_closer_is_not_lagged_behind(make_detections, rate: float) -> None:
    """Its size grows by a factor of e^rate a second: never far behind, and after two seconds not at all."""
    times = np.arange(90) / 30
    sides = 12 * np.exp(rate * times)[:, None] * np.ones((1, 2))
    shown = steadied(make_detections, around(np.full((90, 2), 240.0), sides))
    np.testing.assert_allclose(sides_of(shown), sides, rtol=0.16)
    np.testing.assert_allclose(sides_of(shown)[60:], sides[60:], rtol=0.04)


def test_a_size_that_jumps_is_followed(make_detections) -> None:
    sides = np.where(np.arange(90)[:, None] < 30, [[20.0, 20.0]], [[30.0, 30.0]])
    shown = steadied(make_detections, around(np.full((90, 2), 240.0), sides))
    np.testing.assert_allclose(sides_of(shown)[-1], 30, rtol=0.05)
    assert sides_of(shown).max() < 36, "it does not swing far beyond"


def test_a_box_at_the_edge_stays_as_it_is_and_teaches_nothing(make_detections) -> None:
    """An object of 40 px enters from the left: first a strip of it, then all."""
    left = np.concatenate([np.linspace(-36, 20, 29), np.full(10, 20.0)])
    whole = np.stack([left, np.full(39, 100.0), left + 40, np.full(39, 140.0)], axis=1)
    seen = np.maximum(whole, 0)
    shown = steadied(make_detections, seen)
    touching = seen[:, 0] <= 1
    np.testing.assert_allclose(shown[touching], seen[touching], atol=1e-4)
    np.testing.assert_allclose(shown[~touching], seen[~touching], atol=0.5)


def test_nothing_to_do(make_detections) -> None:
    boxes = np.tile(np.array([[30.0, 30, 50, 44]]), (5, 1)) + np.random.default_rng(1).normal(0, 1, (5, 4))
    np.testing.assert_array_equal(steadied(make_detections, boxes, memory_s=0), boxes.astype(np.float32))
    np.testing.assert_allclose(steadied(make_detections, boxes)[0], boxes[0], atol=1e-4)
    state = initial_track_state(3)
    nothing = make_detections([], [])
    association = associate(state, nothing, 0, 0.0)
    after, shown = with_steady_sizes(state, association, nothing.boxes_xyxy_px, 0.0, PICTURE_WH, MEMORY_S)
    assert len(shown) == 0
    assert after is association.state
