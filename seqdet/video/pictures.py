"""What every live source has in common: it is opened, gives pictures one by one, and may break off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seqdet.errors import InputError


class SourceLost(Exception):
    """The source broke off, or does not answer; trying again makes sense. ``str`` is fit to be shown."""


class SourceRefused(InputError):
    """The source says no, or there is no such source; trying again as it is makes no sense.

    Attributes:
        may_return: True where the answer may change once pictures came from there: a server that was started
            again does not know the stream until its publisher is back.
    """

    def __init__(self, message: str, *, may_return: bool = False) -> None:
        super().__init__(message)
        self.may_return = may_return


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, decoded but not yet converted: most pictures of a fast source are never looked at.

    Attributes:
        rgb: gives (H, W, 3) uint8; may be called in any thread.
        stamp_s: the source's own time in seconds, or None where it has none that can be trusted.
        cut: True when it does not follow from the picture before (a file that begins again).
    """

    rgb: Callable[[], np.ndarray]
    stamp_s: float | None = None
    cut: bool = False


class Pictures(Protocol):
    """An open live source. Used by one thread."""

    def read(self) -> Picture | None:
        """The next picture; blocks until it is there. None: the source has ended for good.

        Raises:
            SourceLost: it broke off, or no picture came for too long.
            SourceRefused: what comes cannot be used.
        """

    def close(self) -> None:
        """Let go of it; safe to call twice."""


# Opens a source. The event is set when nobody wants its pictures any more; who sleeps, sleeps on it.
Opener = Callable[[threading.Event], Pictures]
