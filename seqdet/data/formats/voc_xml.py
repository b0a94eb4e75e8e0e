"""One XML file of Pascal VOC or ImageNet-VID: its objects as columns, its faults with their lines."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from array import array
from collections import Counter
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from seqdet.data.formats.markup import read_xml
from seqdet.data.formats.protocol import Problems
from seqdet.errors import InputError

SIDES = ("xmin", "ymin", "xmax", "ymax")
MARKS = ("difficult", "truncated", "occluded", "generated")
OTHER_XML = "XML file that is no VOC annotation: not read"
VID_CLASSES = {  # the 30 classes of ILSVRC2015 VID by their WordNet ids
    "n02691156": "airplane", "n02419796": "antelope", "n02131653": "bear", "n02834778": "bicycle",
    "n01503061": "bird", "n02924116": "bus", "n02958343": "car", "n02402425": "cattle", "n02084071": "dog",
    "n02121808": "domestic_cat", "n02503517": "elephant", "n02118333": "fox", "n02510455": "giant_panda",
    "n02342885": "hamster", "n02374451": "horse", "n02129165": "lion", "n01674464": "lizard",
    "n02484322": "monkey", "n03790512": "motorcycle", "n02324045": "rabbit", "n02509815": "red_panda",
    "n02411705": "sheep", "n01726692": "snake", "n02355227": "squirrel", "n02129604": "tiger",
    "n04468005": "train", "n01662784": "turtle", "n04530566": "watercraft", "n02062744": "whale",
    "n02391049": "zebra",
}  # fmt: skip
_LARGEST = 2**53


@dataclass(slots=True)
class Objects:
    """All objects of all files as columns; ``classes`` gives the number of each name, as they came."""

    line: array[int] = field(default_factory=lambda: array("q"))
    track_id: array[int] = field(default_factory=lambda: array("q"))
    class_id: array[int] = field(default_factory=lambda: array("q"))
    sides: array[float] = field(default_factory=lambda: array("d"))
    classes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Annotation:
    """One file.

    Attributes:
        path: the file.
        filename: the name of its image, as it says.
        size_wh: width and height, as it says, or None.
        first, last: its objects are the rows ``first`` to ``last`` - 1 of the columns.
        marks: how many objects are marked difficult, truncated, ...
        has_tracks: an object has a track id.
        image: the image that was found for it.
        split: train, val or test, or None.
    """

    path: Path
    filename: str
    size_wh: tuple[int, int] | None
    first: int
    last: int
    marks: Counter[str]
    has_tracks: bool
    image: Path | None = None
    split: str | None = None


def read_annotation(path: Path, objects: Objects, problems: Problems) -> Annotation | None:
    """Add the objects of a file to the columns; None when it is no annotation or is not XML."""
    try:
        content = path.read_bytes()
        root = _parse(path, content)
    except OSError as error:
        problems.fail(path, f"cannot be read: {error.strerror}")
        return None
    except InputError as error:
        text = str(error)
        problems.fail(*text.split(": ", 1) if ": " in text else (path, text))
        return None
    if root.tag != "annotation":
        problems.note(OTHER_XML, [str(path)])
        return None
    found = root.findall("object")
    lines = _lines(path, content, len(found))
    first = len(objects.line)
    marks: Counter[str] = Counter()
    has_tracks = False
    for element, line in zip(found, lines, strict=True):
        fields: dict[str, str] = {}
        sides: dict[str, str] = {}
        for child in element:
            if child.tag == "bndbox":
                sides = {side.tag: side.text or "" for side in child}
            else:
                fields[child.tag] = child.text or ""
        fault = _add(fields, sides, line, objects)
        if fault:
            problems.fail(f"{path}:{line}", fault)
        has_tracks = has_tracks or "trackid" in fields
        marks.update(mark for mark in MARKS if fields.get(mark, "").strip() == "1")
    size_wh = _size(root)
    return Annotation(
        path, root.findtext("filename", "").strip(), size_wh, first, len(objects.line), marks, has_tracks
    )


def _parse(path: Path, content: bytes) -> Any:
    """The root element.

    The parser in C is four times as fast as that of ``markup``, and safe for what declares nothing: entities
    need a DOCTYPE, which cannot hide in UTF-8. All else, and all that is malformed, goes to ``markup``.
    """
    head = content[:200].lower()
    plain = b"encoding" not in head or b"utf-8" in head
    if plain and b"<!DOCTYPE" not in content and b"\0" not in content:
        try:
            return ElementTree.fromstring(content)
        except ElementTree.ParseError:
            pass
    return read_xml(path)


def _lines(path: Path, content: bytes, count: int) -> list[int]:
    """The lines on which the objects begin."""
    lines = []
    line, position = 1, 0
    for match in re.finditer(rb"<object[\s>/]", content):
        line += content.count(b"\n", position, match.start())
        position = match.start()
        lines.append(line)
    if len(lines) == count:
        return lines
    return [element.line for element in read_xml(path).findall("object")]


def _add(fields: dict[str, str], sides: dict[str, str], line: int, objects: Objects) -> str | None:
    """Add one object; or what is wrong with it."""
    name = fields.get("name", "").strip()
    if not name:
        return "object without a <name>"
    if not sides:
        return f"object {name[:60]!r} without a <bndbox>"
    values = []
    for side in SIDES:
        text = sides.get(side)
        if text is None:
            return f"<bndbox> without <{side}>"
        try:
            value = float(text)
        except ValueError:
            return f"{side}: a number is expected, got {text.strip()[:60]!r}"
        if not isfinite(value) or abs(value) >= _LARGEST:
            return f"{side}: {text.strip()[:60]!r} is no place in an image"
        values.append(value)
    track = -1
    if "trackid" in fields:
        try:
            track = int(fields["trackid"])
        except ValueError:
            return f"trackid: a whole number is expected, got {fields['trackid'].strip()[:60]!r}"
        if not -1 <= track < _LARGEST:
            return f"trackid: 0 or more, or -1 for none, is expected, got {str(track)[:40]}"
    name = VID_CLASSES.get(name, name)
    objects.line.append(line)
    objects.track_id.append(track)
    objects.class_id.append(objects.classes.setdefault(name, len(objects.classes)))
    objects.sides.extend(values)
    return None


def _size(root: Any) -> tuple[int, int] | None:
    """Width and height where both are whole numbers above 0; some tools write 0 for unknown."""
    texts = [root.findtext(f"size/{side}", "").strip() for side in ("width", "height")]
    if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in texts):
        return None
    width, height = map(int, texts)
    return (width, height) if width and height else None
