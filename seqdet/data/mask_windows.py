"""True masks as the training wants them: over a window around each box, through the geometry of its clip.

Legend: T frames of one clip, G objects (tracks), S cells of a side of a window.
"""

from __future__ import annotations

import numpy as np

from seqdet.boxes import grown
from seqdet.data.labels import Labels
from seqdet.data.transforms.geometry import ClipGeometry
from seqdet.defaults import MASK_TRUTH_SIDE, MASK_TRUTH_WINDOW
from seqdet.rle import sampled

UNKNOWN = 2


def unknown_masks(shape: tuple[int, ...], wanted: bool) -> np.ndarray:
    """(T, G, S, S) uint8 of UNKNOWN; S is 0 where masks are not wanted."""
    side = MASK_TRUTH_SIDE if wanted else 0
    return np.full((*shape, side, side), UNKNOWN, np.uint8)


def mask_windows(
    truth: Labels,
    boxes_xyxy_px: np.ndarray,
    present: np.ndarray,
    geometry: ClipGeometry,
    picture_wh: tuple[int, int],
    source_wh: tuple[int, int],
) -> np.ndarray:
    """The masks of a clip's tracks, each over the window around its box in the network's input.

    Args:
        truth: of the T frames, counted from 0, with masks of frames of ``source_wh``.
        boxes_xyxy_px: (T, G, 4) after ``geometry``; one column a track, by ascending id.
        present: (T, G) bool.
        geometry: from pixels of the (perhaps smaller) picture that was read to the input.
        picture_wh: size of that picture.
        source_wh: size of the frame.

    Returns:
        (T, G, S, S) uint8: 0 off, 1 on, UNKNOWN. What lies outside of the input is off.
    """
    out = unknown_masks(present.shape, wanted=True)
    columns = np.unique(truth.track_id, return_inverse=True)[1]
    back = np.linalg.inv(geometry.matrix[:, :2])
    factors = np.array(source_wh) / np.array(picture_wh)
    offset = geometry.matrix[:, 2, None, None]
    cells = (np.arange(MASK_TRUTH_SIDE) + 0.5) / MASK_TRUTH_SIDE
    windows = grown(boxes_xyxy_px, MASK_TRUTH_WINDOW)
    for row, text in enumerate(truth.masks):
        t, g = int(truth.frame[row]), int(columns[row])
        if not text or not present[t, g]:
            continue
        x1, y1, x2, y2 = windows[t, g].astype(np.float64)
        places = np.stack(np.meshgrid(x1 + cells * (x2 - x1), y1 + cells * (y2 - y1)))
        shown = ((places >= 0) & (places < np.array(geometry.input_wh)[:, None, None])).all(axis=0)
        x, y = np.einsum("ik,kst->ist", back, places - offset) * factors[:, None, None]
        out[t, g] = sampled(text, source_wh, x, y) & shown
    return out
