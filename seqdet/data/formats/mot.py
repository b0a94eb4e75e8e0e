"""MOT Challenge labels, one line a box: ``frame,track,left,top,width,height[,conf[,class[,visibility]]]``.

Frames and pixel coordinates start at 1 in these files, and at 0 from here on. Two layouts are read:

    standard   SEQ/gt/gt.txt with SEQ/img1/*.jpg (or a video in SEQ) and SEQ/seqinfo.ini; one sequence, a
               folder of them, or folders of them called train, val and test
    flat       gt/CLIP.txt with videos/CLIP.mp4 (or a folder videos/CLIP of images), classes.txt and clips.csv

Class k is line k of ``classes.txt`` (or ``gt/labels.txt``), else one of the classes of MOT16 and MOT17. A
line with conf 0 is to be ignored, says the format; ignored lines are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdet.boxes import xyxy_from_ltwh
from seqdet.data.formats.mot_layout import MotItem, flat_items, is_flat, sequence_folders, standard_items
from seqdet.data.formats.protocol import EXAMPLES, Problems, RawDataset, RawSequence, read_text
from seqdet.errors import InputError

NAME = "mot"
LOOKS = "SEQ/gt/gt.txt with SEQ/img1/, or gt/CLIP.txt with videos/CLIP.mp4"
COLUMNS = ("frame", "track", "left", "top", "width", "height", "conf", "class", "visibility")
MOT17_CLASSES = (
    "pedestrian", "person_on_vehicle", "car", "bicycle", "motorbike", "non_motorized_vehicle",
    "static_person", "distractor", "occluder", "occluder_on_the_ground", "occluder_full", "reflection",
    "crowd",
)  # fmt: skip
IGNORED = "line with conf 0, which the format says to ignore"
_LARGEST_ID = 2**53


def sniff(source: Path) -> bool:
    """True for a folder of one of the two layouts."""
    return source.is_dir() and (is_flat(source) or bool(sequence_folders(source)))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all sequences of a folder.

    Raises:
        InputError: a file that cannot be read at all.
    """
    items = list(flat_items(source, problems) if is_flat(source) else standard_items(source, problems))
    tables = [_read_table(item.labels, problems) for item in items]
    named = _class_names(source, items)
    names = named or _names_of_used(tables)
    sequences = [_sequence(item, table, names, problems) for item, table in zip(items, tables, strict=True)]
    note = f"there is no classes.txt: classes are called {', '.join(names.values())}"
    return RawDataset(tuple(names.values()), sequences, () if named else (note,))


def _class_names(source: Path, items: list[MotItem]) -> dict[int, str] | None:
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


def _sequence(item: MotItem, table: _Table, names: dict[int, str], problems: Problems) -> RawSequence:
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
