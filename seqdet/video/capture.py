"""Video files, network streams and cameras, decoded by OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np

from seqdet.errors import InputError
from seqdet.types import Frame, VideoInfo
from seqdet.video.probe import (
    CODECS_WITH_HIDDEN_PACKETS,
    ContainerInfo,
    PacketCount,
    count_packets,
    hide_password,
    is_url,
    too_many_pixels,
)
from seqdet.video.report import Gap, ReadReport, VideoReader

ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_STREAM_TIMEOUT_MS = 5000
# Reads that may fail beyond the last packet before a file counts as ended (a decoder holds frames back).
_READS_PAST_END = 16
_FALLBACK_FPS = 30.0
# A demuxer passes over damage and goes on behind it. In a video whose frames are otherwise evenly spaced that
# leaves a hole in its times, and nothing else.
_STEPS_OF_A_JUMP, _REGULAR_SHARE = 1.9, 0.75


def quiet_opencv() -> None:
    """Users see our one line instead of OpenCV's and FFmpeg's chatter."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read by OpenCV when FFmpeg is first used
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class CaptureReader(VideoReader):
    """A video file, stream or camera.

    Args:
        source: path, URL or camera index.
        container: what the header declares, or None for cameras and RTSP streams.
        max_pixels: larger pictures are refused.

    Raises:
        InputError: it cannot be opened, or no frame of it can be decoded.
    """

    def __init__(self, source: str | int, container: ContainerInfo | None, max_pixels: int) -> None:
        self._source, self._container = source, container
        self._shown = f"camera {source}" if isinstance(source, int) else hide_password(source)
        self._is_file = not isinstance(source, int) and not is_url(source)
        self._warnings: list[str] = []
        self._gaps: list[Gap] = []
        self._walk: PacketCount | None = None
        self._capture = self._open()
        self._rotation = self._read_rotation()
        self._pictures = self._read_pictures()
        self._first = next(self._pictures, None)
        if self._first is None:
            self.close()
            raise InputError(self._nothing_decoded())
        height, width = self._first[0].shape[:2]
        if height * width > max_pixels:
            self.close()
            raise InputError(too_many_pixels(self._shown, width, height, max_pixels))
        fps = container.fps if container else (self._capture.get(cv2.CAP_PROP_FPS) or None)
        duration_s = container.duration_s if container else None
        super().__init__(
            VideoInfo(
                source=self._shown,
                size_wh=(width, height),
                fps=fps,
                frames_promised=container.frames_promised if container else None,
                duration_s=duration_s,
                rotation_degrees=self._rotation,
                codec=container.codec if container else "",
                pixel_aspect=self._pixel_aspect(),
                is_live=not self._is_file and duration_s is None,
            )
        )

    def _open(self) -> cv2.VideoCapture:
        quiet_opencv()
        if isinstance(self._source, int):
            capture = cv2.VideoCapture(self._source)
        elif self._is_file:
            capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG)
        else:
            # No CAP_PROP_BUFFERSIZE here: given at open, it makes the opening fail.
            timeouts = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                _STREAM_TIMEOUT_MS,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                _STREAM_TIMEOUT_MS,
            ]
            capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, timeouts)
        if not capture.isOpened():
            capture.release()
            where = "no such camera" if isinstance(self._source, int) else "OpenCV cannot open it"
            if not isinstance(self._source, int) and not self._is_file:
                where = (
                    f"no answer within {_STREAM_TIMEOUT_MS / 1000:.0f} s, or refused; check address and login"
                )
            raise InputError(f"{self._shown}: {where}")
        capture.set(
            cv2.CAP_PROP_ORIENTATION_AUTO, 0
        )  # applied here, once, after absurd values are sorted out
        return capture

    def _refused(self) -> str:
        if isinstance(self._source, int):
            return "no such camera, or another program holds it"
        if self._is_file:
            codec = self._container.codec if self._container else "unknown"
            return f"OpenCV has no decoder for its {codec} video; convert it to H.264 and try again"
        return f"refused, or no answer within {_STREAM_TIMEOUT_MS / 1000:.0f} s; check address and login"

    def _read_rotation(self) -> int:
        declared = self._capture.get(cv2.CAP_PROP_ORIENTATION_META)
        if abs(declared) <= 360 and declared % 90 == 0:
            return int(declared) % 360
        self._warnings.append(f"{self._shown}: a rotation of {declared:g} degrees is ignored")
        return 0

    def _read_pictures(self) -> Iterator[tuple[np.ndarray, float]]:
        """Upright RGB pictures with OpenCV's time in milliseconds, over failed reads, to the true end."""
        decoded = failed = failed_in_row = 0
        last_ms = 0.0
        while True:
            picture = None
            if self._capture.grab():
                _, picture = self._capture.retrieve()
            if picture is None:
                if not self._is_file:
                    return
                failed, failed_in_row = failed + 1, failed_in_row + 1
                if self._walk is None:
                    self._walk = count_packets(str(self._source))
                if decoded + failed >= self._walk.packets + _READS_PAST_END:
                    return
                continue
            if failed_in_row:
                self._gaps.append(Gap(decoded - 1, last_ms / 1000, failed_in_row))
                failed_in_row = 0
            decoded += 1
            last_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            yield (cv2.rotate(rgb, ROTATIONS[self._rotation]) if self._rotation else rgb), last_ms

    def _pixel_aspect(self) -> Fraction:
        stored = self._container.pixel_aspect if self._container else Fraction(1)
        return 1 / stored if self._rotation in (90, 270) else stored

    def _nothing_decoded(self) -> str:
        if not self._is_file:
            return f"{self._shown}: connected, but no picture came within {_STREAM_TIMEOUT_MS / 1000:.0f} s"
        codec = self._container.codec if self._container else "unknown"
        if self._walk is not None and self._walk.packets == 0:
            return f"{self._shown}: a header that declares {codec} video, and no frame after it"
        return f"{self._shown}: not one frame of its {codec} video could be decoded; the file is damaged"

    def _decode(self) -> Iterator[Frame]:
        clock = _Clock(self._container, self.info.fps, is_camera=isinstance(self._source, int))
        decoded, time_s = 0, 0.0
        picture, self._first = self._first, None
        try:
            while picture is not None:
                rgb, milliseconds = picture
                time_s = clock.time_s(milliseconds)
                decoded += 1
                yield Frame(rgb, decoded - 1, time_s)
                picture = next(self._pictures, None)
        finally:
            self._warnings.extend(f"{self._shown}: {warning}" for warning in clock.warnings())
            self.report = self._account(decoded, time_s, ended=picture is None)

    def _account(self, decoded: int, last_s: float, *, ended: bool) -> ReadReport:
        """Compare what was decoded with what was promised, in frames and in seconds."""
        promised = self.info.frames_promised
        problems: list[str] = []
        if ended and self._walk is not None and self._container is not None:
            promised, problems = _shortfall(self._container, self._walk, decoded, self._gaps, last_s)
            if self._walk.discarded:
                hidden = f"{self._walk.discarded} frames are hidden by the file's own edit list"
                self._warnings.append(f"{self._shown}: {hidden}")
            if self._walk.resized:
                before, after, number = self._walk.resized
                self._warnings.append(
                    f"{self._shown}: the size changes from {before[0]}x{before[1]} to {after[0]}x{after[1]} "
                    f"at about frame {number}; all pictures and boxes are in the first size"
                )
        elif ended and self._container is not None and self._container.duration_s is not None:
            missing_s = self._container.duration_s - (last_s - self._start_s())
            if missing_s > 1 + 2 * self._frame_s():
                problems = [f"the connection ended {missing_s:.1f} s before the end that was declared"]
        message = f"{self._shown}: {'; '.join(problems)}" if problems else ""
        gaps, warnings = tuple(self._gaps), tuple(self._warnings)
        return ReadReport(decoded, promised, gaps, warnings, bool(problems), message)

    def _start_s(self) -> float:
        return float(self._container.start_ticks * self._container.time_base) if self._container else 0.0

    def _frame_s(self) -> float:
        return 1 / self.info.fps if self.info.fps else 1 / _FALLBACK_FPS

    def close(self) -> None:
        """Release the decoder; safe to call twice."""
        self._capture.release()


