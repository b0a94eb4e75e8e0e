"""How well objects are followed: HOTA, IDF1 and MOTA, without regard to class.

Legend: one clip has G truth tracks and P predicted tracks. Only boxes with a track id take part, at the score
threshold that the caller chose.

HOTA (Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021), mean over
alpha = .05, .10, ..., .95 of

    HOTA(alpha) = sqrt(DetA * AssA),  DetA = TP / (TP + FN + FP),
    AssA = mean over the TPs c of TPA(c) / (TPA(c) + FNA(c) + FPA(c))

IDF1 (Ristani et al., ECCV 2016 workshops): whole truth tracks and whole predicted tracks are paired one to
one so that the frames in which they agree at IoU .5, IDTP, are most:
IDF1 = 2 IDTP / (truth boxes + predicted boxes).

MOTA (Bernardin and Stiefelhagen, EURASIP 2008) at IoU .5: 1 - (FN + FP + identity switches) / truth boxes.

Counts are summed over clips. The figures equal TrackEval's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from seqdet import boxes
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth, paired

_ALPHAS = np.arange(0.05, 0.99, 0.05)
_EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, slots=True)
class TrackingScores:
    """All in 0..1 but ``mota``, which may be negative. None when no clip has truth.

    Attributes:
        hota: mean over the localisation thresholds.
        det_a: its detection part.
        ass_a: its association part.
        idf1: at IoU .5.
        mota: at IoU .5.
        identity_switches: how often a truth track went on under another id.
    """

    hota: float | None
    det_a: float | None
    ass_a: float | None
    idf1: float | None
    mota: float | None
    identity_switches: int


@dataclass(frozen=True, slots=True)
class TrackingCounts:
    """What is counted in each of C clips; the figures are functions of weighted sums over clips.

    Attributes:
        true_positives: (C, 19) float64: matches of HOTA, one column a localisation threshold alpha.
        association: (C, 19) float64: how well the tracks of these matches agree, summed.
        identity_true: (C,) float64: IDTP.
        mistakes: (C,) float64: misses, false alarms and identity switches.
        switches: (C,) float64: identity switches.
        truth_boxes: (C,) float64.
        predicted_boxes: (C,) float64.
    """

    true_positives: np.ndarray
    association: np.ndarray
    identity_true: np.ndarray
    mistakes: np.ndarray
    switches: np.ndarray
    truth_boxes: np.ndarray
    predicted_boxes: np.ndarray

    def scores(self, weights: np.ndarray) -> TrackingScores:
        """The figures of clips that count ``weights``, (C,), times each."""
        truth_boxes, predicted_boxes = (
            float(weights @ self.truth_boxes),
            float(weights @ self.predicted_boxes),
        )
        if not truth_boxes:
            return TrackingScores(None, None, None, None, None, 0)
        true_positives, association = weights @ self.true_positives, weights @ self.association
        det_a = true_positives / (truth_boxes + predicted_boxes - true_positives)
        ass_a = association / np.maximum(true_positives, 1)
        return TrackingScores(
            hota=float(np.sqrt(det_a * ass_a).mean()),
            det_a=float(det_a.mean()),
            ass_a=float(ass_a.mean()),
            idf1=2 * float(weights @ self.identity_true) / (truth_boxes + predicted_boxes),
            mota=1 - float(weights @ self.mistakes) / truth_boxes,
            identity_switches=int(weights @ self.switches),
        )


def tracking_counts(
    truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions]
) -> TrackingCounts:
    """Match the tracks of each clip.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order; boxes with track id -1 are left out.
    """
    rows = []
    for truth, prediction in paired(truths, predictions):
        clip = _clip(truth, prediction.where(prediction.track_ids >= 0))
        true_positives, association = _hota_counts(clip)
        mistakes, switches = _clear_counts(clip)
        sums = [_identity_true_positives(clip), mistakes, switches]
        sums += [int(clip.truth_counts.sum()), int(clip.predicted_counts.sum())]
        rows.append(np.concatenate([true_positives, association, sums]))
    table = np.array(rows, np.float64).reshape(-1, 2 * len(_ALPHAS) + 5)
    alphas = len(_ALPHAS)
    return TrackingCounts(table[:, :alphas], table[:, alphas : 2 * alphas], *table[:, 2 * alphas :].T)


def tracking_scores(
    truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions]
) -> TrackingScores:
    """HOTA, IDF1 and MOTA over all clips, each once; arguments as for ``tracking_counts``."""
    return tracking_counts(truths, predictions).scores(np.ones(len(truths)))


class _Frame(NamedTuple):
    """One frame: (g,) truth and (p,) predicted tracks, numbered from 0 in the clip, and their (g, p) IoU."""

    truth: np.ndarray
    predicted: np.ndarray
    overlap: np.ndarray


class _Clip(NamedTuple):
    """The frames in which there is anything, and in how many frames each track is: (G,), (P,)."""

    frames: list[_Frame]
    truth_counts: np.ndarray
    predicted_counts: np.ndarray


def _clip(truth: SequenceTruth, prediction: SequencePredictions) -> _Clip:
    truth_ids, truth_tracks = np.unique(truth.track_ids, return_inverse=True)
    predicted_ids, predicted_tracks = np.unique(prediction.track_ids, return_inverse=True)
    frames = []
    for of_truth, of_predicted in zip(truth.per_frame(), prediction.per_frame(truth.frames), strict=True):
        if of_truth.start == of_truth.stop and of_predicted.start == of_predicted.stop:
            continue
        overlap = boxes.iou(truth.boxes_xyxy_px[of_truth], prediction.boxes_xyxy_px[of_predicted])
        frames.append(_Frame(truth_tracks[of_truth], predicted_tracks[of_predicted], overlap))
    return _Clip(
        frames,
        np.bincount(truth_tracks, minlength=len(truth_ids)),
        np.bincount(predicted_tracks, minlength=len(predicted_ids)),
    )


def _hota_counts(clip: _Clip) -> tuple[np.ndarray, np.ndarray]:
    """For each alpha: true positives, and the sum over them of how well their tracks agree."""
    true_positives, association = np.zeros(len(_ALPHAS)), np.zeros(len(_ALPHAS))
    if not len(clip.truth_counts) or not len(clip.predicted_counts):
        return true_positives, association
    both = clip.truth_counts[:, None] + clip.predicted_counts[None, :]
    aligned = np.zeros(both.shape)
    for truth, predicted, overlap in clip.frames:
        total = overlap.sum(axis=0)[None, :] + overlap.sum(axis=1)[:, None] - overlap
        aligned[np.ix_(truth, predicted)] += np.divide(
            overlap, total, out=np.zeros_like(overlap), where=total > _EPSILON
        )
    alignment = aligned / (both - aligned)
    pairs = []
    for truth, predicted, overlap in clip.frames:
        rows, columns = linear_sum_assignment(alignment[np.ix_(truth, predicted)] * overlap, maximize=True)
        pairs.append(np.stack([truth[rows], predicted[columns], overlap[rows, columns]], axis=1))
    matched = np.concatenate(pairs)
    for index, alpha in enumerate(_ALPHAS):
        hits = matched[matched[:, 2] >= alpha - _EPSILON, :2].astype(int)
        together = np.zeros(both.shape)
        np.add.at(together, (hits[:, 0], hits[:, 1]), 1)
        true_positives[index] = len(hits)
        association[index] = (together * together / np.maximum(both - together, 1)).sum()
    return true_positives, association


def _identity_true_positives(clip: _Clip, iou: float = 0.5) -> int:
    """Frames of agreement under the best one-to-one pairing of whole tracks.

    A pairing of least mistakes is one of most agreement: an unpaired track costs its length, a pair both
    lengths less twice the agreement.
    """
    agreement = np.zeros((len(clip.truth_counts), len(clip.predicted_counts)))
    for truth, predicted, overlap in clip.frames:
        rows, columns = np.nonzero(overlap >= iou)
        agreement[truth[rows], predicted[columns]] += 1
    rows, columns = linear_sum_assignment(agreement, maximize=True)
    return int(agreement[rows, columns].sum())


def _clear_counts(clip: _Clip, iou: float = 0.5) -> tuple[int, int]:
    """(misses + false alarms + identity switches, identity switches).

    A match of the frame before is kept while it overlaps enough; the rest is matched by overlap. A switch is
    counted against the last id under which the truth was found, however long ago.
    """
    mistakes = switches = 0
    last = np.full(len(clip.truth_counts), -1)
    previous = np.full(len(clip.truth_counts), -1)
    for truth, predicted, overlap in clip.frames:
        if not len(truth) or not len(predicted):
            mistakes += len(truth) + len(predicted)
            continue
        worth = np.where(
            overlap >= iou - _EPSILON, overlap + 1000.0 * (predicted[None] == previous[truth][:, None]), 0.0
        )
        rows, columns = linear_sum_assignment(worth, maximize=True)
        matched = worth[rows, columns] > _EPSILON
        found, by = truth[rows[matched]], predicted[columns[matched]]
        changed = int(np.count_nonzero((last[found] >= 0) & (last[found] != by)))
        mistakes += len(truth) + len(predicted) - 2 * len(found) + changed
        switches += changed
        last[found] = by
        previous[:] = -1
        previous[found] = by
    return mistakes, switches
