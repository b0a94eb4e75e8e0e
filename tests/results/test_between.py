"""Boxes of a frame between two: on the straight line of what both show, in the nearer half what one shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqdet.results.between import Seen, between, moved, seen
from seqdet.results.tracks import initial_track_state
from seqdet.types import Detections, Frame, FrameResult

PICTURE_WH = (100, 80)


def _detections(boxes: list[list[float]], ids: list[int], scores: list[float]) -> Detections:
    count = len(boxes)
    return replace(
        Detections.empty(2),
        boxes_xyxy_px=np.array(boxes, np.float32).reshape(count, 4),
        scores=np.array(scores, np.float32),
        class_ids=np.zeros(count, np.int64),
        track_ids=np.array(ids, np.int64),
        track_class_ids=np.zeros(count, np.int64),
        track_scores=np.ones(count, np.float32),
        class_scores=np.tile(np.array([[0.75, 0.25]], np.float32), (count, 1)),
        features=np.zeros((count, 0), np.float32),
        motion_px=np.zeros((count, 2), np.float32),
    )


def _seen(boxes, ids, scores, time_s: float, velocities=None) -> Seen:
    speeds = np.zeros((len(boxes), 2)) if velocities is None else np.array(velocities, float)
    return Seen(_detections(boxes, ids, scores), speeds, time_s, PICTURE_WH)


BEFORE = _seen([[10, 10, 20, 20], [50, 50, 60, 60]], [1, 2], [0.9, 0.5], 1.0, [[30, 0], [0, -10]])
AFTER = _seen([[70, 30, 80, 40], [40, 10, 50, 22]], [3, 1], [0.8, 0.7], 2.0, [[20, 0], [30, 0]])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_what_both_show_is_on_the_straight_line_between(share: float) -> None:
    found = between(BEFORE, AFTER, 1 + share)
    (at,) = np.flatnonzero(found.track_ids == 1)
    expected = (1 - share) * np.array([10, 10, 20, 20]) + share * np.array([40, 10, 50, 22])
    np.testing.assert_allclose(found.boxes_xyxy_px[at], expected, atol=1e-4)
    assert found.scores[at] == pytest.approx(0.9 * (1 - share) + 0.7 * share)
    assert (np.diff(found.scores) <= 0).all()  # best first


@pytest.mark.parametrize(("share", "track", "box"), [(0.4, 2, [50, 46, 60, 56]), (0.6, 3, [62, 30, 72, 40])])
def test_what_one_shows_moves_by_its_velocity_in_the_half_nearer_to_it(share, track, box) -> None:
    found = between(BEFORE, AFTER, 1 + share)
    assert sorted(found.track_ids) == sorted([1, track])
    np.testing.assert_allclose(found.boxes_xyxy_px[found.track_ids == track][0], box, atol=1e-3)


def test_a_detection_without_a_track_is_nobodys_partner() -> None:
    one, other = _seen([[0, 0, 9, 9]], [-1], [0.4], 0.0), _seen([[20, 0, 29, 9]], [-1], [0.6], 1.0)
    assert between(one, other, 0.4).boxes_xyxy_px.tolist() == [[0, 0, 9, 9]]
    assert between(one, other, 0.6).boxes_xyxy_px.tolist() == [[20, 0, 29, 9]]


def test_what_moves_out_of_the_picture_is_cut_and_then_gone() -> None:
    frame = _seen([[80, 10, 90, 20]], [1], [0.9], 0.0, [[10, 0]])
    assert moved(frame, 1.5).boxes_xyxy_px.tolist() == [[95, 10, 100, 20]]
    assert len(moved(frame, 3.0)) == 0


def test_nothing_between_nothing_and_something() -> None:
    nothing = _seen([], [], [], 0.0)
    assert len(between(nothing, nothing, 0.5)) == 0
    assert between(nothing, AFTER._replace(time_s=1.0), 0.9).track_ids.tolist() == [3, 1]


def test_velocities_are_those_of_the_tracks() -> None:
    tracks = initial_track_state(2)
    tracks.track_ids[5], tracks.velocities_px_per_s[5] = 7, (3, 4)
    tracks.velocities_px_per_s[:5] = 99  # of rows without an id
    frame = Frame(np.zeros((80, 100, 3), np.uint8), 4, 0.5)
    found = _detections([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], [7, -1, 8], [0.9, 0.8, 0.7])
    known = seen(FrameResult(frame, found, ("a", "b")), tracks)
    assert known.velocities_px_per_s.tolist() == [[3, 4], [0, 0], [0, 0]]
    assert (known.time_s, known.size_wh) == (0.5, PICTURE_WH)