class _Clock:
    """Turns OpenCV's milliseconds since the first frame back into the exact times of the container."""

    def __init__(self, container: ContainerInfo | None, fps: float | None, *, is_camera: bool) -> None:
        self._container, self._is_camera = container, is_camera
        self._step_s = 1 / fps if fps else 1 / _FALLBACK_FPS
        self._started_s = time.monotonic()
        self._last_s: float | None = None
        self._unstamped = self._backwards = 0
        self._nominal_s = 1 / fps if fps and container else None
        self._steps = self._regular = self._lost = 0
        self._jump: tuple[float, float] | None = None

    def time_s(self, milliseconds: float) -> float:
        """Time of the next frame in seconds; never less than that of the one before."""
        stamp_s = self._stamp_s(milliseconds)
        if self._last_s is not None:
            # OpenCV says 0 for a frame without a time (the last of some MPEG files; all of a raw stream).
            if milliseconds == 0 and not self._is_camera:
                self._unstamped += 1
                stamp_s = self._last_s + self._step_s
            elif stamp_s < self._last_s:
                self._backwards += 1
                stamp_s = self._last_s
            elif stamp_s > self._last_s:
                self._step_s = stamp_s - self._last_s
                self._look_for_a_jump(self._last_s)
        self._last_s = stamp_s
        return stamp_s

    def _look_for_a_jump(self, last_s: float) -> None:
        if self._nominal_s is None:
            return
        steps = self._step_s / self._nominal_s
        self._steps += 1
        self._regular += abs(steps - 1) < 0.05
        if steps > _STEPS_OF_A_JUMP:
            self._lost += round(steps) - 1
            self._jump = self._jump or (last_s, self._step_s)

    def _stamp_s(self, milliseconds: float) -> float:
        if self._is_camera:
            return time.monotonic() - self._started_s
        if self._container is None:
            return milliseconds / 1000
        ticks = round(milliseconds / 1000 / self._container.time_base) + self._container.start_ticks
        return float(ticks * self._container.time_base)

    def warnings(self) -> list[str]:
        """What was wrong with the times, in sentences."""
        found = []
        if self._unstamped > 1:
            found.append(
                f"{self._unstamped} frames carry no time; they are spaced by {self._step_s * 1000:.3g} ms"
            )
        if self._backwards:
            found.append(
                f"{self._backwards} frames are stamped earlier than the one before; their time is held"
            )
        elif self._jump and self._regular >= _REGULAR_SHARE * self._steps:
            found.append(
                f"the times of a steady video jump, by {self._jump[1]:.2f} s after {self._jump[0]:.2f} s and "
                f"maybe elsewhere; about {self._lost} frames are missing or were never recorded"
            )
        return found


