"""Video files, network streams and cameras, decoded by OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import cv2
import numpy as np

from seqdet.errors import InputError
from seqdet.types import Frame, VideoInfo
from seqdet.video.probe import ContainerInfo, PacketCount, count_packets, hide_password, is_url
from seqdet.video.report import Gap, ReadReport, VideoReader

_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_STREAM_TIMEOUT_MS = 5000
# Reads that may fail beyond the last packet before a file counts as ended (a decoder holds frames back).
_READS_PAST_END = 16
_FALLBACK_FPS = 30.0


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
            raise InputError(f"{self._shown}: {width}x{height} is more than {max_pixels} pixels a frame")
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
                is_live=not self._is_file and duration_s is None,
            )
        )

    def _open(self) -> cv2.VideoCapture:
        # Read by OpenCV when FFmpeg is first used: users see our one line instead of FFmpeg's chatter.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
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
            yield (cv2.rotate(rgb, _ROTATIONS[self._rotation]) if self._rotation else rgb), last_ms

    def _nothing_decoded(self) -> str:
        if self._container is not None and self._container.encrypted:
            return f"{self._shown}: the video is encrypted (DRM); seqdet cannot read it"
        if not self._is_file:
            return f"{self._shown}: connected, but no picture came within {_STREAM_TIMEOUT_MS / 1000:.0f} s"
        codec = self._container.codec if self._container else "unknown codec"
        if self._walk is not None and self._walk.packets == 0:
            return f"{self._shown}: the file declares {codec} video but holds no frame (only the header is there)"
        return f"{self._shown}: not one frame of the {codec} video could be decoded; the file is damaged"

    def _decode(self) -> Iterator[Frame]:
        started_s = time.monotonic()
        first, self._first = self._first, None
        decoded, time_s, backwards = 0, 0.0, 0
        picture = first
        try:
            while picture is not None:
                rgb, milliseconds = picture
                stamp_s = (
                    time.monotonic() - started_s if self._live_clock else self._time_s(milliseconds, decoded)
                )
                if decoded and stamp_s < time_s:
                    backwards += 1
                time_s = max(stamp_s, time_s) if decoded else stamp_s
                yield Frame(rgb, decoded, time_s)
                decoded += 1
                picture = next(self._pictures, None)
        finally:
            if backwards:
                self._warnings.append(
                    f"{self._shown}: {backwards} frames were stamped earlier than the one before"
                )
            ended = picture is None
            self.report = self._account(decoded, time_s, ended)

    @property
    def _live_clock(self) -> bool:
        return isinstance(self._source, int)

    def _time_s(self, milliseconds: float, index: int) -> float:
        if self._container is None:
            return milliseconds / 1000
        ticks = round(milliseconds / 1000 / self._container.time_base) + self._container.start_ticks
        return float(ticks * self._container.time_base)

    def _account(self, decoded: int, last_s: float, ended: bool) -> ReadReport:
        promised = self.info.frames_promised
        return ReadReport(decoded, promised, tuple(self._gaps), tuple(self._warnings))

    def close(self) -> None:
        """Release the decoder; safe to call twice."""
        self._capture.release()
