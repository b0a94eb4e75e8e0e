"""From a source to frames: video files, folders and patterns of pictures, streams, cameras.

OpenCV decodes. PyAV reads the header (`probe`), for what OpenCV keeps to itself: the offset of the first
presentation time, the time base that turns OpenCV's milliseconds back into exact ticks, and what the
container promised. So every frame of a container carries its own time, exact to a tick, also at a variable
frame rate; no time is computed from a frame rate unless the source has none at all (pictures, raw streams).

What the reader promises:
    * frames are RGB uint8, upright: the rotation of the container, or EXIF's for pictures, is applied once;
      a rotation that is no multiple of 90 degrees is ignored with a warning.
    * pixels are the stored ones: a sample aspect ratio other than 1 is not stretched away, so that boxes are
      in pixels that exist; ``info.pixel_aspect`` tells it to the writer, whose video is shown as wide. Alpha
      is dropped. 10 and 12 bits become 8.
    * a frame that fails to decode does not end the source: the reader goes on and logs the gap.
    * the declared number of frames is never a loop bound. What was decoded is compared with what was declared
      and with what a walk through the file's packets finds; ``report.short`` says when it is less.
"""

from __future__ import annotations

import glob
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from seqdet.defaults import MAX_PIXELS
from seqdet.errors import InputError, UsageError
from seqdet.types import VideoInfo
from seqdet.video.capture import CaptureReader
from seqdet.video.folder import ImageReader, is_image_name, list_images, natural_key
from seqdet.video.probe import ContainerInfo, hide_password, is_url, probe_container, too_many_pixels
from seqdet.video.report import Gap, ReadReport, VideoReader

__all__ = ["MAX_PIXELS", "Gap", "ReadReport", "VideoReader", "expand_sources", "open_video", "read_info"]

DEFAULT_IMAGE_FPS = 30.0


def open_video(
    source: str | Path | int, *, max_pixels: int = MAX_PIXELS, image_fps: float = DEFAULT_IMAGE_FPS
) -> VideoReader:
    """Open a source and decode its first frame, so that what cannot be read fails here.

    Args:
        source: a video file; a folder of frames or a pattern of picture names (one sequence, in natural
            order); one picture; an http, rtsp or other stream URL; a camera index (0, or "0" where no such
            file is).
        max_pixels: pictures with more pixels are refused before they are decoded.
        image_fps: frames per second of pictures, which have no times of their own.

    Returns:
        A context manager and iterable of frames; its ``info`` says what the source declares and, after the
        iteration, its ``report`` what it gave.

    Raises:
        InputError: missing, empty, not a video, without pictures, encrypted, too large, or not one frame of
            it can be decoded.
        UsageError: ``image_fps`` is not a positive number.
    """
    if not 0 < image_fps < 1e6:
        raise UsageError(f"frames per second of pictures must be a positive number, got {image_fps}")
    name = str(source)
    camera = camera_index(source)
    if camera is not None:
        return CaptureReader(camera, None, max_pixels)
    if is_url(name):
        over_rtp = name.lower().startswith(("rtsp", "rtp", "udp", "srt"))
        container = None if over_rtp else _checked_size(name, max_pixels)
        return CaptureReader(name, container, max_pixels)
    path = Path(name)
    if not _exists(path) and glob.has_magic(name):
        matches = sorted((Path(match) for match in glob.glob(name, recursive=True)), key=natural_key)
        images = [match for match in matches if is_image_name(match)]
        if images:
            return ImageReader(name, images, image_fps, max_pixels)
        if len(matches) != 1:
            found = f"{len(matches)} files, none a picture" if matches else "nothing"
            raise InputError(
                f"{name}: the pattern matches {found}; a pattern names the pictures of one sequence"
            )
        path = matches[0]
    if _exists(path) and path.is_dir():
        return ImageReader(name, list_images(path), image_fps, max_pixels)
    _require_readable_file(path)
    if is_image_name(path):
        return ImageReader(name, [path], image_fps, max_pixels)
    return CaptureReader(str(path), _checked_size(str(path), max_pixels), max_pixels)


def read_info(source: str | Path) -> VideoInfo:
    """What a source says of itself; its first frame is decoded, as by `open_video`.

    Raises:
        InputError: as `open_video`.
    """
    with open_video(source) as reader:
        return reader.info


def expand_sources(patterns: Iterable[str | Path]) -> list[str]:
    """The sources that names from a command line stand for, in order.

    A pattern of videos becomes one source a file; a pattern of pictures stays as it is, one sequence.

    Args:
        patterns: paths, URLs, camera indices or patterns with ``*``, ``?`` or ``[...]``.

    Returns:
        Sources for `open_video`.

    Raises:
        InputError: a pattern matches nothing.
    """
    sources: list[str] = []
    for pattern in map(str, patterns):
        if is_url(pattern) or _exists(Path(pattern)) or not glob.has_magic(pattern):
            sources.append(pattern)
            continue
        matches = sorted(glob.glob(pattern, recursive=True), key=natural_key)
        if not matches:
            raise InputError(f"{pattern}: the pattern matches nothing")
        videos = [match for match in matches if not is_image_name(match)]
        if len(videos) < len(matches):
            sources.append(pattern)
        else:
            sources.extend(videos)
    return sources


def camera_index(source: str | Path | int) -> int | None:
    if isinstance(source, int):
        return source
    device = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", str(source))
    if device is None or (str(source).isdigit() and _exists(Path(source))):
        return None
    return int(device.group(1))


def _checked_size(source: str, max_pixels: int) -> ContainerInfo:
    container = probe_container(source)
    width, height = container.size_wh
    if width * height > max_pixels:
        raise InputError(too_many_pixels(hide_password(source), width, height, max_pixels))
    return container


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a null
        return False


def _require_readable_file(path: Path) -> None:
    """Refuse what would block or never end before a decoder touches it."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            with path.open("rb"):
                pass
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a regular file (a pipe or device); give a file, a folder or a URL")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty")
