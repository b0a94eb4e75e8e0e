"""How well boxes are found, frame by frame: average precision and the best F1.

Legend: I images, N detections, M truths, K classes.

Average precision is COCO's (Lin et al., "Microsoft COCO", ECCV 2014; computed by faster-coco-eval, equal to
pycocotools): in each image and class the detections take, best score first, the free truth of highest IoU
above the threshold; precision is made non-increasing and averaged over 101 recalls 0, .01, ..., 1:

    AP = 1/101 * sum over r of max{precision at recall >= r},   mAP = mean over classes that have truth

``map50`` uses IoU .5; ``map50_95`` is the mean over .50, .55, ..., .95. At most 100 detections an image and
class count. Every image counts, also one without detections or without truth. A figure that is not defined
(no truth) is None.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seqdet import boxes
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth, paired
from seqdet.results.metrics.matching import matched_truths

# Least and greatest side in pixels (square root of the area). COCO divides at 32 and 96; the objects that
# this project is measured on are 8 to 60 pixels.
SIZE_GROUPS_PX: Mapping[str, tuple[float, float]] = {
    "tiny": (0.0, 12.0),
    "small": (12.0, 24.0),
    "medium": (24.0, 48.0),
    "large": (48.0, 1e5),
}


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's figures; None where there is no truth to find.

    Attributes:
        map50: mean over classes of the AP at IoU .5.
        map50_95: the same, averaged over IoU .50 to .95.
        map75: mean over classes of the AP at IoU .75.
        agnostic_ap50: AP at IoU .5 when all classes are taken for one.
        per_class: for each class name ``{"ap50", "ap50_95", "truths"}``.
        by_size: for each size group ``{"map50", "map50_95", "truths"}``; truths of other sizes are ignored.
        curves: for each class with truth the 101 precisions at IoU .5 and recalls 0, .01, ..., 1.
    """

    map50: float | None
    map50_95: float | None
    map75: float | None
    agnostic_ap50: float | None
    per_class: dict[str, dict[str, float | int | None]] = field(default_factory=dict)
    by_size: dict[str, dict[str, float | int | None]] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Precision and recall at one score threshold, over all classes together (micro average).

    Attributes:
        f1: 2 P R / (P + R), 0..1; 0 when nothing was found.
        precision: TP / (TP + FP); 0 without detections.
        recall: TP / (TP + FN); 0 without truth.
        score: the threshold: detections that score at least so much count.
    """

    f1: float
    precision: float
    recall: float
    score: float


def average_precision(
    truths: Sequence[SequenceTruth],
    predictions: Sequence[SequencePredictions],
    classes: Sequence[str],
    size_groups_px: Mapping[str, tuple[float, float]] = SIZE_GROUPS_PX,
) -> AveragePrecision:
    """AP over all frames of all clips.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order.
        classes: K names.
        size_groups_px: name -> (least, greatest) side in pixels, where side = sqrt(width * height).
    """
    images, truth, detected = _flat(truths, predictions)
    sides = [(0.0, 1e5), *size_groups_px.values()]
    precision, agnostic = coco_precision(images, truth, detected, len(classes), sides)
    of_all = precision[..., 0]
    truth_sides = np.sqrt(boxes.area(truth.boxes_xyxy))
    return AveragePrecision(
        map50=_mean(of_all[0]),
        map50_95=_mean(of_all),
        map75=_mean(of_all[5]),
        agnostic_ap50=_mean(agnostic),
        per_class={
            name: {
                "ap50": _mean(of_all[0, :, k]),
                "ap50_95": _mean(of_all[:, :, k]),
                "truths": int(np.count_nonzero(truth.class_ids == k)),
            }
            for k, name in enumerate(classes)
        },
        by_size={
            name: {
                "map50": _mean(precision[0, :, :, group]),
                "map50_95": _mean(precision[..., group]),
                "truths": int(np.count_nonzero((truth_sides >= low) & (truth_sides <= high))),
            }
            for group, (name, (low, high)) in enumerate(size_groups_px.items(), start=1)
        },
        curves={name: of_all[0, :, k].tolist() for k, name in enumerate(classes) if of_all[0, 0, k] > -1},
    )


def best_f1(
    truths: Sequence[SequenceTruth],
    predictions: Sequence[SequencePredictions],
    score: float | None = None,
    iou: float = 0.5,
) -> OperatingPoint:
    """F1 at IoU .5 at the score threshold that makes it greatest, or at a given one.

    A detection is a true positive when it takes a truth of its class in its frame: best score first, each the
    free truth of highest IoU. TP, FP and FN are summed over frames and classes;
    F1 = 2 TP / (2 TP + FP + FN). A threshold that was not fixed beforehand was chosen on the data that the
    figure describes: say so beside it.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order.
        score: the threshold, or None for the best one (the highest of equals).
        iou: least overlap of a match.
    """
    hits: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    truth_count = 0
    for truth, prediction in paired(truths, predictions):
        taken = matched_truths(truth, prediction, iou, same_class=True)
        hits.append(taken >= 0)
        scores.append(prediction.scores)
        truth_count += len(truth.frame_ids)
    all_scores, all_hits = np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, bool), *hits])
    order = np.argsort(-all_scores, kind="stable")
    ordered, true_positives = all_scores[order], np.cumsum(all_hits[order])
    if score is not None:
        count = int(np.count_nonzero(ordered >= score))
    elif not len(ordered) or not truth_count:
        return OperatingPoint(0.0, 0.0, 0.0, 0.0)
    else:
        # Of equal scores only the last can be a threshold.
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        best = int(np.argmax(2 * true_positives[ends] / (ends + 1 + truth_count)))
        count = int(ends[best]) + 1
        score = float(ordered[count - 1])
    found = int(true_positives[count - 1]) if count else 0
    return OperatingPoint(
        f1=2 * found / (count + truth_count) if found else 0.0,
        precision=found / count if count else 0.0,
        recall=found / truth_count if truth_count else 0.0,
        score=score,
    )


@dataclass(frozen=True, slots=True)
class FlatBoxes:
    """Boxes of all images in one array.

    Attributes:
        image_ids: (N,) int64, from 0.
        boxes_xyxy: (N, 4).
        class_ids: (N,) int64, from 0.
        scores: (N,); not used for truth.
        crowds: (N,) bool, of truth: COCO's "iscrowd"; what is found there is neither right nor wrong.
    """

    image_ids: np.ndarray
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    crowds: np.ndarray | None = None


def _flat(
    truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions]
) -> tuple[int, FlatBoxes, FlatBoxes]:
    """Number the frames of all clips through: (number of images, truth, detections)."""
    images, truth_parts, detected_parts = 0, [], []
    for truth, prediction in paired(truths, predictions):
        truth_parts.append(
            (truth.frame_ids + images, truth.boxes_xyxy_px, truth.class_ids, np.ones(len(truth.frame_ids)))
        )
        detected_parts.append(
            (prediction.frame_ids + images, prediction.boxes_xyxy_px, prediction.class_ids, prediction.scores)
        )
        images += truth.frames
    return images, _concatenated(truth_parts), _concatenated(detected_parts)


def _concatenated(parts: Sequence[tuple[np.ndarray, ...]]) -> FlatBoxes:
    empty = (np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    return FlatBoxes(*(np.concatenate([part[i] for part in (parts or [empty])]) for i in range(4)))


def coco_precision(
    images: int, truth: FlatBoxes, detected: FlatBoxes, classes: int, sides_px: Sequence[tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """COCO's interpolated precision; -1 where there is no truth.

    Returns:
        (10 IoU thresholds, 101 recalls, K classes, size groups), and (101 recalls) at IoU .5 of all classes
        taken for one.
    """
    from faster_coco_eval import COCO, COCOeval_faster  # here: most commands never need it

    if not images or not len(truth.image_ids):
        return np.full((10, 101, classes, len(sides_px)), -1.0), np.full(101, -1.0)
    header = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": k, "name": str(k)} for k in range(classes)],
    }
    evaluation = COCOeval_faster(
        COCO({**header, "annotations": _annotations(truth)}, print_function=quiet),
        COCO({**header, "annotations": _annotations(detected)}, print_function=quiet),
        "bbox",
        print_function=quiet,
    )
    parameters = evaluation.params
    parameters.areaRng = [[low**2, high**2] for low, high in sides_px]
    parameters.areaRngLbl = [str(i) for i in range(len(sides_px))]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    parameters.useCats = 0
    parameters.iouThrs = np.array([0.5])
    parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
    evaluation.evaluate()
    evaluation.accumulate()
    return precision, np.asarray(evaluation.eval["precision"])[0, :, 0, 0, -1]


def _annotations(boxes_of_all: FlatBoxes) -> list[dict[str, object]]:
    boxes_ltwh = boxes.ltwh_from_xyxy(boxes_of_all.boxes_xyxy)
    crowds = boxes_of_all.crowds
    columns = zip(
        boxes_of_all.image_ids.tolist(),
        boxes_of_all.class_ids.tolist(),
        boxes_ltwh.tolist(),
        (boxes_ltwh[:, 2] * boxes_ltwh[:, 3]).tolist(),
        boxes_of_all.scores.tolist(),
        (np.zeros(len(boxes_ltwh), int) if crowds is None else crowds.astype(int)).tolist(),
        strict=True,
    )
    # Ids count from 1: COCO's evaluation takes the id 0 for "not matched".
    return [
        {
            "id": i,
            "image_id": image,
            "category_id": k,
            "bbox": box,
            "area": area,
            "score": s,
            "iscrowd": crowd,
        }
        for i, (image, k, box, area, s, crowd) in enumerate(columns, start=1)
    ]


def _mean(precision: np.ndarray) -> float | None:
    """Mean over thresholds, recalls and the classes that have truth; None where none has."""
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else None


def quiet(message: object) -> None:
    """Where faster-coco-eval's chatter goes: standard output belongs to the command."""
    logging.getLogger(__name__).debug("%s", message)
