"""The XML of CVAT 1.1 as columns, read in one pass: a tree of a million elements would take gigabytes.

Only what is a box or has a bounding box becomes a row; the rest is counted. Entities are refused.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder

import numpy as np

from seqdet.data.formats.markup import feed_file, hardened_parser
from seqdet.data.formats.protocol import EXAMPLES, Problems
from seqdet.errors import InputError

OCCLUDED = "occluded box: kept as any other"
ROTATED = "rotated box: the upright box around it is taken"
ATTRIBUTE = "attribute of a shape: left out"
BOUNDED = {
    "polygon": "polygon: the box around it is taken",
    "ellipse": "ellipse: the box around it is taken",
    "mask": "mask: the box around it is taken",
}
LEFT_OUT = {tag: f"{tag}: no box, left out" for tag in ("polyline", "points", "cuboid", "skeleton", "tag")}
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1, "False": 0, "True": 1}
_LARGEST_ID = 2**53
_LARGEST_PLACE_PX = 1e9


@dataclass(frozen=True, slots=True)
class Image:
    """An ``<image>``; ``number`` is its id, None where it has none."""

    line: int
    name: str
    number: int | None
    size_wh: tuple[int, int] | None
    task_id: str
    subset: str


@dataclass(frozen=True, slots=True)
class Track:
    """A ``<track>``."""

    line: int
    track_id: int
    label: str
    task_id: str


@dataclass(frozen=True, slots=True)
class Shapes:
    """Shapes as columns of equal length.

    Attributes:
        owner: index of the image or track that holds it.
        line: where it begins in the file.
        frame: as the file counts; 0 in an image.
        outside, keyframe: bool; False and True in an image.
        label: index into ``CvatFile.labels``; -1 in a track, which has the label itself.
        boxes_xyxy_px: (M, 4) float64 edges from 0, before rotation.
        rotation_deg: clockwise, around the middle.
    """

    owner: np.ndarray
    line: np.ndarray
    frame: np.ndarray
    outside: np.ndarray
    keyframe: np.ndarray
    label: np.ndarray
    boxes_xyxy_px: np.ndarray
    rotation_deg: np.ndarray

    def take(self, index: np.ndarray) -> Shapes:
        """The shapes of these indices, or of a mask."""
        return Shapes(
            self.owner[index], self.line[index], self.frame[index], self.outside[index],
            self.keyframe[index], self.label[index], self.boxes_xyxy_px[index], self.rotation_deg[index],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CvatFile:
    """All that one file holds; ``labels`` are those that shapes in images name."""

    path: Path
    meta: Element | None
    images: list[Image]
    tracks: list[Track]
    labels: list[str]
    in_images: Shapes
    in_tracks: Shapes


class _Fault(Exception):
    """What is wrong with one attribute of an element."""


class _Columns:
    """Grows by a row at a time, at 88 bytes each."""

    def __init__(self) -> None:
        self.whole = array("q")
        self.real = array("d")

    def shapes(self) -> Shapes:
        whole = np.frombuffer(self.whole, np.int64).reshape(-1, 6) if self.whole else np.zeros((0, 6), int)
        real = np.frombuffer(self.real, np.float64).reshape(-1, 5) if self.real else np.zeros((0, 5))
        owner, line, frame, outside, keyframe, label = whole.T
        return Shapes(owner, line, frame, outside > 0, keyframe > 0, label, real[:, :4], real[:, 4])


class _Target:
    """Receives the elements of a file, one after the other."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.parser = hardened_parser(self)
        self.path, self.problems = path, problems
        self.depth = 0
        self.builder: TreeBuilder | None = None
        self.meta: Element | None = None
        self.images: list[Image] = []
        self.tracks: list[Track] = []
        self.labels: dict[str, int] = {}
        self.in_images, self.in_tracks = _Columns(), _Columns()
        self.within = ""  # "image", "track", or "" where shapes are not read
        self.counts: dict[str, list[int]] = {}  # reason: how many, and the first lines

    def opened(self, tag: str, names_and_values: list[str]) -> None:
        attributes = dict(zip(names_and_values[::2], names_and_values[1::2], strict=True))
        line = self.parser.parser.CurrentLineNumber
        self.depth += 1
        if self.builder is not None:
            self.builder.start(tag, attributes)
        elif self.depth == 3 and self.within:
            self._shape(tag, attributes, line)
        elif self.depth == 2:
            self.within = ""
            if tag == "meta" and self.meta is None:
                self.builder = TreeBuilder()
                self.builder.start(tag, attributes)
            elif tag in ("image", "track"):
                self._owner(tag, attributes, line)
        elif self.depth == 4 and tag == "attribute" and self.within:
            self._count(ATTRIBUTE, line)
        elif self.depth == 1 and tag != "annotations":
            raise InputError(f"{self.path}:{line}: <annotations> is expected, got <{tag[:80]}>")

    def closed(self, tag: str) -> None:
        self.depth -= 1
        if self.builder is not None:
            self.builder.end(tag)
            if self.depth == 1:
                self.meta, self.builder = self.builder.close(), None

    def data(self, text: str) -> None:
        if self.builder is not None:
            self.builder.data(text)

    def _count(self, reason: str, line: int) -> None:
        seen = self.counts.setdefault(reason, [0])
        seen[0] += 1
        if len(seen) <= EXAMPLES:
            seen.append(line)

    def _owner(self, tag: str, attributes: dict[str, str], line: int) -> None:
        task_id, label = attributes.get("task_id", "").strip(), attributes.get("label")
        try:
            if tag == "track":
                number = _whole(attributes, "id")
                if label is None:
                    raise _Fault("label: missing")
                self.tracks.append(Track(line, number, label.strip(), task_id))
            else:
                name = attributes.get("name", "")
                if not name:
                    raise _Fault("name: missing")
                known = "id" in attributes
                sized = "width" in attributes and "height" in attributes
                size = (_whole(attributes, "width"), _whole(attributes, "height")) if sized else None
                image_id = _whole(attributes, "id") if known else None
                subset = attributes.get("subset", "").strip()
                self.images.append(Image(line, name, image_id, size, task_id, subset))
        except _Fault as fault:
            self.problems.fail(f"{self.path}:{line}", f"{tag}: {fault}")
        else:
            self.within = tag

    def _shape(self, tag: str, attributes: dict[str, str], line: int) -> None:
        try:
            outside = _flag(attributes, "outside", 0)
            if tag in LEFT_OUT:
                if not outside:
                    self._count(LEFT_OUT[tag], line)
                return
            geometry = _GEOMETRY.get(tag)
            if geometry is None:
                return
            places = geometry(attributes)
            if self.within == "track":
                frame, keyframe = _whole(attributes, "frame"), _flag(attributes, "keyframe", 1)
                row = (len(self.tracks) - 1, line, frame, outside, keyframe, -1)
                self.in_tracks.whole.extend(row)
                self.in_tracks.real.extend(places)
            else:
                label = attributes.get("label")
                if label is None:
                    raise _Fault("label: missing")
                index = self.labels.setdefault(label.strip(), len(self.labels))
                self.in_images.whole.extend((len(self.images) - 1, line, 0, 0, 1, index))
                self.in_images.real.extend(places)
            if not outside:
                if tag in BOUNDED:
                    self._count(BOUNDED[tag], line)
                if places[4]:
                    self._count(ROTATED, line)
                if _flag(attributes, "occluded", 0):
                    self._count(OCCLUDED, line)
        except _Fault as fault:
            self.problems.fail(f"{self.path}:{line}", f"{tag}: {fault}")


