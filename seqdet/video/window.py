"""OpenCV's window, where a display works."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType

import cv2
import numpy as np

from seqdet.errors import UsageError

_PROBE = (
    "import cv2, numpy; cv2.imshow('seqdet', numpy.zeros((8, 8, 3), numpy.uint8)); "
    "cv2.waitKey(1); cv2.destroyAllWindows()"
)
_PROBE_TIMEOUT_S = 30.0
_QUIT_KEYS = (27, ord("q"))
_NAME = "seqdet"


def require_display() -> None:
    """Try a window in a child process: where there is no display, Qt ends the whole process.

    Raises:
        UsageError: no window can be shown here.
    """
    try:
        ran = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
        works = ran.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    if not works:
        raise UsageError(
            "--view window: OpenCV can show no window here (no display, or OpenCV without a user interface); "
            "use --view browser, or --view none"
        )


class Window:
    """A window with one picture; a context manager. Used by the main thread only."""

    def __enter__(self) -> Window:
        cv2.namedWindow(_NAME, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyAllWindows()

    def show(self, rgb: np.ndarray, title: str) -> None:
        """Show a picture.

        Args:
            rgb: (H, W, 3) uint8.
            title: of the window.
        """
        cv2.setWindowTitle(_NAME, title)
        cv2.imshow(_NAME, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))

    def is_closed(self) -> bool:
        """Whether the user has closed it, or pressed q or Escape; keeps the window alive."""
        if cv2.waitKey(1) & 0xFF in _QUIT_KEYS:
            return True
        return bool(cv2.getWindowProperty(_NAME, cv2.WND_PROP_VISIBLE) < 1)
