"""The values that association works on: its options and its state.

Legend: R = 64 rows (one row is one living track), K classes, S feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

TRACK_ROWS = 64
# Added to probabilities before they are multiplied: nothing is ever ruled out.
_DOUBT = 1e-3
# What the track memory's word weighs beside the glimpses': it is surer than it is right (decision 013).
_MEMORY_POWER = 0.5


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """How detections become tracks.

    Attributes:
        high_score: detections that score at least so much choose their track first, 0..1.
        low_score: detections below take no part, 0..1.
        new_track_score: a detection without a track begins one from this score on, 0..1.
        sure_score: a track is confirmed at once by a detection of this score, 0..1.
        min_hits: in how many frames an object must be found before its track is confirmed and gets its id.
        max_age_s: a confirmed track that was not found for longer ends, in seconds.
        max_tentative_misses: an unconfirmed track ends when it was missed in more frames running than this.
        gate_sizes: a detection further than this from where a track is expected is another object, in units
            of the object's size (the square root of its area, at least 8 px). It grows to the double while a
            track is missing for ``max_age_s``.
        greatest_size_ratio: of areas of a pair; a greater one is another object.
        iou_weight: share of IoU in the cost, the rest is distance, 0..1.
        feature_weight: share of the cosine distance of features in the cost, 0..1; 0 switches it off.
    """

    high_score: float = 0.3
    low_score: float = 0.1
    new_track_score: float = 0.3
    sure_score: float = 0.6
    min_hits: int = 3
    max_age_s: float = 1.0
    max_tentative_misses: int = 2
    gate_sizes: float = 2.0
    greatest_size_ratio: float = 6.0
    iou_weight: float = 0.4
    feature_weight: float = 0.0


class EndedTrack(NamedTuple):
    """What stays of a confirmed track whose row was given to another."""

    track_id: int
    first_frame: int
    last_frame: int
    hits: int
    score: float
    class_evidence: np.ndarray


class TrackState(NamedTuple):
    """All living tracks, one a row. Rows where ``active`` is False hold nothing.

    Attributes:
        active: (R,) bool.
        track_ids: (R,) int64, from 1; -1 while a track is not confirmed.
        boxes_xyxy_px: (R, 4) float64: where it was last found.
        motion_px: (R, 2) float64: the network's displacement of the centre to the next frame; 0: unknown.
        velocities_px_per_s: (R, 2) float64, smoothed.
        features: (R, S) float32: smoothed, of unit length; S is 0 until the first detection comes.
        scores: (R,) float64 in 0..1: smoothed detection score.
        hits: (R,) int64: in how many frames it was found.
        misses: (R,) int64: frames running in which it was not.
        first_frames: (R,) int64.
        last_frames: (R,) int64: where it was last found.
        last_times_s: (R,) float64: when it was last found.
        class_evidence: (R, K) float64: summed class probabilities.
        glimpse_evidence: (R, K + 1) float64: summed probabilities of the glimpses, "nothing" last; a row sums
            to the number of glimpses.
        log_sides: (R, 2) float64: logarithms of width and height in px, averaged (``track_sizes``).
        growth_per_s: (R, 2) float64: their change a second.
        size_hits: (R,) int64: from how many detections they are.
        next_id: id of the next track to be confirmed.
        ended: confirmed tracks that are over, in the order in which they ended.
    """

    active: np.ndarray
    track_ids: np.ndarray
    boxes_xyxy_px: np.ndarray
    motion_px: np.ndarray
    velocities_px_per_s: np.ndarray
    features: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    misses: np.ndarray
    first_frames: np.ndarray
    last_frames: np.ndarray
    last_times_s: np.ndarray
    class_evidence: np.ndarray
    glimpse_evidence: np.ndarray
    log_sides: np.ndarray
    growth_per_s: np.ndarray
    size_hits: np.ndarray
    next_id: int = 1
    ended: tuple[EndedTrack, ...] = ()


class Association(NamedTuple):
    """What one frame did.

    Attributes:
        state: the new state.
        rows: (N,) int64: the row of each detection, or -1 when it has none.
        born: (R,) bool: rows that begin in this frame; whatever else is kept by row must be reset there.
    """

    state: TrackState
    rows: np.ndarray
    born: np.ndarray


def initial_track_state(classes: int) -> TrackState:
    """No track yet.

    Args:
        classes: K, how many classes there are.
    """
    return TrackState(
        active=np.zeros(TRACK_ROWS, bool),
        track_ids=np.full(TRACK_ROWS, -1, np.int64),
        boxes_xyxy_px=np.zeros((TRACK_ROWS, 4)),
        motion_px=np.zeros((TRACK_ROWS, 2)),
        velocities_px_per_s=np.zeros((TRACK_ROWS, 2)),
        features=np.zeros((TRACK_ROWS, 0), np.float32),
        scores=np.zeros(TRACK_ROWS),
        hits=np.zeros(TRACK_ROWS, np.int64),
        misses=np.zeros(TRACK_ROWS, np.int64),
        first_frames=np.zeros(TRACK_ROWS, np.int64),
        last_frames=np.zeros(TRACK_ROWS, np.int64),
        last_times_s=np.zeros(TRACK_ROWS),
        class_evidence=np.zeros((TRACK_ROWS, classes)),
        glimpse_evidence=np.zeros((TRACK_ROWS, classes + 1)),
        log_sides=np.zeros((TRACK_ROWS, 2)),
        growth_per_s=np.zeros((TRACK_ROWS, 2)),
        size_hits=np.zeros(TRACK_ROWS, np.int64),
    )


def copied(state: TrackState, feature_width: int) -> TrackState:
    """The state with its own arrays, so that they can be written to."""
    arrays = {
        name: getattr(state, name).copy() for name in TrackState._fields if name not in ("next_id", "ended")
    }
    own = state._replace(**arrays)
    if own.features.shape[1] != feature_width:
        own = own._replace(features=np.zeros((TRACK_ROWS, feature_width), np.float32))
    return own


def freed(state: TrackState, rows: np.ndarray) -> TrackState:
    """Empty some rows of ``state``, a private copy, and remember the confirmed tracks among them."""
    if not len(rows):
        return state
    ended = [ended_track(state, int(row)) for row in rows if state.active[row] and state.track_ids[row] >= 0]
    for value in state:
        if isinstance(value, np.ndarray):
            value[rows] = 0
    state.track_ids[rows] = -1
    return state._replace(ended=(*state.ended, *ended)) if ended else state


def class_words(state: TrackState, rows: np.ndarray) -> np.ndarray:
    """What tracks have shown of their class in all: class evidence, shared out anew by the glimpses.

    Memory and glimpses see different things, so that their probabilities are multiplied (a product of
    experts, Hinton 1999); how much evidence there is stays.

    Args:
        state: of the tracks.
        rows: (N,) int64; a row of -1 gives the last row, for callers that mask it.

    Returns:
        (N, K) float64, a private copy.
    """
    evidence = state.class_evidence[rows]
    glimpses = state.glimpse_evidence[rows, :-1]
    total, seen = evidence.sum(axis=1, keepdims=True), glimpses.sum(axis=1, keepdims=True)
    both = (total > 0) & (seen > 0)
    of_memory = evidence / np.where(both, total, 1) + _DOUBT
    of_glimpses = glimpses / np.where(both, seen, 1) + _DOUBT
    product = of_memory**_MEMORY_POWER * of_glimpses
    return np.where(both, total * product / product.sum(axis=1, keepdims=True), evidence)


def realness(state: TrackState, rows: np.ndarray) -> np.ndarray:
    """(N,) in 0..1: how much the glimpses took each track for an object; 1 without glimpses."""
    looks = state.glimpse_evidence[rows].sum(axis=1)
    nothing = state.glimpse_evidence[rows, -1]
    return 1 - np.divide(nothing, looks, out=np.zeros_like(looks), where=looks > 0)


def ended_track(state: TrackState, row: int) -> EndedTrack:
    """What is to be remembered of a row."""
    return EndedTrack(
        track_id=int(state.track_ids[row]),
        first_frame=int(state.first_frames[row]),
        last_frame=int(state.last_frames[row]),
        hits=int(state.hits[row]),
        score=float(state.scores[row]),
        class_evidence=class_words(state, np.array([row]))[0],
    )
