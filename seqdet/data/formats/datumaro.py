"""Datumaro's own JSON: ``annotations/SUBSET.json`` with images in ``images/SUBSET/``; CVAT writes it too.

``categories.label.labels`` are the classes, ``items`` the images (``image``), frames of videos
(``video_frame``: ``video_path``, ``frame_index`` from 0) or whole videos (``video``). A ``bbox`` is left,
top, width and height from 0; tracks are told by ``attributes.track_id`` or ``object_id``. Images that have
tracks and a number each (``attr.frame``) are the frames of one video, in that order; else `stills` says which
belong together.
"""

from __future__ import annotations

import mmap
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.boxes import xyxy_from_ltwh
from seqdet.data.formats.coco_parts import label_files
from seqdet.data.formats.datumaro_media import MediaFinder, sequence_name
from seqdet.data.formats.datumaro_shapes import COLUMNS, Row, parse, read_rows
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems, RawDataset, RawSequence
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.data.formats.stills import STILLS, VIDEOS, frame_groups
from seqdet.data.formats.unfinished import refuse_unfinished
from seqdet.errors import InputError
from seqdet.video.probe import count_packets

NAME = "datumaro"
LOOKS = "annotations/*.json of Datumaro (categories and items), beside images/ or videos/"
UNLISTED = "frame of a video file that the label file does not list: taken as a frame without object"
NO_FRAME = "box of a whole video, without a frame: left out"
NO_MEDIA = "item without an image or video: left out"
OTHER_LABEL = "class of an image that is not that of its whole sequence: left out"
_LARGEST = 1 << 24  # pixels
_LARGEST_ID = 2**53


@dataclass(slots=True)
class _Item:
    """One element of "items"; ``kind`` is the key under which its media are."""

    index: int
    kind: str
    file: Path | None
    frame: int | None
    size_wh: tuple[int, int] | None
    labels: list[int]


@dataclass(slots=True)
class _Group:
    """Items that are one sequence: their numbers and the frame of each, from 0."""

    name: str
    video: Path
    images: tuple[Path, ...] | None = None
    members: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """One label file: its items, and all boxes with the item of each in the first column."""

    path: Path
    root: Path
    classes: tuple[str, ...]
    items: list[_Item]
    table: np.ndarray
    finder: MediaFinder
    notes: list[str]

    def place(self, index: int) -> str:
        """For messages."""
        return f"{self.path}: items[{index}]"


def sniff(source: Path) -> bool:
    """True for such a file, or a folder with one in it or in its ``annotations`` folder."""
    return bool(_files(source))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all files; several (train.json, val.json) become one data set.

    Raises:
        InputError: a file that is not JSON or has no classes or items, or files with different classes.
    """
    if source.is_dir():
        refuse_unfinished(label_files(source))
    files = _files(source) or ([source] if source.is_file() else [])
    if not files:
        raise InputError(f"{source}: there is no .json file of Datumaro in it or in its annotations folder")
    root = source if source.is_dir() else source.parent
    root = root.parent if root.name == "annotations" else root
    sequences: list[RawSequence] = []
    notes: list[str] = []
    classes: tuple[str, ...] = ()
    for path in files:
        part = _read_file(path, root, problems)
        if classes and part.classes != classes:
            raise InputError(f"{path}: its labels are not those of {files[0]}; ingest the files one by one")
        classes = part.classes
        sequences += _sequences(part, problems)
        notes += part.notes
    return RawDataset(classes, sequences, tuple(dict.fromkeys(notes)))


def _files(source: Path) -> list[Path]:
    folders = [source, source / "annotations"]
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.json"))]
    paths = [source] if source.is_file() else paths
    return [path for path in paths if path.suffix.lower() == ".json" and _looks_right(path)]


def _looks_right(path: Path) -> bool:
    """True when the keys of Datumaro occur and those of COCO do not; the file is searched, not parsed."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return (
                content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
                and all(content.find(key) >= 0 for key in (b'"categories"', b'"items"', b'"label"'))
                and content.find(b'"images"') < 0
            )
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def _read_file(path: Path, root: Path, problems: Problems) -> _Part:
    document = parse(path)
    if not isinstance(document, dict) or not isinstance(document.get("items"), list):
        raise InputError(f"{path}: an object with categories and a list of items is expected")
    classes = _class_names(path, document.get("categories"))
    finder = MediaFinder(root, path.stem, problems)
    items: list[_Item] = []
    rows: list[Row] = []
    owner: list[int] = []
    for index, entry in enumerate(document["items"]):
        place = f"{path}: items[{index}]"
        annotations = entry.get("annotations", []) if isinstance(entry, dict) else None
        if not isinstance(annotations, list):
            problems.fail(place, "an object with a list of annotations is expected")
            continue
        found, labels = read_rows(annotations, len(classes), place, problems)
        item = _read_item(entry, index, labels, finder, place)
        if item is None:
            continue
        if item.kind == "video" and found:
            problems.drop(NO_FRAME, [place], len(found))
            found = []
        owner.extend([len(items)] * len(found))
        rows.extend(found)
        items.append(item)
    boxes = np.array(rows, np.float64).reshape(-1, COLUMNS)
    table = np.concatenate([np.array(owner, np.float64)[:, None], boxes], axis=1)
    return _Part(path, root, classes, items, table, finder, [])


