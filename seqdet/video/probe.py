"""What a container says of itself, read with PyAV and without decoding a picture.

OpenCV decodes (see `reader`); PyAV answers what OpenCV cannot: the start offset and the time base of the
presentation times, the declared frames and duration, audio without pictures, cover art, encryption, a codec
that is not there. ``count_packets`` walks through a file once more and says what it really holds; this costs
about one hundredth of decoding it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import av.stream
import av.video.stream

from seqdet.errors import InputError
from seqdet.video.sizes import Sizes
from seqdet.video.structure import missing_bytes

# A text file with the right name is "video" for FFmpeg's tty demuxer; a concat script opens other files.
REFUSED_FORMATS = frozenset({"tty", "concat"})
# In other formats FFmpeg estimates the duration from the bit rate or from what it finds at the end.
_FORMATS_THAT_DECLARE_DURATION = frozenset({"mov", "matroska", "avi", "flv", "asf"})
# One packet is one frame, but for these: they hold frames that are never shown.
CODECS_WITH_HIDDEN_PACKETS = frozenset({"vp8"})
# Cameras are often asked as http://camera/video.cgi?user=admin&pwd=...
_SECRETS = "user|usr|login|account|pass|pwd|psw|token|key|secret|auth|sign"
# Until version 19, PyAV fails over a title that is no UTF-8, unless it is told to replace the letters.
_ANY_LETTERS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)
URL_OPEN_TIMEOUT_S = 5.0
URL_READ_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """What the header of a container declares.

    Attributes:
        codec: short codec name such as "h264".
        size_wh: stored width and height in pixels, before rotation.
        pixel_aspect: width by height of a stored pixel; 1 where it is not told, or absurd.
        time_base: seconds a tick.
        start_ticks: presentation time of the first picture, in ticks.
        fps: average frames per second, or None.
        frames_promised: frames that the header declares, or None.
        duration_s: declared duration of the pictures (of the whole file where that is all there is), or None.
        file_duration_s: duration of the whole file where its header declares one, or None.
    """

    codec: str
    size_wh: tuple[int, int]
    pixel_aspect: Fraction
    time_base: Fraction
    start_ticks: int
    fps: float | None
    frames_promised: int | None
    duration_s: float | None
    file_duration_s: float | None


@dataclass(frozen=True, slots=True)
class PacketCount:
    """What a walk through all packets of a file found.

    Attributes:
        packets: packets of the picture stream that are to be shown.
        discarded: further ones that an edit list hides.
        damaged: how many the demuxer marks as corrupt.
        end_s: the latest end of any packet of any stream, in seconds of the file's clock.
        missing_bytes: how much shorter the file is than its structure says.
        broke: FFmpeg's words when the walk itself failed, else "".
        resized: the first change of size as ``Sizes.change`` has it, or None.
    """

    packets: int
    discarded: int
    damaged: int
    end_s: float
    missing_bytes: int
    broke: str
    resized: tuple[tuple[int, int], tuple[int, int], int] | None


def hide_password(source: str) -> str:
    """The source fit to be shown: user and password of a URL become ``***``, also those in its query.

    Up to the last @ of the whole, because people write passwords that hold an @ or a slash as they are.
    """
    shown = re.sub(r"(?<=://)\S+@", "***@", source)
    return re.sub(rf"(?i)(?<=[?&])([^=&]*(?:{_SECRETS})[^=&]*=)[^&]*", r"\1***", shown)


def too_many_pixels(shown: str, width: int, height: int, max_pixels: int) -> str:
    """What is said of a source whose pictures are larger than allowed."""
    return (
        f"{shown}: {width}x{height} is more than {max_pixels} pixels a frame; "
        "raise max_pixels (detect: --max-pixels) if you trust the file"
    )


def is_url(source: str) -> bool:
    """Whether the source is a network address that FFmpeg opens (and not a path)."""
    return re.match(r"(?i)(https?|rtsps?|rtmps?|rtp|udp|tcp|srt|hls)://", source) is not None


def open_container(
    source: str, options: dict[str, str] | None = None, timeout_s: tuple[float, float] | None = None
) -> av.container.InputContainer:
    """Open a file or URL; PyAV's errors go on as they are.

    Args:
        source: a path or an address.
        options: of FFmpeg.
        timeout_s: seconds until it is open, and of a read; None: those of addresses, none for files.
    """
    if timeout_s is None and is_url(source):
        timeout_s = (URL_OPEN_TIMEOUT_S, URL_READ_TIMEOUT_S)
    return av.open(source, options=options, timeout=timeout_s, **_ANY_LETTERS)


def _is_cover(stream: av.stream.Stream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def picture_stream(container: av.container.InputContainer, shown: str) -> av.video.stream.VideoStream:
    """The first stream of moving pictures, which is the one that OpenCV takes.

    Raises:
        InputError: there is none.
    """
    for stream in container.streams.video:
        if not _is_cover(stream):
            return stream
    if container.streams.video:
        raise InputError(f"{shown}: no moving pictures, only sound with a cover picture")
    held = "sound only, no video" if container.streams.audio else "no video stream"
    raise InputError(f"{shown}: {held}; give a file with moving pictures")


def _is_encrypted(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> bool:
    """Whether the first picture is under common encryption; a header alone may say so of clear samples."""
    try:
        for packet in container.demux(stream):
            return packet.has_sidedata("encryption_info")
    except (av.error.FFmpegError, OSError):
        pass
    return False


def probe_container(source: str) -> ContainerInfo:
    """Read the header of a video file or URL.

    Args:
        source: a path or URL.

    Returns:
        What the header declares.

    Raises:
        InputError: it is no media file, holds no moving pictures, or its codec is not known.
    """
    shown = hide_password(source)
    try:
        container = open_container(source)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{shown}: not a video that can be read ({_reason(error)})") from error
    with container:
        if container.format.name in REFUSED_FORMATS:
            raise InputError(f"{shown}: this is text, not a video")
        stream = picture_stream(container, shown)
        context = stream.codec_context
        if context is None:
            raise InputError(f"{shown}: no decoder for its video codec; convert it to H.264 and try again")
        if not is_url(source) and _is_encrypted(container, stream):
            raise InputError(f"{shown}: the video is encrypted (DRM); seqdet cannot read it")
        rate = stream.average_rate or stream.guessed_rate
        file_duration_s = container.duration / av.time_base if container.duration else None
        duration_s = file_duration_s
        if stream.duration is not None and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        declares = container.format.name.split(",")[0] in _FORMATS_THAT_DECLARE_DURATION
        return ContainerInfo(
            codec=context.codec.canonical_name,
            size_wh=(context.width, context.height),
            pixel_aspect=_sane_aspect(stream.sample_aspect_ratio),
            time_base=stream.time_base or Fraction(1, 1000),
            start_ticks=stream.start_time or 0,
            fps=float(rate) if rate else None,
            frames_promised=stream.frames if stream.frames > 0 else None,
            duration_s=duration_s if duration_s is not None and duration_s > 0 else None,
            file_duration_s=file_duration_s if declares else None,
        )


def _sane_aspect(declared: Fraction | None) -> Fraction:
    square = Fraction(1)
    return declared if declared is not None and square / 10 <= declared <= 10 else square


def _reason(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error)
    return str(words).lower()


def count_packets(path: str | Path) -> PacketCount:
    """Walk through all packets of a file; of the pictures, keyframes alone are decoded, for their size.

    Args:
        path: a local video file.

    Returns:
        How many pictures the file should give, how many are damaged, where it ends, whether they change.
    """
    packets = discarded = damaged = missing = 0
    end_s, broke, sizes = 0.0, "", Sizes(None)
    try:
        missing = missing_bytes(path)
        with open_container(str(path)) as container:
            picture = picture_stream(container, str(path))
            sizes = Sizes(picture.codec_context)
            for packet in container.demux():
                if packet.size == 0:
                    continue
                if packet.stream_index == picture.index:
                    packets += not packet.is_discard
                    discarded += packet.is_discard
                    damaged += packet.is_corrupt
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None and packet.time_base is not None:
                    end_s = max(end_s, float((stamp + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index == picture.index:
                    sizes.look(packet, packets - 1, end_s)
    except (av.error.FFmpegError, OSError) as error:
        broke = _reason(error)
    return PacketCount(packets, discarded, damaged, end_s, missing, broke, sizes.change)
