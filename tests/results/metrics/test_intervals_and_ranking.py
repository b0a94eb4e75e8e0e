"""Weighted recordings: of one they give the oracle's figure, of 0 and 1 the subset's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqdet.results.metrics.bootstrap import draw_weights, percentile_interval
from seqdet.results.metrics.classification import sequence_accuracy, track_accuracy
from seqdet.results.metrics.detection import average_precision, best_f1
from seqdet.results.metrics.headline import (
    HEADLINE,
    by_recording,
    count,
    drawn_figures,
    headline,
    intervals,
)
from seqdet.results.metrics.ranking import match, mean_precision
from seqdet.results.metrics.stability import stability
from seqdet.results.metrics.tracking import tracking_scores


@pytest.fixture
def clips(make_clip):
    """Nine clips of three recordings, with a class each, as truths and predictions."""
    generator = np.random.default_rng(8)
    truths, predictions = [], []
    for i in range(9):
        truth, prediction = make_clip(generator, frames=14, objects=1 + i % 3)
        truths.append(replace(truth, recording=f"r{i // 3}", sequence_class_id=i % 3 - (i == 4)))
        predictions.append(replace(prediction, sequence_class_id=int(generator.integers(-1, 3))))
    return truths, predictions


def by_their_own_functions(truths, predictions):
    """The headline figures, each from the function that has the oracle."""
    precision = average_precision(truths, predictions, ["a", "b", "c"])
    following, steady = tracking_scores(truths, predictions), stability(truths, predictions)
    return {
        "map50": precision.map50,
        "agnostic_ap50": precision.agnostic_ap50,
        "f1_50": best_f1(truths, predictions).f1,
        "track_accuracy": track_accuracy(truths, predictions, 3).accuracy,
        "sequence_accuracy": sequence_accuracy(truths, predictions, 3).accuracy,
        "hota": following.hota,
        "idf1": following.idf1,
        "flicker_per_min": steady.flicker_per_min,
        "delay_frames": steady.delay_frames,
    }


def test_weights_of_one_give_the_figures_that_have_an_oracle(clips):
    truths, predictions = clips
    counts = count(truths, predictions, predictions, 3)
    expected = by_their_own_functions(truths, predictions)
    assert headline(counts, np.ones(3)) == pytest.approx(expected, abs=1e-9)


def test_a_recording_alone_has_the_figures_of_its_clips(clips):
    truths, predictions = clips
    table = by_recording(count(truths, predictions, predictions, 3))
    assert list(table) == ["r0", "r1", "r2"]
    for i, row in enumerate(table.values()):
        own = slice(3 * i, 3 * i + 3)
        expected = by_their_own_functions(truths[own], predictions[own])
        assert {name: row[name] for name in HEADLINE} == pytest.approx(expected, abs=1e-9)
        assert row["clips"] == 3


def test_a_recording_twice_is_two_copies_of_its_clips(clips):
    truths, predictions = clips
    weights = np.array([2.0, 0.0, 1.0])
    chosen = [*range(3), *range(3), *range(6, 9)]
    counted = headline(count(truths, predictions, predictions, 3), weights)
    copied = by_their_own_functions([truths[i] for i in chosen], [predictions[i] for i in chosen])
    # Copies stand one behind the other in COCO's ranking, which moves its precision between them by a little.
    assert counted == pytest.approx(copied, abs=0.01)
    exact = set(HEADLINE) - {"map50", "agnostic_ap50"}
    assert {n: counted[n] for n in exact} == pytest.approx({n: copied[n] for n in exact}, abs=1e-9)


def test_equal_scores_are_one_threshold(clips):
    truths, predictions = clips
    coarse = [replace(p, scores=np.round(p.scores, 1)) for p in predictions]
    counts = count(truths, coarse, coarse, 3)
    assert headline(counts, np.ones(3))["f1_50"] == pytest.approx(best_f1(truths, coarse).f1, abs=1e-12)


def test_an_image_counts_its_best_hundred_detections(make_clip):
    """COCO's rule; the oracle behind ``average_precision`` keeps it too."""
    generator = np.random.default_rng(3)
    truth, prediction = make_clip(generator, frames=3, objects=3)
    many = np.repeat(np.arange(len(prediction.frame_ids)), 40)
    crowded = replace(prediction.where(many), scores=generator.random(len(many)))
    ranking = match([truth], [crowded], [0], same_class=False).together()
    expected = average_precision([truth], [crowded], ["a", "b", "c"]).agnostic_ap50
    assert max(np.bincount(crowded.frame_ids)) > 100
    assert ranking.average_precision(np.ones(1)) == pytest.approx(expected, abs=1e-9)


def test_nothing_to_find_is_not_a_number(clips):
    truths, predictions = clips
    empty = [
        replace(
            t,
            frame_ids=t.frame_ids[:0],
            boxes_xyxy_px=t.boxes_xyxy_px[:0],
            class_ids=t.class_ids[:0],
            track_ids=t.track_ids[:0],
            sequence_class_id=-1,
        )
        for t in truths
    ]
    counts = count(empty, predictions, predictions, 3)
    assert all(np.isnan(value) for value in headline(counts, np.ones(3)).values())
    assert set(intervals(drawn_figures(counts, draws=5)).values()) == {None}
    assert np.isnan(mean_precision([], np.ones(3)))
    silent = [p.where(np.zeros(len(p.frame_ids), bool)) for p in predictions]
    assert headline(count(truths, silent, silent, 3), np.ones(3))["map50"] == 0


def test_intervals_hold_the_figure_and_come_again(clips):
    truths, predictions = clips
    counts = count(truths, predictions, predictions, 3)
    drawn = drawn_figures(counts, draws=200, seed=4)
    figures = headline(counts, np.ones(3))
    for name, (low, high) in intervals(drawn).items():
        assert low <= figures[name] <= high, name
    again = drawn_figures(counts, draws=200, seed=4)
    assert all(np.array_equal(drawn[name], again[name]) for name in HEADLINE)


def test_the_bootstrap_draws_recordings_not_clips(clips):
    """Copies of a recording's clips carry no news: the interval must not shrink."""
    truths, predictions = clips
    once = drawn_figures(count(truths, predictions, predictions, 3), draws=50)
    often = drawn_figures(count(truths * 4, predictions * 4, predictions * 4, 3), draws=50)
    for name in ("track_accuracy", "sequence_accuracy", "hota", "flicker_per_min"):
        np.testing.assert_allclose(once[name], often[name])


def test_a_clip_of_no_known_recording_is_one_of_its_own(clips):
    truths, predictions = clips
    nameless = [replace(truth, recording="") for truth in truths]
    assert len(count(nameless, predictions, predictions, 3).recordings) == 9


def test_draws_are_of_as_many_recordings_as_there_are():
    weights = draw_weights(7, draws=40)
    assert weights.shape == (40, 7)
    assert set(weights.sum(axis=1)) == {7}
    assert len(np.unique(weights, axis=0)) > 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(2)
    weights = draw_weights(30, draws=400)
    covered = 0
    for _ in range(200):
        low, high = percentile_interval(weights @ generator.normal(0.5, 0.2, 30) / 30)
        covered += low <= 0.5 <= high
    assert 0.87 <= covered / 200 <= 0.99


def test_draws_without_the_figure_are_left_out():
    assert percentile_interval(np.array([np.nan, 1.0, np.nan, 1.0])) == (1.0, 1.0)
    assert percentile_interval(np.array([np.nan])) is None
