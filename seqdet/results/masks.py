"""From what the network says over the windows of boxes to masks of the source frame.

Legend: N boxes, S cells of a side of a window.
"""

from __future__ import annotations

import numpy as np

from seqdet.rle import encoded


def pasted(logits: np.ndarray, windows_xyxy_px: np.ndarray, frame_wh: tuple[int, int]) -> np.ndarray:
    """Masks in the source frame: on where the logit, bilinear between cells, is above 0.

    Args:
        logits: (N, S, S) float32, rows from the top.
        windows_xyxy_px: (N, 4) in pixels of the frame; may reach beyond it.
        frame_wh: width and height of the frame.

    Returns:
        (N,) texts of `seqdet.rle`.
    """
    texts = np.full(len(logits), "", object)
    for index, (cells, (x1, y1, x2, y2)) in enumerate(
        zip(logits, windows_xyxy_px.astype(np.float64), strict=True)
    ):
        left, across = _between(x1, x2, frame_wh[0], len(cells))
        top, down = _between(y1, y2, frame_wh[1], len(cells))
        texts[index] = encoded(down @ cells @ across.T > 0, (left, top), frame_wh)
    return texts


def _between(low: float, high: float, length: int, cells: int) -> tuple[int, np.ndarray]:
    """First pixel inside of a window along one axis, and (pixels, S) weights of the cells at each."""
    first, last = max(0, round(low)), min(length, round(high))
    places = (np.arange(first, max(first, last)) + 0.5 - low) / max(high - low, 1e-9) * cells - 0.5
    places = np.clip(places, 0, cells - 1)
    before = np.minimum(places.astype(np.int64), cells - 2)
    weights = np.zeros((len(places), cells), np.float32)
    rows = np.arange(len(places))
    weights[rows, before] = 1 - (places - before)
    weights[rows, before + 1] = places - before
    return first, weights
