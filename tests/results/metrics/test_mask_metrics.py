"""Average precision of masks against pycocotools, and masks that are pasted into a frame."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from seqdet.results.masks import pasted
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.masks import mask_precision
from seqdet.rle import decoded, encoded

SIZE_WH = (40, 30)


def blob(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]] + 0.5
    centre, sides = rng.uniform((8, 8), (32, 22)), rng.uniform(3, 9, 2)
    return ((x - centre[0]) / sides[0]) ** 2 + ((y - centre[1]) / sides[1]) ** 2 <= 1


def box_of(mask: np.ndarray) -> list[float]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 1, 1]


def random_clips(seed: int):
    """Truths, some without a mask, and predictions that are some of them, shifted, and some of nothing."""
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for _ in range(3):
        frames, ids, masks, classes = 4, [], [], []
        of_found: list[tuple[int, np.ndarray, int, float]] = []
        for frame in range(frames):
            for _ in range(rng.integers(0, 4)):
                mask, class_id = blob(rng), int(rng.integers(2))
                ids.append(frame)
                masks.append(mask)
                classes.append(class_id)
                if rng.random() < 0.8:
                    of_found.append(
                        (frame, np.roll(mask, rng.integers(-2, 3, 2), (0, 1)), class_id, rng.random())
                    )
            if rng.random() < 0.5:
                of_found.append((frame, blob(rng), int(rng.integers(2)), rng.random()))
        known = np.array([encoded(m) if rng.random() < 0.8 else "" for m in masks], object)
        count, found = len(ids), len(of_found)
        truths.append(
            SequenceTruth(
                np.arange(frames) / 30,
                np.array(ids, np.int64),
                np.array([box_of(m) for m in masks], float).reshape(-1, 4),
                np.array(classes, np.int64),
                np.arange(count),
                size_wh=SIZE_WH,
                masks=known,
            )
        )
        nothing = np.full(found, -1, np.int64)
        predictions.append(
            SequencePredictions(
                np.array([one[0] for one in of_found], np.int64),
                np.array([box_of(one[1]) for one in of_found], float).reshape(-1, 4),
                np.array([one[3] for one in of_found]),
                np.array([one[2] for one in of_found], np.int64),
                nothing,
                nothing,
                masks=np.array([encoded(one[1]) for one in of_found], object),
            )
        )
    return truths, predictions


def by_oracle(truths: list, predictions: list) -> tuple[float, float]:
    parts: tuple[list, list] = ([], [])
    for clip, pair in enumerate(zip(truths, predictions, strict=True)):
        for part, boxes in zip(parts, pair, strict=True):
            for row, frame in enumerate(boxes.frame_ids.tolist()):
                text = boxes.masks[row]
                if not text:
                    x1, y1, x2, y2 = boxes.boxes_xyxy_px[row].astype(int)
                    whole = np.zeros(SIZE_WH[::-1], np.uint8)
                    whole[y1:y2, x1:x2] = 1
                    code = coco_masks.encode(np.asfortranarray(whole))
                else:
                    code = {"size": list(SIZE_WH[::-1]), "counts": text.encode()}
                entry = {"id": len(part) + 1, "image_id": 4 * clip + frame, "iscrowd": int(not text)}
                entry |= {"category_id": int(boxes.class_ids[row]), "segmentation": code}
                entry |= {"area": float(coco_masks.area(code)), "bbox": [0, 0, 1, 1]}
                part.append(entry | ({"score": float(boxes.scores[row])} if part is parts[1] else {}))
    images = [{"id": i, "width": SIZE_WH[0], "height": SIZE_WH[1]} for i in range(12)]
    header = {"images": images, "categories": [{"id": 0}, {"id": 1}]}
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for part in parts:
            side = COCO()
            side.dataset = {**header, "annotations": part}
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1], evaluation.stats[0]


@pytest.mark.parametrize("seed", range(4))
def test_mask_precision_is_that_of_pycocotools(seed: int):
    truths, predictions = random_clips(seed)
    got = mask_precision(truths, predictions, 2)
    assert (got.map50, got.map50_95) == pytest.approx(by_oracle(truths, predictions), abs=1e-9)


def test_right_masks_are_right_and_none_to_find_is_no_figure():
    truths, _ = random_clips(7)
    same = []
    for one in truths:
        none, sure = one.class_ids * 0 - 1, np.ones(len(one.frame_ids))
        found = SequencePredictions(
            one.frame_ids, one.boxes_xyxy_px, sure, one.class_ids, none, none, masks=one.masks
        )
        same.append(found.where(one.masks != ""))
    assert mask_precision(truths, same, 2).map50_95 == 1
    bare = [SequenceTruth(t.times_s, t.frame_ids, t.boxes_xyxy_px, t.class_ids, t.track_ids) for t in truths]
    assert mask_precision(bare, same, 2).map50 is None


def test_a_window_is_pasted_where_it_lies_and_cut_at_the_frame():
    """The logit is a plane: it is on right of a line, wherever the window reaches."""
    along = (np.arange(28) + 0.5) / 28
    cells = np.broadcast_to(along - 0.25, (28, 28)).astype(np.float32)
    windows = np.array([[4, 5, 24, 15], [-10, -10, 10, 10], [30, 20, 90, 80], [50, 50, 60, 60]], np.float32)
    for text, (x1, y1, x2, y2) in zip(pasted(np.stack([cells] * 4), windows, SIZE_WH), windows, strict=True):
        y, x = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]] + 0.5
        wanted = (x > x1 + 0.25 * (x2 - x1)) & (x < x2) & (y > y1) & (y < y2)
        assert np.array_equal(decoded(text, SIZE_WH), wanted)
