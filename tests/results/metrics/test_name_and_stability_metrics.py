"""Track and sequence accuracy, confusion, flicker, jitter and delay, by hand and by what must hold."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.results.metrics.classification import box_confusion, sequence_accuracy, track_accuracy
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.stability import stability
from seqdet.types import Detections, Targets

N = None


def one_track(names, class_id=0, fps=30.0, offsets=None, sequence=(-1, -1)):
    """A clip with one object of 10 px in every frame, called ``names[t]`` there; None: not found."""
    frames = len(names)
    box = np.array([20.0, 20, 30, 30])
    found = np.array([t for t, name in enumerate(names) if name is not None], np.int64)
    shift = np.zeros((frames, 2)) if offsets is None else np.asarray(offsets, float)
    return (
        SequenceTruth(
            np.arange(frames) / fps,
            np.arange(frames),
            np.tile(box, (frames, 1)),
            np.full(frames, class_id),
            np.ones(frames, np.int64),
            sequence_class_id=sequence[0],
        ),
        SequencePredictions(
            found,
            box + np.tile(shift[found], 2),
            np.full(len(found), 0.9),
            np.full(len(found), 2),
            np.ones(len(found), np.int64),
            np.array([names[t] for t in found], np.int64),
            sequence_class_id=sequence[1],
        ),
    )


TRACK_CASES = [
    # names, right at the end, right after 4 frames
    ([0, 0, 0, 0, 0], 1.0, 1.0),
    ([1, 1, 1, 0, 0], 0.0, 1.0),  # mostly wrong, yet right after 4
    ([1, 1, 0, 0], 1.0, 1.0),  # a tie: the last name counts
    ([0, 0, 1, 1], 0.0, 0.0),
    ([N, N, N, N, 0, 0], 1.0, 0.0),  # found too late for 4
    ([0, N, N, N, N], 1.0, 1.0),  # the last known name stays
    ([N, N, N, N], 0.0, 0.0),
    ([0, 0, 0], 1.0, None),  # too short for 4
    ([-1, -1, -1, 0], 0.0, 1.0),  # without a track name, the frame's class (here 2) is what a user sees
]


@pytest.mark.parametrize(("names", "at_end", "after_four"), TRACK_CASES)
def test_track_accuracy_by_hand(names, at_end, after_four):
    pair = one_track(names)
    result = track_accuracy([pair[0]], [pair[1]], classes=3)
    assert result.accuracy == at_end
    assert result.after_frames[4] == after_four
    assert result.confusion.sum() == result.tracks == 1
    assert result.confusion[0, 3] == (1 - result.found_tracks)


def test_sequence_accuracy_leaves_out_clips_of_unknown_class():
    pairs = [one_track([0], sequence=s) for s in [(0, 0), (1, 0), (1, 1), (2, -1), (-1, 2)]]
    result = sequence_accuracy(*zip(*pairs, strict=True), classes=3)
    assert result.clips == 4
    assert result.accuracy == 0.5
    assert result.confusion.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]]
    assert sequence_accuracy([], [], classes=3).accuracy is None


STABILITY_CASES = [
    # names at 1 frame/s: presence flips, label flips, delay, delay of the found
    ([0, 0, 0, 0, 0, 0], 0, 0, 0.0, 0.0),
    ([N, N, 0, 0, 0, 0], 0, 0, 2.0, 2.0),
    ([0, N, 0, N, 0, 0], 4, 0, 0.0, 0.0),
    ([0, 0, 0, 0, N, N], 1, 0, 0.0, 0.0),
    ([0, 1, 0, 0, 0, 0], 0, 2, 0.0, 0.0),
    ([0, N, 1, 1, 1, 1], 2, 1, 0.0, 0.0),
    ([N, N, N, N, N, N], 0, 0, 6.0, None),
]


@pytest.mark.parametrize(("names", "presence", "label", "delay", "delay_found"), STABILITY_CASES)
def test_flicker_and_delay_by_hand(names, presence, label, delay, delay_found):
    pair = one_track(names, fps=1.0)
    result = stability([pair[0]], [pair[1]])
    assert result.presence_flips_per_min == pytest.approx(presence * 10)  # six seconds
    assert result.label_flips_per_min == pytest.approx(label * 10)
    assert result.flicker_per_min == pytest.approx((presence + label) * 10)
    assert (result.delay_frames, result.delay_frames_found) == (delay, delay_found)
    assert result.missed_tracks == (delay_found is None)


def test_median_delay_takes_a_miss_for_later_than_anything():
    truths, predictions = zip(*[one_track(n) for n in ([0] * 9, [N] * 3 + [0] * 6, [N] * 9)], strict=True)
    assert stability(truths, predictions).delay_frames_median == 3.0
    assert stability(truths[1:], predictions[1:]).delay_frames_median is None


def test_centre_jitter_is_the_deviation_of_independent_noise_and_ignores_an_offset():
    generator = np.random.default_rng(0)
    noise = np.clip(generator.normal(0, 0.6, (6000, 2)), -1.5, 1.5)  # px, of a box of 10 px
    steady, shaky = (one_track([0] * 6000, offsets=o) for o in (np.ones((6000, 2)), 0.5 + noise))
    assert stability([steady[0]], [steady[1]]).centre_jitter == pytest.approx(0, abs=1e-9)
    result = stability([shaky[0]], [shaky[1]])
    assert result.centre_jitter == pytest.approx(0.06, rel=0.05)
    assert result.size_jitter == pytest.approx(0, abs=1e-9)


def test_nothing_to_measure_is_none():
    result = stability([], [])
    assert (result.flicker_per_min, result.centre_jitter, result.delay_frames) == (None, None, None)
    assert track_accuracy([], [], 3).accuracy is None


BOX_CASES = [
    # names of one truth of class 0 over the frames -> row, column of what is counted
    ([0], (0, 0)),
    ([1], (0, 1)),
    ([N], (0, 3)),
]


@pytest.mark.parametrize(("names", "place"), BOX_CASES)
def test_box_confusion_by_hand(names, place):
    pair = one_track(names)
    table = box_confusion([pair[0]], [pair[1]], 3)
    assert table[place] == table.sum() == 1


def test_box_confusion_counts_a_false_alarm_in_the_last_row():
    truth, prediction = one_track([0, 2], offsets=[(0, 0), (50, 0)])
    table = box_confusion([truth], [prediction], 3)
    assert (table[0, 0], table[0, 3], table[3, 2], table.sum()) == (1, 1, 1, 3)


def test_box_confusion_has_every_truth_in_its_row_and_every_prediction_in_its_column(make_clip):
    generator = np.random.default_rng(6)
    truths, predictions = zip(*[make_clip(generator, objects=4) for _ in range(3)], strict=True)
    table = box_confusion(truths, predictions, 3)
    of_truths = np.bincount(np.concatenate([t.class_ids for t in truths]), minlength=3)
    of_predictions = np.bincount(np.concatenate([p.label_ids for p in predictions]), minlength=3)
    assert table[:3].sum(axis=1).tolist() == of_truths.tolist()
    assert table[:, :3].sum(axis=0).tolist() == of_predictions.tolist()
    assert table[3, 3] == 0


def test_box_confusion_equals_supervision_where_boxes_do_not_compete(make_clip):
    """Its matching prefers the greater overlap, ours the better score: one object and one box a frame."""
    supervision = pytest.importorskip("supervision")
    generator = np.random.default_rng(7)
    truth, prediction = make_clip(generator, frames=60, objects=1)
    _, first = np.unique(prediction.frame_ids, return_index=True)
    prediction = prediction.where(np.isin(np.arange(len(prediction.frame_ids)), first))
    rows = [
        np.concatenate([value.boxes_xyxy_px, value.class_ids[:, None]], axis=1)
        for value in (truth, prediction)
    ]
    rows[1] = np.concatenate([rows[1], prediction.scores[:, None]], axis=1)
    frames = list(zip(truth.per_frame(), prediction.per_frame(truth.frames), strict=True))
    expected = supervision.ConfusionMatrix.from_tensors(
        predictions=[rows[1][p] for _, p in frames],
        targets=[rows[0][t] for t, _ in frames],
        classes=["a", "b", "c"],
        conf_threshold=0.0,
        iou_threshold=0.5,
    ).matrix
    np.testing.assert_array_equal(box_confusion([truth], [prediction], 3), expected)


def test_inputs_are_built_from_what_travels_and_check_themselves():
    targets = [
        Targets.empty(),
        Targets(np.ones((2, 4), np.float32), np.array([0, 1]), np.array([7, 8])),
        Targets.empty(),
    ]
    truth = SequenceTruth.from_targets(targets, [0.0, 0.1, 0.2], 1, "recording", "clip")
    assert truth.frames == 3
    assert truth.frame_ids.tolist() == [1, 1]
    assert [s.stop - s.start for s in truth.per_frame()] == [0, 2, 0]
    prediction = SequencePredictions.from_detections([Detections.empty()] * 3)
    assert len(prediction.frame_ids) == 0
    assert prediction.boxes_xyxy_px.shape == (0, 4)
    with pytest.raises(ValueError, match="3 targets with 2 times"):
        SequenceTruth.from_targets(targets, [0.0, 0.1])
    with pytest.raises(ValueError, match="1 truths with 0 predictions"):
        track_accuracy([truth], [], 2)
    late = one_track([0] * 9)[1]
    with pytest.raises(ValueError, match="'clip' has 3 frames, a prediction is for frame 8"):
        track_accuracy([truth], [late], 2)
