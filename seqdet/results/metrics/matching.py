"""Which prediction found which truth: the one matching that the metrics share.

Legend: N predictions, M truths of one clip.
"""

from __future__ import annotations

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
