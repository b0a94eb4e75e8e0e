"""KITTI labels, one line a box, cells apart by blanks; frames and pixels are counted from 0.

    tracking    label_02/0000.txt with image_02/0000/000000.png (or a video image_02/0000.mp4): frame,
                track_id, type, truncated, occluded, alpha, left, top, right, bottom, 7 in 3D [, score]
    detection   label_2/000000.txt with image_2/000000.png: the same without frame and track_id

Either may be in folders (training, testing, train, val, ...). The box is taken as edges, as KITTI's own
evaluation does. Regions called DontCare are no objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqdet.data.formats.columns import ROWS_AT_ONCE, NumberColumn, read_numbers
from seqdet.data.formats.protocol import (
    EXAMPLES,
    VIDEO_SUFFIXES,
    Problems,
    RawDataset,
    RawSequence,
    read_text,
)
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.data.formats.stills import STILLS, VIDEOS, FrameGroup, frame_groups
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name, list_images

NAME = "kitti"
LOOKS = (
    "label_02/0000.txt with image_02/0000/, or label_2/000000.txt with image_2/, also in training/ or train/"
)
TRACKING, DETECTION = "label_02", "label_2"
DONT_CARE = "region of type DontCare: left out"
NO_LABELS = "video or image without a label file: left out (an empty label file says that it holds no object)"
SHUFFLED = "images of KITTI's object benchmark, which follow no other: each is a sequence of one frame"
GAPS = "frame numbers of images have gaps; frames are numbered anew, in their order"
_IMAGES = {TRACKING: "image_02", DETECTION: "image_2"}
# What the object benchmark has beside its images. Their numbers follow each other, their views do not.
_BENCHMARK = ("calib", "velodyne", "planes", "prev_2")
_TRACKING_COLUMNS = (
    "frame", "track_id", "type", "truncated", "occluded", "alpha", "left", "top", "right", "bottom",
    "h", "w", "l", "x", "y", "z", "ry",
)  # fmt: skip


class _Part(NamedTuple):
    """A folder with labels; its split where the source has several such folders and all say it."""

    folder: Path
    split: str | None
    prefix: str  # of the names of its sequences


class _Table(NamedTuple):
    """The objects of one label file."""

    line: np.ndarray
    frame: np.ndarray
    track_id: np.ndarray
    class_id: np.ndarray
    boxes_xyxy_px: np.ndarray


def sniff(source: Path) -> bool:
    """True for a folder with a folder label_02 or label_2 of text files, or a folder of such folders."""
    return source.is_dir() and any(
        next(part.folder.joinpath(kind).glob("*.txt"), None) is not None
        for part in _parts(source)
        for kind in _IMAGES
    )


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all sequences of a folder.

    Raises:
        InputError: a file that cannot be read at all, or no object in any.
    """
    names: dict[str, int] = {}
    notes: dict[str, None] = {}
    sequences: list[RawSequence] = []
    for part in _parts(source):
        sequences.extend(_tracking(part, names, notes, problems))
        sequences.extend(_detection(part, names, notes, problems))
    problems.raise_if_failed(source)
    if not sequences:
        raise InputError(f"{source}: no label file with frames is in it; seqdet reads {LOOKS}")
    if not names:
        raise InputError(
            f"{source}: its label files hold no object (other than DontCare), so it has no class"
        )
    classes = tuple(sorted(names))
    order = np.array([classes.index(name) for name in names], np.int64)
    sequences = [replace(sequence, class_id=order[sequence.class_id]) for sequence in sequences]
    return RawDataset(classes, sequences, tuple(notes))


