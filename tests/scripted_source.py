"""A live source that does what a test says, and waiting for what must happen."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import numpy as np

from seqdet.video.pictures import Picture

SOON_S = 20.0  # liveness on a busy machine, not speed


def until(condition: Callable[[], bool], timeout_s: float = SOON_S) -> float:
    """Wait for it; seconds that it took."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < timeout_s, "it never came true"
        time.sleep(0.002)
    return time.monotonic() - began_s


def picture(value: int, stamp_s: float | None = None, cut: bool = False) -> Picture:
    """A small picture of one level."""
    return showing(np.full((4, 6, 3), value, np.uint8), stamp_s, cut)


def showing(rgb: np.ndarray, stamp_s: float | None = None, cut: bool = False) -> Picture:
    return Picture(lambda: rgb, stamp_s, cut)


class Scripted:
    """A source that gives what the test puts into it: pictures, errors, None for the end."""

    def __init__(self) -> None:
        self.script: queue.Queue[Picture | Exception | None] = queue.Queue()
        self.opened = self.closed = 0
        self.refusal: Exception | None = None

    def __call__(self, left: threading.Event) -> Scripted:
        self.opened += 1
        if self.refusal is not None:
            raise self.refusal
        self._left = left
        return self

    def read(self) -> Picture | None:
        while not self._left.is_set():
            try:
                next_one = self.script.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(next_one, Exception):
                raise next_one
            return next_one
        return None

    def close(self) -> None:
        self.closed += 1
