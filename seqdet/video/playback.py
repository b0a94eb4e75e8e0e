"""A file as if it were a camera: its pictures come at their own times, once or again and again."""

from __future__ import annotations

import threading

from seqdet.errors import InputError
from seqdet.types import Frame
from seqdet.video.pace import Pace
from seqdet.video.pictures import Picture, SourceRefused
from seqdet.video.reader import VideoReader, open_video

# What the last frame of a lap lasts when the file does not say.
_LAST_FRAME_S = 1 / 25


class Playback:
    """A video file or folder of frames at its own pace.

    Args:
        source: as for ``open_video``.
        loop: begin again at the end; the first picture of a lap is marked as a cut.
        left: ends the waiting.

    Raises:
        SourceRefused: it cannot be read.
    """

    def __init__(self, source: str, loop: bool, left: threading.Event) -> None:
        self._source, self._loop, self._pace = source, loop, Pace(left)
        self._reader = self._open()
        self._frames = iter(self._reader)
        self._lap_s = 0.0  # what is added to the file's own times
        self._last_s: float | None = None
        self._step_s = _LAST_FRAME_S

    def _open(self) -> VideoReader:
        try:
            return open_video(self._source)
        except InputError as error:
            raise SourceRefused(str(error)) from error

    def read(self) -> Picture | None:
        """The next picture when it is due; None at the end of a file that is played once."""
        frame, cut = next(self._frames, None), False
        if frame is None and self._loop and self._last_s is not None:
            frame, cut = self._again(), True
        if frame is None:
            return None
        stamp_s = frame.time_s + self._lap_s
        if self._last_s is not None and stamp_s > self._last_s:
            self._step_s = stamp_s - self._last_s
        self._last_s = stamp_s
        self._pace.wait_until(stamp_s)
        rgb = frame.rgb
        return Picture(lambda: rgb, stamp_s, cut)

    def _again(self) -> Frame | None:
        self._reader.close()
        self._reader = self._open()
        self._frames = iter(self._reader)
        first = next(self._frames, None)
        if first is not None and self._last_s is not None:
            self._lap_s = self._last_s + self._step_s - first.time_s
        return first

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
