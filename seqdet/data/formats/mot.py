"""MOT Challenge labels, one line a box: ``frame,track,left,top,width,height[,conf[,class[,visibility]]]``.

Frames and pixel coordinates start at 1 in these files, and at 0 from here on. Two layouts are read:

    standard   SEQ/gt/gt.txt with SEQ/img1/*.jpg (or a video in SEQ) and SEQ/seqinfo.ini; one sequence, a
               folder of them, or folders of them called train, val and test
    flat       gt/CLIP.txt with videos/CLIP.mp4 (or a folder videos/CLIP of images), classes.txt and clips.csv

Class k is line k of ``classes.txt`` (or ``gt/labels.txt``), else one of the classes of MOT16 and MOT17. A
line with conf 0 is to be ignored, says the format; ignored lines are counted.
"""

from __future__ import annotations

import configparser
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from seqdet.boxes import xyxy_from_ltwh
from seqdet.data.dataset import SPLITS
from seqdet.data.formats.protocol import (
    EXAMPLES,
    VIDEO_SUFFIXES,
    Problems,
    RawDataset,
    RawSequence,
    path_under,
    read_text,
)
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name, list_images

NAME = "mot"
COLUMNS = ("frame", "track", "left", "top", "width", "height", "conf", "class", "visibility")
MOT17_CLASSES = (
    "pedestrian", "person_on_vehicle", "car", "bicycle", "motorbike", "non_motorized_vehicle",
    "static_person", "distractor", "occluder", "occluder_on_the_ground", "occluder_full", "reflection",
    "crowd",
)  # fmt: skip
IGNORED = "line with conf 0, which the format says to ignore"
NO_LABELS = "video without a label file: left out (an empty label file says that it holds no object)"
_CLIP_COLUMNS = ("clip", "label", "recording", "split", "frames", "tracks", "width", "height", "fps")
_LARGEST_ID = 2**53


