"""HOTA, IDF1 and MOTA equal TrackEval's; IDF1 also motmetrics'."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet import boxes
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.tracking import tracking_scores

trackeval = pytest.importorskip("trackeval", reason="trackeval is in the dev group: uv sync")


def trackeval_data(truth, prediction):
    """One clip in the form that TrackEval's metrics take."""
    truth_ids, truth_tracks = np.unique(truth.track_ids, return_inverse=True)
    predicted_ids, predicted_tracks = np.unique(prediction.track_ids, return_inverse=True)
    frames = list(zip(truth.per_frame(), prediction.per_frame(truth.frames), strict=True))
    return {
        "num_timesteps": truth.frames,
        "num_gt_ids": len(truth_ids),
        "num_tracker_ids": len(predicted_ids),
        "num_gt_dets": len(truth_tracks),
        "num_tracker_dets": len(predicted_tracks),
        "gt_ids": [truth_tracks[t] for t, _ in frames],
        "tracker_ids": [predicted_tracks[p] for _, p in frames],
        "similarity_scores": [
            boxes.iou(truth.boxes_xyxy_px[t], prediction.boxes_xyxy_px[p]) for t, p in frames
        ],
    }


def trackeval_scores(pairs):
    quiet = {"PRINT_CONFIG": False}
    combined = {}
    for metric in (
        trackeval.metrics.HOTA(),
        trackeval.metrics.Identity(quiet),
        trackeval.metrics.CLEAR(quiet),
    ):
        results = {str(i): metric.eval_sequence(trackeval_data(*pair)) for i, pair in enumerate(pairs)}
        combined |= metric.combine_sequences(results)
    return combined


def assert_equal_to_trackeval(pairs):
    expected = trackeval_scores(pairs)
    result = tracking_scores(*zip(*pairs, strict=True))
    assert result.hota == pytest.approx(expected["HOTA"].mean(), abs=1e-6)
    assert result.det_a == pytest.approx(expected["DetA"].mean(), abs=1e-6)
    assert result.ass_a == pytest.approx(expected["AssA"].mean(), abs=1e-6)
    assert result.idf1 == pytest.approx(expected["IDF1"], abs=1e-6)
    assert result.mota == pytest.approx(expected["MOTA"], abs=1e-6)
    assert result.identity_switches == expected["IDSW"]


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_trackeval(seed, make_clip, capsys):
    generator = np.random.default_rng(seed)
    assert_equal_to_trackeval([make_clip(generator, frames=20, objects=1 + seed) for _ in range(3)])
    capsys.readouterr()  # TrackEval prints timings


def test_clips_without_truth_or_without_predictions_count(make_clip):
    truth, prediction = make_clip(np.random.default_rng(1))
    no_boxes = prediction.where(np.zeros(len(prediction.frame_ids), bool))
    empty = SequenceTruth.from_targets([], [])
    no_truth = SequenceTruth(
        truth.times_s, empty.frame_ids, empty.boxes_xyxy_px, empty.class_ids, empty.track_ids
    )
    assert_equal_to_trackeval([(truth, prediction), (truth, no_boxes), (no_truth, prediction)])
    assert tracking_scores([no_truth], [prediction]).hota is None
    assert tracking_scores([truth], [no_boxes]).hota == 0


def test_idf1_equals_motmetrics(make_clip):
    motmetrics = pytest.importorskip("motmetrics", reason="motmetrics is in the dev group: uv sync")
    truth, prediction = make_clip(np.random.default_rng(3), frames=25, objects=4)
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for t, p in zip(truth.per_frame(), prediction.per_frame(truth.frames), strict=True):
        distance = 1 - boxes.iou(truth.boxes_xyxy_px[t], prediction.boxes_xyxy_px[p])
        accumulator.update(
            truth.track_ids[t], prediction.track_ids[p], np.where(distance <= 0.5, distance, np.nan)
        )
    summary = motmetrics.metrics.create().compute(accumulator, metrics=["idf1"], name="clip")
    assert tracking_scores([truth], [prediction]).idf1 == pytest.approx(
        float(summary["idf1"].iloc[0]), abs=1e-6
    )


def test_a_perfect_tracker_has_one_everywhere(make_clip):
    truth, _ = make_clip(np.random.default_rng(2))
    count = len(truth.frame_ids)
    prediction = SequencePredictions(
        truth.frame_ids,
        truth.boxes_xyxy_px,
        np.ones(count),
        truth.class_ids,
        truth.track_ids + 5,
        np.full(count, -1),
    )
    scores = tracking_scores([truth], [prediction])
    assert (scores.hota, scores.idf1, scores.mota, scores.identity_switches) == (1, 1, 1, 0)


def test_boxes_without_a_track_take_no_part(make_clip):
    truth, prediction = make_clip(np.random.default_rng(4))
    loose = SequencePredictions(
        np.concatenate([prediction.frame_ids, [truth.frames - 1]]),
        np.concatenate([prediction.boxes_xyxy_px, [[0, 0, 9, 9]]]),
        np.append(prediction.scores, 1.0),
        np.append(prediction.class_ids, 0),
        np.append(prediction.track_ids, -1),
        np.append(prediction.track_class_ids, -1),
    )
    assert tracking_scores([truth], [loose]) == tracking_scores([truth], [prediction])
