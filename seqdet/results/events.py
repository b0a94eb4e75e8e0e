"""What is worth telling: tracks that begin, change their class and end; the class of the sequence.

The state is a value:

    state = EventState()
    for result, ended in results:
        state, events = step_events(state, result, ended)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import NamedTuple

from seqdet.live_types import Event
from seqdet.types import FrameResult

# A class must hold for so long before it is told: the first frames of a track change their mind.
TRACK_LABEL_HOLDS_S = 0.5
SEQUENCE_LABEL_HOLDS_S = 1.0


class Told(NamedTuple):
    """What was said of a track or of the sequence, and what it may become.

    Attributes:
        label: what was said.
        first_s: when it began.
        last_s: when it was last seen.
        next_label: another class that it has now, or ``label``.
        next_since_s: since when.
        score: confidence of the newest class.
    """

    label: str
    first_s: float
    last_s: float
    next_label: str
    next_since_s: float
    score: float


class EventState(NamedTuple):
    """What was told so far.

    Attributes:
        tracks: by track id; those that are over are not in it.
        sequence: of the sequence.
    """

    tracks: dict[int, Told] = {}  # noqa: RUF012 - never changed in place
    sequence: Told = Told("", 0.0, 0.0, "", 0.0, 0.0)


def step_events(
    state: EventState, result: FrameResult, ended: Iterable[int]
) -> tuple[EventState, list[Event]]:
    """Take in the result of one frame.

    Args:
        state: of the frame before; it is not changed.
        result: what counts of the frame (``above``).
        ended: ids of the tracks that are over with this frame.

    Returns:
        The new state, and what is worth telling (events without number and wall time).
    """
    time_s, tracks, events = result.time_s, dict(state.tracks), []
    for track_id in ended:
        over = tracks.pop(track_id, None)
        if over is not None:
            text = f"track {track_id} ({over.label}) is over after {over.last_s - over.first_s:.1f} s"
            events.append(Event(0, "track_ended", text, time_s, 0.0, track_id, over.label, over.score))
    found = result.detections
    for track_id, label, score in zip(
        found.track_ids.tolist(), result.track_labels, found.track_scores.tolist(), strict=True
    ):
        if track_id < 0:
            continue
        if track_id not in tracks:
            tracks[track_id] = Told(label, time_s, time_s, label, time_s, score)
            text = f"track {track_id} began: {label} ({score:.2f})"
            events.append(Event(0, "track_started", text, time_s, 0.0, track_id, label, score))
            continue
        before = tracks[track_id]
        tracks[track_id] = told = _heard(before, label, score, time_s, TRACK_LABEL_HOLDS_S)
        if told.label != before.label:
            text = f"track {track_id}: {label} ({score:.2f}), no longer {before.label}"
            events.append(Event(0, "track_label", text, time_s, 0.0, track_id, label, score))
    label, score = result.sequence_label, result.sequence_score
    sequence = _heard(state.sequence, label, score, time_s, SEQUENCE_LABEL_HOLDS_S)
    if sequence.label != state.sequence.label and label:
        text = f"the sequence shows: {label} ({score:.2f})"
        events.append(Event(0, "sequence_label", text, time_s, 0.0, None, label, score))
    return EventState(tracks, sequence), events


def _heard(told: Told, label: str, score: float, time_s: float, holds_s: float) -> Told:
    """The same after one more frame; another class is told once it has held long enough."""
    if label != told.next_label:
        told = told._replace(next_label=label, next_since_s=time_s)
    if label != told.label and time_s - told.next_since_s >= holds_s:
        told = told._replace(label=label)
    return told._replace(last_s=time_s, score=score)


def above(result: FrameResult, score: float) -> FrameResult:
    """The same result with the detections that score at least so much."""
    keep = result.detections.scores >= score
    return result if keep.all() else replace(result, detections=result.detections.where(keep))


def event_row(source: str, event: Event) -> dict[str, object]:
    """The event as webhooks and MQTT send it.

    Args:
        source: as it may be shown.
        event: what happened.
    """
    row = {"type": "event", "source": source, **asdict(event)}
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
