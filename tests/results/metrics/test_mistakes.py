"""Mistakes by hand, and that nothing is counted twice."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.results.metrics.classification import box_confusion
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.mistakes import mistakes


def one_frame(class_id, label, x=0.0):
    truth = np.array([class_id] * (class_id is not None), np.int64)
    found = np.array([label] * (label is not None), np.int64)
    box = np.array([[0.0, 0, 10, 10]])
    return (
        SequenceTruth(np.zeros(1), truth * 0, box[: len(truth)], truth, truth * 0),
        SequencePredictions(
            found * 0, (box + x)[: len(found)], found + 0.5, found, found * 0 - 1, found * 0 - 1
        ),
    )


@pytest.mark.parametrize(
    ("class_id", "label", "x", "expected", "share"),
    [
        (0, 0, 0, (0, 0, 0, 1), 0),
        (0, 1, 0, (0, 0, 1, 0), 1),
        (0, None, 0, (1, 0, 0, 0), 1),
        (None, 0, 0, (0, 1, 0, 0), 1),
        (0, 0, 100, (1, 1, 0, 0), 1),
        (None, None, 0, (0, 0, 0, 0), 0),
    ],
)
def test_by_hand(class_id, label, x, expected, share):
    counted = mistakes(*one_frame(class_id, label, x))
    assert tuple(int(part.sum()) for part in counted) == expected
    assert counted.share == share


def test_the_counts_are_those_of_the_confusion_matrix(make_clip):
    truth, prediction = make_clip(np.random.default_rng(0), frames=20, objects=4)
    counted, table = mistakes(truth, prediction), box_confusion([truth], [prediction], 3)
    assert counted.missed.sum() == table[:3, 3].sum()
    assert counted.false_alarms.sum() == table[3].sum()
    assert counted.right.sum() == np.trace(table[:3, :3])
    assert counted.misnamed.sum() == table[:3, :3].sum() - np.trace(table[:3, :3])
    assert counted.of_frames.shape == (truth.frames,)
