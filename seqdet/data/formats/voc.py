"""Pascal VOC and ImageNet-VID labels: an XML file for each image.

    VOC             Annotations/NAME.xml and JPEGImages/NAME.jpg, ImageSets/Main/train.txt, val.txt, test.txt;
                    or the XML files beside their images, or in a folder next to theirs
    ImageNet-VID    Annotations/VID/train/.../CLIP/000000.xml and Data/VID/train/.../CLIP/000000.JPEG, objects
                    with <trackid>; one folder is one sequence

In VOC, pixels are counted from 1 and those of xmax belong to the box (its devkit computes widths as
xmax - xmin + 1): left = xmin - 1, right = xmax. Many tools write the same XML with edges from 0; an xmin or
ymin from 0 to below 1 anywhere shows it, and then left = xmin, right = xmax for all. ImageNet-VID is always
read so, as mmtracking's converter does. The boxes of parts (heads, hands) are passed over.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import numpy as np

from seqdet.data.checks import is_inside
from seqdet.data.dataset import SPLITS
from seqdet.data.formats.markup import root_tag
from seqdet.data.formats.protocol import Problems, RawDataset, RawSequence, read_text
from seqdet.data.formats.source_files import MediaIndex, name_under, split_of, walk
from seqdet.data.formats.stills import STILLS, VIDEOS, frame_groups
from seqdet.data.formats.voc_xml import MARKS, Annotation, Objects, read_annotation
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name, natural_key

NAME = "voc"
LOOKS = "Annotations/NAME.xml (<annotation> with <object> and <bndbox>) and JPEGImages/, or beside the images"
MARKED = "object marked {}: kept like any other (how many is an attribute of its sequence)"
FROM_ZERO = "coordinates below 1 occur, so they count from 0: left = xmin, right = xmax"
FROM_ONE = "coordinates count from 1, as in VOC: left = xmin - 1, right = xmax"
NO_XML = "image without an annotation file: left out"
NO_FRAME_XML = "frame of a video without an annotation file: taken as a frame without object"
NOT_LISTED = "annotation that no list in ImageSets/Main names: left out"
LISTED_WITHOUT = "listed image without an annotation file: left out"
IN_TWO_LISTS = "image in the lists of two splits: taken once, in the first"
OTHER_NAME = "annotation with the filename of another image: the image of its own name is taken"


@dataclass(slots=True)
class _Lists:
    """What ImageSets/Main says: the split of each annotation file in the folders that have such lists."""

    splits: dict[Path, str] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)

    def leaves_out(self, path: Path) -> bool:
        """True for a file in such a folder that no list names."""
        return path not in self.splits and any(folder in path.parents for folder in self.folders)


@dataclass(frozen=True, slots=True)
class _Group:
    """One sequence: its images and the annotation of each, None where there is none."""

    name: str
    images: tuple[Path, ...]
    annotations: tuple[Annotation | None, ...]
    is_video_folder: bool
    split: str | None
    recording: str | None = None

    @property
    def known(self) -> list[Annotation]:
        """The annotations that there are."""
        return [each for each in self.annotations if each]


def sniff(source: Path) -> bool:
    """True for a folder in which an XML file with <annotation> has a <bndbox> (LabelMe's files have none)."""
    if not source.is_dir():
        return False
    files = [path for path in walk(source, 200_000) if path.suffix.lower() == ".xml"]
    for path in files[:1000]:
        if root_tag(path) == "annotation":
            try:
                with path.open("rb") as file:
                    if b"<bndbox" in file.read(1 << 16):
                        return True
            except OSError:
                continue
    return False


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all annotation files of a folder.

    Raises:
        InputError: there is none, none has an object, or a list cannot be read.
    """
    root = source if source.is_dir() else source.parent
    files = walk(root)
    lists = _read_lists(files, problems)
    objects = Objects()
    annotations: list[Annotation] = []
    for path in (path for path in files if path.suffix.lower() == ".xml"):
        if lists.leaves_out(path):
            problems.note(NOT_LISTED, [str(path)])
        elif annotation := read_annotation(path, objects, problems):
            annotation.split = lists.splits.get(path) or split_of(path.parent, root)
            annotations.append(annotation)
    if not objects.classes and not problems.failed:
        raise InputError(
            f"{source}: there is no XML file with <annotation> and an <object> with a <name> in it"
        )
    images = [path for path in files if is_image_name(path)]
    _find_images(root, annotations, images, problems)
    annotations = [each for each in annotations if each.image]
    groups = _groups(root, annotations, images, not lists.folders, problems)
    notes = [VIDEOS] * any(len(group.images) > 1 and not group.is_video_folder for group in groups)
    notes += [STILLS] * any(len(group.images) == 1 for group in groups)
    boxes_xyxy_px = _edges(groups, objects, notes)
    for mark in MARKS:
        marked = [each for each in annotations if each.marks[mark]]
        count = sum(each.marks[mark] for each in marked)
        problems.note(MARKED.format(mark), [str(each.path) for each in marked[:5]], count)
    names = sorted(objects.classes)
    rank = np.array([names.index(name) for name in objects.classes], np.int64)
    class_id = rank[np.array(objects.class_id, np.int64)] if names else np.zeros(0, np.int64)
    columns = (np.array(objects.line), np.array(objects.track_id, np.int64), class_id, boxes_xyxy_px)
    return RawDataset(tuple(names), [_sequence(group, columns, problems) for group in groups], tuple(notes))


def _read_lists(files: list[Path], problems: Problems) -> _Lists:
    """``ImageSets/Main/train.txt`` and so on, wherever they are; a line is a name, perhaps with a flag."""
    lists = _Lists()
    here = set(files)
    named = [f"{split}.txt" for split in SPLITS]
    found = [path for path in files if path.parent.parts[-2:] == ("ImageSets", "Main") and path.name in named]
    for path in sorted(found, key=lambda path: named.index(path.name)):
        base = path.parent.parent.parent
        lists.folders.add(base / "Annotations")
        for number, line in enumerate(read_text(path).split("\n"), 1):
            text = line.strip().strip('"')
            if not text or text.startswith("#"):
                continue
            name = text if base / "Annotations" / f"{text}.xml" in here else re.sub(r'"?\s+-?[01]$', "", text)
            if not is_inside(name):
                problems.fail(f"{path}:{number}", f"{name[:120]!r} leads out of {base}")
                continue
            xml = base / "Annotations" / f"{name}.xml"
            if xml not in here:
                problems.note(LISTED_WITHOUT, [f"{path}:{number}"])
            elif lists.splits.get(xml, path.stem) != path.stem:
                problems.drop(IN_TWO_LISTS, [f"{path}:{number}"])
            lists.splits.setdefault(xml, path.stem)
    return lists


def _find_images(root: Path, annotations: list[Annotation], images: list[Path], problems: Problems) -> None:
    """Give each annotation its image: that of its own name, else the one of its <filename>."""
    index = MediaIndex(root, images)
    used: dict[Path, Path] = {}
    for each in annotations:
        named = PureWindowsPath(each.filename).name
        stem = Path(named).stem if is_image_name(named) else named
        found = index.find(each.path.parent, each.path.stem)
        other = index.find(each.path.parent, stem) if stem and stem != each.path.stem else []
        if len(found) > 1:
            found = [path for path in found if path.name == named] or found
        if found and other:
            problems.note(OTHER_NAME, [str(each.path)])
        if not found and other and not is_inside(each.filename):
            problems.fail(each.path, f"filename: {each.filename[:120]!r} leads out of the source folder")
            continue
        found = found or other
        if not found:
            named = f", nor {each.filename[:120]!r}" if each.filename else ""
            problems.fail(
                each.path, f"there is no image for it: neither one of its name ({each.path.stem}){named}"
            )
        elif len(found) > 1:
            problems.fail(each.path, f"belongs to {found[0].name} or to {found[1].name}?")
        elif found[0] in used:
            problems.fail(each.path, f"a second annotation of {found[0].name}, after {used[found[0]]}")
        else:
            each.image = found[0]
            used[found[0]] = each.path


def _groups(
    root: Path, annotations: list[Annotation], images: list[Path], complete: bool, problems: Problems
) -> list[_Group]:
    """What is one sequence: a folder of ImageNet-VID, frames numbered one by one, or a single image."""
    folders: dict[Path, list[Annotation]] = defaultdict(list)
    for each in annotations:
        folders[each.path.parent].append(each)
    siblings: dict[Path, list[Path]] = defaultdict(list)
    for path in images:
        siblings[path.parent].append(path)
    by_image = {each.image: each for each in annotations if each.image}
    groups: list[_Group] = []
    stills: list[Path] = []
    for folder, members in folders.items():
        own = [each.image for each in members if each.image]
        if not _is_video_folder(root, folder, members):
            stills += own
            continue
        frames = sorted(siblings[own[0].parent], key=natural_key)
        known = tuple(by_image.get(path) for path in frames)
        problems.drop(NO_FRAME_XML, [str(path) for path in frames if path not in by_image])
        name = folder.name
        if any(folder.name == other.name for other in folders if other != folder):
            name = name_under(folder, root)
        groups.append(_Group(name, tuple(frames), known, True, members[0].split))
    if complete:
        lacking = {path.parent for path in stills}
        problems.note(
            NO_XML, [str(p) for place in sorted(lacking) for p in siblings[place] if p not in by_image]
        )
    for group in frame_groups(stills, root):
        parts: dict[str | None, list[Annotation]] = defaultdict(list)
        for path in group.images:
            parts[by_image[path].split].append(by_image[path])
        for split, part in parts.items():
            frames = [each.image for each in part if each.image]
            divided = len(parts) > 1
            name = f"{group.name}_{split}" if divided else group.name
            recording = group.name if divided else None
            groups.append(_Group(name, tuple(frames), tuple(part), False, split, recording))
    return groups


def _is_video_folder(root: Path, folder: Path, members: list[Annotation]) -> bool:
    """True below ``VID``, and where objects have track ids and all names differ in their number alone."""
    if "VID" in folder.relative_to(root).parts:
        return True
    prefixes = {re.sub(r"\d+$", "", each.path.stem) for each in members}
    return len(prefixes) == 1 and any(each.has_tracks for each in members)


def _edges(groups: list[_Group], objects: Objects, notes: list[str]) -> np.ndarray:
    """(M, 4) edges from 0 of all objects."""
    sides = np.array(objects.sides, np.float64).reshape(-1, 4)
    stills = np.zeros(len(sides), bool)
    for group in groups:
        for each in group.known:
            stills[each.first : each.last] = not group.is_video_folder
    if stills.any():
        upper_left = sides[stills, :2]
        from_zero = bool(((upper_left >= 0) & (upper_left < 1)).any())
        notes.append(FROM_ZERO if from_zero else FROM_ONE)
        sides[stills, :2] -= 0.0 if from_zero else 1.0
    return sides


def _sequence(group: _Group, columns: tuple[np.ndarray, ...], problems: Problems) -> RawSequence:
    line, track_id, class_id, boxes_xyxy_px = columns
    known = group.known
    counts = [each.last - each.first if each else 0 for each in group.annotations]
    frame = np.repeat(np.arange(len(counts)), counts)
    part = np.concatenate([np.zeros(0, np.int64), *(np.arange(each.first, each.last) for each in known)])
    sizes = {each.size_wh: each for each in known if each.size_wh}
    for size in list(sizes)[1:]:
        said, first = (f"{width}x{height}" for width, height in (size, next(iter(sizes))))
        problems.fail(sizes[size].path, f"size: {said}, but other frames of the sequence have {first}")
    alone = len(counts) == 1
    marks = {mark: sum(each.marks[mark] for each in known) for mark in MARKS}
    return RawSequence(
        name=group.name,
        video=group.images[0] if alone else group.images[0].parent,
        images=group.images,
        labels_file=known[0].path if alone else known[0].path.parent,
        frame_files={index: each.path for index, each in enumerate(group.annotations) if each},
        row_form="{file}:{row}",
        row=line[part],
        frame=frame,
        track_id=track_id[part],
        class_id=class_id[part],
        boxes_xyxy_px=boxes_xyxy_px[part],
        size_wh=next(iter(sizes), None),
        recording=group.recording,
        split=group.split,
        attributes={mark: str(count) for mark, count in marks.items() if count},
    )