def _parts(source: Path) -> list[_Part]:
    def has_labels(folder: Path) -> bool:
        return any((folder / kind).is_dir() for kind in _IMAGES)

    if not source.is_dir():
        return []
    if has_labels(source):
        return [_Part(source, None, "")]
    folders = [folder for folder in sorted(source.iterdir()) if has_labels(folder)]
    if len(folders) == 1:  # "training" alone is no split: test has no labels in the original
        return [_Part(folders[0], None, "")]
    splits = [SPLIT_WORDS.get(folder.name.lower()) for folder in folders]
    return [
        _Part(folder, split if all(splits) else None, f"{folder.name}_")
        for folder, split in zip(folders, splits, strict=True)
    ]


def _label_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))


def _tracking(
    part: _Part, names: dict[str, int], notes: dict[str, None], problems: Problems
) -> Iterator[RawSequence]:
    """One sequence a label file."""
    files = _label_files(part.folder / TRACKING)
    folder = part.folder / _IMAGES[TRACKING]
    media = {path.stem if path.is_file() else path.name: path for path in _media(folder)} if files else {}
    for path in files:
        video = media.pop(path.stem, None)
        if video is None:
            problems.fail(
                path,
                f"no frames for these labels: neither a folder {folder / path.stem} of images nor a video "
                f"{path.stem}.mp4 (or other suffix) in {folder}",
            )
            continue
        table = _read_table(path, TRACKING, names, problems)
        images = tuple(list_images(video)) if video.is_dir() else None
        first = 0
        if images and all(image.stem.isdecimal() for image in images):
            numbers = np.array([int(image.stem[-15:]) for image in images], np.int64)
            first = int(numbers[0])
            table = _as_positions(path, table, numbers, video, notes, problems)
        yield RawSequence(
            name=part.prefix + path.stem,
            video=video,
            images=images,
            labels_file=path,
            row_form="{file}:{row}",
            row=table.line,
            frame=table.frame,
            track_id=table.track_id,
            class_id=table.class_id,
            boxes_xyxy_px=table.boxes_xyxy_px,
            first_frame=first,
            split=part.split,
        )
    problems.drop(NO_LABELS, (str(path) for path in media.values()))


def _media(folder: Path) -> list[Path]:
    """Video files and folders of images."""
    return [
        path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if not path.name.startswith(".")
        and (
            any(map(is_image_name, path.iterdir()))
            if path.is_dir()
            else path.suffix.lower() in VIDEO_SUFFIXES
        )
    ]


def _as_positions(
    path: Path,
    table: _Table,
    numbers: np.ndarray,
    video: Path,
    notes: dict[str, None],
    problems: Problems,
) -> _Table:
    """The table with the position of each frame's image in place of its number."""
    steps = np.diff(numbers)
    if (steps == 0).any():
        problems.fail(video, f"two images of frame {numbers[1:][steps == 0][0]}")
    elif (steps != 1).any():
        notes[GAPS] = None
    known = np.isin(table.frame, numbers)
    for row in np.flatnonzero(~known).tolist():
        problems.fail(
            f"{path}:{table.line[row]}",
            f"frame: {table.frame[row]} has no image in {video}, which has {len(numbers)}, numbered "
            f"{numbers[0]} to {numbers[-1]}",
        )
    table = _Table(*(column[known] for column in table))
    return table._replace(frame=np.searchsorted(numbers, table.frame))


def _detection(
    part: _Part, names: dict[str, int], notes: dict[str, None], problems: Problems
) -> Iterator[RawSequence]:
    """One sequence a series of images, or an image that stands alone."""
    files = {path.stem: path for path in _label_files(part.folder / DETECTION)}
    folder = part.folder / _IMAGES[DETECTION]
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if files and folder.is_dir() else []:
        if is_image_name(path) and not path.name.startswith("."):
            if path.stem in images:
                problems.fail(path, f"two images are called {path.stem!r}")
            images[path.stem] = path
    for stem in sorted(files.keys() - images.keys()):
        problems.fail(files[stem], f"there is no image {folder / stem}.png (or other suffix) for it")
    problems.drop(NO_LABELS, (str(images[stem]) for stem in sorted(images.keys() - files.keys())))
    labelled = [images[stem] for stem in sorted(files.keys() & images.keys())]
    if any((part.folder / name).is_dir() for name in _BENCHMARK):
        groups = [FrameGroup(image.stem, (image,)) for image in labelled]
        notes[SHUFFLED] = None
    else:
        groups = frame_groups(labelled, folder)
        notes |= {(STILLS if len(group.images) == 1 else VIDEOS): None for group in groups}
    for group in groups:
        # A series whose names are nothing but numbers has the name of its folder, which says nothing.
        name = part.folder.resolve().name if group.name == folder.name else part.prefix + group.name
        group_files = [files[image.stem] for image in group.images]
        tables = [_read_table(path, DETECTION, names, problems) for path in group_files]
        yield _series(name, group.images, group_files, tables, part.split)


