"""The box around an object's outline: polygons, or a mask in COCO's run-length code (RLE).

A mask lists how many pixels are off, on, off, on ... down the columns from the left. It comes as numbers, or
as text: numbers in groups of five bits, least first, each character 48 and its bits, with 32 when more follow
and the sign in the last; from the fourth on each number is the difference to the last but one.

Only the runs are looked at, the mask itself is never drawn: quick, and a file cannot ask for memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_LARGEST = 1 << 24  # width or height in pixels
_LONGEST = 7  # characters of one number


def box_around(segmentation: Any) -> list[float] | None:
    """Left, top, width, height in pixels, from 0, of what a "segmentation" of COCO covers.

    Args:
        segmentation: a list of polygons (x, y, x, y, ...), one polygon, or a mask, which is
            ``{"size": [h, w], "counts": ...}`` with counts as a list of numbers or as text.

    Returns:
        The box, or None when it covers no pixel.

    Raises:
        ValueError: it is none of these; the text says why.
    """
    if isinstance(segmentation, dict):
        return _around_runs(segmentation)
    if not isinstance(segmentation, list):
        raise ValueError(f"polygons or a mask are expected, got {str(segmentation)[:40]}")
    flat = bool(segmentation) and type(segmentation[0]) in (int, float)
    return _around_polygons([segmentation] if flat else segmentation)


def _around_polygons(polygons: list[Any]) -> list[float] | None:
    points: list[np.ndarray] = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 4 or len(polygon) % 2:
            raise ValueError(f"a polygon is a list x, y, x, y, ..., got {str(polygon)[:40]}")
        if not all(type(side) in (int, float) and abs(side) < _LARGEST for side in polygon):
            raise ValueError("a polygon has a coordinate that is no place in an image")
        points.append(np.array(polygon, np.float64).reshape(-1, 2))
    if not points:
        return None
    stacked = np.concatenate(points)
    low, high = stacked.min(axis=0), stacked.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def _around_runs(mask: dict[Any, Any]) -> list[float] | None:
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int for side in size):
        raise ValueError(f"size: [height, width] is expected, got {str(size)[:40]}")
    height, width = size
    if not (0 < height < _LARGEST and 0 < width < _LARGEST):
        raise ValueError(f"size: {height} by {width} pixels is no image")
    if isinstance(counts, str):
        runs = _decode(counts)
    elif isinstance(counts, list) and all(type(run) is int and abs(run) < 1 << 48 for run in counts):
        runs = np.array(counts, np.int64)
    else:
        raise ValueError("counts: a list of whole numbers or a text is expected")
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"counts: these runs do not make {height} by {width} pixels")
    ends = np.cumsum(runs)
    first, last = (ends - runs)[1::2], ends[1::2] - 1
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return None
    left, right = int(first[0]) // height, int(last[-1]) // height
    crosses = bool((first // height != last // height).any())  # a run over the foot of a column
    top = 0 if crosses else int((first % height).min())
    bottom = height - 1 if crosses else int((last % height).max())
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]


def _decode(text: str) -> np.ndarray:
    """Runs of the text form."""
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    more = (codes & 32) > 0
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or more[-1]:
        raise ValueError("counts: this text is no run-length code")
    starts = np.flatnonzero(np.concatenate(([True], ~more[:-1])))
    lengths = np.diff(np.append(starts, len(codes)))
    if lengths.max() > _LONGEST:
        raise ValueError("counts: this text is no run-length code")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    negative = (codes[starts + lengths - 1] & 16) > 0
    numbers[negative] -= np.int64(1) << (5 * lengths[negative])
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
