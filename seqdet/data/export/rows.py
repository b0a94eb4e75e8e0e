"""Rows that ``seqdet detect --save`` wrote (.jsonl or .csv), read as labels that can be corrected.

A track has one class, the one that it ended with; a detection without a track keeps its own. Scores are left
out. The rows name the video that they are of; whoever calls says where it is.
"""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.data.formats.protocol import EXAMPLES, Problems, RawDataset, RawSequence
from seqdet.errors import InputError

SUFFIXES = (".jsonl", ".csv")
# Those that are used; seqdet.results.sinks writes them.
COLUMNS = ("source", "frame", "track_id", "label", "track_label", "x1_px", "y1_px", "x2_px", "y2_px")
OTHER_ROWS = "row of another type: left out"
ONE_CLASS = "box whose frame names another class than its track ended with: it has the class of its track"
_LARGEST = 2**53


@dataclass(slots=True)
class _Source:
    """The detections of one source as they are read."""

    line: array[int] = field(default_factory=lambda: array("q"))
    frame: array[int] = field(default_factory=lambda: array("q"))
    track: array[int] = field(default_factory=lambda: array("q"))
    label: array[int] = field(default_factory=lambda: array("q"))
    track_label: array[int] = field(default_factory=lambda: array("q"))
    edges: array[float] = field(default_factory=lambda: array("d"))
    sequence_label: str | None = None
    frames_seen: int | None = None


class _Rows:
    """Collects rows of all sources; class names are numbered as they come."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path, self.problems = path, problems
        self.sources: dict[str, _Source] = {}
        self.names: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))

    def detection(self, line: int, row: dict[str, Any], edges: Any) -> None:
        fault = _fault(row, edges)
        if fault:
            self.problems.fail(f"{self.path}:{line}", fault)
            return
        source = self.sources.setdefault(row["source"], _Source())
        source.line.append(line)
        source.frame.append(row["frame"])
        source.track.append(row["track_id"])
        source.label.append(self.number(row["label"]))
        source.track_label.append(self.number(row["track_label"]) if row["track_label"] else -1)
        source.edges.extend(edges)

    def sequence(self, line: int, row: dict[str, Any]) -> None:
        name, label, frames = (row.get(key) for key in ("source", "label", "frames"))
        if not isinstance(name, str) or not name:
            self.problems.fail(f"{self.path}:{line}", f"source: a name is expected, got {str(name)[:60]!r}")
        elif not isinstance(label, str):
            self.problems.fail(f"{self.path}:{line}", f"label: a name is expected, got {str(label)[:60]!r}")
        elif type(frames) is not int or not 0 <= frames < _LARGEST:
            self.problems.fail(
                f"{self.path}:{line}", f"frames: a whole number is expected, got {str(frames)[:60]}"
            )
        else:
            source = self.sources.setdefault(name, _Source())
            source.sequence_label, source.frames_seen = label or None, frames
            if label:
                self.number(label)


def is_rows(path: Path) -> bool:
    """True for a file whose name says that it holds rows."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read_rows(path: Path, problems: Problems) -> tuple[RawDataset, dict[str, int]]:
    """Read a file of rows.

    Args:
        path: a file that ``seqdet detect --save`` wrote.
        problems: receives what is wrong.

    Returns:
        A sequence for each source, named as the rows name it, with ``video`` as that name; and for each
        source how many frames were looked at, where the rows say so.

    Raises:
        InputError: the file cannot be read at all.
    """
    rows = _Rows(path, problems)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            (_read_csv if path.suffix.lower() == ".csv" else _read_jsonl)(rows, file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    classes = tuple(sorted(rows.names))
    places = np.array([classes.index(name) for name in rows.names], np.int64)
    sequences = [_sequence(path, name, source, places, problems) for name, source in rows.sources.items()]
    seen = {
        name: source.frames_seen for name, source in rows.sources.items() if source.frames_seen is not None
    }
    return RawDataset(classes, sequences), seen


def _read_jsonl(rows: _Rows, file: Iterator[str]) -> None:
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        where = f"{rows.path}:{number}"
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            rows.problems.fail(where, f"not valid JSON: {error.msg} (column {error.colno})")
            continue
        except (
            RecursionError,
            ValueError,
        ) as error:  # nested too deeply, or too long a number
            rows.problems.fail(where, f"not valid JSON: {error}")
            continue
        kind = row.get("type") if isinstance(row, dict) else None
        if kind == "detection":
            rows.detection(number, row, row.get("box_xyxy_px"))
        elif kind == "sequence":
            rows.sequence(number, row)
        elif isinstance(kind, str):
            rows.problems.note(OTHER_ROWS, [where])
        else:
            rows.problems.fail(where, 'an object with "type": "detection" or "sequence" is expected')


def _read_csv(rows: _Rows, file: Iterator[str]) -> None:
    reader = csv.DictReader(file, strict=True)
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{rows.path}:1: a file of seqdet detect --save is expected; its header lacks the columns "
                + ", ".join(missing)
            )
        for row in reader:
            where = f"{rows.path}:{reader.line_num}"
            if None in row or None in row.values():
                rows.problems.fail(where, f"{len(reader.fieldnames or ())} columns are expected")
                continue
            try:
                parsed = {**row, "frame": int(row["frame"]), "track_id": int(row["track_id"])}
                edges = [float(row[name]) for name in COLUMNS[-4:]]
            except ValueError as error:
                rows.problems.fail(where, f"a number is expected: {str(error)[:120]}")
                continue
            rows.detection(reader.line_num, parsed, edges)
    except csv.Error as error:
        raise InputError(f"{rows.path}:{reader.reader.line_num}: not a CSV file: {error}") from error