def _series(
    name: str, images: tuple[Path, ...], files: list[Path], tables: list[_Table], split: str | None
) -> RawSequence:
    """A sequence of labelled images."""
    counts = [len(table.line) for table in tables]
    line, _, track_id, class_id, boxes_xyxy_px = (
        np.concatenate(column) for column in zip(*tables, strict=True)
    )
    alone = len(images) == 1
    return RawSequence(
        name=name,
        video=images[0] if alone else images[0].parent,
        images=images,
        labels_file=files[0] if alone else files[0].parent,
        frame_files=dict(enumerate(files)),
        row_form="{file}:{row}",
        row=line,
        frame=np.repeat(np.arange(len(images)), counts),
        track_id=track_id,
        class_id=class_id,
        boxes_xyxy_px=boxes_xyxy_px,
        split=split,
    )


def _read_table(path: Path, kind: str, names: dict[str, int], problems: Problems) -> _Table:
    """Parse a label file; ``names`` gets the classes that occur, numbered as they come."""
    first = 0 if kind == TRACKING else 2  # cells before "type"
    header = _TRACKING_COLUMNS[first:]
    widths = (len(header), len(header) + 1)
    ids = [NumberColumn("frame", 0, whole=True, lowest=0), NumberColumn("track_id", 1, whole=True, lowest=-1)]
    sides = [NumberColumn(name, header.index(name)) for name in ("left", "top", "right", "bottom")]
    columns = sides + (ids if kind == TRACKING else [])
    lines = read_text(path).split("\n")
    parts: list[_Table] = []
    for start in range(0, max(len(lines), 1), ROWS_AT_ONCE):
        numbered = [
            (cells, number)
            for number, line in enumerate(lines[start : start + ROWS_AT_ONCE], start + 1)
            if (cells := line.split())
        ]
        rows = [cells for cells, _ in numbered]
        numbers = np.array([number for _, number in numbered], np.int64)

        def fail(row: int, message: str, numbers: np.ndarray = numbers) -> None:
            problems.fail(f"{path}:{numbers[row]}", f"{message} (the columns are {' '.join(header)})")

        values, kept = read_numbers(rows, widths, columns, fail)
        types = [rows[row][2 - first] for row in kept.tolist()]
        wrong = {name for name in set(types) if _is_number(name)}
        for row, name in zip(kept.tolist(), types, strict=True):
            if name in wrong:
                fail(row, f"type: the name of a class is expected, got {name!r}")
        ignored = np.array([name.lower() == "dontcare" for name in types], bool)
        found = numbers[kept[ignored]]
        problems.note(DONT_CARE, [f"{path}:{number}" for number in found[:EXAMPLES].tolist()], len(found))
        keep = np.flatnonzero(~ignored)
        class_id = [names.setdefault(types[row], len(names)) for row in keep.tolist()]
        values = values[keep]
        whole = values[:, 4:].astype(np.int64) if kind == TRACKING else np.tile([0, -1], (len(keep), 1))
        parts.append(
            _Table(numbers[kept[keep]], whole[:, 0], whole[:, 1], np.array(class_id, np.int64), values[:, :4])
        )
    return _Table(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
