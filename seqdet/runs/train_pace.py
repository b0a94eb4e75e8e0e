"""How fast a training reads and how fast it learns: frames a second, since the last line of the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

from seqdet.types import ClipBatch

Plans = TypeVar("Plans")


class Pace:
    """Adds up frames and seconds. The loader may work in a thread of its own, beside the steps."""

    def __init__(self) -> None:
        self._read_frames = self._learned_frames = 0
        self._read_s = self._learned_s = 0.0

    def reading(self, source: Iterator[tuple[Plans, ClipBatch]]) -> Iterator[tuple[Plans, ClipBatch]]:
        """The same batches; how long each took to make is counted."""
        while True:
            before_s = time.monotonic()
            item = next(source, None)
            if item is None:
                return
            self._read_s += time.monotonic() - before_s
            self._read_frames += frames_of(item[1])
            yield item

    def learned(self, batch: ClipBatch, seconds: float) -> None:
        """Count one step."""
        self._learned_frames += frames_of(batch)
        self._learned_s += seconds

    def since_last(self) -> dict[str, float | None]:
        """Frames a second of loader and step, None where there was nothing; counting begins anew."""
        found = {
            "loader_frames_per_s": _rate(self._read_frames, self._read_s),
            "step_frames_per_s": _rate(self._learned_frames, self._learned_s),
        }
        self._read_frames = self._learned_frames = 0
        self._read_s = self._learned_s = 0.0
        return found


def frames_of(batch: ClipBatch) -> int:
    """B times T."""
    return int(batch.frames.shape[0] * batch.frames.shape[1])


def _rate(frames: int, seconds: float) -> float | None:
    return round(frames / seconds, 1) if frames and seconds > 0 else None
