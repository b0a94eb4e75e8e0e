"""The headline figures as functions of how often each recording counts: all, a single one, those of a draw.

Matching boxes is done once (``count``); a figure is then a matter of weighted sums (``headline``). So the
table by recording and the intervals of the bootstrap need no further matching, and mean what the whole ones
mean.

Legend: C clips, G recordings, K classes, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqdet.results.metrics.bootstrap import draw_weights, percentile_interval
from seqdet.results.metrics.classification import sequence_accuracy, track_accuracy
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth, paired
from seqdet.results.metrics.ranking import Ranking, match, mean_precision
from seqdet.results.metrics.stability import stability
from seqdet.results.metrics.tracking import TrackingCounts, tracking_counts

HEADLINE = (
    "map50",
    "agnostic_ap50",
    "f1_50",
    "track_accuracy",
    "sequence_accuracy",
    "hota",
    "idf1",
    "flicker_per_min",
    "delay_frames",
)


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted, by recording or by clip.

    Attributes:
        recordings: G names, sorted.
        recording_ids: (C,) int64: of which recording each clip is.
        classes: one ranking a class, of every box under every class that it may have.
        agnostic: the same with all classes taken for one.
        together: all classes in one ranking.
        tracking: by clip, of what a user sees, as everything below.
        ratios: name of a figure -> (2, C) numerator and denominator.
    """

    recordings: tuple[str, ...]
    recording_ids: np.ndarray
    classes: list[Ranking]
    agnostic: Ranking
    together: Ranking
    tracking: TrackingCounts
    ratios: dict[str, np.ndarray]


def count(
    truths: Sequence[SequenceTruth],
    ranked: Sequence[SequencePredictions],
    shown: Sequence[SequencePredictions],
    classes: int,
) -> Counts:
    """Match everything, clip by clip.

    Args:
        truths: one a clip.
        ranked: one a clip, in the same order: everything that might be an object.
        shown: one a clip, in the same order: what a user sees.
        classes: K.
    """
    ratios: dict[str, list[tuple[float, float]]] = {
        name: [] for name in ("track_accuracy", "sequence_accuracy", "flicker_per_min", "delay_frames")
    }
    for truth, prediction in paired(truths, shown):
        clip = [truth], [prediction]
        steady = stability(*clip)
        for name, table in (
            ("track_accuracy", track_accuracy(*clip, classes).confusion),
            ("sequence_accuracy", sequence_accuracy(*clip, classes).confusion),
        ):
            ratios[name].append((float(table.trace()), float(table.sum())))
        ratios["flicker_per_min"].append((float(steady.flips), steady.minutes))
        ratios["delay_frames"].append(((steady.delay_frames or 0.0) * steady.tracks, float(steady.tracks)))
    # A clip of no known recording is one of its own.
    names = [truth.recording or f"clip {i}" for i, truth in enumerate(truths)]
    recordings, recording_ids = np.unique(np.array(names, str), return_inverse=True)
    matches = match(truths, ranked, recording_ids)
    return Counts(
        recordings=tuple(recordings.tolist()),
        recording_ids=recording_ids,
        classes=matches.by_class(classes),
        agnostic=match(truths, ranked, recording_ids, same_class=False).together(),
        together=matches.together(merge_equal_scores=True),
        tracking=tracking_counts(truths, shown),
        ratios={name: np.array(pairs, np.float64).reshape(-1, 2).T for name, pairs in ratios.items()},
    )


def headline(counts: Counts, weights: np.ndarray) -> dict[str, float]:
    """The figures named in ``HEADLINE``; nan where one is not defined.

    Args:
        counts: of G recordings.
        weights: (G,) how often each recording counts, at least 0.
    """
    of_clips = weights[counts.recording_ids]
    tracking = counts.tracking.scores(of_clips)
    figures = {
        "map50": mean_precision(counts.classes, weights),
        "agnostic_ap50": counts.agnostic.average_precision(weights),
        "f1_50": counts.together.best_f1(weights),
        "hota": np.nan if tracking.hota is None else tracking.hota,
        "idf1": np.nan if tracking.idf1 is None else tracking.idf1,
    }
    for name, (over, under) in counts.ratios.items():
        total = float(of_clips @ under)
        figures[name] = float(of_clips @ over) / total if total > 0 else np.nan
    return {name: figures[name] for name in HEADLINE}


def drawn_figures(counts: Counts, draws: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
    """For each headline figure its values, (D,), in the draws of recordings."""
    drawn = [headline(counts, weights) for weights in draw_weights(len(counts.recordings), draws, seed)]
    return {name: np.array([figures[name] for figures in drawn]) for name in HEADLINE}


def intervals(drawn: dict[str, np.ndarray]) -> dict[str, list[float] | None]:
    """95 % interval of each figure from its values in the draws; None where no draw defines it."""
    ends = {name: percentile_interval(values) for name, values in drawn.items()}
    return {name: None if pair is None else list(pair) for name, pair in ends.items()}


def by_recording(counts: Counts) -> dict[str, dict[str, float | int | None]]:
    """For each recording, by name, the headline figures and how many clips and truth tracks it has."""
    tracks = counts.ratios["track_accuracy"][1]
    table: dict[str, dict[str, float | int | None]] = {}
    for number, name in enumerate(counts.recordings):
        clips = counts.recording_ids == number
        figures = headline(counts, np.eye(len(counts.recordings))[number])
        table[name] = {
            "clips": int(clips.sum()),
            "tracks": int(tracks[clips].sum()),
            **{key: value if np.isfinite(value) else None for key, value in figures.items()},
        }
    return table
