"""The labels of one sequence: columns of numbers in memory, a CSV file that a person can edit on disk.

Where masks are known, the file has a column more (`seqdet.rle`), empty for boxes without one.

Legend: M boxes in a sequence, frames counted from 0, boxes as edges in pixels of the displayed frame.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from seqdet.data.checks import raise_problems
from seqdet.errors import InputError
from seqdet.rle import fault
from seqdet.types import Targets

HEADER = ("frame", "track_id", "class", "left", "top", "right", "bottom")
MASK = "mask"
DECIMALS = 3  # a thousandth of a pixel is kept on disk
_ROWS_AT_ONCE = 100_000
_LARGEST_ID = 2**53  # ids travel through float64 in some readers


@dataclass(frozen=True, slots=True)
class Labels:
    """The boxes of one sequence as columns, sorted by frame, then by track.

    Attributes:
        frame: (M,) int64, from 0.
        track_id: (M,) int64, from 0; one id is one object, and occurs once in a frame.
        class_id: (M,) int64, indices into the data set's classes.
        boxes_xyxy_px: (M, 4) float32 edges in pixels, left < right and top < bottom, inside the frame.
        masks: M texts of `seqdet.rle`, "" where the mask is not known; () where none is.
    """

    frame: np.ndarray
    track_id: np.ndarray
    class_id: np.ndarray
    boxes_xyxy_px: np.ndarray
    masks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.frame)
        shapes = (self.track_id.shape, self.class_id.shape, self.boxes_xyxy_px.shape)
        if self.frame.shape != (count,) or shapes != ((count,), (count,), (count, 4)):
            raise ValueError(f"{count} frames need columns (M,), (M,), (M, 4); got {shapes}")
        if np.any(np.diff(self.frame) < 0):
            raise ValueError("labels are sorted by frame; use Labels.from_columns for unsorted ones")
        if len(self.masks) not in (0, count):
            raise ValueError(f"{count} boxes with {len(self.masks)} masks")

    @classmethod
    def from_columns(
        cls,
        frame: np.ndarray,
        track_id: np.ndarray,
        class_id: np.ndarray,
        boxes_xyxy_px: np.ndarray,
        masks: Sequence[str] = (),
    ) -> Labels:
        """Labels from unsorted columns of any number type; masks that are all "" are none."""
        order = np.lexsort((track_id, frame))
        return cls(
            np.asarray(frame, np.int64)[order],
            np.asarray(track_id, np.int64)[order],
            np.asarray(class_id, np.int64)[order],
            np.asarray(boxes_xyxy_px, np.float32).reshape(-1, 4)[order],
            tuple(masks[index] for index in order.tolist()) if any(masks) else (),
        )

    @classmethod
    def empty(cls) -> Labels:
        """A sequence without objects."""
        ids = np.zeros(0, np.int64)
        return cls(ids, ids, ids, np.zeros((0, 4), np.float32))

    def __len__(self) -> int:
        return len(self.frame)

    def at(self, frame: int) -> Targets:
        """The truth of one frame, counted from 0; a frame without labels has no object."""
        first, last = np.searchsorted(self.frame, (frame, frame + 1))
        return Targets(
            self.boxes_xyxy_px[first:last],
            self.class_id[first:last],
            self.track_id[first:last],
            self.masks[first:last],
        )

    def window(self, frames: np.ndarray) -> Labels:
        """The labels of a window, whose frames are then counted from its first.

        Args:
            frames: (T,) int64, in any order; a frame may come twice.
        """
        first = np.searchsorted(self.frame, frames)
        counts = np.searchsorted(self.frame, frames, side="right") - first
        place = np.repeat(np.arange(len(frames)), counts)
        rows = np.arange(len(place)) + (first - np.cumsum(counts) + counts)[place]
        masks = tuple(self.masks[row] for row in rows.tolist()) if self.masks else ()
        return Labels(place, self.track_id[rows], self.class_id[rows], self.boxes_xyxy_px[rows], masks)


def write_labels(path: Path, labels: Labels, classes: tuple[str, ...]) -> None:
    """Write a label file; classes by name, coordinates to a thousandth of a pixel.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*HEADER, MASK) if labels.masks else HEADER)
        for start in range(0, len(labels), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            edges = np.round(labels.boxes_xyxy_px[part].astype(np.float64), DECIMALS).tolist()
            writer.writerows(
                (frame, track, classes[kind], *(f"{edge:.10g}" for edge in box), *mask)
                for frame, track, kind, box, mask in zip(
                    labels.frame[part].tolist(),
                    labels.track_id[part].tolist(),
                    labels.class_id[part].tolist(),
                    edges,
                    zip(labels.masks[part], strict=True) if labels.masks else repeat((), len(edges)),
                    strict=True,
                )
            )


def read_labels(path: Path, classes: tuple[str, ...], frames: int, size_wh: tuple[int, int]) -> Labels:
    """Read and check a label file of a sequence of ``frames`` frames.

    Args:
        path: the CSV file; UTF-8, a byte order mark and CRLF are accepted.
        classes: the names that the class column may hold.
        frames: number of frames of the sequence.
        size_wh: width and height of its frames in pixels.

    Raises:
        InputError: with file, line and column of everything that is wrong (the first 20 are shown).
    """
    indices = {name: index for index, name in enumerate(classes)}
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    masks: list[str] = []
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = tuple(cell.strip() for cell in next(reader, []))
            if header not in (HEADER, (*HEADER, MASK)):
                raise InputError(
                    f"{path}:1: the header must be {','.join(HEADER)!r}, got {','.join(header)[:120]!r}"
                )
            for rows, lines in _chunks(reader):
                texts = _taken_masks(path, rows, lines, size_wh, problems) if MASK in header else []
                parts.append(_parse(path, rows, lines, indices, problems))
                masks += texts
    except OSError as error:
        raise InputError(f"{path}: the label file cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file: {error}") from error
    values = np.concatenate([part[0] for part in parts]) if parts else np.zeros((0, 7))
    lines = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int64)
    problems.extend(_misfits(path, values, lines, frames, size_wh))
    raise_problems(problems, f"{path}: the label file is not valid")
    return Labels.from_columns(values[:, 0], values[:, 1], values[:, 2], values[:, 3:], masks)


