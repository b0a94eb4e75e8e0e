"""A model at work on what a camera sees now: the newest picture in, the newest result out, for any number
of watchers at the price of one.

    with open_live("rtsp://camera/stream") as session:
        number = 0
        while (live := session.wait_newer(number, timeout_s=5)) is not None:
            number = live.number
            print(live.result.labels, session.status().latency_s)

camera's thread -> newest picture -> this session's thread: model, events, rows -> newest result -> watchers

Nothing waits in line: while the model looks at one picture, newer ones replace each other, and the next one
that it looks at is the newest. A watcher that is slow, or gone, misses results and slows nobody.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from seqdet.errors import UsageError
from seqdet.live_types import Event, LiveFrame, LiveStatus, Zone, ZoneCount
from seqdet.runs.device import threads_shared_by
from seqdet.runs.live_memory import initial_memory, look
from seqdet.runs.stream import Model, load, with_score
from seqdet.types import FrameResult
from seqdet.video.camera import Camera, Captured
from seqdet.video.live_source import live_source

# Results are given from this score on, whatever the session's own is, so that a page can show the weak ones.
SHOWN_SCORE = 0.1
EVENTS_KEPT = 1000
_POLL_S = 0.2
_RECENT = 50
_JOIN_S = 10.0


class LiveSession:
    """A model that watches a live source, from the moment on that it is made; a context manager.

    All methods may be called from any thread.

    Args:
        source: the source as it may be shown.
        camera: where pictures come from; the session closes it.
        model: what looks at them; it should report from ``SHOWN_SCORE`` on.
        score: detections below take no part in rows, events and zones, 0..1.

    Attributes:
        source: as the user named it, passwords hidden.
        classes: names of the classes.
        score: as above.
    """

    def __init__(self, source: str, camera: Camera, model: Model, score: float) -> None:
        self.source, self.classes, self.score = source, model.classes, score
        self._camera, self._model = camera, model
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._newest: LiveFrame | None = None
        self._error: BaseException | None = None
        self._over = False
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._zones: tuple[ZoneCount, ...] = ()
        self._detected = 0
        self._latencies_s: deque[float] = deque(maxlen=_RECENT)
        self._finished_s: deque[float] = deque(maxlen=_RECENT)
        self._thread = threading.Thread(target=self._run, name="seqdet-live", daemon=True)
        self._thread.start()

    def wait_newer(self, number: int, timeout_s: float) -> LiveFrame | None:
        """The newest result, once there is one of a greater number.

        Args:
            number: of the result that the caller has; 0 for none.
            timeout_s: how long to wait.

        Returns:
            None when none came in time, or none will come any more (``status`` knows).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._is_newer(number), timeout_s)
            return self._newest if self._is_newer(number) else None

    def status(self) -> LiveStatus:
        """How the session is, now; never waits for the source."""
        camera = self._camera.status()
        with self._changed:
            newest, latencies, finished = self._newest, list(self._latencies_s), list(self._finished_s)
            detected = self._detected
        now_s = time.monotonic()
        recent = [at_s for at_s in finished if now_s - at_s < 3.0]
        span_s = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        return LiveStatus(
            source=self.source,
            state=camera.state,
            message=camera.message,
            age_s=camera.age_s,
            size_wh=newest.result.frame.size_wh if newest is not None else None,
            source_fps=camera.fps,
            result_fps=(len(recent) - 1) / span_s if span_s > 0 else 0.0,
            captured=camera.captured,
            detected=detected,
            dropped=camera.dropped,
            reconnects=camera.reconnects,
            latency_s=statistics.median(latencies) if latencies else None,
        )

    def events_since(self, number: int) -> tuple[Event, ...]:
        """Events of a greater number, oldest first, of the newest thousand."""
        with self._changed:
            return tuple(event for event in self._events if event.number > number)

    def zones(self) -> tuple[ZoneCount, ...]:
        """The zones and what they have seen."""
        with self._changed:
            return self._zones

    def set_zones(self, zones: Sequence[Zone]) -> None:
        """Count in these zones from now on; one that stays as it was goes on counting."""
        with self._changed:
            known = {count.zone: count for count in self._zones}
            self._zones = tuple(known.get(zone, ZoneCount(zone)) for zone in zones)

    def close(self) -> None:
        """End the threads and let go of the source; safe to call twice."""
        self._closing.set()
        self._camera.close()
        self._thread.join(_JOIN_S)

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_newer(self, number: int) -> bool:
        return self._newest is not None and self._newest.number > number

    def _run(self) -> None:
        try:
            # The cores are shared with decoding and with the page's pictures.
            with threads_shared_by(2):
                self._watch()
        except BaseException as error:  # shown by whoever asks next, whatever it is
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _watch(self) -> None:
        memory = initial_memory(self._model)
        while not self._closing.is_set():
            captured = self._camera.take(_POLL_S)
            if captured is None:
                if self._camera.status().state in ("ended", "refused"):
                    return
                continue
            result, memory, _ = look(self._model, captured, memory, captured.cut)
            self._show(captured, result)

    def _show(self, captured: Captured, result: FrameResult) -> None:
        finished_s = time.monotonic()
        with self._changed:
            self._detected += 1
            self._newest = LiveFrame(self._detected, result, captured.captured_at_s, finished_s, self._zones)
            self._latencies_s.append(finished_s - captured.captured_at_s)
            self._finished_s.append(finished_s)
            self._changed.notify_all()


def open_live(
    source: str,
    *,
    model: str | Path = "airspace",
    device: str = "auto",
    score: float = 0.3,
    loop: bool = False,
) -> LiveSession:
    """Begin to watch a live source.

    Args:
        source: a camera index, an address (rtsp, http, udp), or a file, played at its own pace.
        model: shipped name, run folder or file.
        device: "auto", "cpu" or "cuda".
        score: smallest score of a detection that counts, 0..1.
        loop: a file begins again at its end.

    Raises:
        UsageError: no such model or device, a wrong score, or a loop of what is no file.
    """
    if not 0 < score < 1:
        raise UsageError(f"--score {score:g}: give a number between 0 and 1, such as 0.3")
    shown, opener = live_source(source, loop)
    loaded = with_score(load(model, device), min(score, SHOWN_SCORE))
    return LiveSession(shown, Camera(opener), loaded, score)
