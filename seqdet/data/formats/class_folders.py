"""Clips in folders by class, without boxes: what the whole of each sequence shows is all that is known.

CLASS/clip.mp4          a video; or train/CLASS/clip.mp4, val/CLASS/clip.mp4, ...
CLASS/clip/000001.jpg   a folder of frames
CLASS/picture.jpg       images: the frames of one video, or pictures, by the rule of ``stills``
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems, RawDataset, RawSequence
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.data.formats.stills import STILLS, VIDEOS, frame_groups
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name, list_images, natural_key

NAME = "class-folders"
LOOKS = (
    "CLASS/clip.mp4, CLASS/clip/000001.jpg or CLASS/picture.jpg, two classes or more, also in train/, val/"
)
OTHER = "file or folder that is no video, image or folder of images: left out"
EMPTY = "class folder without a video or image: left out"
NO_BOXES = "the source has no boxes: only the class of each sequence is known"
# Folders of other formats, whose label files may be missing. They are no classes.
_NEVER_CLASSES = re.compile(
    r"images?|img\d*|jpegimages|frames?|videos?|clips|labels?|label_\d+|image_\d+|annotations?|masks?|gt|det"
    r"|segmentation.*|semantic.*|instances?|panoptic.*|depth|calib|velodyne|data|obj_.*_data"
)
_HARMLESS = re.compile(r"(readme|licen[cs]e|copying|thumbs\.db|desktop\.ini).*")


class _ClassFolder(NamedTuple):
    """All of one class in one split."""

    path: Path
    name: str
    split: str | None


def sniff(source: Path) -> bool:
    """True for two or more class folders that hold nothing but media, all at one depth, and no label file."""
    if not source.is_dir():
        return False
    folders = _class_folders(source)
    above = {source, *(folder.path.parent for folder in folders)}
    return (
        len({folder.name for folder in folders}) > 1
        and not any(_NEVER_CLASSES.fullmatch(folder.name.lower()) for folder in folders)
        and all(path.is_dir() or _is_harmless(path) for folder in above for path in _entries(folder))
        and all(_holds_only_media(folder.path) for folder in folders)
    )


def read(source: Path, problems: Problems) -> RawDataset:
    """Find all clips.

    Raises:
        InputError: there is none.
    """
    if not source.is_dir():
        raise InputError(f"{source}: a folder is expected: {LOOKS}")
    notes: dict[str, None] = {NO_BOXES: None}
    sequences: list[RawSequence] = []
    for folder in _class_folders(source):
        found = _sequences(folder, notes, problems)
        sequences.extend(found)
        if not found:
            problems.note(EMPTY, [str(folder.path)])
    if not sequences:
        raise InputError(f"{source}: there is no video or image in folders by class: {LOOKS}")
    classes = sorted({sequence.label or "" for sequence in sequences}, key=natural_key)
    return RawDataset(tuple(classes), _with_names(sequences), tuple(notes))


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, in natural order, but hidden files."""
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_key)


def _class_folders(source: Path) -> list[_ClassFolder]:
    """The class folders; those in folders of splits where two folders, or the only one, have such names."""
    top = [path for path in _entries(source) if path.is_dir()]
    splits = [path for path in top if path.name.lower() in SPLIT_WORDS]
    if not splits or (len(splits) == 1 < len(top)):  # one of several: "train" is a vehicle then
        return [_ClassFolder(path, path.name.strip(), None) for path in top]
    return [
        _ClassFolder(path, path.name.strip(), SPLIT_WORDS[split.name.lower()])
        for split in splits
        for path in _entries(split)
        if path.is_dir()
    ]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _is_harmless(path: Path) -> bool:
    return _HARMLESS.fullmatch(path.name.lower()) is not None


def _holds_only_media(folder: Path) -> bool:
    """True for a class folder that holds videos, images and folders of images, one at least."""
    entries = [path for path in _entries(folder) if not _is_harmless(path)]
    return bool(entries) and all(
        not _NEVER_CLASSES.fullmatch(path.name.lower()) and _holds_only_images(path)
        if path.is_dir()
        else _is_video(path) or is_image_name(path)
        for path in entries
    )


def _holds_only_images(folder: Path) -> bool:
    names = [path for path in folder.iterdir() if not path.name.startswith(".") and not _is_harmless(path)]
    return bool(names) and all(map(is_image_name, names))


def _sequences(folder: _ClassFolder, notes: dict[str, None], problems: Problems) -> list[RawSequence]:
    """All clips of one class folder."""
    found: list[RawSequence] = []
    loose: list[Path] = []
    for path in _entries(folder.path):
        if _is_video(path):
            found.append(_sequence(folder, path.stem, path, None))
        elif path.is_dir() and any(is_image_name(entry) for entry in path.iterdir()):
            found.append(_sequence(folder, path.name, path, tuple(list_images(path))))
        elif is_image_name(path) and path.is_file():
            loose.append(path)
        elif not _is_harmless(path):
            problems.drop(OTHER, [str(path)])
    for group in frame_groups(loose, folder.path):
        alone = len(group.images) == 1
        notes[STILLS if alone else VIDEOS] = None
        video = group.images[0] if alone else folder.path
        # A series whose names are nothing but numbers has the name of its folder: the class.
        name = "" if group.name == folder.path.name and not alone else group.name
        found.append(_sequence(folder, name, video, group.images))
    return found


def _sequence(folder: _ClassFolder, name: str, video: Path, images: tuple[Path, ...] | None) -> RawSequence:
    """A sequence without boxes, named after its class and its file."""
    none = np.zeros(0, np.int64)
    ucf101 = re.fullmatch(r"(v_\w+_g\d+)_c\d+", name)  # clips of one group were cut from one video
    return RawSequence(
        name=f"{folder.name}_{name}" if name else folder.name,
        video=video,
        images=images,
        labels_file=folder.path,
        row_form="{file}",
        row=none,
        frame=none,
        track_id=none,
        class_id=none,
        boxes_xyxy_px=np.zeros((0, 4)),
        label=folder.name,
        recording=ucf101[1] if ucf101 else None,
        split=folder.split,
    )


def _with_names(sequences: list[RawSequence]) -> list[RawSequence]:
    """Where a name occurs more than once: with its split, and then with a number, if that is needed."""
    seen = Counter(sequence.name.lower() for sequence in sequences)
    unique: list[RawSequence] = []
    used: Counter[str] = Counter()
    for sequence in sequences:
        name = sequence.name
        if seen[name.lower()] > 1 and sequence.split:
            name = f"{sequence.split}_{name}"
        used[name.lower()] += 1
        count = used[name.lower()]
        unique.append(replace(sequence, name=name if count == 1 else f"{name}_{count}"))
    return unique
