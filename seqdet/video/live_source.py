"""Which live source a name stands for."""

from __future__ import annotations

import functools

from seqdet.errors import UsageError
from seqdet.video.pictures import Opener
from seqdet.video.playback import Playback
from seqdet.video.probe import hide_password, is_url
from seqdet.video.reader import camera_index
from seqdet.video.stream import NetworkStream
from seqdet.video.webcam import Webcam


def live_source(source: str, loop: bool = False) -> tuple[str, Opener]:
    """How to open a source as a live one.

    Args:
        source: a camera index, an address (rtsp, http, udp, ...), or a file or folder of frames, which is
            played at its own pace.
        loop: a file begins again at its end.

    Returns:
        The source as it may be shown (passwords hidden), and what opens it.

    Raises:
        UsageError: what is no file cannot be looped.
    """
    index = camera_index(source)
    if index is None and not is_url(source):
        return source, functools.partial(Playback, source, loop)
    if loop:
        raise UsageError(f"--loop repeats a file; {hide_password(source)} is none")
    if index is not None:
        return f"camera {index}", functools.partial(Webcam, index)
    return hide_password(source), functools.partial(NetworkStream, source)
