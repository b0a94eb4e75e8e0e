"""What every source has in common: an iterable of frames that keeps account of what it gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from seqdet.types import Frame, VideoInfo


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where the source could not be decoded.

    Attributes:
        after_frame: index of the last frame before the gap, -1 at the start.
        time_s: time of that frame in seconds.
        reads: failed reads in a row.
    """

    after_frame: int
    time_s: float
    reads: int


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What one pass over a source gave, compared with what it promised.

    Attributes:
        decoded: frames given.
        promised: frames that the source should hold, or None when nothing says.
        gaps: where frames could not be decoded.
        warnings: sentences for the user.
        short: True when the source gave less than it promised; the caller ends with exit code 4.
        message: one line that says what is missing and where, or "".
    """

    decoded: int
    promised: int | None = None
    gaps: tuple[Gap, ...] = ()
    warnings: tuple[str, ...] = ()
    short: bool = False
    message: str = ""


class VideoReader:
    """An open source: a context manager and an iterable (one pass) of `seqdet.types.Frame`.

    Attributes:
        info: what the source says of itself.
        report: what was decoded against what was promised; whole once the iteration has ended.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.report = ReadReport(0, info.frames_promised)
        self._frames: Iterator[Frame] | None = None

    def _decode(self) -> Iterator[Frame]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Frame]:
        if self._frames is None:
            self._frames = self._decode()
        return self._frames

    def close(self) -> None:
        """Release the source; safe to call twice."""

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
