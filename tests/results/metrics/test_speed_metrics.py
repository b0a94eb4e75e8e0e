"""Average precision by motion: the groups by hand, and COCO's figure where only one group has truth."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.results.metrics.detection import average_precision
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.speed import motion_iou, precision_by_speed


def moving(step_px: float, frames: int = 30, side_px: float = 20.0, gaps=()):
    """One object that goes to the right by ``step_px`` a frame; absent in the frames ``gaps``."""
    present = np.array([t for t in range(frames) if t not in gaps])
    left = present * step_px
    boxes = np.stack([left, 0 * left, left + side_px, 0 * left + side_px], axis=1)
    zeros = np.zeros(len(present), np.int64)
    return SequenceTruth(np.arange(frames) / 30, present, boxes, zeros, zeros + 1)


def found_in(truth, generator):
    """Predictions: some truths are missed, and in some frames there is a false alarm far away."""
    count = len(truth.frame_ids)
    kept = np.flatnonzero(generator.random(count) < 0.7)
    false = np.flatnonzero(generator.random(count) < 0.4)
    rows = np.concatenate([kept, false])
    away = np.concatenate([np.zeros(len(kept)), np.full(len(false), 5000.0)])
    order = np.argsort(truth.frame_ids[rows], kind="stable")
    rows, away = rows[order], away[order]
    zeros = np.zeros(len(rows), np.int64)
    return SequencePredictions(
        truth.frame_ids[rows],
        truth.boxes_xyxy_px[rows] + away[:, None],
        generator.random(len(rows)),
        zeros,
        zeros - 1,
        zeros - 1,
    )


@pytest.mark.parametrize("step_px", [0.0, 1.0, 3.0, 40.0])
def test_motion_iou_is_the_mean_over_ten_frames_either_way(step_px):
    shifts = step_px * np.array([d for d in range(-10, 11) if d])
    overlap = np.clip(20 - abs(shifts), 0, None) * 20
    expected = (overlap / (800 - overlap)).mean()
    assert motion_iou(moving(step_px))[15] == pytest.approx(expected)


def test_motion_iou_looks_at_frames_not_at_boxes():
    """An object that comes back after a second is not near itself."""
    there = motion_iou(moving(0.0, frames=60, gaps=set(range(1, 59))))
    assert np.isnan(there).tolist() == [True, True]
    two = moving(0.0, frames=2)
    crowd = SequenceTruth(
        two.times_s,
        np.array([0, 0]),
        np.array([[0.0, 0, 9, 9], [0, 0, 9, 9]]),
        np.zeros(2, int),
        np.arange(2),
    )
    assert np.isnan(motion_iou(crowd)).all(), "another object at the same place is not it"


@pytest.mark.parametrize(("step_px", "group"), [(0.0, "slow"), (0.4, "medium"), (6.0, "fast")])
def test_the_groups(step_px, group):
    truth = moving(step_px)
    groups = precision_by_speed([truth], [found_in(truth, np.random.default_rng(0))], 1)
    assert {name: entry["truths"] for name, entry in groups.items() if entry["truths"]} == {group: 30}
    assert [entry["map50"] is None for name, entry in groups.items()] == [name != group for name in groups]


def test_a_group_is_what_coco_says_of_it_alone():
    """False alarms count in every group; hits on other groups count in none."""
    generator = np.random.default_rng(1)
    truths = [moving(0.0), moving(0.4), moving(6.0)]
    predictions = [found_in(truth, generator) for truth in truths]
    groups = precision_by_speed(truths, predictions, 1)
    for i, entry in enumerate(groups.values()):
        false = [p.where(p.boxes_xyxy_px[:, 1] > 1000) for p in predictions]
        alone = [predictions[j] if j == i else false[j] for j in range(3)]
        nothing = [truths[j] if j == i else _without_boxes(truths[j]) for j in range(3)]
        expected = average_precision(nothing, alone, ["a"]).map50
        assert entry["map50"] == pytest.approx(expected, abs=1e-9)


def _without_boxes(truth):
    none = truth.frame_ids[:0]
    return SequenceTruth(truth.times_s, none, truth.boxes_xyxy_px[:0], none, none)