def _shortfall(
    container: ContainerInfo, walk: PacketCount, decoded: int, gaps: list[Gap], last_s: float
) -> tuple[int | None, list[str]]:
    """How many frames a file should have given, and sentences on what is missing."""
    problems = []
    hidden = container.codec in CODECS_WITH_HIDDEN_PACKETS
    header = (container.frames_promised or 0) - walk.discarded
    promised = max(header, decoded if hidden else walk.packets, decoded)
    if decoded < promised:
        where = f"the last frame is at {last_s:.2f} s"
        if gaps:
            where = f"frames are missing after frame {gaps[0].after_frame} at {gaps[0].time_s:.2f} s"
        problems.append(f"{decoded} of {promised} frames could be decoded; {where}")
    ends = f"the file is cut off: it ends at {walk.end_s:.2f} s"
    missing_s = (container.file_duration_s or 0) - walk.end_s
    if missing_s > 0.05 + 1.5 / (container.fps or _FALLBACK_FPS):
        problems.append(f"{ends} of the {container.file_duration_s:.2f} s declared")
    elif walk.missing_bytes:
        problems.append(f"{ends}, {walk.missing_bytes} bytes before the end that it declares")
    elif walk.broke and not problems:
        problems.append(f"reading broke off at {last_s:.2f} s ({walk.broke})")
    known = container.frames_promised is not None or not hidden
    return (promised if known else None), problems
