"""A network stream, picture by picture: RTSP, HTTP (motion JPEG, MPEG-TS), UDP; PyAV reads it.

OpenCV reads streams by the same FFmpeg, but keeps to itself why one does not open, and stretches pictures
whose size changes to the size of the first (docs/decisions/012-live-streams.md).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator, Iterator
from urllib.parse import urlsplit

import av
import av.container
import av.error
import av.packet
import av.video.stream
import numpy as np

from seqdet.defaults import MAX_PIXELS
from seqdet.video.pace import Pace
from seqdet.video.pictures import Picture, SourceLost, SourceRefused
from seqdet.video.probe import hide_password, open_container

# A source that says nothing for so long is lost. Shorter than two seconds together with what comes after it;
# longer than the pauses of a stream of one picture a second.
OPEN_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 1.4
_NO_STAMPS = frozenset({"mpjpeg", "image2pipe"})  # FFmpeg counts their pictures as 25 a second
_REFUSED = (
    (av.error.HTTPUnauthorizedError, "wrong user name or password (401)", False),
    (av.error.HTTPForbiddenError, "this user may not see it (403)", False),
    (av.error.HTTPNotFoundError, "no such stream at this address (404)", True),
    (av.error.HTTPBadRequestError, "the server does not understand the request (400)", True),
    (av.error.HTTPOtherClientError, "the server refuses the request (4xx)", True),
    (av.error.ProtocolNotFoundError, "no such protocol; give rtsp://, http:// or udp://", False),
)


class NetworkStream:
    """An open stream.

    Args:
        url: its address, with user and password where it needs them.
        left: ends the waiting of what is played at its own pace.

    Raises:
        SourceRefused: wrong login, no such stream, or no video.
        SourceLost: no answer, or the connection was refused.
    """

    def __init__(self, url: str, left: threading.Event) -> None:
        self._shown = hide_password(url)
        self._came = False
        began_s = time.monotonic()
        self._container = _open(url, self._shown)
        streams = self._container.streams.video
        if not streams:
            self._container.close()
            raise SourceRefused(f"{self._shown}: no video in this stream", may_return=True)
        if not streams[0].width and time.monotonic() - began_s >= READ_TIMEOUT_S:
            self._container.close()
            raise self._silent()
        streams[0].thread_type = "SLICE"  # threads by frames would hold pictures back
        self._has_stamps = self._container.format.name not in _NO_STAMPS
        # A file on a web server lies ready; a stream comes by itself.
        self._pace = Pace(left) if self._container.duration else None
        self._pictures = self._decode(streams[0])

    def read(self) -> Picture | None:
        """The next picture; None at the end of a file."""
        picture = next(self._pictures, None)
        if picture is None and self._pace is None:
            raise SourceLost(f"{self._shown}: the connection has ended")
        if picture is not None and self._pace is not None and picture.stamp_s is not None:
            self._pace.wait_until(picture.stamp_s)
        return picture

    def close(self) -> None:
        """End the connection."""
        self._pictures.close()
        self._container.close()

    def _decode(self, stream: av.video.stream.VideoStream) -> Generator[Picture, None, None]:
        for packet in self._packets(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # damaged on its way; the next ones may be whole
                continue
            for frame in frames:
                if not isinstance(frame, av.VideoFrame):
                    continue
                if frame.width * frame.height > MAX_PIXELS:
                    raise SourceRefused(
                        f"{self._shown}: {frame.width}x{frame.height} is more than {MAX_PIXELS} pixels"
                    )
                self._came = True
                stamp_s = frame.time if self._has_stamps else None
                yield Picture(_Conversion(frame), stamp_s)

    def _packets(self, stream: av.video.stream.VideoStream) -> Iterator[av.packet.Packet]:
        """Until the stream ends, or says nothing for too long."""
        packets = self._container.demux(stream)
        while True:
            began_s = time.monotonic()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise self._broken(error, time.monotonic() - began_s) from None
            # FFmpeg holds the last packet of a stalled stream back until it gives up on the next one.
            if packet is not None and time.monotonic() - began_s >= READ_TIMEOUT_S and packet.size:
                raise self._silent()
            if packet is None:
                return
            yield packet

    def _broken(self, error: Exception, waited_s: float) -> SourceLost:
        if isinstance(error, (av.error.ExitError, av.error.TimeoutError)) or waited_s >= READ_TIMEOUT_S:
            return self._silent()
        return SourceLost(f"{self._shown}: the connection broke off ({_words(error)})")

    def _silent(self) -> SourceLost:
        if self._came:
            return SourceLost(f"{self._shown}: no picture for {READ_TIMEOUT_S:g} s")
        return SourceLost(f"{self._shown}: connected, but no picture came")


class _Conversion:
    """A decoded frame as RGB, when it is asked for."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._frame = frame

    def __call__(self) -> np.ndarray:
        return self._frame.to_ndarray(format="rgb24")


def _open(url: str, shown: str) -> av.container.InputContainer:
    options = {
        "rtsp_flags": "prefer_tcp",
        "timeout": str(int(READ_TIMEOUT_S * 1e6)),  # of the socket, in microseconds
        "fpsprobesize": "0",  # else it collects twenty frames before it is open
    }
    if url.lower().startswith("udp"):
        options["overrun_nonfatal"] = "1"
    began_s = time.monotonic()
    try:
        return open_container(url, options, (OPEN_TIMEOUT_S, READ_TIMEOUT_S))
    except (av.error.FFmpegError, OSError) as error:
        # Never ``str(error)``: it holds the address with the password.
        for kind, words, may_return in _REFUSED:
            if isinstance(error, kind):
                raise SourceRefused(f"{shown}: {words}", may_return=may_return) from None
        waited_s = time.monotonic() - began_s
        if isinstance(error, (av.error.ExitError, av.error.TimeoutError)) or waited_s >= READ_TIMEOUT_S:
            raise SourceLost(f"{shown}: no answer within {OPEN_TIMEOUT_S:g} s") from None
        if isinstance(error, av.error.InvalidDataError):
            raise SourceRefused(f"{shown}: what comes from there is no video", may_return=True) from None
        if not _is_known(url):
            host = urlsplit(url).hostname
            raise SourceRefused(
                f"{shown}: no computer named {host} is known here; check the address", may_return=True
            ) from None
        raise SourceLost(f"{shown}: {_words(error)}") from None


def _is_known(url: str) -> bool:
    host = urlsplit(url).hostname
    if not host:
        return True
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()
