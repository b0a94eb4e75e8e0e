"""Average precision equals pycocotools', also where images are empty; F1 is what its definition says."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from seqdet.results.metrics.detection import (
    SIZE_GROUPS_PX,
    FlatBoxes,
    average_precision,
    best_f1,
    coco_precision,
)
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth

COCO_VECTORS = (
    Path(__file__).resolve().parents[3] / "../shared/vectors/annotations/faster_coco_eval/dataset/cocoapi"
)


def pycocotools_evaluation(pairs, classes, ranges=None, agnostic=False):
    """COCOeval of pycocotools over the same clips, accumulated."""
    images, truths, found = [], [], []
    for truth, prediction in pairs:
        first = len(images)
        images += [{"id": first + t} for t in range(truth.frames)]
        for rows, value in ((truths, truth), (found, prediction)):
            for index, frame in enumerate(value.frame_ids):
                x1, y1, x2, y2 = value.boxes_xyxy_px[index].tolist()
                row = {
                    "id": len(rows) + 1,
                    "image_id": first + int(frame),
                    "category_id": 0 if agnostic else int(value.class_ids[index]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
                if value is prediction:
                    row["score"] = float(value.scores[index])
                rows.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        sets = []
        for rows in (truths, found):
            coco = COCO()
            categories = [{"id": k} for k in range(1 if agnostic else classes)]
            coco.dataset = {"images": images, "annotations": rows, "categories": categories}
            coco.createIndex()
            sets.append(coco)
        evaluation = COCOeval(*sets, "bbox")
        if ranges:
            evaluation.params.areaRng = [[low**2, high**2] for low, high in ranges]
            evaluation.params.areaRngLbl = [str(i) for i in range(len(ranges))]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1]


def mean(precision):
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else None


def near(precision):
    """What a figure must be, to 1e-9, or None."""
    expected = mean(precision)
    return None if expected is None else pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_equals_pycocotools(seed, make_clip, capsys):
    generator = np.random.default_rng(seed)
    pairs = [make_clip(generator, frames=15, objects=1 + seed, classes=3) for _ in range(4)]
    ranges = [(0, 1e5), *SIZE_GROUPS_PX.values()]
    expected = pycocotools_evaluation(pairs, 3, ranges)
    result = average_precision(*zip(*pairs, strict=True), classes=["a", "b", "c"])
    assert result.map50 == near(expected[0, :, :, 0])
    assert result.map75 == near(expected[5, :, :, 0])
    assert result.map50_95 == near(expected[..., 0])
    for k, name in enumerate("abc"):
        assert result.per_class[name]["ap50"] == near(expected[0, :, k, 0])
        assert result.per_class[name]["ap50_95"] == near(expected[:, :, k, 0])
    for group, name in enumerate(SIZE_GROUPS_PX, start=1):
        assert result.by_size[name]["map50_95"] == near(expected[..., group])
    agnostic = pycocotools_evaluation(pairs, 1, agnostic=True)
    assert result.agnostic_ap50 == near(agnostic[0, :, :, 0])
    assert capsys.readouterr().out == "", "standard output belongs to the command"


def test_every_image_counts_also_those_without_detections():
    """Scoring only the images that have detections gives .506985 here."""
    if not COCO_VECTORS.is_dir():
        pytest.skip(f"the COCO vectors are not at {COCO_VECTORS}")
    truth = json.loads((COCO_VECTORS / "instances_val2014_100.json").read_text())
    results = json.loads((COCO_VECTORS / "instances_val2014_fakebbox100_results.json").read_text())
    image_ids = sorted(image["id"] for image in truth["images"])
    category_ids = sorted(category["id"] for category in truth["categories"])

    def flat(rows):
        ltwh = np.array([row["bbox"] for row in rows])
        return FlatBoxes(
            image_ids=np.array([image_ids.index(row["image_id"]) for row in rows]),
            boxes_xyxy=np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1),
            class_ids=np.array([category_ids.index(row["category_id"]) for row in rows]),
            scores=np.array([row.get("score", 1.0) for row in rows]),
            crowds=np.array([bool(row.get("iscrowd")) for row in rows]),
        )

    found = flat(results)
    assert len(np.unique(found.image_ids)) < len(image_ids), "the trap: an image without detections"
    precision, _ = coco_precision(
        len(image_ids), flat(truth["annotations"]), found, len(category_ids), [(0, 1e5)]
    )
    assert mean(precision) == pytest.approx(0.5045806987, abs=1e-9)
    assert mean(precision[0]) == pytest.approx(0.6969727247, abs=1e-9)
    assert mean(precision[5]) == pytest.approx(0.5729816670, abs=1e-9)


def clip(truth_rows, predicted_rows, frames=3):
    """Rows (frame, x, class) of boxes of 10 px, predictions with a score behind."""
    truth, found = np.array(truth_rows, float).reshape(-1, 3), np.array(predicted_rows, float).reshape(-1, 4)

    def boxes(x):
        return np.stack([x, 0 * x, x + 10, 0 * x + 10], axis=1)

    return (
        SequenceTruth(
            np.arange(frames) / 30,
            truth[:, 0].astype(int),
            boxes(truth[:, 1]),
            truth[:, 2].astype(int),
            np.arange(len(truth)),
        ),
        SequencePredictions(
            found[:, 0].astype(int),
            boxes(found[:, 1]),
            found[:, 3],
            found[:, 2].astype(int),
            np.full(len(found), -1),
            np.full(len(found), -1),
        ),
    )


F1_CASES = [
    # truth, predictions (frame, x, class, score), (f1, precision, recall, threshold)
    ([(0, 0, 0)], [(0, 0, 0, 0.9)], (1, 1, 1, 0.9)),
    ([(0, 0, 0)], [(0, 0, 1, 0.9)], (0, 0, 0, 0.9)),  # wrong class
    ([(0, 0, 0)], [(1, 0, 0, 0.9)], (0, 0, 0, 0.9)),  # wrong frame
    ([(0, 0, 0)], [(0, 0, 0, 0.9), (0, 1, 0, 0.8)], (1, 1, 1, 0.9)),  # the second finds nothing left
    ([(0, 0, 0), (1, 0, 0)], [(0, 0, 0, 0.9), (0, 50, 0, 0.5), (1, 0, 0, 0.4)], (0.8, 2 / 3, 1, 0.4)),
    ([(0, 0, 0), (1, 0, 0)], [(0, 0, 0, 0.5), (0, 50, 0, 0.5)], (0.5, 0.5, 0.5, 0.5)),  # equal scores
    ([], [(0, 0, 0, 0.9)], (0, 0, 0, 0.0)),
    ([(0, 0, 0)], [], (0, 0, 0, 0.0)),
]


@pytest.mark.parametrize(("truth", "predicted", "expected"), F1_CASES)
def test_best_f1_by_hand(truth, predicted, expected):
    pair = clip(truth, predicted)
    point = best_f1([pair[0]], [pair[1]])
    assert (point.f1, point.precision, point.recall, point.score) == pytest.approx(expected)


def test_best_f1_is_the_greatest_over_all_thresholds(make_clip):
    generator = np.random.default_rng(5)
    truths, predictions = zip(*[make_clip(generator) for _ in range(3)], strict=True)
    best = best_f1(truths, predictions)
    every = [best_f1(truths, predictions, score=s) for p in predictions for s in p.scores]
    assert best.f1 == max(point.f1 for point in every)
    assert best == best_f1(truths, predictions, score=best.score)


def test_nothing_to_find_is_not_a_number_but_none():
    truth, prediction = clip([], [(0, 0, 0, 0.9)])
    result = average_precision([truth], [prediction], ["a"])
    assert (result.map50, result.map50_95, result.agnostic_ap50) == (None, None, None)
    empty = average_precision([], [], ["a"])
    assert empty.map50 is None
    assert empty.per_class["a"]["truths"] == 0


def test_nothing_found_is_zero():
    truth, prediction = clip([(0, 0, 0)], [])
    assert average_precision([truth], [prediction], ["a"]).map50 == 0
