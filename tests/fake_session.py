"""A live session without camera and model: pictures by the clock, two objects on known ways; and its page.

``python tests/fake_session.py PORT [FOLDER]`` shows it.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from seqdet.live_types import Event, LiveFrame, LiveStatus, Zone, ZoneCount
from seqdet.serve.server import serve
from seqdet.types import Detections, Frame, FrameResult

CLASSES = ("drone", "bird", "airplane")


class FakeSession:
    """Object 1 (drone, score .9) goes from left to right in 4 s, object 2 (bird, .2) stands still."""

    def __init__(self, fps: float = 20.0, size_wh: tuple[int, int] = (320, 256)) -> None:
        self.classes, self.source, self.score = CLASSES, "rtsp://camera.example/live", 0.3
        self.size_wh, self.fps = size_wh, fps
        self.failure: Exception | None = None
        self.state = "live"
        self._started_s = time.monotonic()
        self._frozen_at: int | None = None
        self._zones: dict[Zone, int] = {}
        self._lock = threading.Lock()
        self._was_inside: set[str] = set()
        self._events: list[Event] = []
        self._tell("track_started", "drone #1 came into sight", track_id=1, label="drone", score=0.9)

    def _tell(self, kind, text, **more) -> None:
        at_s = time.monotonic() - self._started_s
        event = Event(len(self._events) + 1, kind, text, time_s=at_s, wall_time_s=time.time(), **more)
        self._events.append(event)

    def freeze(self, state: str = "stale") -> None:
        """No picture comes any more."""
        self._frozen_at, self.state = self._number(), state
        self._tell("stream_lost", "no picture for 2 s")

    def thaw(self) -> None:
        self._frozen_at, self.state = None, "live"

    def _number(self) -> int:
        if self._frozen_at is not None:
            return self._frozen_at
        return 1 + int((time.monotonic() - self._started_s) * self.fps)

    def wait_newer(self, number: int, timeout_s: float) -> LiveFrame | None:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            if self.failure is not None:
                raise self.failure
            if self._number() > number:
                return self.frame(self._number())
            time.sleep(0.004)
        return None

    def frame(self, number: int) -> LiveFrame:
        captured_s = self._started_s + (number - 1) / self.fps
        width, height = self.size_wh
        rgb = np.full((height, width, 3), (60, 90, 130), np.uint8)
        rgb[::16] += np.uint8(10)
        x = (number / self.fps / 4 % 1) * width
        boxes = np.array([(x - 12, 96, x + 12, 120), (200, 40, 216, 56)], np.float32)
        for x1, y1, x2, y2 in boxes.clip(0).astype(int):
            rgb[y1:y2, x1:x2] = 20
        scores = np.array([0.9, 0.2], np.float32)
        found = Detections(
            boxes_xyxy_px=boxes,
            scores=scores,
            class_ids=np.array([0, 1]),
            track_ids=np.array([1, 2]),
            track_class_ids=np.array([0, 1]),
            track_scores=0.8 + 0.1 * np.sin(number / 10 + np.arange(2)).astype(np.float32),
            class_scores=np.zeros((2, 3), np.float32),
            features=np.zeros((2, 0), np.float32),
            motion_px=np.zeros((2, 2), np.float32),
        )
        result = FrameResult(
            Frame(rgb, number - 1, (number - 1) / self.fps), found, self.classes, "drone", 0.75
        )
        return LiveFrame(number, result, captured_s, time.monotonic(), self._count((x, 108.0)))

    def _count(self, place: tuple[float, float]) -> tuple[ZoneCount, ...]:
        with self._lock:
            counts = []
            for zone in self._zones:
                inside = _is_inside(place, zone.polygon_px)
                if inside and zone.name not in self._was_inside:
                    self._zones[zone] += 1
                    self._was_inside.add(zone.name)
                    self._tell("zone_entered", f"drone #1 entered {zone.name}", track_id=1, zone=zone.name)
                if not inside:
                    self._was_inside.discard(zone.name)
                counts.append(ZoneCount(zone, int(inside), self._zones[zone], 1.5 * inside, 2.25))
            return tuple(counts)

    def status(self) -> LiveStatus:
        number = self._number()
        age_s = time.monotonic() - self._started_s - (number - 1) / self.fps
        message = "" if self.state == "live" else "no picture for 2 s; trying again"
        return LiveStatus(
            self.source, self.state, message, age_s, self.size_wh,
            self.fps, self.fps, number, number, 3, 0, 0.03,
        )  # fmt: skip

    def events_since(self, number: int) -> tuple[Event, ...]:
        return tuple(self._events[number:])

    def zones(self) -> tuple[ZoneCount, ...]:
        with self._lock:
            return tuple(ZoneCount(zone, 0, entered) for zone, entered in self._zones.items())

    def set_zones(self, zones: Sequence[Zone]) -> None:
        with self._lock:
            self._zones = {zone: self._zones.get(zone, 0) for zone in zones}

    def close(self) -> None:
        self.state = "ended"


def _is_inside(place: tuple[float, float], polygon: Sequence[tuple[float, float]]) -> bool:
    """By the angle that the polygon covers around the place."""
    angles = [math.atan2(y - place[1], x - place[0]) for x, y in polygon]
    turns = (
        (b - a + math.pi) % (2 * math.pi) - math.pi
        for a, b in zip(angles, angles[1:] + angles[:1], strict=True)
    )
    return abs(sum(turns)) > math.pi


class Over(Exception):
    """What ends a session that `serving` shows."""


@contextmanager
def serving(
    session: FakeSession, folder: Path, port: int = 0, token: str | None = None, names: Sequence[str] = ()
) -> Iterator[str]:
    """A real server in a thread, which the session's failure ends; gives the address to open."""
    ready, addresses, ended = threading.Event(), [], []

    def on_ready(address: str) -> None:
        addresses.append(address)
        ready.set()

    def run() -> None:
        try:
            serve(session, port=port, folder=folder, token=token, names=names, on_ready=on_ready)
        except Over:
            ended.append(True)

    session.failure = None
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        yield addresses[0]
    finally:
        session.failure = Over()
        thread.join(20)
    assert ended, "the server did not end when its session failed"


if __name__ == "__main__":
    serve(
        FakeSession(),
        port=int(sys.argv[1]),
        folder=Path(sys.argv[2] if len(sys.argv) > 2 else "."),
        on_ready=lambda address: print(address, flush=True),
    )
