"""Zones count who is inside, who came, who left and how long they stayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqdet.errors import UsageError
from seqdet.live_types import Zone
from seqdet.results.zones import LEFT_AFTER_S, step_zones, watched, zone_count
from seqdet.types import Detections

CLASSES = ("drone", "bird")
SQUARE = Zone("gate", ((10, 10), (50, 10), (50, 50), (10, 50)))


def at(*tracks: tuple[int, float, float]) -> Detections:
    """Boxes of 8x8 px of (track id, centre x, centre y)."""
    ids = np.array([track[0] for track in tracks], np.int64)
    centres = np.array([track[1:] for track in tracks], np.float32).reshape(-1, 2)
    ones = np.ones(len(ids), np.float32)
    return replace(
        Detections.empty(2),
        boxes_xyxy_px=np.concatenate([centres - 4, centres + 4], axis=1),
        scores=ones,
        class_ids=np.zeros(len(ids), np.int64),
        track_ids=ids,
        track_class_ids=np.zeros(len(ids), np.int64),
        track_scores=ones,
        class_scores=np.ones((len(ids), 2), np.float32),
        features=np.zeros((len(ids), 0), np.float32),
        motion_px=np.zeros((len(ids), 2), np.float32),
    )


def run(zone: Zone, frames: list[tuple[float, Detections]]):
    states, events = (watched(zone),), []
    for time_s, found in frames:
        states, new = step_zones(states, found, CLASSES, time_s)
        events += new
    return zone_count(states[0], frames[-1][0]), events


def test_a_track_comes_stays_and_leaves() -> None:
    inside = [(t / 10, at((1, 30, 30))) for t in range(20)]
    outside = [(t / 10, at((1, 90, 30))) for t in range(20, 40)]
    count, events = run(SQUARE, inside)
    assert (count.inside, count.entered, count.longest_dwell_s) == (1, 1, pytest.approx(1.9))
    count, events = run(SQUARE, inside + outside)
    assert (count.inside, count.entered) == (0, 1)
    assert count.mean_dwell_s == pytest.approx(1.9)
    assert [event.kind for event in events] == ["zone_entered", "zone_left"]
    assert events[1].dwell_s == pytest.approx(1.9)
    assert (events[1].track_id, events[1].zone, events[1].label) == (1, "gate", "drone")


def test_a_box_that_trembles_on_the_border_and_a_missed_frame_count_once() -> None:
    frames = [(t / 10, at((1, 49 + 2 * (t % 2), 30))) for t in range(30)]
    frames[12:16] = [(t / 10, at()) for t in range(12, 16)]
    count, events = run(SQUARE, frames)
    assert (count.inside, count.entered, len(events)) == (1, 1, 1)


def test_unconfirmed_tracks_are_nobody_and_two_tracks_are_two() -> None:
    count, _ = run(SQUARE, [(0.0, at((-1, 30, 30), (-1, 31, 30), (4, 20, 20), (9, 40, 40), (5, 60, 60)))])
    assert (count.inside, count.entered) == (2, 2)


@pytest.mark.parametrize(
    ("x", "y", "inside"), [(12, 12, True), (8, 30, False), (30, 52, False), (200, 5, False), (-3, 30, False)]
)
def test_the_centre_decides(x: float, y: float, inside: bool) -> None:
    assert run(SQUARE, [(0.0, at((1, x, y)))])[0].inside == inside


def test_a_zone_may_reach_out_of_the_picture() -> None:
    triangle = Zone("left", ((-100, -100), (100, 0), (-100, 100)))
    assert run(triangle, [(0.0, at((1, 20, 20)))])[0].inside == 1
    assert run(triangle, [(0.0, at((1, 60, 40)))])[0].inside == 0


def test_the_state_before_is_not_changed() -> None:
    before = (watched(SQUARE),)
    after, _ = step_zones(before, at((1, 30, 30)), CLASSES, 0.0)
    assert (zone_count(before[0], 0).inside, zone_count(after[0], 0).inside) == (0, 1)
    assert LEFT_AFTER_S > 0


@pytest.mark.parametrize(
    "polygon", [(), ((0, 0), (1, 1)), ((0, 0), (1, 1), (float("nan"), 3)), ((0, 0), (1, 1), (1e9, 3))]
)
def test_a_zone_that_cannot_be_is_refused(polygon) -> None:
    with pytest.raises(UsageError, match="gate"):
        watched(Zone("gate", polygon))
