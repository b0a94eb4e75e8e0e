"""Pure arithmetic of boxes. NumPy, no state.

Legend: N, M boxes as (N, 4) arrays ``xyxy`` (left, top, right, bottom edges), any unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) areas; an inverted box has area 0."""
    # np.maximum takes a third of the time of np.clip, which counts for the few boxes of one frame.
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def centres(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 2) centres x, y."""
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2


def intersection(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """(N, M) areas of overlap of every pair."""
    upper_left = np.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    lower_right = np.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    sides = np.maximum(lower_right - upper_left, 0)
    return sides[..., 0] * sides[..., 1]


def iou(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of every pair, 0..1; two empty boxes give 0."""
    overlap = intersection(first_xyxy, second_xyxy)
    union = area(first_xyxy)[:, None] + area(second_xyxy)[None, :] - overlap
    return np.divide(
        overlap, union, out=np.zeros_like(overlap, dtype=np.result_type(overlap, np.float32)), where=union > 0
    )


def clip(boxes_xyxy: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Boxes cut to the frame 0..width, 0..height."""
    width, height = size_wh
    limits = np.array([width, height, width, height], boxes_xyxy.dtype)
    return np.minimum(np.maximum(boxes_xyxy, 0), limits)


def grown(boxes_xyxy: np.ndarray, factor: float) -> np.ndarray:
    """(..., 4) boxes about the same centres, ``factor`` times as wide and high."""
    margin = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]) * ((factor - 1) / 2)
    return np.concatenate([boxes_xyxy[..., :2] - margin, boxes_xyxy[..., 2:] + margin], axis=-1)


def xyxy_from_ltwh(boxes_ltwh: np.ndarray) -> np.ndarray:
    """Left, top, width, height to edges."""
    return np.concatenate([boxes_ltwh[:, :2], boxes_ltwh[:, :2] + boxes_ltwh[:, 2:]], axis=1)


def ltwh_from_xyxy(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Edges to left, top, width, height."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture was fitted into the network's input: scaled alike in both directions, then centred.

    Attributes:
        source_wh: width and height of the source in pixels.
        input_wh: width and height of the network's input in pixels.
        scale: input pixels for a source pixel.
        offset_xy: left and top border in input pixels.
    """

    source_wh: tuple[int, int]
    input_wh: tuple[int, int]
    scale: float
    offset_xy: tuple[int, int]

    @classmethod
    def fit(cls, source_wh: tuple[int, int], input_wh: tuple[int, int]) -> Letterbox:
        """The largest picture of the source's shape inside the input."""
        scale = min(input_wh[0] / source_wh[0], input_wh[1] / source_wh[1])
        scaled = [max(1, round(side * scale)) for side in source_wh]
        return cls(
            source_wh, input_wh, scale, ((input_wh[0] - scaled[0]) // 2, (input_wh[1] - scaled[1]) // 2)
        )

    @property
    def scaled_wh(self) -> tuple[int, int]:
        """Width and height of the scaled picture without its borders."""
        return max(1, round(self.source_wh[0] * self.scale)), max(1, round(self.source_wh[1] * self.scale))

    def to_input(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """(N, 4) boxes in source pixels -> input pixels."""
        return (boxes_xyxy_px * self._factors + np.tile(self.offset_xy, 2)).astype(np.float32)

    def to_source(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """(N, 4) boxes in input pixels -> source pixels, cut to the source."""
        return clip(self.beyond_source(boxes_xyxy), self.source_wh)

    def beyond_source(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """As ``to_source``, not cut: places in the borders lie outside of the source."""
        return ((boxes_xyxy - np.tile(self.offset_xy, 2)) / self._factors).astype(np.float32)

    @property
    def _factors(self) -> np.ndarray:
        factors = np.array(self.scaled_wh) / np.array(self.source_wh)
        return np.tile(factors, 2)