def parse(path: Path, problems: Problems) -> CvatFile:
    """Read a file; malformed elements are noted in ``problems`` and left out.

    Raises:
        InputError: it cannot be read, is not XML or not of CVAT, or it declares entities.
    """
    target = _Target(path, problems)
    feed_file(target.parser, path)
    for reason, (count, *lines) in target.counts.items():
        problems.note(reason, [f"{path}:{line}" for line in lines], count)
    return CvatFile(
        path, target.meta, target.images, target.tracks, list(target.labels),
        target.in_images.shapes(), target.in_tracks.shapes(),
    )  # fmt: skip


def _whole(attributes: dict[str, str], key: str) -> int:
    try:
        number = int(attributes[key])
    except KeyError:
        raise _Fault(f"{key}: missing") from None
    except ValueError:
        number = -1
    if not 0 <= number < _LARGEST_ID:
        raise _Fault(f"{key}: a whole number, 0 or more, is expected, got {attributes[key][:40]!r}")
    return number


def _flag(attributes: dict[str, str], key: str, default: int) -> int:
    text = attributes.get(key)
    if text is None:
        return default
    flag = _FLAGS.get(text)
    if flag is None:
        raise _Fault(f"{key}: 0 or 1 is expected, got {text[:40]!r}")
    return flag


def _place(text: str | None, key: str) -> float:
    try:
        number = float(text)  # type: ignore[arg-type]
    except TypeError:
        raise _Fault(f"{key}: missing") from None
    except ValueError:
        raise _Fault(f"{key}: a number is expected, got {str(text)[:40]!r}") from None
    if not abs(number) < _LARGEST_PLACE_PX:  # nor is one that is not a number
        raise _Fault(f"{key}: {str(text)[:40]} is no place in an image")
    return number


def _rotation(attributes: dict[str, str]) -> float:
    return _place(attributes["rotation"], "rotation") % 360.0 if "rotation" in attributes else 0.0


def _box(attributes: dict[str, str]) -> tuple[float, ...]:
    get = attributes.get
    return (
        _place(get("xtl"), "xtl"), _place(get("ytl"), "ytl"), _place(get("xbr"), "xbr"),
        _place(get("ybr"), "ybr"), _rotation(attributes),
    )  # fmt: skip


def _polygon(attributes: dict[str, str]) -> tuple[float, ...]:
    """The box around ``x,y;x,y;...``."""
    pairs = [pair.split(",") for pair in attributes.get("points", "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise _Fault(f"points: x,y;x,y;... is expected, got {attributes.get('points', '')[:40]!r}")
    xs = [_place(x, "points") for x, _ in pairs]
    ys = [_place(y, "points") for _, y in pairs]
    return min(xs), min(ys), max(xs), max(ys), 0.0


def _ellipse(attributes: dict[str, str]) -> tuple[float, ...]:
    """The upright box around an ellipse, which may be rotated itself."""
    x, y, rx, ry = (_place(attributes.get(key), key) for key in ("cx", "cy", "rx", "ry"))
    angle = math.radians(_rotation(attributes))
    half_width = math.hypot(rx * math.cos(angle), ry * math.sin(angle))
    half_height = math.hypot(rx * math.sin(angle), ry * math.cos(angle))
    return x - half_width, y - half_height, x + half_width, y + half_height, 0.0


def _mask(attributes: dict[str, str]) -> tuple[float, ...]:
    left, top, width, height = (
        _place(attributes.get(key), key) for key in ("left", "top", "width", "height")
    )
    return left, top, left + width, top + height, 0.0


_GEOMETRY: dict[str, Callable[[dict[str, str]], tuple[float, ...]]] = {
    "box": _box,
    "polygon": _polygon,
    "ellipse": _ellipse,
    "mask": _mask,
}
