"""The account of a live session: what came, what was looked at, what was found, what was sent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from seqdet.results.outlet import OutletReport
from seqdet.results.tracks import EndedTrack, named_tracks
from seqdet.types import FrameResult, SequenceResult

# Tracks that are named in the row of the whole sequence; the newest, so that weeks fit into memory.
TRACKS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class LiveReport:
    """What a live session did.

    Attributes:
        source: as the user named it, passwords hidden.
        seconds: how long it lasted.
        captured: pictures that arrived.
        detected: pictures that were looked at.
        dropped: pictures that a newer one replaced before they were looked at.
        reconnects: how often the stream was opened again.
        detections: boxes that count.
        tracks: tracks confirmed.
        events: events told.
        fps: pictures that were looked at a second, over the whole session.
        latency_s: median time from capture to result of the last pictures, or None.
        label: class of the sequence, "" when nothing was found.
        score: its confidence, 0..1.
        outlets: what became of the events that were sent.
    """

    source: str
    seconds: float
    captured: int
    detected: int
    dropped: int
    reconnects: int
    detections: int
    tracks: int
    events: int
    fps: float
    latency_s: float | None
    label: str
    score: float
    outlets: tuple[OutletReport, ...]


class Account:
    """Counts what the loop of a session does; kept by that loop's thread alone.

    Attributes:
        began_s: when the session began, on ``time.monotonic``'s clock.
        frames: pictures looked at.
        detections: boxes that count.
        tracks: confirmed tracks that are over.
        first_time_s: time of the first picture in seconds, None before it.
        newest: the newest result that counts.
    """

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.frames = self.detections = self.tracks = 0
        self.first_time_s: float | None = None
        self.newest: FrameResult | None = None
        self._ended: deque[EndedTrack] = deque(maxlen=TRACKS_KEPT)

    def take(self, counted: FrameResult, ended: Sequence[EndedTrack]) -> None:
        """Add the result of one picture, and the tracks that are over with it."""
        self.frames += 1
        self.detections += len(counted.detections)
        if self.first_time_s is None:
            self.first_time_s = counted.time_s
        self.newest = counted
        self.remember(ended)

    def remember(self, ended: Sequence[EndedTrack]) -> None:
        """Keep tracks that are over for the row of the whole sequence."""
        self.tracks += len(ended)
        self._ended.extend(ended)

    def sequence(self, source: str) -> SequenceResult:
        """What the session has seen in all; its last picture lasts as long as the others did on average."""
        if self.newest is None or self.first_time_s is None:
            return SequenceResult(source, 0, 0.0, "", 0.0)
        span_s = self.newest.time_s - self.first_time_s
        duration_s = span_s * self.frames / (self.frames - 1) if self.frames > 1 else 0.0
        tracks = named_tracks(self._ended, self.newest.classes)
        label, score = self.newest.sequence_label, self.newest.sequence_score
        return SequenceResult(source, self.frames, duration_s, label, score, tracks)
