"""Label files read leniently, for ``seqdet check``: every row that can be understood, and what is wrong.

`read_labels` refuses a file with a fault; here the rest of it is still read, so that all faults of a data
set are listed at once, and so that what is safe can be repaired. Each step takes rows and gives those that
are left after its repairs.

Legend: M rows of a label file, boxes as edges in pixels of the displayed frame.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from seqdet import boxes
from seqdet.data.labels import DECIMALS, HEADER, Labels

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
CELLS = ("where", "frame", "found", "repair")
LARGEST_ID = 2**53
TINY_PX = 2.0  # a shorter side is below what a camera resolves
_ROWS_AT_ONCE = 100_000
# Rows of these kinds cannot be kept, and dropping them would lose what was meant: --fix refuses.
UNREPAIRABLE = ("row", "frame", "coordinate")
DROPPED, CLIPPED, OWN_TRACK, KEPT_ONCE = "dropped", "clipped", "a track of its own", "kept once"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or odd.

    Attributes:
        kind: such as "gap".
        severity: "error" (cannot be used so), "warning" (probably a mistake) or "note" (worth knowing).
        file: in the data set, such as "labels/clip.csv".
        line: in that file, from 1, or None.
        frame: from 0, or None.
        message: what was found.
        repair: what --fix does about it, or "" where no repair is safe.
    """

    kind: str
    severity: Severity
    file: str
    line: int | None
    frame: int | None
    message: str
    repair: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one label file as columns, in any order.

    Attributes:
        line: (M,) int64 lines of the file, from 1.
        frame: (M,) int64.
        track_id: (M,) int64.
        class_id: (M,) int64 indices into the classes.
        boxes_xyxy_px: (M, 4) float64; anything, until `check_boxes` has seen them.
    """

    line: np.ndarray
    frame: np.ndarray
    track_id: np.ndarray
    class_id: np.ndarray
    boxes_xyxy_px: np.ndarray

    def __len__(self) -> int:
        return len(self.line)

    def take(self, which: np.ndarray) -> Rows:
        """The rows of a mask or of indices."""
        return Rows(
            self.line[which],
            self.frame[which],
            self.track_id[which],
            self.class_id[which],
            self.boxes_xyxy_px[which],
        )

    def by_track(self) -> tuple[np.ndarray, np.ndarray]:
        """(M,) order by track, then frame; (M - 1,) whether a row there and the next are of one track."""
        order = np.lexsort((self.frame, self.track_id))
        return order, np.diff(self.track_id[order]) == 0

    def labels(self) -> Labels:
        """The rows as labels; they must have passed the checks."""
        return Labels.from_columns(self.frame, self.track_id, self.class_id, self.boxes_xyxy_px)


def read_rows(path: Path, file: str, classes: tuple[str, ...]) -> tuple[Rows, list[Finding]]:
    """Read all rows of a label file that are rows.

    Args:
        path: the CSV file.
        file: its name in findings.
        classes: names of the classes.

    Returns:
        The rows, and a finding of kind "row" for each line that is none.
    """
    indices = {name: index for index, name in enumerate(classes)}
    parts = [(np.zeros((0, 7)), np.zeros(0, np.int64))]
    found: list[Finding] = []
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = tuple(cell.strip() for cell in next(reader, []))
            line = 1
            if header != HEADER:
                got = ",".join(header)[:120]
                message = f"the header must be {','.join(HEADER)}, got {got!r}"
                return _rows(parts), [Finding("row", "error", file, 1, None, message)]
            numbered = ((row, reader.line_num) for row in reader if row)
            while chunk := list(islice(numbered, _ROWS_AT_ONCE)):
                parts.append(_parse(chunk, file, indices, found))
                line = chunk[-1][1]
    except OSError as error:
        found.append(Finding("row", "error", file, None, None, f"cannot be read: {error.strerror}"))
    except (UnicodeDecodeError, csv.Error) as error:
        message = f"not UTF-8 CSV text after this line: {error}; the rest is not read"
        found.append(Finding("row", "error", file, line, None, message))
    return _rows(parts), found


def _rows(parts: list[tuple[np.ndarray, np.ndarray]]) -> Rows:
    values = np.concatenate([part[0] for part in parts])
    whole = values[:, :3].astype(np.int64)
    lines = np.concatenate([part[1] for part in parts])
    return Rows(lines, whole[:, 0], whole[:, 1], whole[:, 2], values[:, 3:])


def _parse(
    chunk: list[tuple[list[str], int]], file: str, classes: dict[str, int], found: list[Finding]
) -> tuple[np.ndarray, np.ndarray]:
    """(R, 7) values and (R,) lines of the rows that are good; row by row only where one is not."""
    lines = np.array([line for _, line in chunk], np.int64)
    values = np.empty((len(chunk), len(HEADER)))
    try:
        columns = list(zip(*(row for row, _ in chunk), strict=True))
        for index, column in enumerate(columns):
            if index == 2:
                values[:, 2] = [classes[name] for name in column]
            elif index < 2:
                values[:, index] = np.array([int(cell) for cell in column], np.int64)
            else:
                values[:, index] = np.array(column, np.float64)
        if len(columns) == len(HEADER) and np.abs(values[:, :2]).max() <= LARGEST_ID:
            return values, lines
    except (ValueError, KeyError, OverflowError, IndexError):
        pass  # the rows are read one by one below, to find which
    good = []
    for position, (row, line) in enumerate(chunk):
        faults = list(_faults(row, classes))
        found += [Finding("row", "error", file, line, None, fault) for fault in faults]
        if not faults:
            good.append(position)
            numbers = [int(row[0]), int(row[1]), classes[row[2].strip()], *map(float, row[3:])]
            values[position] = numbers
    return values[good], lines[good]


def _faults(row: list[str], classes: dict[str, int]) -> Iterator[str]:
    """What is wrong with the cells of one row, each on its own."""
    if len(row) != len(HEADER):
        yield f"{len(HEADER)} columns are expected, got {len(row)}"
        return
    for name, cell in zip(HEADER, row, strict=True):
        if name == "class":
            if cell.strip() not in classes:
                yield f"class: {cell[:60]!r} is none of {', '.join(classes)}"
            continue
        whole = name in ("frame", "track_id")
        try:
            if abs(int(cell) if whole else 0) > LARGEST_ID:
                yield f"{name}: {cell[:30]} is too large"
            float(cell)
        except (ValueError, OverflowError):
            yield f"{name}: a {'whole ' * whole}number is expected, got {cell[:60]!r}"


def findings(
    rows: Rows, wrong: np.ndarray, kind: str, severity: Severity, file: str, message: str, repair: str = ""
) -> list[Finding]:
    """One finding for each row of a mask; ``message`` may name {track}, {frame} and {box}."""
    return [
        Finding(
            kind,
            severity,
            file,
            int(rows.line[row]),
            int(rows.frame[row]),
            message.format(track=rows.track_id[row], frame=rows.frame[row], box=box_text(rows, row)),
            repair,
        )
        for row in np.flatnonzero(wrong).tolist()
    ]


def grouped(found: Items[Finding]) -> list[list[Finding]]:
    """Findings of one severity and kind together: errors first, then the most frequent."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return sorted(groups.values(), key=lambda group: (SEVERITIES.index(group[0].severity), -len(group)))


