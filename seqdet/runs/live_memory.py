"""What a live session remembers from one picture to the next, as a value; and when it must forget.

A stream that never ends must not make the memory grow: tracks that are over leave the stream's state, only
the sum of what they said of the sequence's class stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqdet.results.track_state import EndedTrack, TrackState, ended_track
from seqdet.runs.stream import Model, StreamState
from seqdet.types import Frame, FrameResult
from seqdet.video.camera import Captured

# Tracks are over after a second; after two, whatever was in the picture is where no memory expects it.
RESET_AFTER_S = 2.0
# The id of what holds the sum of all tracks that are over; ids of tracks count from 1.
_SUM_OF_PAST = 0


class LiveMemory(NamedTuple):
    """What is remembered.

    Attributes:
        stream: of the network and the tracks.
        last_time_s: of the picture before, None before the first.
        last_size_wh: of the picture before, None before the first.
    """

    stream: StreamState
    last_time_s: float | None = None
    last_size_wh: tuple[int, int] | None = None


def initial_memory(model: Model) -> LiveMemory:
    """Nothing seen yet."""
    return LiveMemory(model.initial_state())


def look(
    model: Model, captured: Captured, memory: LiveMemory, cut: bool = False
) -> tuple[FrameResult, LiveMemory, list[EndedTrack]]:
    """Take in one picture.

    Args:
        model: what looks.
        captured: the picture.
        memory: of the picture before; it is not changed.
        cut: the picture shows something else than the one before.

    Returns:
        What was found, the new memory, and the confirmed tracks that are over.
    """
    frame = Frame(captured.rgb, captured.index, captured.time_s)
    stream = memory.stream
    ended: list[EndedTrack] = []
    if memory.last_time_s is not None and (
        cut or frame.time_s - memory.last_time_s > RESET_AFTER_S or frame.size_wh != memory.last_size_wh
    ):
        stream, ended = _begun_anew(model, stream)
    results, stream = model.advance([frame], stream)
    stream, over = _without_past(stream)
    return results[0], LiveMemory(stream, frame.time_s, frame.size_wh), [*ended, *over]


def _begun_anew(model: Model, stream: StreamState) -> tuple[StreamState, list[EndedTrack]]:
    """Nothing remembered but which track ids were given; all living tracks are over."""
    old, fresh = stream.tracks, model.initial_state()
    over = [ended_track(old, int(row)) for row in np.flatnonzero(old.active & (old.track_ids >= 0))]
    return fresh._replace(tracks=fresh.tracks._replace(next_id=old.next_id)), over


def _without_past(stream: StreamState) -> tuple[StreamState, list[EndedTrack]]:
    """The tracks that are over, taken out of the state; what they said of the sequence stays as one sum."""
    past = stream.tracks.ended
    over = [track for track in past if track.track_id != _SUM_OF_PAST]
    if not over:
        return stream, []
    evidence = np.sum([track.class_evidence for track in past], axis=0)
    tracks: TrackState = stream.tracks._replace(ended=(EndedTrack(_SUM_OF_PAST, 0, 0, 0, 0.0, evidence),))
    return stream._replace(tracks=tracks), over
