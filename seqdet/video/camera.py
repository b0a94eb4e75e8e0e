"""The newest picture of a live source: cameras, streams, and files at their own pace.

A thread reads all pictures and keeps only the newest: who asks seldom sees what is, never what was. What
nobody took in time is counted as dropped. When the source breaks off, the thread opens it again, at first
soon, then less often. A read that blocks hides nothing: how old the newest picture is can always be asked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from seqdet.live_types import StreamState
from seqdet.video.pictures import Opener, Picture, SourceLost, SourceRefused

# A picture older than this is called stale. Faults asks for two seconds; who looks, looks every .2 s.
STALE_AFTER_S = 1.6
# First, and longest, pause before the next try; a source that is back is seen again within three seconds.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 1.0
# Stamps of the source that disagree with the clock by more than this are set by the clock again. Servers send
# what was since the last whole picture first, faster than it was.
_TRUSTED_S = 1.0
_LEAST_STEP_S = 1e-3
_ARRIVALS = 50
_JOIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Captured:
    """The newest picture.

    Attributes:
        rgb: (H, W, 3) uint8.
        index: which picture of the source it is, from 0; counts on when the source is opened again.
        time_s: seconds since the camera was made; it always grows, by the source's own steps where they can
            be trusted, else by the clock.
        captured_at_s: when it arrived, on ``time.monotonic``'s clock.
        connection: how often the source had been opened, from 1.
        cut: True when it does not follow from the picture before.
    """

    rgb: np.ndarray
    index: int
    time_s: float
    captured_at_s: float
    connection: int
    cut: bool


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """How a live source is.

    Attributes:
        state: as in ``LiveStatus``.
        message: one sentence for a person; "" when all is well.
        age_s: age of the newest picture in seconds, None before the first.
        fps: pictures that arrive a second.
        captured: pictures that arrived.
        dropped: pictures that a newer one replaced before they were taken.
        reconnects: how often pictures came again after the source was lost.
    """

    state: StreamState
    message: str
    age_s: float | None
    fps: float
    captured: int
    dropped: int
    reconnects: int


class Camera:
    """A live source, read in a thread of its own from the moment on that it is made; a context manager.

    Args:
        open_pictures: opens the source; called again whenever it is lost.
        stale_after_s: age in seconds from which the newest picture is called stale.
    """

    def __init__(self, open_pictures: Opener, stale_after_s: float = STALE_AFTER_S) -> None:
        self._open = open_pictures
        self._stale_after_s = stale_after_s
        self._changed = threading.Condition()
        self._left = threading.Event()
        self._slot: Callable[[], Captured] | None = None
        self._cut_waits = False  # in the slot, or in a picture that was dropped since
        self._state: StreamState = "connecting"
        self._message = ""
        self._error: BaseException | None = None
        self._captured = self._dropped = self._reconnects = self._connection = 0
        self._newest_s: float | None = None
        self._arrivals: deque[float] = deque(maxlen=_ARRIVALS)
        self._clock = StreamClock()
        self._thread = threading.Thread(target=self._run, name="seqdet-camera", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> Captured | None:
        """The newest picture that was not taken yet; waits for it.

        Returns:
            None when none came in time, or none will come any more (``status`` knows).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._is_over, timeout_s)
            if self._error is not None:
                raise self._error
            slot, self._slot = self._slot, None
        return slot() if slot is not None else None

    def status(self) -> CameraStatus:
        """How the source is, now; never waits for it."""
        with self._changed:
            now_s = time.monotonic()
            age_s = None if self._newest_s is None else now_s - self._newest_s
            state, message = self._state, self._message
            if state == "live" and age_s is not None and age_s > self._stale_after_s:
                state, message = "stale", f"no picture for {age_s:.1f} s"
            return CameraStatus(
                state, message, age_s, self._fps(now_s), self._captured, self._dropped, self._reconnects
            )

    def close(self) -> None:
        """End the thread and let go of the source; safe to call twice."""
        self._left.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_JOIN_S)

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _is_over(self) -> bool:
        return self._left.is_set() or self._error is not None or self._state in ("ended", "refused")

    def _fps(self, now_s: float) -> float:
        """From the arrivals of the last seconds; 0 when none came lately."""
        recent = [at_s for at_s in self._arrivals if now_s - at_s < 2 * self._stale_after_s]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-6)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while not self._left.is_set():
                before = self._captured
                try:
                    self._read_all()
                    return
                except SourceRefused as error:
                    if not (error.may_return and self._captured):
                        self._become("refused", str(error))
                        return
                    reason = str(error)
                except SourceLost as error:
                    reason = str(error)
                pause_s = FIRST_PAUSE_S if self._captured > before else min(2 * pause_s, LONGEST_PAUSE_S)
                self._become("lost", f"{reason}; trying again")
                self._left.wait(pause_s)
        except BaseException as error:  # handed to who takes the pictures, whatever it is
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _read_all(self) -> None:
        """Until the source ends for good or nobody wants its pictures any more."""
        with closing(self._open(self._left)) as pictures:
            self._connection += 1
            self._clock.reconnected()
            while not self._left.is_set():
                picture = pictures.read()
                if picture is None:
                    self._become("ended", "the source has ended")
                    return
                self._publish(picture)

    def _become(self, state: StreamState, message: str) -> None:
        with self._changed:
            self._state, self._message = state, message
            self._changed.notify_all()

    def _publish(self, picture: Picture) -> None:
        arrived_s = time.monotonic()
        time_s = self._clock.time_s(picture.stamp_s, arrived_s)
        index, connection = self._captured, self._connection
        with self._changed:
            # A cut must not be forgotten with the picture that carried it.
            cut = self._cut_waits = picture.cut or (self._cut_waits and self._slot is not None)
            self._dropped += self._slot is not None
            self._slot = lambda: Captured(picture.rgb(), index, time_s, arrived_s, connection, cut)
            self._captured += 1
            self._newest_s = arrived_s
            self._arrivals.append(arrived_s)
            if self._state == "lost" and index:
                self._reconnects += 1
            self._state, self._message = "live", ""
            self._changed.notify_all()


class StreamClock:
    """Times that always grow: by the source's own steps, kept near the machine's clock.

    Pictures arrive in bursts; the source knows better how far they lie apart. Its word is taken while it
    agrees with the clock to a second, and begins anew after a break.
    """

    def __init__(self) -> None:
        self._origin_s = time.monotonic()
        self._anchor_s: float | None = None
        self._last_s = 0.0

    def reconnected(self) -> None:
        """The stamps to come have nothing to do with those before."""
        self._anchor_s = None

    def time_s(self, stamp_s: float | None, arrived_s: float) -> float:
        """Time of a picture in seconds since the clock was made; greater than that of the one before.

        Args:
            stamp_s: what the source says, or None.
            arrived_s: when it came, on ``time.monotonic``'s clock.
        """
        by_clock_s = arrived_s - self._origin_s
        time_s = by_clock_s
        if stamp_s is not None:
            if self._anchor_s is None or abs(stamp_s + self._anchor_s - by_clock_s) > _TRUSTED_S:
                self._anchor_s = by_clock_s - stamp_s
            time_s = stamp_s + self._anchor_s
        self._last_s = max(time_s, self._last_s + _LEAST_STEP_S)
        return self._last_s
