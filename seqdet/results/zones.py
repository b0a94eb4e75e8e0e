"""How many tracks are in a zone, came, left, and how long they stayed.

A track is where the centre of its box is: what flies has no feet. The state is a value:

    states = tuple(watched(zone) for zone in zones)
    states, events = step_zones(states, detections, classes, time_s)
    counts = [zone_count(state, time_s) for state in states]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seqdet.errors import UsageError
from seqdet.live_types import Event, Zone, ZoneCount
from seqdet.types import Detections, label_of

if TYPE_CHECKING:
    import supervision

# A track that was not seen inside for so long has left. As long as a track lives unseen, so that neither a
# missed frame nor a box that trembles on the border counts twice.
LEFT_AFTER_S = 1.0
_LARGEST_PX = 16384  # a zone is a mask of so many pixels a side at most


class Stay(NamedTuple):
    """A track inside: since when, when it was last seen there, and as what."""

    entered_s: float
    last_s: float
    label: str
    score: float


class ZoneState(NamedTuple):
    """A zone and what it has seen.

    Attributes:
        zone: which one.
        inside: stays by track id.
        entered: tracks that entered.
        left: tracks that left.
        dwelt_s: seconds that those who left have stayed, in all.
    """

    zone: Zone
    inside: dict[int, Stay]
    entered: int = 0
    left: int = 0
    dwelt_s: float = 0.0


def watched(zone: Zone) -> ZoneState:
    """A zone that has seen nothing yet.

    Raises:
        UsageError: fewer than three corners, or a corner that is no point of any picture.
    """
    if len(zone.polygon_px) < 3:
        raise UsageError(f"zone {zone.name!r}: {len(zone.polygon_px)} corners; a zone has three or more")
    for x, y in zone.polygon_px:
        if not (math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) <= _LARGEST_PX):
            raise UsageError(f"zone {zone.name!r}: a corner at ({x:g}, {y:g}) is outside of any picture")
    return ZoneState(zone, {})


def step_zones(
    states: Sequence[ZoneState], found: Detections, classes: tuple[str, ...], time_s: float
) -> tuple[tuple[ZoneState, ...], list[Event]]:
    """Take in what was found in one frame.

    Args:
        states: of the frame before; they are not changed.
        found: detections; those without a confirmed track take no part.
        classes: names of the classes.
        time_s: of the frame.

    Returns:
        The new states, and who entered and left (events without number and wall time).
    """
    steps = [_step(state, found, classes, time_s) for state in states]
    return tuple(state for state, _ in steps), [event for _, events in steps for event in events]


def zone_count(state: ZoneState, time_s: float) -> ZoneCount:
    """What a zone has seen, for people."""
    return ZoneCount(
        zone=state.zone,
        inside=len(state.inside),
        entered=state.entered,
        longest_dwell_s=max((time_s - stay.entered_s for stay in state.inside.values()), default=0.0),
        mean_dwell_s=state.dwelt_s / state.left if state.left else 0.0,
    )


def _step(
    state: ZoneState, found: Detections, classes: tuple[str, ...], time_s: float
) -> tuple[ZoneState, list[Event]]:
    name, inside, events = state.zone.name, dict(state.inside), []
    entered, left, dwelt_s = state.entered, state.left, state.dwelt_s
    for index in np.flatnonzero((found.track_ids >= 0) & _centres_inside(state.zone, found)):
        track_id = int(found.track_ids[index])
        label, score = label_of(classes, int(found.track_class_ids[index])), float(found.track_scores[index])
        if track_id not in inside:
            entered += 1
            text = f"track {track_id} ({label}) entered {name}"
            events.append(Event(0, "zone_entered", text, time_s, 0.0, track_id, label, score, name))
        since_s = inside[track_id].entered_s if track_id in inside else time_s
        inside[track_id] = Stay(since_s, time_s, label, score)
    for track_id, stay in list(inside.items()):
        if time_s - stay.last_s <= LEFT_AFTER_S:
            continue
        dwell_s = stay.last_s - stay.entered_s
        left, dwelt_s = left + 1, dwelt_s + dwell_s
        text = f"track {track_id} ({stay.label}) left {name} after {dwell_s:.1f} s"
        events.append(
            Event(0, "zone_left", text, time_s, 0.0, track_id, stay.label, stay.score, name, dwell_s)
        )
        del inside[track_id]
    return ZoneState(state.zone, inside, entered, left, dwelt_s), events


def _centres_inside(zone: Zone, found: Detections) -> np.ndarray:
    """(N,) bool."""
    if not len(found):
        return np.zeros(0, bool)
    import supervision

    polygon_zone, offset_xy = _polygon_zone(zone.polygon_px)
    moved = found.boxes_xyxy_px - np.tile(offset_xy, 2)
    return np.asarray(polygon_zone.trigger(supervision.Detections(xyxy=moved)), bool)


@lru_cache(maxsize=64)
def _polygon_zone(polygon_px: tuple[tuple[float, float], ...]) -> tuple[supervision.PolygonZone, np.ndarray]:
    """Supervision's zone, a mask of its pixels, and where that mask begins. What it counts is not used."""
    import supervision

    corners = np.rint(np.array(polygon_px)).astype(int)
    offset_xy = corners.min(axis=0)
    anchors = [supervision.Position.CENTER]
    return supervision.PolygonZone(corners - offset_xy, triggering_anchors=anchors), offset_xy
