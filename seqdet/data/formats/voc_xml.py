"""One XML file of Pascal VOC or ImageNet-VID: its objects as columns, its faults with their lines.

It is read in one pass, an object at a time: a tree of a million of them would take gigabytes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from seqdet.data.formats.markup import feed_file, hardened_parser
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


class _Target:
    """Receives the elements of a file, one after the other; keeps of them what an annotation says."""

    def __init__(self, path: Path, objects: Objects, problems: Problems) -> None:
        self.parser = hardened_parser(self)
        self.path, self.objects, self.problems = path, objects, problems
        self.root = self.branch = self.twig = ""  # the tags at depth 1, 2 and 3 that were opened last
        self.depth = 0
        self.text = ""
        self.line = 0
        self.fields: dict[str, str] = {}  # of the object that is open
        self.sides: dict[str, str] = {}
        self.about: dict[str, str] = {}  # filename, width and height, as first said
        self.marks: Counter[str] = Counter()
        self.has_tracks = False

    def opened(self, tag: str, _: list[str]) -> None:
        self.depth += 1
        self.text = ""
        if self.depth == 3:
            self.twig = tag
            if tag == "bndbox":
                self.sides = {}
        elif self.depth == 2:
            self.branch = tag
            if tag == "object":
                self.fields, self.sides = {}, {}
                self.line = self.parser.parser.CurrentLineNumber
        elif self.depth == 1:
            self.root = tag

    def data(self, text: str) -> None:
        self.text += text

    def closed(self, tag: str) -> None:
        self.depth -= 1
        if self.depth == 3:
            if self.twig == "bndbox" and self.branch == "object":
                self.sides[tag] = self.text
        elif self.depth == 2:
            if self.branch == "object":
                self.fields[tag] = self.text
            elif self.branch == "size":
                self.about.setdefault(tag, self.text)
        elif self.depth == 1:
            if tag == "filename":
                self.about.setdefault(tag, self.text)
            elif tag == "object" and self.root == "annotation":
                self._object()

    def _object(self) -> None:
        fields = self.fields
        fault = _add(fields, self.sides, self.line, self.objects)
        if fault:
            self.problems.fail(f"{self.path}:{self.line}", fault)
        self.has_tracks = self.has_tracks or "trackid" in fields
        for mark in MARKS:
            if mark in fields and fields[mark].strip() == "1":
                self.marks[mark] += 1


def read_annotation(path: Path, objects: Objects, problems: Problems) -> Annotation | None:
    """Add the objects of a file to the columns; None when it is no annotation or is not XML."""
    target = _Target(path, objects, problems)
    first = len(objects.line)
    try:
        feed_file(target.parser, path)
    except InputError as error:
        text = str(error)
        problems.fail(*text.split(": ", 1) if ": " in text else (path, text))
        return None
    if target.root != "annotation":
        problems.note(OTHER_XML, [str(path)])
        return None
    name, size_wh = target.about.get("filename", "").strip(), _size(target.about)
    return Annotation(path, name, size_wh, first, len(objects.line), target.marks, target.has_tracks)


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


def _size(about: dict[str, str]) -> tuple[int, int] | None:
    """Width and height where both are whole numbers above 0; some tools write 0 for unknown."""
    texts = [about.get(side, "").strip() for side in ("width", "height")]
    if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in texts):
        return None
    width, height = map(int, texts)
    return (width, height) if width and height else None
