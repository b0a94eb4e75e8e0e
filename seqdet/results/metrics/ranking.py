"""Detections ranked by score: average precision and F1 of weighted recordings.

With weights of one the average precision is COCO's at IoU .5 (see ``detection``). Weights make the figure of
one recording (1, the others 0) and of a draw of the bootstrap (how often each recording was drawn) without
matching boxes again. Precision falls with every false alarm, so it matters only where something is found: a
``Ranking`` keeps one step for each of these places and what was counted since the one before, which makes a
draw quick.

Legend: G recordings, N detections, best first, M truths, K classes, H steps, E entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth, paired
from seqdet.results.metrics.matching import matched_truths

MAX_DETECTIONS = 100  # of an image and class, as COCO
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class Matches:
    """What every detection of all clips found, at one IoU.

    Attributes:
        scores: (N,) float64, falling.
        class_ids: (N,) int64.
        recording_ids: (N,) int64 in 0..G-1.
        truth_ids: (N,) int64: the truth that it found, or -1 for a false alarm.
        truth_class_ids: (M,) int64.
        truth_recording_ids: (M,) int64.
        recordings: G.
    """

    scores: np.ndarray
    class_ids: np.ndarray
    recording_ids: np.ndarray
    truth_ids: np.ndarray
    truth_class_ids: np.ndarray
    truth_recording_ids: np.ndarray
    recordings: int

    def where(self, detections: np.ndarray, truths: np.ndarray) -> Matches:
        """Only the detections, (N,) bool, and the truths, (M,) bool, that are chosen.

        A detection that found a truth which is left out is left out too.
        """
        numbers = np.append(np.where(truths, np.cumsum(truths) - 1, -2), -1)  # the last one is for -1
        truth_ids = numbers[self.truth_ids]
        keep = detections & (truth_ids >= -1)
        return replace(
            self,
            scores=self.scores[keep],
            class_ids=self.class_ids[keep],
            recording_ids=self.recording_ids[keep],
            truth_ids=truth_ids[keep],
            truth_class_ids=self.truth_class_ids[truths],
            truth_recording_ids=self.truth_recording_ids[truths],
        )

    def of_truths(self, chosen: np.ndarray) -> Matches:
        """Only the truths for which ``chosen``, (M,) bool, holds. False alarms belong to none and stay."""
        return self.where(np.ones(len(self.scores), bool), chosen)

    def by_class(self, classes: int) -> list[Ranking]:
        """One ranking for each of K classes."""
        return [self.where(self.class_ids == k, self.truth_class_ids == k).together() for k in range(classes)]

    def together(self, merge_equal_scores: bool = False) -> Ranking:
        """One ranking of all classes.

        Args:
            merge_equal_scores: whether a step ends only where a threshold could lie. COCO's average precision
                takes equal scores one after the other.
        """
        hits = self.truth_ids >= 0
        count = len(hits)
        begins = np.ones(count, bool)
        if merge_equal_scores:
            begins[1:] = self.scores[1:] != self.scores[:-1]
        blocks = np.cumsum(begins) - 1
        with_hit = np.zeros(blocks[-1] + 1 if count else 0, bool)
        with_hit[blocks[hits]] = True
        steps = (np.cumsum(with_hit) - with_hit)[blocks]
        total = int(with_hit.sum())
        useful = steps < total  # behind the last hit precision only falls
        keys = np.stack([steps[useful], self.recording_ids[useful], hits[useful]], axis=1)
        entries, counts = np.unique(keys, axis=0, return_counts=True)
        return Ranking(
            steps=entries[:, 0],
            recording_ids=entries[:, 1],
            hits=entries[:, 2] > 0,
            counts=counts,
            truths=np.bincount(self.truth_recording_ids, minlength=self.recordings),
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """Right and wrong detections, step by step towards lower scores.

    Attributes:
        steps: (E,) int64 in 0..H-1, ascending.
        recording_ids: (E,) int64 in 0..G-1.
        hits: (E,) bool: whether the entry counts right detections or false alarms.
        counts: (E,) int64: how many.
        truths: (G,) int64: how many there are to find.
    """

    steps: np.ndarray
    recording_ids: np.ndarray
    hits: np.ndarray
    counts: np.ndarray
    truths: np.ndarray

    def average_precision(self, weights: np.ndarray) -> float:
        """Mean over the recalls 0, .01, ..., 1 of the greatest precision from there on; nan without truth.

        Args:
            weights: (G,) how often each recording counts.
        """
        truths = float(weights @ self.truths)
        if not truths:
            return np.nan
        found, ranked = self._sums(weights)
        precision = np.divide(found, ranked, out=np.zeros(len(ranked)), where=ranked > 0)
        best_from_here = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        return float(best_from_here[np.searchsorted(found / truths, RECALLS)].mean())

    def best_f1(self, weights: np.ndarray) -> float:
        """F1 at the score threshold that makes it greatest; nan without truth.

        Args:
            weights: (G,) how often each recording counts.
        """
        truths = float(weights @ self.truths)
        if not truths:
            return np.nan
        found, ranked = self._sums(weights)
        return float(np.max(2 * found / (ranked + truths), initial=0.0))

    def _sums(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H,) right detections and (H,) all detections up to each step."""
        counts = weights[self.recording_ids] * self.counts
        ranked = np.bincount(self.steps, counts)
        found = np.bincount(self.steps, counts * self.hits)
        return np.cumsum(found), np.cumsum(ranked)