def cells(finding: Finding) -> list[str]:
    """A row of a table under ``CELLS``."""
    where = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
    frame = "" if finding.frame is None else str(finding.frame)
    return [where, frame, finding.message, finding.repair]


def box_text(rows: Rows, row: int) -> str:
    """Such as "12, 8, 20.5, 16": left, top, right, bottom."""
    return ", ".join(f"{edge:.10g}" for edge in rows.boxes_xyxy_px[row])


def check_boxes(rows: Rows, file: str, frames: int, size_wh: tuple[int, int]) -> tuple[Rows, list[Finding]]:
    """Boxes that no frame of this video can have; they are clipped or left out, as ``ingest`` would.

    Args:
        rows: as read.
        file: name of the label file in findings.
        frames: number of frames of the sequence.
        size_wh: width and height of its frames in pixels.

    Returns:
        Rows with boxes inside the frame, of some size, with track ids from 0; and what was wrong.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        box = np.round(rows.boxes_xyxy_px, DECIMALS)
    finite = np.asarray(np.isfinite(box).all(axis=1))
    there = (rows.frame >= 0) & (rows.frame < frames)
    usable = finite & there
    found = findings(rows, ~finite, "coordinate", "error", file, "a coordinate is no finite number: {box}")
    message = f"frame {{frame}} is none of the sequence, which has frames 0 to {frames - 1}"
    found += findings(rows, ~there, "frame", "error", file, message)

    empty = usable & ((box[:, 2] <= box[:, 0]) | (box[:, 3] <= box[:, 1]))
    found += findings(rows, empty, "empty-box", "error", file, "no width or no height: {box}", DROPPED)
    usable &= ~empty
    clipped = boxes.clip(box, size_wh)
    hidden = usable & ((clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1]))
    size = f"{size_wh[0]}x{size_wh[1]}"
    message = f"fully outside the frame of {size} pixels: {{box}}"
    found += findings(rows, hidden, "outside", "error", file, message, DROPPED)
    usable &= ~hidden
    partly = usable & (clipped != box).any(axis=1)
    message = f"partly outside the frame of {size} pixels: {{box}}"
    found += findings(rows, partly, "outside", "error", file, message, CLIPPED)

    side = np.minimum(clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1])
    message = f"a side is shorter than {TINY_PX:g} pixels: {{box}}"
    found += findings(rows, usable & (side < TINY_PX), "tiny-box", "warning", file, message)

    nameless = usable & (rows.track_id < 0)
    found += findings(rows, nameless, "track-id", "error", file, "track {track}: ids start at 0", OWN_TRACK)
    track_id = _with_new_ids(rows.track_id, nameless)
    return replace(rows, track_id=track_id, boxes_xyxy_px=clipped).take(usable), found


def check_repeats(rows: Rows, file: str) -> tuple[Rows, list[Finding]]:
    """The same row twice, and a second box of one track in a frame; repaired as ``ingest`` would."""
    columns = (rows.line, *rows.boxes_xyxy_px.T[::-1], rows.class_id, rows.track_id, rows.frame)
    order = np.lexsort(columns)
    equal = np.ones(max(len(rows) - 1, 0), bool)
    for column in columns[1:]:
        equal &= np.diff(column[order]) == 0
    same = np.zeros(len(rows), bool)
    same[order[1:][equal]] = True
    message = "the same row a second time: track {track}, {box}"
    found = findings(rows, same, "repeat", "error", file, message, KEPT_ONCE)
    rows = rows.take(~same)

    order = np.lexsort((rows.line, rows.track_id, rows.frame))
    second = np.zeros(len(rows), bool)
    second[order[1:]] = (np.diff(rows.frame[order]) == 0) & (np.diff(rows.track_id[order]) == 0)
    message = "track {track} has a second box in the frame: {box}"
    found += findings(rows, second, "repeat", "error", file, message, OWN_TRACK)
    return replace(rows, track_id=_with_new_ids(rows.track_id, second)), found


def _with_new_ids(track_id: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The same ids, but those of a mask are new ones, each another."""
    renamed = track_id.copy()
    renamed[which] = track_id.max(initial=-1) + 1 + np.arange(np.count_nonzero(which))
    return renamed
