"""Annotations of Datumaro -> rows of class, track, group, left, top, width, height.

Most of a large file are plain boxes. They become rows while the JSON is parsed, because an object for each
takes five times the memory; what is left as an object is looked at closely, and named if it is wrong.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from seqdet.data.formats.masks import box_around
from seqdet.data.formats.protocol import Problems, read_text
from seqdet.errors import InputError

Row = tuple[float, ...]
COLUMNS = 7
OUTLINE = "polygon, ellipse or mask: the box around it is taken"
PART = "outline of an object that has a box: left out"
ROTATED = "rotated box: the upright box around it is taken"
OUTSIDE = "object marked as outside the frame: left out"
NO_CLASS = "object without a label_id: left out"
_OUTLINES = ("polygon", "ellipse", "mask")
_LARGEST_ID = 2**53
_LARGEST = 1 << 40


def parse(path: Path) -> Any:
    """A JSON file in which plain boxes are rows already.

    Raises:
        InputError: the file cannot be read or is not JSON, with line and column.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_hook=_compact)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno})"
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: the JSON is nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{path}: not valid JSON: {error}") from error


def _compact(entry: dict[str, Any]) -> Any:
    """A row in place of a box with nothing special; everything else as it is."""
    if entry.get("type") != "bbox":
        return entry
    attributes, box, label = entry.get("attributes"), entry.get("bbox"), entry.get("label_id")
    if attributes.__class__ is not dict or box.__class__ is not list or label.__class__ is not int:
        return entry
    if len(box) != 4 or attributes.get("outside") or attributes.get("rotation"):
        return entry
    track = attributes.get("track_id", entry.get("object_id", -1))
    group = entry.get("group", 0)
    if track.__class__ is not int or not -1 <= track < _LARGEST_ID or not _is_group(group):
        return entry
    left, top, width, height = box
    for side in box:
        if (side.__class__ is not float and side.__class__ is not int) or not -_LARGEST < side < _LARGEST:
            return entry
    return label, track, group, left, top, width, height


def read_rows(
    annotations: list[Any], classes: int, place: str, problems: Problems
) -> tuple[list[Row], list[int]]:
    """Boxes of one item, and the classes that the item has as a whole.

    Args:
        annotations: as `parse` leaves them.
        classes: how many classes there are.
        place: of the item, for messages.
        problems: receives what is wrong.
    """
    rows: list[Row] = []
    outlines: list[Row] = []
    labels: list[int] = []
    for index, entry in enumerate(annotations):
        if type(entry) is tuple and 0 <= entry[0] < classes:
            rows.append(entry)
            continue
        here = f"{place}.annotations[{index}]"
        if type(entry) is tuple:
            problems.fail(here, f"label_id: there is no label {entry[0]}")
        elif not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            problems.fail(here, "an annotation (an object with a type) is expected")
        elif entry["type"] == "label":
            label = _label(entry, classes, here, problems)
            labels.extend([] if label is None else [label])
        elif entry["type"] == "bbox" or entry["type"] in _OUTLINES:
            row = _read_object(entry, classes, here, problems)
            if row is not None:
                (rows if entry["type"] == "bbox" else outlines).append(row)
        else:
            problems.note(f"annotation of type {entry['type'][:40]}: left out", [here])
    return (_with_outlines(rows, outlines, place, problems) if outlines else rows), labels


def _label(entry: dict[str, Any], classes: int, place: str, problems: Problems) -> int | None:
    label = entry.get("label_id")
    if label is None:
        problems.drop(NO_CLASS, [place])
    elif type(label) is not int or not 0 <= label < classes:
        problems.fail(place, f"label_id: there is no label {str(label)[:40]}")
    else:
        return label
    return None


def _read_object(entry: dict[str, Any], classes: int, place: str, problems: Problems) -> Row | None:
    """A row of an annotation that is not plain, or None with the reason in ``problems``."""
    attributes, group = entry.get("attributes") or {}, entry.get("group") or 0
    if not isinstance(attributes, dict) or not _is_group(group):
        problems.fail(place, "attributes: an object, and group: a whole number are expected")
        return None
    if attributes.get("outside") in (True, 1, "true", "True"):
        problems.note(OUTSIDE, [place])
        return None
    label = _label(entry, classes, place, problems)
    track = attributes.get("track_id", entry.get("object_id", -1))
    track = -1 if track is None else track
    if type(track) not in (int, float) or not -1 <= track < _LARGEST_ID or track != int(track):
        problems.fail(
            place, f"track_id: a whole number, 0 or more (or -1 for none) is expected, got {str(track)[:40]}"
        )
        return None
    try:
        box = _upright_box(entry, attributes, place, problems)
    except ValueError as error:
        problems.fail(place, f"{entry['type']}: {error}")
        return None
    return None if label is None else (label, int(track), group, *box)


def _upright_box(
    entry: dict[str, Any], attributes: dict[str, Any], place: str, problems: Problems
) -> tuple[float, ...]:
    """Left, top, width, height.

    Raises:
        ValueError: there is no box; the text says why.
    """
    kind = entry["type"]
    if kind != "bbox":
        covered = box_around(entry.get("rle") if kind == "mask" else entry.get("points"))
        if covered is None:
            raise ValueError("it covers no pixel")
        return tuple(covered)
    box, angle = entry.get("bbox"), attributes.get("rotation") or 0
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError(f"[left, top, width, height] is expected, got {str(box)[:80]}")
    if not _is_number(angle):
        raise ValueError(f"rotation: a number (degrees) is expected, got {str(angle)[:40]}")
    if angle % 360 == 0:
        return tuple(box)
    problems.drop(ROTATED, [place])
    left, top, width, height = box
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    around = (width * cos + height * sin, width * sin + height * cos)
    return left + (width - around[0]) / 2, top + (height - around[1]) / 2, *around


def _is_group(value: object) -> bool:
    return type(value) is int and abs(value) < _LARGEST_ID


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST  # type: ignore[arg-type]


def _with_outlines(rows: list[Row], outlines: list[Row], place: str, problems: Problems) -> list[Row]:
    """Boxes and those around outlines. What shares a group and a class is one object, in parts."""
    boxed = {(row[0], row[2]) for row in rows if row[2]}
    parts: dict[tuple[float, ...], list[Row]] = {}
    for number, row in enumerate(outlines):
        if (row[0], row[2]) in boxed:
            problems.note(PART, [place])
        else:
            parts.setdefault((row[0], row[2]) if row[2] else (-1, number), []).append(row)
    if parts:
        problems.drop(OUTLINE, [place], len(parts))
    merged = []
    for members in parts.values():
        left, top = min(row[3] for row in members), min(row[4] for row in members)
        right, bottom = max(row[3] + row[5] for row in members), max(row[4] + row[6] for row in members)
        merged.append((*members[0][:3], left, top, right - left, bottom - top))
    return rows + merged
