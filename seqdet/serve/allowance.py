"""How often something may be done: so many times at once, and so many a second in the long run."""

from __future__ import annotations

import time


class Allowance:
    """A bucket of tokens.

    Args:
        per_s: tokens that come back each second.
        burst: tokens that there are at most.
    """

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left, self._at_s = burst, time.monotonic()

    def take(self) -> bool:
        """Take one; False when none is left."""
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
