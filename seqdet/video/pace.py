"""Pictures that lie ready are given out at their own times."""

from __future__ import annotations

import threading
import time

# So far behind (a slow disk, a sleeping machine), playing goes on from now instead of hurrying after.
_LATEST_S = 1.0


class Pace:
    """Waits until a picture is due.

    Args:
        left: ends the waiting.
    """

    def __init__(self, left: threading.Event) -> None:
        self._left = left
        self._offset_s: float | None = None  # from time.monotonic's clock to the times of the pictures

    def wait_until(self, stamp_s: float) -> None:
        """Return when the picture of this time is due; the first one is due at once."""
        now_s = time.monotonic()
        if self._offset_s is None or now_s + self._offset_s > stamp_s + _LATEST_S:
            self._offset_s = stamp_s - now_s
        self._left.wait(max(0.0, stamp_s - self._offset_s - now_s))
