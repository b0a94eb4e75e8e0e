"""Small builders that the tests of this wing share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.types import Detections

MakeDetections = Callable[..., Detections]
MakeClip = Callable[..., tuple[SequenceTruth, SequencePredictions]]


@pytest.fixture
def make_detections() -> MakeDetections:
    """(boxes, scores=.9, ...) -> Detections; what is not given is as the network leaves it."""

    def make(boxes_xyxy_px: object, scores: object = 0.9, classes: int = 3, **columns: object) -> Detections:
        boxes = np.asarray(boxes_xyxy_px, np.float32).reshape(-1, 4)
        count = len(boxes)
        given = {name: np.asarray(value) for name, value in columns.items()}
        return Detections(
            boxes_xyxy_px=boxes,
            scores=np.broadcast_to(np.asarray(scores, np.float32), (count,)).copy(),
            class_ids=given.get("class_ids", np.zeros(count, np.int64)),
            track_ids=given.get("track_ids", np.full(count, -1, np.int64)),
            track_class_ids=given.get("track_class_ids", np.full(count, -1, np.int64)),
            track_scores=given.get("track_scores", np.zeros(count, np.float32)),
            class_scores=given.get("class_scores", np.zeros((count, classes), np.float32)),
            features=given.get("features", np.zeros((count, 0), np.float32)),
            motion_px=given.get("motion_px", np.zeros((count, 2), np.float32)),
        )

    return make


@pytest.fixture
def make_clip() -> MakeClip:
    """(generator, frames, objects, classes) -> a clip, its predictions noisy, partly missing or false."""

    def make(
        generator: np.random.Generator, frames: int = 12, objects: int = 3, classes: int = 3
    ) -> tuple[SequenceTruth, SequencePredictions]:
        truth_rows, predicted_rows = [], []
        start, speed = generator.uniform(0, 60, (objects, 2)), generator.normal(0, 3, (objects, 2))
        side = generator.uniform(6, 60, (objects, 2))
        for frame in range(frames):
            for index in range(objects):
                corner = start[index] + frame * speed[index]
                box = np.concatenate([corner, corner + side[index]])
                if generator.random() < 0.85:
                    truth_rows.append((frame, *box, index % classes, 10 + index))
                if generator.random() < 0.8:
                    noisy = box + generator.normal(0, 0.1, 4) * np.tile(side[index], 2)
                    noisy[2:] = np.maximum(noisy[2:], noisy[:2] + 1)
                    class_id = index % classes if generator.random() < 0.8 else generator.integers(classes)
                    track_id = 1 + (index + (generator.random() < 0.1)) % objects
                    predicted_rows.append((frame, *noisy, generator.random(), class_id, track_id))
            for _ in range(generator.poisson(0.7)):
                corner = generator.uniform(0, 80, 2)
                far = corner + generator.uniform(5, 40, 2)
                predicted_rows.append(
                    (frame, *corner, *far, generator.random(), generator.integers(classes), 99)
                )
        truth_table = np.array(truth_rows, np.float64).reshape(-1, 7)
        predicted = np.array(predicted_rows, np.float64).reshape(-1, 8)
        # One track is in a frame once at most, or the oracles refuse the input.
        _, first = np.unique(predicted[:, [0, 7]], axis=0, return_index=True)
        predicted = predicted[np.sort(first)]
        return (
            SequenceTruth(
                times_s=np.arange(frames) / 30,
                frame_ids=truth_table[:, 0].astype(np.int64),
                boxes_xyxy_px=truth_table[:, 1:5],
                class_ids=truth_table[:, 5].astype(np.int64),
                track_ids=truth_table[:, 6].astype(np.int64),
            ),
            SequencePredictions(
                frame_ids=predicted[:, 0].astype(np.int64),
                boxes_xyxy_px=predicted[:, 1:5],
                scores=predicted[:, 5],
                class_ids=predicted[:, 6].astype(np.int64),
                track_ids=predicted[:, 7].astype(np.int64),
                track_class_ids=np.full(len(predicted), -1, np.int64),
            ),
        )

    return make
