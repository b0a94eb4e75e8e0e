"""The values of a live session that travel between its loop, the page and whoever is told of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seqdet.types import FrameResult

EventKind = Literal[
    "track_started",
    "track_label",
    "track_ended",
    "sequence_label",
    "zone_entered",
    "zone_left",
    "stream_lost",
    "stream_back",
    "scene_cut",
]
StreamState = Literal["connecting", "live", "stale", "lost", "ended", "refused"]


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the picture in which tracks are counted.

    Attributes:
        name: what people call it.
        polygon_px: three corners or more, in pixels of the displayed frame.
    """

    name: str
    polygon_px: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """What a zone has seen.

    Attributes:
        zone: which one.
        inside: confirmed tracks inside now.
        entered: tracks that entered since the zone was drawn.
        longest_dwell_s: of those inside now, seconds; 0 when nobody is.
        mean_dwell_s: of those that have left, seconds; 0 before the first.
    """

    zone: Zone
    inside: int = 0
    entered: int = 0
    longest_dwell_s: float = 0.0
    mean_dwell_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, worth telling.

    Attributes:
        number: from 1, counts up over the session.
        kind: what happened.
        text: one sentence for a person.
        time_s: time of the source in seconds.
        wall_time_s: seconds since 1970.
        track_id: of the track it is about, or None.
        label: class of the track or sequence, "" where there is none.
        score: confidence of the label, 0..1.
        zone: name of the zone, "" where there is none.
        dwell_s: seconds spent in the zone that was left, or None.
    """

    number: int
    kind: EventKind
    text: str
    time_s: float
    wall_time_s: float
    track_id: int | None = None
    label: str = ""
    score: float = 0.0
    zone: str = ""
    dwell_s: float | None = None


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """The newest picture that was looked at.

    Attributes:
        number: from 1, counts up over the session, also across lost streams.
        result: the picture and what was found in it.
        captured_at_s: when the picture arrived, on ``time.monotonic``'s clock.
        finished_at_s: when its result was ready, on the same clock.
        zones: what every zone has seen so far.
    """

    number: int
    result: FrameResult
    captured_at_s: float
    finished_at_s: float
    zones: tuple[ZoneCount, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """How a live session is.

    Attributes:
        source: as the user named it, passwords hidden.
        state: "stale" when no picture has come for a while though nothing said so; "lost" while it is opened
            again; "refused" when trying again makes no sense (wrong password, wrong address).
        message: one sentence for a person; "" when all is well.
        age_s: age of the newest picture in seconds, None before the first.
        size_wh: of the newest picture, None before the first.
        source_fps: pictures that arrive a second, measured.
        result_fps: pictures that are looked at a second, measured.
        captured: pictures that arrived.
        detected: pictures that were looked at.
        dropped: pictures that a newer one replaced before they were looked at.
        reconnects: how often the stream was opened again.
        latency_s: median time from capture to result of the last frames, None before the first.
    """

    source: str
    state: StreamState
    message: str = ""
    age_s: float | None = None
    size_wh: tuple[int, int] | None = None
    source_fps: float = 0.0
    result_fps: float = 0.0
    captured: int = 0
    detected: int = 0
    dropped: int = 0
    reconnects: int = 0
    latency_s: float | None = None
