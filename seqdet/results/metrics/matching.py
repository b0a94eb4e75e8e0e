"""Which prediction found which truth: the one matching that the metrics share.

Legend: N predictions, M truths of one clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seqdet import boxes
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth


def matched_truths(
    truth: SequenceTruth, prediction: SequencePredictions, iou: float = 0.5, same_class: bool = False
) -> np.ndarray:
    """(N,) int64: for each prediction the index of the truth that it found, or -1.

    In every frame the predictions take, best score first, the free truth of highest IoU of at least ``iou``:
    COCO's rule. So what a prediction found does not depend on predictions of lower score.

    Args:
        truth: M boxes of a clip.
        prediction: N boxes of the same clip.
        iou: least overlap.
        same_class: whether ``class_ids`` must agree.
    """
    taken = np.full(len(prediction.frame_ids), -1, np.int64)
    if not len(truth.frame_ids) or not len(taken):
        return taken
    for of_truth, of_prediction in zip(truth.per_frame(), prediction.per_frame(truth.frames), strict=True):
        if of_truth.start == of_truth.stop or of_prediction.start == of_prediction.stop:
            continue
        overlap = boxes.iou(prediction.boxes_xyxy_px[of_prediction], truth.boxes_xyxy_px[of_truth])
        if same_class:
            agrees = prediction.class_ids[of_prediction, None] == truth.class_ids[None, of_truth]
            overlap = np.where(agrees, overlap, -1.0)
        _take_greedily(overlap, prediction.scores[of_prediction], iou, taken[of_prediction], of_truth.start)
    return taken


def _take_greedily(
    overlap: np.ndarray, scores: np.ndarray, iou: float, taken: np.ndarray, first: int
) -> None:
    """Write into ``taken``, a view of the clip's array, the truths that one frame's predictions take."""
    near = overlap >= iou
    candidates = np.flatnonzero(near.any(axis=1))
    if not len(candidates):
        return
    for index in candidates[np.argsort(-scores[candidates], kind="stable")]:
        best = int(np.argmax(overlap[index]))
        if overlap[index, best] >= iou:
            taken[index] = first + best
            overlap[:, best] = -1.0


class TruthTrack(NamedTuple):
    """One object of one clip over the L frames in which the truth has it, and what was predicted of it.

    Attributes:
        class_id: of the object.
        present_frames: (L,) int64, ascending: the frames in which the truth has it.
        truth_boxes_xyxy_px: (L, 4).
        found: (L,) bool: whether a prediction found it there.
        boxes_xyxy_px: (L, 4): the prediction's box; nan where not found.
        label_ids: (L,) int64: the name that a user sees there; -1 where not found.
    """

    class_id: int
    present_frames: np.ndarray
    truth_boxes_xyxy_px: np.ndarray
    found: np.ndarray
    boxes_xyxy_px: np.ndarray
    label_ids: np.ndarray


def truth_tracks(
    truth: SequenceTruth, prediction: SequencePredictions, iou: float = 0.5
) -> Iterator[TruthTrack]:
    """The truth tracks of one clip, by id, with the predictions that found them, whatever their class.

    Args:
        truth: a clip.
        prediction: what was predicted on it.
        iou: least overlap of a match.
    """
    taken = matched_truths(truth, prediction, iou)
    finder = np.full(len(truth.frame_ids), -1, np.int64)
    finder[taken[taken >= 0]] = np.flatnonzero(taken >= 0)
    label_ids = prediction.label_ids
    for track_id in np.unique(truth.track_ids):
        rows = np.flatnonzero(truth.track_ids == track_id)
        by = finder[rows]
        found = by >= 0
        boxes_xyxy_px = np.full((len(rows), 4), np.nan)
        boxes_xyxy_px[found] = prediction.boxes_xyxy_px[by[found]]
        names = np.full(len(rows), -1, np.int64)
        names[found] = label_ids[by[found]]
        yield TruthTrack(
            class_id=int(np.bincount(truth.class_ids[rows]).argmax()),
            present_frames=truth.frame_ids[rows],
            truth_boxes_xyxy_px=truth.boxes_xyxy_px[rows],
            found=found,
            boxes_xyxy_px=boxes_xyxy_px,
            label_ids=names,
        )
