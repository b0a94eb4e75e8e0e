"""Still pictures as a source: one file, a folder of frames, or a pattern of image names."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from seqdet.errors import InputError
from seqdet.types import Frame, VideoInfo
from seqdet.video.report import Gap, ReadReport, VideoReader

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"}
)

_PILLOW_LOCK = threading.Lock()  # Pillow's limit is one for the whole process


def is_image_name(path: str | Path) -> bool:
    """Whether the name ends like that of a still picture."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def natural_key(path: str | Path) -> list[tuple[int, int, str]]:
    """Sort key by which ``frame_10`` comes after ``frame_9``."""
    parts = re.split(r"([0-9]+)", Path(path).name)
    return [
        (0, int(part), part) if part.isdigit() and part.isascii() else (1, 0, part.lower()) for part in parts
    ]


def list_images(folder: Path) -> list[Path]:
    """The pictures in a folder, in natural order; hidden files are left out.

    Raises:
        InputError: there is none, or the folder cannot be listed.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    images = [entry for entry in entries if is_image_name(entry) and not entry.name.startswith(".")]
    if not images:
        raise InputError(
            f"{folder}: no pictures in this folder; for videos give files or a pattern like {folder}/*.mp4"
        )
    return sorted(images, key=natural_key)


def image_size(path: Path, max_pixels: int) -> tuple[int, int]:
    """Stored width and height of a picture from its header, without decoding it.

    Raises:
        InputError: not a picture, or more pixels than ``max_pixels``.
    """
    too_large = (
        f"{path}: the picture declares more than {max_pixels} pixels; "
        "raise max_pixels (detect: --max-pixels) if you trust it"
    )
    try:
        with _pillow_allows_all(), Image.open(path) as header:
            width, height = header.size
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: not a picture that can be read (empty, damaged or of another format)"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: the picture cannot be read ({error.strerror or error})") from error
    except (ValueError, SyntaxError) as error:  # Pillow raises these for a broken header
        raise InputError(f"{path}: the header of the picture is broken ({error})") from error
    if width * height > max_pixels:
        raise InputError(too_large)
    return width, height


@contextlib.contextmanager
def _pillow_allows_all() -> Iterator[None]:
    """Pillow refuses what declares more than 178 million pixels; here ``max_pixels`` decides."""
    with _PILLOW_LOCK:
        allowed, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = allowed


def read_image(path: Path, max_pixels: int) -> np.ndarray:
    """Decode one picture.

    EXIF orientation is applied, an alpha channel is dropped (the colour under it is kept), grey becomes three
    equal channels and 16 bits become 8.

    Args:
        path: the picture.
        max_pixels: a picture that declares more is refused before it is decoded.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: it cannot be read.
    """
    image_size(path, max_pixels)
    try:
        data = np.fromfile(path, np.uint8)  # not cv2.imread: it fails on some names on Windows
    except OSError as error:
        raise InputError(f"{path}: the picture cannot be read ({error.strerror or error})") from error
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:  # more than 2**30 pixels, or no memory for them
        raise InputError(f"{path}: OpenCV refuses to decode the picture ({error.err})") from error
    if bgr is None:
        raise InputError(f"{path}: the picture is damaged and cannot be decoded")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def first_readable(paths: Sequence[Path], max_pixels: int) -> np.ndarray:
    """The first of several pictures that can be decoded.

    Raises:
        InputError: none can.
    """
    first_error: InputError | None = None
    for path in paths:
        try:
            return read_image(path, max_pixels)
        except InputError as error:
            first_error = first_error or error
    raise first_error or InputError("no pictures given")


class ImageReader(VideoReader):
    """Pictures, one a frame; picture k is shown at k / fps seconds.

    Args:
        source: how the user named them.
        paths: the pictures, in order.
        fps: frames per second.
        max_pixels: a larger picture is refused before it is decoded.

    Raises:
        InputError: no picture can be read.
    """

    def __init__(self, source: str, paths: Sequence[Path], fps: float, max_pixels: int) -> None:
        self._paths, self._fps, self._max_pixels = list(paths), fps, max_pixels
        first = first_readable(self._paths, max_pixels)
        suffix = self._paths[0].suffix.lower().lstrip(".")
        size_wh = (first.shape[1], first.shape[0])
        count = len(self._paths)
        super().__init__(VideoInfo(source, size_wh, fps, count, count / fps, codec=suffix))

    def _decode(self) -> Iterator[Frame]:
        decoded = 0
        gaps: list[Gap] = []
        problems: list[str] = []
        sizes: set[tuple[int, ...]] = set()
        try:
            for position, path in enumerate(self._paths):
                try:
                    rgb = read_image(path, self._max_pixels)
                except InputError as error:
                    gaps.append(Gap(decoded - 1, position / self._fps, 1))
                    problems.append(str(error))
                    continue
                sizes.add(rgb.shape)
                decoded += 1
                yield Frame(rgb, decoded - 1, position / self._fps)
        finally:
            if len(sizes) > 1:
                problems.append(f"{self.info.source}: the pictures have {len(sizes)} different sizes")
            count = len(self._paths)
            lost = f"{self.info.source}: {len(gaps)} of {count} pictures could not be read" if gaps else ""
            self.report = ReadReport(decoded, count, tuple(gaps), tuple(problems), bool(gaps), lost)
