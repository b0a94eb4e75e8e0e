"""Objects cut out of frames, each with some of what is around it, at the frame's own resolution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from seqdet.boxes import centres, iou

# A box of fewer pixels is cut out as if it had so many: there is nothing to see in less.
LEAST_SIDE_PX = 10.0
_TOUCHING = 0.05


def cut_out(rgb: np.ndarray, boxes_xyxy_px: np.ndarray, side_px: int, context: float) -> np.ndarray:
    """Square crops around boxes; what lies outside of the frame repeats its edge.

    Args:
        rgb: (H, W, 3) uint8.
        boxes_xyxy_px: (N, 4), finite.
        side_px: S, side of the crops.
        context: side of what is cut out, in longer sides of the box.

    Returns:
        (N, S, S, 3) uint8.
    """
    crops = np.empty((len(boxes_xyxy_px), side_px, side_px, 3), np.uint8)
    for crop, box in zip(crops, boxes_xyxy_px.astype(np.float64), strict=True):
        longer = max(box[2] - box[0], box[3] - box[1], LEAST_SIDE_PX)
        # No box is larger than its frame, but a clipped one may be told to show more than there is.
        side = max(round(context * min(longer, max(rgb.shape[:2]))), 1)
        left, top = (np.round((box[:2] + box[2:] - side) / 2)).astype(int)
        rows = np.clip(np.arange(top, top + side), 0, rgb.shape[0] - 1)
        columns = np.clip(np.arange(left, left + side), 0, rgb.shape[1] - 1)
        shrinks = side > side_px
        crop[:] = cv2.resize(
            rgb[rows[:, None], columns],
            (side_px, side_px),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
    return crops


class Crops(NamedTuple):
    """Objects, and what was taken for objects, cut out of frames.

    Attributes:
        pictures: (N, S, S, 3) uint8 RGB.
        class_ids: (N,) int64; the number of classes stands for "nothing".
        tracks: (N,) int64, one number for one object; -1 for nothing.
        recordings: (N,) int64, one number for one recording.
    """

    pictures: np.ndarray
    class_ids: np.ndarray
    tracks: np.ndarray
    recordings: np.ndarray


def joined(parts: Iterable[Crops]) -> Crops:
    """All crops as one; tracks and recordings of the parts must be told apart already."""
    return Crops(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def beside(some: Crops, others: Crops) -> Crops:
    """Crops of two sources: tracks and recordings of the others get numbers of their own."""
    tracks = np.where(others.tracks < 0, -1, others.tracks + some.tracks.max(initial=-1) + 1)
    recordings = others.recordings + some.recordings.max(initial=-1) + 1
    return joined([some, others._replace(tracks=tracks, recordings=recordings)])


def drawing_weights(class_ids: np.ndarray, recordings: np.ndarray, power: float) -> np.ndarray:
    """Probabilities to draw crops with: every class alike, within a class a recording by crops ** power.

    Args:
        class_ids: (N,).
        recordings: (N,).
        power: 0..1.

    Returns:
        (N,) float64 that sums to 1.
    """
    weights = np.zeros(len(class_ids))
    for class_id in np.unique(class_ids):
        of_class = np.flatnonzero(class_ids == class_id)
        _, inverse, counts = np.unique(recordings[of_class], return_inverse=True, return_counts=True)
        share = counts[inverse] ** (power - 1.0)
        weights[of_class] = share / share.sum()
    return weights / weights.sum()


def far_from(boxes_xyxy_px: np.ndarray, truth_xyxy_px: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes that show none of M true objects, neither in part nor close by."""
    if not len(boxes_xyxy_px) or not len(truth_xyxy_px):
        return np.ones(len(boxes_xyxy_px), bool)
    sides = (truth_xyxy_px[:, 2:] - truth_xyxy_px[:, :2]).max(axis=1)
    apart = np.abs(centres(boxes_xyxy_px)[:, None] - centres(truth_xyxy_px)[None]).max(axis=-1)
    touching = iou(boxes_xyxy_px.astype(np.float64), truth_xyxy_px.astype(np.float64)) >= _TOUCHING
    return ((apart > sides) & ~touching).all(axis=1)
