"""From raw predictions of one picture to detections in pixels of the source.

This is the one place that undoes ``preprocess``.

Legend: P cells, K classes, N kept boxes, S width of box features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torchvision.ops import nms

from seqdet.boxes import Letterbox, area, intersection
from seqdet.types import Detections


@dataclass(frozen=True, slots=True)
class PostprocessOptions:
    """What is kept.

    Attributes:
        min_score: smallest objectness, 0..1.
        nested_threshold: a box is dropped when so much of it, or of a better box, lies in the other: parts
            and surroundings of an object are no objects.
        iou_threshold: of two boxes that overlap more, the better one stays (whatever their class: one object
            has one class).
        max_detections: in a picture.
    """

    min_score: float = 0.05
    nested_threshold: float = 0.75
    iou_threshold: float = 0.5
    max_detections: int = 50


@dataclass(frozen=True, slots=True)
class RawPicture:
    """Raw predictions of one picture, boxes and motion in pixels of the network's input.

    Attributes:
        objectness: (P,) float32 logits.
        class_logits: (P, K) float32.
        boxes_xyxy: (P, 4) float32.
        motion: (P, 2) float32.
    """

    objectness: np.ndarray
    class_logits: np.ndarray
    boxes_xyxy: np.ndarray
    motion: np.ndarray


def postprocess(raw: RawPicture, options: PostprocessOptions) -> Detections:
    """Select the best boxes, best first, without duplicates.

    Returns:
        Detections in pixels of the network's input; ``to_source`` brings them home.
    """
    logit = float(np.log(options.min_score / (1 - options.min_score)))
    cells = np.flatnonzero(raw.objectness >= logit)
    if len(cells) > 1000:  # a picture of noise: the best ones are enough
        cells = cells[np.argpartition(-raw.objectness[cells], 1000)[:1000]]
    scores = 1 / (1 + np.exp(-raw.objectness[cells].astype(np.float32)))
    boxes = raw.boxes_xyxy[cells].astype(np.float32)
    finite = np.isfinite(scores)
    for numbers in (boxes, raw.class_logits[cells], raw.motion[cells]):
        finite &= np.isfinite(numbers).all(axis=1)
    cells, scores, boxes = cells[finite], scores[finite], boxes[finite]
    kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), options.iou_threshold).numpy()
    kept = kept[: 4 * options.max_detections]
    kept = kept[_not_nested(boxes[kept], options.nested_threshold)][: options.max_detections]
    cells, scores, boxes = cells[kept], scores[kept], boxes[kept]
    logits = raw.class_logits[cells].astype(np.float32)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True)) if len(cells) else logits
    probabilities = odds / odds.sum(axis=1, keepdims=True) if len(cells) else logits
    empty = Detections.empty(raw.class_logits.shape[1])
    return replace(
        empty,
        boxes_xyxy_px=boxes,
        scores=scores,
        class_ids=probabilities.argmax(axis=1) if len(cells) else empty.class_ids,
        track_ids=np.full(len(cells), -1, np.int64),
        track_class_ids=np.full(len(cells), -1, np.int64),
        track_scores=np.zeros(len(cells), np.float32),
        class_scores=probabilities,
        features=np.zeros((len(cells), 0), np.float32),
        motion_px=raw.motion[cells].astype(np.float32),
    )


def _not_nested(boxes_xyxy: np.ndarray, threshold: float) -> np.ndarray:
    """(N,) bool of boxes, best first: not in a better kept one, nor around it."""
    keep = np.ones(len(boxes_xyxy), bool)
    areas = np.maximum(area(boxes_xyxy), 1e-6)
    nested = intersection(boxes_xyxy, boxes_xyxy) / np.minimum(areas[:, None], areas[None]) > threshold
    in_a_better_one = np.tril(nested, -1)
    for index in np.flatnonzero(in_a_better_one.any(axis=1)):
        keep[index] = not (in_a_better_one[index] & keep).any()
    return keep


def to_source(detections: Detections, geometry: Letterbox) -> tuple[Detections, np.ndarray]:
    """The same detections in pixels of the source.

    Returns:
        The detections without those that lie in the border outside of the source, and (N,) bool: which
        stayed.
    """
    boxes = geometry.to_source(detections.boxes_xyxy_px)
    inside = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) > 0.5
    fields = {name: getattr(detections, name)[inside] for name in Detections.__slots__}
    fields["boxes_xyxy_px"] = boxes[inside]
    fields["motion_px"] = fields["motion_px"] / np.float32(geometry.scale)
    return Detections(**fields), inside