@dataclass(frozen=True, slots=True)
class _Item:
    """Where one sequence is, and what is said of it outside its label file."""

    name: str
    labels: Path
    video: Path
    images: tuple[Path, ...] | None
    frames: int | None = None
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    label: str | None = None
    recording: str | None = None
    split: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def sniff(source: Path) -> bool:
    """True for a folder of one of the two layouts."""
    return source.is_dir() and (_is_flat(source) or bool(_sequence_folders(source)))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all sequences of a folder.

    Raises:
        InputError: a file that cannot be read at all.
    """
    items = list(_flat_items(source, problems) if _is_flat(source) else _standard_items(source, problems))
    tables = [_read_table(item.labels, problems) for item in items]
    named = _class_names(source, items)
    names = named or _names_of_used(tables)
    sequences = [_sequence(item, table, names, problems) for item, table in zip(items, tables, strict=True)]
    note = f"there is no classes.txt: classes are called {', '.join(names.values())}"
    return RawDataset(tuple(names.values()), sequences, () if named else (note,))


def _is_flat(source: Path) -> bool:
    return (
        (source / "videos").is_dir() and (source / "gt").is_dir() and not (source / "gt" / "gt.txt").exists()
    )


def _sequence_folders(source: Path) -> list[tuple[Path, str | None]]:
    """Folders with gt/gt.txt, each with the split that the folder above names."""

    def has_labels(folder: Path) -> bool:
        return (folder / "gt" / "gt.txt").is_file()

    if has_labels(source):
        return [(source, None)]
    found: list[tuple[Path, str | None]] = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        if has_labels(folder):
            found.append((folder, None))
        elif folder.name.lower() in SPLITS:
            inner = sorted(path for path in folder.iterdir() if has_labels(path))
            found.extend((path, folder.name.lower()) for path in inner)
    return found


def _standard_items(source: Path, problems: Problems) -> Iterator[_Item]:
    for folder, split in _sequence_folders(source):
        info = _read_seqinfo(folder / "seqinfo.ini", problems)
        name = folder.resolve().name
        images_folder = path_under(folder, info.get("imdir", "img1"))
        if images_folder is None:
            problems.fail(
                folder / "seqinfo.ini", f"imDir: {info['imdir']!r} leads out of the sequence's folder"
            )
            continue
        media = _media(images_folder) or _only_video(folder) or _media_named(folder.parent, name)
        if media is None:
            problems.fail(
                folder / "gt" / "gt.txt",
                f"no frames for these labels: neither images in {images_folder} nor a video in {folder}",
            )
            continue
        try:
            size = (int(info["imwidth"]), int(info["imheight"])) if "imwidth" in info else None
            frames = int(info["seqlength"]) if "seqlength" in info else None
            fps = float(info["framerate"]) if "framerate" in info else None
        except (ValueError, KeyError) as error:
            problems.fail(
                folder / "seqinfo.ini", f"seqLength, frameRate, imWidth, imHeight are numbers: {error}"
            )
            continue
        video, images = media
        if images and not _numbered_from_one(images):
            problems.fail(
                images_folder,
                f"the images are {images[0].name} to {images[-1].name}; {len(images)} frames are numbered 1 "
                f"to {len(images)} in this format: some are missing, or they start elsewhere",
            )
        detector = re.fullmatch(r"(MOT17-\d+)-(DPM|FRCNN|SDP)", name)  # three copies of one video
        yield _Item(
            name, folder / "gt" / "gt.txt", video, images, frames, size, fps,
            recording=detector[1] if detector else None, split=split,
        )  # fmt: skip


def _flat_items(source: Path, problems: Problems) -> Iterator[_Item]:
    rows = _read_clips(source / "clips.csv", problems)
    media: dict[str, tuple[Path, tuple[Path, ...] | None]] = {}
    for path in sorted((source / "videos").iterdir()):
        found = _media(path)
        name = path.name if path.is_dir() else path.stem
        if found and name in media:
            problems.fail(path, f"two videos are called {name!r}")
        elif found:
            media[name] = found
    labels = {path.stem: path for path in sorted((source / "gt").glob("*.txt")) if path.stem != "labels"}
    for name in labels.keys() - media.keys():
        problems.fail(
            labels[name], f"there is no video {source / 'videos' / name}.mp4 (or other suffix) for it"
        )
    for name in rows.keys() - labels.keys():
        problems.fail(source / "clips.csv", f"clip: {name!r} has no label file {source / 'gt' / name}.txt")
    problems.drop(
        NO_LABELS, (str(media[name][0]) for name in sorted(media.keys() - labels.keys() - rows.keys()))
    )
    for name in sorted(labels.keys() & media.keys()):
        video, images = media[name]
        yield _Item(name, labels[name], video, images, **rows.get(name, {}))  # type: ignore[arg-type]


def _media(path: Path) -> tuple[Path, tuple[Path, ...] | None] | None:
    """A video file or a folder of images; None for anything else."""
    if path.is_file():
        return (path, None) if path.suffix.lower() in VIDEO_SUFFIXES else None
    if path.is_dir() and any(is_image_name(entry) for entry in path.iterdir()):
        return path, tuple(list_images(path))
    return None


def _only_video(folder: Path) -> tuple[Path, None] | None:
    videos = [path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
    return (videos[0], None) if len(videos) == 1 else None


def _media_named(folder: Path, name: str) -> tuple[Path, None] | None:
    videos = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in VIDEO_SUFFIXES]
    return next(((path, None) for path in videos if path.stem == name), None)


def _numbered_from_one(images: tuple[Path, ...]) -> bool:
    """False only where the names are numbers, but not 1 to N."""
    stems = [path.stem for path in images]
    return not all(stem.isdecimal() for stem in stems) or [int(stem) for stem in stems] == list(
        range(1, len(stems) + 1)
    )


def _read_seqinfo(path: Path, problems: Problems) -> dict[str, str]:
    """The [Sequence] section with lower-case keys; empty where there is no file."""
    if not path.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text(path), source=str(path))
        return dict(parser["Sequence"])
    except (configparser.Error, KeyError) as error:
        problems.fail(
            path, f"a [Sequence] section with key=value lines is expected: {str(error).splitlines()[0]}"
        )
        return {}


def _read_clips(path: Path, problems: Problems) -> dict[str, dict[str, object]]:
    """What ``clips.csv`` says of each clip, as fields of _Item; empty where there is no file."""
    if not path.is_file():
        return {}
    reader = csv.DictReader(io.StringIO(read_text(path)))
    if "clip" not in (reader.fieldnames or ()):
        problems.fail(f"{path}:1", "the header needs a column 'clip'; others are optional")
        return {}
    rows: dict[str, dict[str, object]] = {}
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            problems.fail(where, f"{len(reader.fieldnames or ())} columns are expected, as in the header")
            continue
        if row["clip"] in rows:
            problems.fail(where, f"clip: {row['clip']!r} occurs twice")
        numbers: dict[str, float] = {}
        for key in ("frames", "width", "height", "fps"):
            try:
                if row.get(key):
                    numbers[key] = float(row[key])
            except ValueError:
                problems.fail(where, f"{key}: a number is expected, got {row[key][:60]!r}")
        if row.get("split") and row["split"] not in SPLITS:
            problems.fail(where, f"split: one of {', '.join(SPLITS)} is expected, got {row['split'][:60]!r}")
        sized = "width" in numbers and "height" in numbers
        rows[row["clip"]] = {
            "label": row.get("label") or None,
            "recording": row.get("recording") or None,
            "split": row.get("split") or None,
            "frames": int(numbers["frames"]) if "frames" in numbers else None,
            "fps": numbers.get("fps"),
            "size_wh": (int(numbers["width"]), int(numbers["height"])) if sized else None,
            "attributes": {key: value for key, value in row.items() if key not in _CLIP_COLUMNS and value},
        }
    return rows


def _class_names(source: Path, items: list[_Item]) -> dict[int, str] | None:
    """Names by number as ``classes.txt`` has them, or None when there is no such file."""
    places = [source / "classes.txt", *(item.labels.parent / "labels.txt" for item in items[:1])]
    for path in places:
        if path.is_file():
            names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
            if not names or len(set(names)) != len(names):
                raise InputError(f"{path}: one or more different class names are expected, one a line")
            return dict(enumerate(names, 1))
    return None


def _names_of_used(tables: list[_Table]) -> dict[int, str]:
    """The classes that occur, by the names of MOT17 where it has one."""
    used = sorted({int(number) for table in tables for number in np.unique(table.classes)}) or [1]
    return {
        number: MOT17_CLASSES[number - 1] if 1 <= number <= len(MOT17_CLASSES) else f"class_{number}"
        for number in used
    }


@dataclass(frozen=True, slots=True)
class _Table:
    """The used lines of one label file."""

    line: np.ndarray
    frame: np.ndarray
    track: np.ndarray
    boxes_ltwh: np.ndarray
    classes: np.ndarray


def _read_table(path: Path, problems: Problems) -> _Table:
    """Parse a label file; the usual file in C, line by line only to say what is wrong."""
    lines = read_text(path).split("\n")
    numbers = np.array([number for number, line in enumerate(lines, 1) if line.strip()], np.int64)
    rows = [line for line in lines if line.strip()]
    if not rows:
        values = np.zeros((0, len(COLUMNS)))
    else:
        try:
            values = np.loadtxt(rows, delimiter=",", ndmin=2, comments=None, dtype=np.float64)
            if values.shape[1] < 6:
                raise ValueError("columns")
        except ValueError:
            values, numbers = _parse_slowly(path, rows, numbers, problems)
    ids = values[:, :2]
    whole = (np.floor(ids) == ids) & (np.abs(ids) < _LARGEST_ID)
    good = whole.all(axis=1)
    for row in np.flatnonzero(~good).tolist():
        column = int(np.argmin(whole[row]))
        problems.fail(
            f"{path}:{numbers[row]}",
            f"{COLUMNS[column]}: a whole number is expected, got {ids[row, column]:g}",
        )
    negative = good & (values[:, 1] < -1)
    for row in np.flatnonzero(negative).tolist():
        problems.fail(f"{path}:{numbers[row]}", f"track: 0 or more, or -1 for none, got {ids[row, 1]:.0f}")
    ignored = good & (values[:, 6] == 0) if values.shape[1] > 6 else np.zeros(len(values), bool)
    found = np.flatnonzero(ignored)
    # Not a fault of the file, so not a failure under strict either.
    problems.note(IGNORED, [f"{path}:{numbers[row]}" for row in found[:EXAMPLES].tolist()], len(found))
    keep = good & ~negative & ~ignored
    classes = values[keep, 7] if values.shape[1] > 7 else np.ones(np.count_nonzero(keep))
    if values.shape[1] >= 10:  # MOT15: -1 and 3D coordinates in place of class and visibility
        classes = np.where(classes == -1, 1, classes)
    return _Table(
        numbers[keep], values[keep, 0].astype(np.int64), values[keep, 1].astype(np.int64), values[keep, 2:6],
        _whole_classes(path, numbers[keep], classes, problems),
    )  # fmt: skip


def _whole_classes(path: Path, lines: np.ndarray, classes: np.ndarray, problems: Problems) -> np.ndarray:
    bad = ~(np.floor(classes) == classes) | (np.abs(classes) >= _LARGEST_ID)
    for row in np.flatnonzero(bad).tolist():
        problems.fail(f"{path}:{lines[row]}", f"class: a whole number is expected, got {classes[row]:g}")
    return np.where(bad, 1, classes).astype(np.int64)


def _parse_slowly(
    path: Path, rows: list[str], numbers: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """The lines that can be used, after a message for each that cannot."""
    values: list[list[float]] = []
    kept: list[int] = []
    width = rows[0].count(",") + 1
    for row, number in zip(rows, numbers.tolist(), strict=True):
        cells = row.split(",")
        if len(cells) < 6 or len(cells) != width:
            expected = (
                f"{width} columns are expected, as in the first line"
                if width >= 6
                else (f"at least 6 columns are expected ({','.join(COLUMNS[:6])})")
            )
            problems.fail(f"{path}:{number}", f"{expected}, got {len(cells)}: {row.strip()[:60]!r}")
            continue
        parsed: list[float] = []
        for index, cell in enumerate(cells):
            try:
                parsed.append(float(cell))
            except ValueError:
                name = COLUMNS[index] if index < len(COLUMNS) else f"column {index + 1}"
                problems.fail(f"{path}:{number}", f"{name}: a number is expected, got {cell.strip()[:60]!r}")
        if len(parsed) == width:
            values.append(parsed)
            kept.append(number)
    columns = max(width, len(COLUMNS))
    return (np.array(values) if values else np.zeros((0, columns))), np.array(kept, np.int64)


def _sequence(item: _Item, table: _Table, names: dict[int, str], problems: Problems) -> RawSequence:
    """Counting from 0, classes as indices."""
    numbers = np.array(sorted(names), np.int64)
    known = np.isin(table.classes, numbers)
    for row in np.flatnonzero(~known).tolist():
        listed = ", ".join(f"{number} {name}" for number, name in list(names.items())[:20])
        problems.fail(
            f"{item.labels}:{table.line[row]}",
            f"class: {table.classes[row]} is unknown; classes are {listed}",
        )
    ltwh = table.boxes_ltwh[known] - np.array([1.0, 1.0, 0.0, 0.0])
    return RawSequence(
        name=item.name,
        video=item.video,
        images=item.images,
        labels_file=item.labels,
        row_form="{file}:{row}",
        row=table.line[known],
        frame=table.frame[known] - 1,
        track_id=table.track[known],
        class_id=np.searchsorted(numbers, table.classes[known]),
        boxes_xyxy_px=xyxy_from_ltwh(ltwh),
        first_frame=1,
        frames=item.frames,
        size_wh=item.size_wh,
        fps=item.fps,
        label=item.label,
        recording=item.recording,
        split=item.split,
        attributes=item.attributes,
    )
