"""What a live session remembers from one picture to the next, as a value; and when it must forget.

A stream that never ends must not make the memory grow: tracks that are over leave the stream's state, only
the sum of what they said of the sequence's class stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqdet.results.tracks import EndedTrack, TrackState, living_tracks
from seqdet.runs.stream import Model, StreamState
from seqdet.types import Frame, FrameResult
from seqdet.video.camera import Captured
from seqdet.video.scene import SceneState, see_scene

# Tracks are over after a second; after two, whatever was in the picture is where no memory expects it.
RESET_AFTER_S = 2.0
# The id of what holds the sum of all tracks that are over; ids of tracks count from 1.
_SUM_OF_PAST = 0


class LiveMemory(NamedTuple):
    """What is remembered.

    Attributes:
        stream: of the network and the tracks.
        scene: of what the camera shows.
        last_time_s: of the picture before, None before the first.
        last_size_wh: of the picture before, None before the first.
    """

    stream: StreamState
    scene: SceneState = SceneState()
    last_time_s: float | None = None
    last_size_wh: tuple[int, int] | None = None


class Look(NamedTuple):
    """One picture, looked at.

    Attributes:
        result: what was found.
        memory: the new one.
        ended: confirmed tracks that are over with this picture.
        cut: True when the picture shows another scene than those before.
    """

    result: FrameResult
    memory: LiveMemory
    ended: list[EndedTrack]
    cut: bool


def initial_memory(model: Model) -> LiveMemory:
    """Nothing seen yet."""
    return LiveMemory(model.initial_state())


def look(model: Model, captured: Captured, memory: LiveMemory) -> Look:
    """Take in one picture; forget first what cannot be true of it any more.

    The memory begins anew after a gap of two seconds, at a scene cut, and when the picture's size changes.
    Ids of tracks go on counting.

    Args:
        model: what looks.
        captured: the picture.
        memory: of the picture before; it is not changed.
    """
    frame = Frame(captured.rgb, captured.index, captured.time_s)
    stream, scene = memory.stream, memory.scene
    ended: list[EndedTrack] = []
    gap = memory.last_time_s is not None and frame.time_s - memory.last_time_s > RESET_AFTER_S
    resized = memory.last_size_wh not in (None, frame.size_wh)
    cut = captured.cut
    if gap or resized or cut:
        scene = SceneState()
    seen_cut, scene = see_scene(frame.rgb, scene)
    cut = cut or seen_cut
    if gap or resized or cut:
        stream, ended = _begun_anew(model, stream)
    results, stream = model.advance([frame], stream)
    stream, over = _without_past(stream)
    return Look(results[0], LiveMemory(stream, scene, frame.time_s, frame.size_wh), [*ended, *over], cut)


def _begun_anew(model: Model, stream: StreamState) -> tuple[StreamState, list[EndedTrack]]:
    """Nothing remembered but which track ids were given; all living tracks are over."""
    fresh = model.initial_state()
    tracks = fresh.tracks._replace(next_id=stream.tracks.next_id)
    return fresh._replace(tracks=tracks), living_tracks(stream.tracks)


def _without_past(stream: StreamState) -> tuple[StreamState, list[EndedTrack]]:
    """The tracks that are over, taken out of the state; what they said of the sequence stays as one sum."""
    past = stream.tracks.ended
    over = [track for track in past if track.track_id != _SUM_OF_PAST]
    if not over:
        return stream, []
    evidence = np.sum([track.class_evidence for track in past], axis=0)
    tracks: TrackState = stream.tracks._replace(ended=(EndedTrack(_SUM_OF_PAST, 0, 0, 0, 0.0, evidence),))
    return stream._replace(tracks=tracks), over
