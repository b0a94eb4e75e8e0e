"""Which tracks to look at more closely, and what that gave; the state is a value.

Legend: N detections of one frame, K classes.
"""

from __future__ import annotations

import numpy as np

from seqdet.results.track_state import TrackState


def due_for_glimpse(state: TrackState, rows: np.ndarray, most: int) -> np.ndarray:
    """Which detections to look at more closely: those whose tracks were looked at least often.

    Args:
        state: of the tracks, this frame's detections associated.
        rows: (N,) int64 rows of the detections, -1 for those without a track.
        most: how many at most.

    Returns:
        Indices of detections, at most ``most``.
    """
    candidates = np.flatnonzero(rows >= 0)
    looks = state.glimpse_evidence[rows[candidates]].sum(axis=1)
    order = np.lexsort((-state.scores[rows[candidates]], looks))
    return candidates[order[:most]]


def with_glimpses(state: TrackState, rows: np.ndarray, probabilities: np.ndarray) -> TrackState:
    """Add what glimpses said.

    Args:
        state: it is not changed.
        rows: (N,) int64, each at least 0.
        probabilities: (N, K + 1), each row summing to 1, "nothing" last.
    """
    evidence = state.glimpse_evidence.copy()
    usable = np.isfinite(probabilities).all(axis=1)
    np.add.at(evidence, rows[usable], probabilities[usable])
    return state._replace(glimpse_evidence=evidence)
