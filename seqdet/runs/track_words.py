"""What tracks say of the detections of a frame and of the whole sequence; arithmetic on values, no network.

Legend: N detections, M of them on a track, K classes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqdet.boxes import centres
from seqdet.results.track_state import TrackState, class_words, realness
from seqdet.types import Detections


def velocity(
    before: TrackState, born: np.ndarray, rows: np.ndarray, boxes_xyxy_px: np.ndarray, time_s: float
) -> np.ndarray:
    """(M, 2) float32 movement of the centres since each track was last seen, in box sizes a second."""
    passed = np.maximum(time_s - before.last_times_s[rows], 1e-3)[:, None]
    sides = np.maximum(boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2], 1)
    shift = centres(boxes_xyxy_px) - centres(before.boxes_xyxy_px[rows])
    speed = shift / np.sqrt(sides.prod(axis=1, keepdims=True)) / passed
    return np.where(born[rows][:, None], 0, speed).astype(np.float32)


def with_track_memory(
    detections: Detections,
    tracks: TrackState,
    rows: np.ndarray,
    class_memory: float,
    score_memory: float,
    unconfirmed_factor: float,
    realness_power: float,
) -> Detections:
    """Detections whose class and score also say what their tracks have shown so far.

    The class probabilities are mixed with the track's evidence, the score with its smoothed score,
    so that one weak frame does not make a box flicker. A detection without a confirmed track is worth less:
    clutter comes and goes, objects stay (tubelet rescoring, Kang et al., CVPR 2016, without looking ahead).
    So is one whose track looks like nothing from near.
    """
    if not len(detections):
        return detections
    evidence = class_words(tracks, rows)
    total = evidence.sum(axis=1, keepdims=True)
    known = (rows >= 0)[:, None] & (total > 0)
    share = np.divide(evidence, total, out=np.zeros_like(evidence), where=total > 0)
    mixed = (1 - class_memory) * detections.class_scores + class_memory * share
    mixed = np.where(known, mixed, detections.class_scores)
    smooth = (1 - score_memory) * detections.scores + score_memory * tracks.scores[rows]
    confirmed = (rows >= 0) & (tracks.track_ids[rows] >= 0)
    scores = np.where(confirmed, smooth, detections.scores * unconfirmed_factor)
    scores = np.where(rows >= 0, scores * realness(tracks, rows) ** realness_power, scores)
    return replace(
        detections,
        class_scores=mixed.astype(np.float32),
        class_ids=mixed.argmax(axis=1),
        scores=scores.astype(np.float32),
    )


def sequence_class(evidence: np.ndarray, tracks: TrackState) -> tuple[int, float]:
    """Class of the sequence and its confidence: what all tracks say; before them, the clip memory's word.

    -1 while nothing was found. On val the tracks alone name more clips than any mixture with the clip memory
    (docs/log.md).
    """
    of_tracks = class_words(tracks, np.flatnonzero(tracks.active)).sum(axis=0) + sum(
        (ended.class_evidence for ended in tracks.ended), np.zeros(len(evidence))
    )
    return sequence_word(evidence, of_tracks)


def sequence_word(evidence: np.ndarray, of_tracks: np.ndarray) -> tuple[int, float]:
    """As ``sequence_class``, from the (K,) summed class evidence of all tracks."""
    word = of_tracks if of_tracks.sum() > 0 else evidence
    if word.sum() <= 0:
        return -1, 0.0
    return int(word.argmax()), float(word.max() / word.sum())