def _fault(row: dict[str, Any], edges: Any) -> str | None:
    """What makes a detection unusable, or None."""
    for key in ("source", "label", "track_label"):
        value = row.get(key)
        good = isinstance(value, str) and (value.strip() == value or key == "source")
        if not good or not (value or key == "track_label"):
            return f"{key}: a name is expected, got {str(value)[:60]!r}"
    for key, least in (("frame", 0), ("track_id", -1)):
        value = row.get(key)
        if type(value) is not int or not least <= value < _LARGEST:
            return f"{key}: a whole number, {least} or more, is expected, got {str(value)[:40]}"
    if not isinstance(edges, list) or len(edges) != 4 or any(type(e) not in (int, float) for e in edges):
        return f"box_xyxy_px: [left, top, right, bottom] is expected, got {str(edges)[:80]}"
    if any(abs(edge) >= _LARGEST for edge in edges):
        return f"box_xyxy_px: {str(edges)[:80]} is no place in a frame"
    return None


def _sequence(path: Path, name: str, source: _Source, places: np.ndarray, problems: Problems) -> RawSequence:
    track, frame = np.array(source.track, np.int64), np.array(source.frame, np.int64)
    own, line = np.array(source.label, np.int64), np.array(source.line, np.int64)
    of_track = _track_classes(track, frame, own, np.array(source.track_label, np.int64))
    changed = np.flatnonzero(own != of_track)
    problems.note(ONE_CLASS, [f"{path}:{line[row]}" for row in changed[:EXAMPLES].tolist()], len(changed))
    return RawSequence(
        name=name,
        video=Path(name),
        images=None,
        labels_file=path,
        row_form="{file}:{row}",
        row=line,
        frame=frame,
        track_id=track,
        class_id=places[of_track],
        boxes_xyxy_px=np.array(source.edges, np.float64).reshape(-1, 4),
        label=source.sequence_label,
    )


def _track_classes(track: np.ndarray, frame: np.ndarray, own: np.ndarray, of_track: np.ndarray) -> np.ndarray:
    """(M,) class of each box: the last one that is known of its track, else its own."""
    known = np.flatnonzero((track >= 0) & (of_track >= 0))
    if not len(known):
        return own
    known = known[np.lexsort((frame[known], track[known]))]
    ends = np.append(np.flatnonzero(np.diff(track[known])), len(known) - 1)
    ids, classes = track[known[ends]], of_track[known[ends]]
    at = np.minimum(np.searchsorted(ids, track), len(ids) - 1)
    return np.where(ids[at] == track, classes[at], own)
