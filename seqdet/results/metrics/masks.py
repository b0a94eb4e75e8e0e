"""How well masks are found: COCO's average precision with the IoU of masks instead of boxes.

An object whose mask is not known is like COCO's crowd in its box: a mask that is found there is neither right
nor wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seqdet.results.metrics.detection import quiet
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth, paired
from seqdet.rle import encoded, runs_of


@dataclass(frozen=True, slots=True)
class MaskPrecision:
    """COCO's figures; None where there is no mask to find.

    Attributes:
        map50: mean over classes of the AP at IoU .5 of masks.
        map50_95: the same, averaged over IoU .50 to .95.
    """

    map50: float | None
    map50_95: float | None


def mask_precision(
    truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions], classes: int
) -> MaskPrecision:
    """Average precision of masks over all frames of all clips.

    Args:
        truths: one a clip, some of them with masks.
        predictions: one a clip, in the same order, with masks.
        classes: K.
    """
    from faster_coco_eval import COCO, COCOeval_faster  # here: most commands never need it

    images: list[dict[str, int]] = []
    truth: list[dict[str, object]] = []
    found: list[dict[str, object]] = []
    for one, said in paired(truths, predictions):
        width, height = one.size_wh
        truth += _annotations(one, len(images), np.ones(len(one.frame_ids)), one.size_wh)
        found += _annotations(said, len(images), said.scores, one.size_wh)
        images += [{"id": len(images) + t, "width": width, "height": height} for t in range(one.frames)]
    if all(entry["iscrowd"] for entry in truth):
        return MaskPrecision(None, None)
    header = {
        "images": images,
        "categories": [{"id": k, "name": str(k)} for k in range(classes)],
    }
    parts = [
        COCO(
            {**header, "annotations": [{**e, "id": i} for i, e in enumerate(part, start=1)]},
            print_function=quiet,
        )
        for part in (truth, found)
    ]
    evaluation = COCOeval_faster(*parts, "segm", print_function=quiet)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    at_half, at_all = (part[part > -1] for part in (precision[0], precision))
    return MaskPrecision(*(float(part.mean()) if part.size else None for part in (at_half, at_all)))


def _annotations(
    boxes: SequenceTruth | SequencePredictions,
    first_image: int,
    scores: np.ndarray,
    size_wh: tuple[int, int],
) -> Iterator[dict[str, object]]:
    width, height = size_wh
    masks = boxes.masks if len(boxes.masks) else np.full(len(boxes.frame_ids), "", object)
    for frame, box, class_id, score, mask in zip(
        boxes.frame_ids.tolist(),
        boxes.boxes_xyxy_px,
        boxes.class_ids.tolist(),
        scores.tolist(),
        masks,
        strict=True,
    ):
        text = mask or _of_box(box, (width, height))
        yield {
            "image_id": frame + first_image,
            "category_id": class_id,
            "segmentation": {"size": [height, width], "counts": text},
            "area": int(runs_of(text)[1::2].sum()),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
            "iscrowd": int(not mask),
        }


def _of_box(box_xyxy_px: np.ndarray, size_wh: tuple[int, int]) -> str:
    x1, y1 = np.maximum(np.floor(box_xyxy_px[:2]), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(box_xyxy_px[2:]), size_wh).astype(int)
    return encoded(np.ones((max(0, y2 - y1), max(0, x2 - x1)), bool), (x1, y1), size_wh)
