"""A camera at this machine, by its index; OpenCV reads it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from seqdet.video.capture import quiet_opencv
from seqdet.video.pictures import Picture, SourceLost, SourceRefused


class Capture(Protocol):
    """What is used of ``cv2.VideoCapture``."""

    def isOpened(self) -> bool:
        """Whether there is such a camera."""

    def read(self) -> tuple[bool, np.ndarray | None]:
        """The next picture, BGR; blocks."""

    def release(self) -> None:
        """Let go of the camera."""


class Webcam:
    """A camera at this machine.

    Args:
        index: from 0.
        left: not used; OpenCV's read cannot be woken.
        open_capture: what opens it.

    Raises:
        SourceRefused: no such camera. It may return: plugged in again, it has the same index.
    """

    def __init__(
        self, index: int, left: threading.Event, open_capture: Callable[[int], Capture] = cv2.VideoCapture
    ) -> None:
        quiet_opencv()
        self._name = f"camera {index}"
        self._capture = open_capture(index)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceRefused(
                f"{self._name}: no such camera, or another program holds it; "
                "plug it in, or give another index, a file or an address",
                may_return=True,
            )

    def read(self) -> Picture:
        """The next picture; it has no time of its own."""
        ok, bgr = self._capture.read()
        if not ok or bgr is None:
            raise SourceLost(f"{self._name} gives no picture any more; is it unplugged?")
        return Picture(lambda: cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()
