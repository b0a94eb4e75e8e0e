"""Average precision by how fast the objects move, as on ImageNet VID.

The speed of an object in a frame is its motion IoU (Zhu et al., "Flow-Guided Feature Aggregation for Video
Object Detection", ICCV 2017): the mean IoU of its box with its own boxes in the nearby frames, those at most
ten before or after. Slow is above .9, fast below .7. It mixes speed with size on purpose: what matters to a
detector is how far an object moves in units of itself.

Truths of other groups, and what found them, are left out; a false alarm has no speed and counts in every
group, so that a group with few truths is a hard one.

Legend: M truths, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from seqdet import boxes
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.ranking import match, mean_precision

NEARBY_FRAMES = 10
# Of the motion IoU; an object that is in no nearby frame (nan) is in no group.
SPEED_GROUPS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "slow": lambda motion_iou: motion_iou > 0.9,
    "medium": lambda motion_iou: (motion_iou >= 0.7) & (motion_iou <= 0.9),
    "fast": lambda motion_iou: motion_iou < 0.7,
}


def motion_iou(truth: SequenceTruth, nearby_frames: int = NEARBY_FRAMES) -> np.ndarray:
    """(M,) float64 in 0..1: mean IoU with the same object in the nearby frames; nan where it is in none."""
    mean = np.full(len(truth.frame_ids), np.nan)
    for track_id in np.unique(truth.track_ids):
        rows = np.flatnonzero(truth.track_ids == track_id)
        frames, boxes_xyxy_px = truth.frame_ids[rows], truth.boxes_xyxy_px[rows]
        for row, frame, box_xyxy_px in zip(rows, frames, boxes_xyxy_px, strict=True):
            first, last = np.searchsorted(frames, [frame - nearby_frames, frame + nearby_frames + 1])
            near = boxes_xyxy_px[first:last][frames[first:last] != frame]
            if len(near):
                mean[row] = boxes.iou(box_xyxy_px[None], near).mean()
    return mean


def precision_by_speed(
    truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions], classes: int
) -> dict[str, dict[str, float | int | None]]:
    """For each speed group ``{"map50", "truths"}``; None where a group has no truth.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order.
        classes: K, how many classes there are.
    """
    speeds = np.concatenate([np.zeros(0), *(motion_iou(truth) for truth in truths)])
    matches = match(truths, predictions, np.zeros(len(truths), np.int64))
    groups: dict[str, dict[str, float | int | None]] = {}
    for name, belongs in SPEED_GROUPS.items():
        chosen = belongs(speeds)
        value = mean_precision(matches.of_truths(chosen).by_class(classes), np.ones(matches.recordings))
        groups[name] = {
            "map50": value if np.isfinite(value) else None,
            "truths": int(np.count_nonzero(chosen)),
        }
    return groups