def _class_names(path: Path, categories: Any) -> tuple[str, ...]:
    label = categories.get("label") if isinstance(categories, dict) else None
    entries = label.get("labels") if isinstance(label, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: categories.label.labels: a list of one or more classes is expected")
    names: list[str] = []
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip() or name.strip() in names:
            raise InputError(
                f"{path}: categories.label.labels[{index}]: a name that no other has is expected"
            )
        names.append(name.strip())
    return tuple(names)


def _read_item(
    entry: dict[str, Any], index: int, labels: list[int], finder: MediaFinder, place: str
) -> _Item | None:
    """One item and where its image or video is, or None with the reason noted."""
    problems = finder.problems
    for kind in ("video_frame", "video", "image", "media"):
        media = entry.get(kind)
        if media is not None and not isinstance(media, dict):
            problems.fail(place, f"{kind}: an object is expected")
            return None
        if media is not None:
            break
    else:
        if "point_cloud" not in entry or (entry["point_cloud"] or {}) != {"path": ""}:
            problems.note(NO_MEDIA, [place])
            return None
        kind, media = "image", {}  # CVAT, of a task exported without its images
    attributes = entry.get("attr") or {}
    frame = attributes.get("frame") if isinstance(attributes, dict) else None
    frame = media.get("frame_index") if kind == "video_frame" else frame
    if frame is not None and (type(frame) is not int or not 0 <= frame < _LARGEST_ID):
        key = "video_frame.frame_index" if kind == "video_frame" else "attr.frame"
        problems.fail(place, f"{key}: a whole number, 0 or more, is expected, got {str(frame)[:40]}")
        return None
    if kind == "video_frame" and frame is None:
        problems.fail(place, "video_frame.frame_index: a whole number is expected")
        return None
    whole = (media.get("start_frame") or 0, media.get("end_frame"), media.get("step") or 1) == (0, None, 1)
    if kind == "video" and not whole:
        problems.fail(place, "video: it is a part of a video; cut it out and label the file that it becomes")
        return None
    path = media.get("video_path" if kind == "video_frame" else "path")
    if kind == "media":
        kind = "video" if Path(str(path)).suffix.lower() in VIDEO_SUFFIXES else "image"
    file = finder.find(path, entry.get("id"), kind.startswith("video"), place)
    size_wh = None
    if (size := media.get("size")) is not None:
        size_wh = _size_wh(size)
        if size_wh is None:
            problems.fail(place, f"{kind}.size: [height, width] is expected, got {str(size)[:40]}")
            return None
    return _Item(index, kind, file, frame, size_wh, labels)


def _size_wh(size: Any) -> tuple[int, int] | None:
    """Width and height of [height, width], or None."""
    if not isinstance(size, list) or len(size) != 2:
        return None
    height, width = size
    good = all(type(side) is int and 0 < side < _LARGEST for side in size)
    return (width, height) if good else None


def _sequences(part: _Part, problems: Problems) -> list[RawSequence]:
    """The sequences of one file."""
    groups = [*_video_groups(part, problems), *_image_groups(part, problems)]
    for place, name in part.finder.lacking:
        problems.fail(
            place, f"path: there is no {name[:120]!r} in images/{part.path.stem} or images of {part.root}"
        )
    sequence_of = np.full(len(part.items), -1, np.int64)
    frame_of = np.zeros(len(part.items), np.int64)
    for number, group in enumerate(groups):
        sequence_of[group.members] = number
        frame_of[group.members] = group.frames
    owner = part.table[:, 0].astype(np.int64)
    order = np.argsort(sequence_of[owner], kind="stable")
    bounds = np.searchsorted(sequence_of[owner][order], np.arange(len(groups) + 1))
    indices = np.array([item.index for item in part.items], np.int64)
    words = re.split(r"[^a-z]+", part.path.stem.lower())
    split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
    sequences = []
    for number, group in enumerate(groups):
        rows = order[bounds[number] : bounds[number + 1]]
        sequences.append(
            RawSequence(
                name=group.name,
                video=group.video,
                images=group.images,
                labels_file=part.path,
                row_form="{file}: items[{row}]",
                row=indices[owner[rows]],
                frame=frame_of[owner[rows]],
                track_id=part.table[rows, 2].astype(np.int64),
                class_id=part.table[rows, 1].astype(np.int64),
                boxes_xyxy_px=xyxy_from_ltwh(part.table[rows, 4:]),
                size_wh=_size(part, group, problems),
                label=_label(part, group, problems),
                split=split,
            )
        )
    return sequences


def _video_groups(part: _Part, problems: Problems) -> list[_Group]:
    """Videos, and frames of videos."""
    groups: list[_Group] = []
    frames: dict[Path, _Group] = {}
    for number, item in enumerate(part.items):
        if item.file is None or item.kind == "image":
            continue
        name = sequence_name(item.file, part.root)
        if item.kind == "video":
            groups.append(_Group(name, item.file, members=[number], frames=[0]))
        else:
            group = frames.setdefault(item.file, _Group(name, item.file))
            group.members.append(number)
            group.frames.append(item.frame or 0)
    for group in frames.values():
        _check_frames(part, group, problems)
    return [*groups, *frames.values()]


def _check_frames(part: _Part, group: _Group, problems: Problems) -> None:
    """Frames of a video file: each once; those that no item is for are counted."""
    for number in _repeated(group.frames):
        problems.fail(
            part.place(part.items[group.members[number]].index),
            f"frame {group.frames[number]} of {group.video.name} is that of an earlier item too",
        )
    try:
        count = count_packets(group.video).packets
    except InputError as error:
        problems.fail(part.path, f"the video of its items cannot be read: {error}")
        return
    if len(group.frames) < count:
        problems.drop(UNLISTED, [f"{part.path} ({group.video.name})"], count - len(group.frames))


def _image_groups(part: _Part, problems: Problems) -> list[_Group]:
    """Images: the frames of a video where tracks and numbers tell so, else as their names tell."""
    numbers = [number for number, item in enumerate(part.items) if item.kind == "image"]
    items = [part.items[number] for number in numbers]
    if numbers and all(item.file is None for item in items):
        video = part.finder.only_video()
        if video is None or any(item.frame is None for item in items):
            return []
        part.finder.lacking.clear()
        part.notes.append(
            f"the images are not there: items are taken as frames of {video.name}, by attr.frame"
        )
        frames = [item.frame or 0 for item in items]
        group = _Group(sequence_name(video, part.root), video, None, numbers, frames)
        _check_frames(part, group, problems)
        return [group]
    paths = [item.file or Path() for item in items]
    for number in _repeated(paths):
        problems.fail(part.place(items[number].index), "its image is that of an earlier item too")
    number_of = {path: number for path, number in zip(paths, numbers, strict=True) if path.name}
    tracked = bool((part.table[:, 2] >= 0).any())
    keys = [(path.parent, item.frame) for path, item in zip(paths, items, strict=True)]
    if tracked and len(set(keys)) == len(keys) and all(frame is not None for _, frame in keys):
        return _numbered_groups(part, number_of)
    groups = []
    for found in frame_groups(number_of, part.root):
        part.notes.append(STILLS if len(found.images) == 1 else VIDEOS)
        members = [number_of[path] for path in found.images]
        groups.append(
            _Group(found.name, found.images[0].parent, found.images, members, list(range(len(members))))
        )
    return groups


def _numbered_groups(part: _Part, number_of: dict[Path, int]) -> list[_Group]:
    """The images of each folder in the order of their numbers."""
    folders: dict[Path, list[tuple[int, Path]]] = defaultdict(list)
    for path, number in number_of.items():
        folders[path.parent].append((part.items[number].frame or 0, path))
    groups = []
    for folder, members in folders.items():
        members.sort()
        if members[-1][0] - members[0][0] + 1 != len(members):
            part.notes.append("frame numbers have gaps; frames are numbered anew, in their order")
        images = tuple(path for _, path in members)
        inner = folder if folder.name == part.path.stem else folder / part.path.stem
        name = sequence_name(inner, part.root)
        groups.append(
            _Group(name, folder, images, [number_of[path] for path in images], list(range(len(images))))
        )
    return groups


def _repeated(values: list[Any]) -> list[int]:
    """Positions of values that occurred before."""
    seen: set[Any] = set()
    found = []
    for position, value in enumerate(values):
        if value in seen and value != Path():
            found.append(position)
        seen.add(value)
    return found


def _size(part: _Part, group: _Group, problems: Problems) -> tuple[int, int] | None:
    """Width and height that the items agree on."""
    sizes = {part.items[number].size_wh: number for number in reversed(group.members)}
    sizes.pop(None, None)
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sorted(filter(None, sizes))[:5])
        place = part.place(part.items[max(sizes.values())].index)
        problems.fail(place, f"size: images of one video have several sizes: {listed}")
        return None
    return next(iter(sizes), None)


def _label(part: _Part, group: _Group, problems: Problems) -> str | None:
    """The class that all items of a sequence have, and no other."""
    members = [part.items[number] for number in group.members]
    said = {tuple(item.labels) for item in members}
    if len(said) == 1 and len(members[0].labels) == 1:
        return part.classes[members[0].labels[0]]
    labelled = [item for item in members if item.labels]
    if labelled:
        problems.note(OTHER_LABEL, [part.place(item.index) for item in labelled])
    return None
