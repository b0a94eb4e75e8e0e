"""Which tracks to look at more closely, and what that gave; the state is a value.

Legend: N detections of one frame, K classes.
"""

from __future__ import annotations

import numpy as np

from seqdet.results.track_state import TrackState

# A track is looked at whenever it is its turn until it was looked at so often, and then in every so-many-th
# frame that shows it: what it is, is known by then (decision 013).
FIRST_LOOKS = 4
EVERY = 3


def due_for_glimpse(state: TrackState, rows: np.ndarray, most: int) -> np.ndarray:
    """Which detections to look at more closely: those whose tracks were looked at least often.

    Args:
        state: of the tracks, this frame's detections associated.
        rows: (N,) int64 rows of the detections, -1 for those without a track.
        most: how many at most.

    Returns:
        Indices of detections, at most ``most``; none of a track that was looked at FIRST_LOOKS times and in
        more than one of EVERY frames.
    """
    tracked = np.flatnonzero(rows >= 0)
    looks = np.round(state.glimpse_evidence[rows[tracked]].sum(axis=1))
    due = (looks < FIRST_LOOKS) | (state.hits[rows[tracked]] >= EVERY * looks)
    order = np.lexsort((-state.scores[rows[tracked]], looks))
    return tracked[order[due[order]]][:most]


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
