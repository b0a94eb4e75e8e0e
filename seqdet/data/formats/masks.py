"""The box around an object's outline: polygons, or a mask in COCO's run-length code (`seqdet.rle`).

Only the runs are looked at, the mask itself is never drawn: quick, and a file cannot ask for memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqdet.rle import runs_of

_LARGEST = 1 << 24  # width or height in pixels


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
        runs = runs_of(counts)
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