def mean_precision(rankings: Sequence[Ranking], weights: np.ndarray) -> float:
    """Mean of the average precision over the classes that have truth; nan when none has.

    Args:
        rankings: one a class.
        weights: (G,) how often each recording counts.
    """
    values = [ranking.average_precision(weights) for ranking in rankings]
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else np.nan


def match(
    truths: Sequence[SequenceTruth],
    predictions: Sequence[SequencePredictions],
    recording_ids: Sequence[int] | np.ndarray,
    *,
    same_class: bool = True,
    iou: float = 0.5,
) -> Matches:
    """Match the boxes of all clips and sort them by score.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order.
        recording_ids: one a clip, from 0.
        same_class: whether classes must agree.
        iou: least overlap of a match.
    """
    found, wanted = [], []
    first_truth = 0
    for recording, (truth, prediction) in zip(recording_ids, paired(truths, predictions), strict=True):
        best = prediction.where(_among_the_best(prediction, same_class))
        taken = matched_truths(truth, best, iou, same_class=same_class)
        taken[taken >= 0] += first_truth
        first_truth += len(truth.frame_ids)
        found.append((best.scores, best.class_ids, np.full(len(taken), recording), taken))
        wanted.append((truth.class_ids, np.full(len(truth.class_ids), recording)))
    none = np.zeros(0, np.int64)
    scores, class_ids, owners, truth_ids = (
        np.concatenate(column) for column in zip((np.zeros(0), none, none, none), *found, strict=True)
    )
    truth_class_ids, truth_owners = (
        np.concatenate(column) for column in zip((none, none), *wanted, strict=True)
    )
    order = np.argsort(-scores, kind="stable")
    return Matches(
        scores=scores[order],
        class_ids=class_ids[order],
        recording_ids=owners[order],
        truth_ids=truth_ids[order],
        truth_class_ids=truth_class_ids,
        truth_recording_ids=truth_owners,
        recordings=max(recording_ids, default=-1) + 1,
    )


def _among_the_best(prediction: SequencePredictions, by_class: bool) -> np.ndarray:
    """(N,) bool: at most ``MAX_DETECTIONS`` an image (and class), those of best score."""
    class_ids = prediction.class_ids * by_class
    order = np.lexsort((-prediction.scores, class_ids, prediction.frame_ids))
    keys = np.stack([prediction.frame_ids, class_ids], axis=1)[order]
    begins = np.append(True, (keys[1:] != keys[:-1]).any(axis=1))[: len(order)]
    places = np.arange(len(order))
    keep = np.zeros(len(order), bool)
    keep[order] = places - np.maximum.accumulate(np.where(begins, places, 0)) < MAX_DETECTIONS
    return keep