def _taken_masks(
    path: Path, rows: list[list[str]], lines: np.ndarray, size_wh: tuple[int, int], problems: list[str]
) -> list[str]:
    """Take the last cell off every row that has one too many; what is wrong with it is told."""
    masks = []
    for row, line in zip(rows, lines.tolist(), strict=True):
        if len(row) <= len(HEADER):
            problems.append(f"{path}:{line}: {len(HEADER) + 1} columns are expected, got {len(row)}")
            row += [""] * (len(HEADER) - len(row))
        mask = row.pop() if len(row) > len(HEADER) else ""
        if mask and (wrong := fault(mask, size_wh)):
            problems.append(f"{path}:{line}: mask: {wrong}")
        masks.append(mask)
    return masks


def _chunks(reader: Iterator[list[str]]) -> Iterator[tuple[list[list[str]], np.ndarray]]:
    """Non-empty rows with their line numbers, a bounded number at a time."""

    def numbered() -> Iterator[tuple[list[str], int]]:
        for row in reader:
            if row:
                yield row, reader.line_num  # type: ignore[attr-defined]

    rows = numbered()
    while chunk := list(islice(rows, _ROWS_AT_ONCE)):
        yield [row for row, _ in chunk], np.array([line for _, line in chunk], np.int64)


def _parse(
    path: Path, rows: list[list[str]], lines: np.ndarray, classes: dict[str, int], problems: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(R, 7) float64 values with the class as index, and their lines; slow only where something is wrong."""
    values = np.empty((len(rows), 7))
    try:
        columns = list(zip(*rows, strict=True))
        if len(columns) != len(HEADER):
            raise ValueError("columns")
        for index, column in enumerate(columns):
            if index == 2:
                values[:, 2] = [classes[name] for name in column]
            elif index < 2:
                values[:, index] = np.array([int(cell) for cell in column], np.int64)
            else:
                values[:, index] = np.array(column, dtype=np.float64)
    except (ValueError, KeyError, OverflowError):
        good = []
        for row_index, (row, line) in enumerate(zip(rows, lines.tolist(), strict=True)):
            faults = list(_cell_faults(row, classes))
            problems.extend(f"{path}:{line}: {fault}" for fault in faults)
            if not faults:
                good.append(row_index)
                values[row_index] = [
                    int(row[0]),
                    int(row[1]),
                    classes[row[2].strip()],
                    *(float(cell) for cell in row[3:]),
                ]
        return values[good], lines[good]
    return values, lines


def _cell_faults(row: list[str], classes: dict[str, int]) -> Iterator[str]:
    """What is wrong with the cells of one row, each on its own."""
    if len(row) != len(HEADER):
        yield f"{len(HEADER)} columns are expected ({','.join(HEADER)}), got {len(row)}"
        return
    for name, cell in zip(HEADER, row, strict=True):
        if name == "class":
            if cell.strip() not in classes:
                yield f"class: {cell[:60]!r} is not a class of the data set; classes are {', '.join(classes)}"
        elif name in ("frame", "track_id"):
            try:
                if abs(int(cell)) > _LARGEST_ID:
                    yield f"{name}: {cell[:30]} is too large"
            except ValueError:
                yield f"{name}: a whole number is expected, got {cell[:60]!r}"
        else:
            try:
                float(cell)
            except ValueError:
                yield f"{name}: a number is expected, got {cell[:60]!r}"


def _misfits(
    path: Path, values: np.ndarray, lines: np.ndarray, frames: int, size_wh: tuple[int, int]
) -> Iterable[str]:
    """Rows of numbers that no sequence of this length and size can have."""
    width, height = size_wh
    frame, track, box = values[:, 0], values[:, 1], values[:, 3:]
    tolerance = 10.0**-DECIMALS
    with np.errstate(invalid="ignore"):
        empty = (box[:, 2] <= box[:, 0]) | (box[:, 3] <= box[:, 1])
        outside = (
            (box[:, :2] < -tolerance).any(1)
            | (box[:, 2] > width + tolerance)
            | (box[:, 3] > height + tolerance)
        )
    order = np.lexsort((track, frame))
    repeated = np.zeros(len(values), bool)
    same = (np.diff(frame[order]) == 0) & (np.diff(track[order]) == 0)
    repeated[order[1:][same]] = True
    checks = (
        (
            (frame < 0) | (frame >= frames),
            f"frame: the sequence has frames 0 to {frames - 1}, got {{0[0]:.0f}}",
        ),
        (track < 0, "track_id: ids start at 0, got {0[1]:.0f}"),
        (~np.isfinite(box).all(1), "a coordinate is not a finite number"),
        (empty, "right must exceed left and bottom must exceed top"),
        (outside, f"the box leaves the frame of {width}x{height} pixels"),
        (repeated, "track {0[1]:.0f} has a second box in frame {0[0]:.0f}"),
    )
    found = [
        (int(lines[row]), message.format(values[row]))
        for wrong, message in checks
        for row in np.flatnonzero(wrong).tolist()
    ]
    return [f"{path}:{line}: {message}" for line, message in sorted(found)]
