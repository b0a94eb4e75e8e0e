"""Which detection is which object: association over frames, and the class of a track.

Legend: N detections of one frame, R = 64 rows (one row is one living track), K classes, S feature width.

The state is a value. ``associate`` takes it and gives a new one; nothing is kept in this module:

    state = initial_track_state(classes)
    for every frame:
        association = associate(state, detections, frame_index, time_s)
        # reset the track memory's rows where association.born; step it at association.rows
        state = with_class_evidence(association.state, association.rows, class_probabilities, weights)
        detections = label_detections(detections, state, association.rows)
    tracks = finish(state, class_names)

Association takes the detections of high score first, and those of low score afterwards for the tracks that
are left (Zhang et al., "ByteTrack", ECCV 2022). Objects of a dozen pixels jump by their own size between two
frames, so that their boxes do not overlap at all: the cost therefore blends IoU with the distance of centres
in units of the object's size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from seqdet import boxes
from seqdet.results.track_state import (
    TRACK_ROWS,
    Association,
    EndedTrack,
    TrackOptions,
    TrackState,
    class_words,
    copied,
    ended_track,
    freed,
    initial_track_state,
)
from seqdet.types import Detections, Track, label_of

__all__ = [
    "TRACK_ROWS",
    "Association",
    "EndedTrack",
    "TrackOptions",
    "TrackState",
    "associate",
    "finish",
    "initial_track_state",
    "label_detections",
    "living_tracks",
    "named_tracks",
    "with_class_evidence",
]

# A velocity is believed for this long after the object was last seen; then the prediction stands still.
_COAST_S = 0.5
# An object of fewer pixels moves as far, in pixels, as one of so many: camera shake does not shrink with it.
_LEAST_SIZE_PX = 8.0
# What it costs to leave a track or a detection alone; no pair that costs as much is made.
_COST_OF_NO_PAIR = 1.0


def associate(
    state: TrackState,
    detections: Detections,
    frame_index: int,
    time_s: float,
    options: TrackOptions = TrackOptions(),
) -> Association:
    """Give every detection of one frame its track.

    The order of the detections does not matter. A detection that is not finite takes no part. When all 64
    rows are taken, a new object gets the row of a track that this frame lacks (an unconfirmed one first, then
    the one missed longest); when all 64 were found in this frame, it stays without a track.

    Args:
        state: of the frame before; it is not changed.
        detections: N objects.
        frame_index: position of the frame in its source, greater than in every call before.
        time_s: presentation time of the frame in seconds; intervals may vary.
        options: thresholds.
    """
    found = _Found.from_detections(detections)
    new = copied(state, found.features.shape[1])
    rows = np.full(len(found.positions), -1, np.int64)  # of the usable detections, in canonical order
    for chosen, narrowing in (
        (found.scores >= options.high_score, 1.0),
        ((found.scores >= options.low_score) & (found.scores < options.high_score), 0.7),
    ):
        free = new.active.copy()
        free[rows[rows >= 0]] = False
        free_rows, candidates = np.flatnonzero(free), np.flatnonzero(chosen)
        if not len(free_rows) or not len(candidates):
            continue
        cost = _cost(new, free_rows, found, candidates, time_s, options, narrowing)
        for row, index in _pairs(cost):
            rows[candidates[index]] = free_rows[row]
    _update(new, rows, found, frame_index, time_s)
    new = _without_lost(new, rows, time_s, options)
    new, born = _with_born(new, rows, found, frame_index, time_s, options)
    new = _with_confirmed(new, rows, found, options)
    given_order = np.full(len(detections), -1, np.int64)
    given_order[found.positions] = rows
    return Association(new, given_order, born)


def with_class_evidence(
    state: TrackState,
    rows: np.ndarray,
    class_probabilities: np.ndarray,
    weights: np.ndarray,
    keep: float = 1.0,
) -> TrackState:
    """Add what one frame says of the classes of its tracks.

    Args:
        state: it is not changed.
        rows: (N,) int64 rows of the detections, -1 for those without a track.
        class_probabilities: (N, K), each row summing to 1.
        weights: (N,) how much each counts, such as the detection's score; at least 0.
        keep: how much of a track's older evidence stays, 0..1; 1 sums over the track's whole life.
    """
    evidence = state.class_evidence.copy()
    usable = (rows >= 0) & np.isfinite(weights) & np.isfinite(class_probabilities).all(axis=1)
    evidence[rows[usable]] *= keep
    np.add.at(evidence, rows[usable], weights[usable, None] * class_probabilities[usable])
    return state._replace(class_evidence=evidence)


def label_detections(detections: Detections, state: TrackState, rows: np.ndarray) -> Detections:
    """Write track ids, track classes and their scores into the detections.

    Without a confirmed track they are -1, -1 and 0. A track without class evidence takes the detection's own
    class and score.
    """
    ids = np.where(rows >= 0, state.track_ids[rows], -1)
    confirmed = ids >= 0
    evidence = class_words(state, rows)
    total = evidence.sum(axis=1)
    known = confirmed & (total > 0)
    class_ids = np.where(confirmed, detections.class_ids, -1)
    scores = np.where(confirmed, detections.scores, 0.0)
    if known.any():
        class_ids[known] = evidence[known].argmax(axis=1)
        scores[known] = evidence[known].max(axis=1) / total[known]
    return replace(
        detections,
        track_ids=ids.astype(np.int64),
        track_class_ids=class_ids.astype(np.int64),
        track_scores=scores.astype(np.float32),
    )


def finish(state: TrackState, classes: tuple[str, ...]) -> tuple[Track, ...]:
    """All confirmed tracks, ended and living, by id.

    The label of a track without class evidence is "", with the smoothed score of its detections.
    """
    return named_tracks([*state.ended, *living_tracks(state)], classes)


def living_tracks(state: TrackState) -> list[EndedTrack]:
    """The confirmed tracks that are not over, as they are now."""
    return [ended_track(state, int(row)) for row in np.flatnonzero(state.active & (state.track_ids >= 0))]


def named_tracks(past: Iterable[EndedTrack], classes: tuple[str, ...]) -> tuple[Track, ...]:
    """Tracks with their labels, by id; labels as ``finish`` gives them."""
    tracks = []
    for ended in sorted(past):
        total = float(ended.class_evidence.sum())
        best = int(ended.class_evidence.argmax()) if total > 0 else -1
        tracks.append(
            Track(
                track_id=ended.track_id,
                label=label_of(classes, best),
                score=float(ended.class_evidence[best]) / total if total > 0 else ended.score,
                first_frame=ended.first_frame,
                last_frame=ended.last_frame,
                detections=ended.hits,
            )
        )
    return tuple(tracks)


class _Found(NamedTuple):
    """The usable detections, best score first, in an order that does not depend on how they came.

    ``positions`` (N',): where each stood. The rest by the names in ``Detections``, in float64.
    """

    positions: np.ndarray
    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    motion_px: np.ndarray
    features: np.ndarray

    @classmethod
    def from_detections(cls, detections: Detections) -> _Found:
        usable = np.isfinite(detections.boxes_xyxy_px).all(axis=1) & np.isfinite(detections.scores)
        of_all = detections.boxes_xyxy_px
        order = np.lexsort((of_all[:, 3], of_all[:, 2], of_all[:, 1], of_all[:, 0], -detections.scores))
        order = order[usable[order]]
        return cls(
            positions=order,
            boxes_xyxy_px=of_all[order].astype(np.float64),
            scores=detections.scores[order].astype(np.float64),
            motion_px=np.nan_to_num(detections.motion_px[order].astype(np.float64), posinf=0.0, neginf=0.0),
            features=_unit(np.nan_to_num(detections.features[order].astype(np.float32))),
        )


def _cost(
    state: TrackState,
    rows: np.ndarray,
    found: _Found,
    candidates: np.ndarray,
    time_s: float,
    options: TrackOptions,
    narrowing: float,
) -> np.ndarray:
    """(rows, candidates) cost of every pair, at most 1, which means: never."""
    boxes_xyxy, sizes = found.boxes_xyxy_px[candidates], _sizes(found.boxes_xyxy_px[candidates])
    tracked, tracked_sizes = state.boxes_xyxy_px[rows], _sizes(state.boxes_xyxy_px[rows])
    scale = np.maximum(np.sqrt(tracked_sizes[:, None] * sizes[None]), _LEAST_SIZE_PX)
    gap_s = np.maximum(time_s - state.last_times_s[rows], 0.0)
    distance = np.full(scale.shape, np.inf)
    overlap = np.zeros(scale.shape)
    for shift in _expected_shifts(state, rows, gap_s):
        moved = tracked + np.tile(shift, 2)
        apart = boxes.centres(moved)[:, None] - boxes.centres(boxes_xyxy)[None]
        distance = np.minimum(distance, np.hypot(apart[..., 0], apart[..., 1]) / scale)
        overlap = np.maximum(overlap, boxes.iou(moved, boxes_xyxy))
    cost = options.iou_weight * (1 - overlap) + (1 - options.iou_weight) * (1 - np.exp(-(distance**2) / 2))
    if options.feature_weight > 0 and found.features.shape[1]:
        unlike = (1 - state.features[rows] @ found.features[candidates].T) / 2
        cost = (1 - options.feature_weight) * cost + options.feature_weight * unlike
    # The longer it was out of sight, the further it may have gone.
    widening = 1 + np.minimum(gap_s / max(options.max_age_s, 1e-9), 1.0) * (state.misses[rows] > 0)
    ratio = np.maximum(tracked_sizes[:, None], 1e-6) / np.maximum(sizes[None], 1e-6)
    forbidden = distance > options.gate_sizes * narrowing * widening[:, None]
    forbidden |= np.maximum(ratio, 1 / ratio) ** 2 > options.greatest_size_ratio
    return np.where(forbidden, _COST_OF_NO_PAIR, np.minimum(cost, _COST_OF_NO_PAIR))


def _expected_shifts(state: TrackState, rows: np.ndarray, gap_s: np.ndarray) -> list[np.ndarray]:
    """Where a track may have gone, as shifts (rows, 2) in px: by its velocity, or as the network said.

    The network speaks of the next frame only; after a miss its word is stale.
    """
    coasted_s = _COAST_S * (1 - np.exp(-gap_s / _COAST_S))
    by_velocity = state.velocities_px_per_s[rows] * coasted_s[:, None]
    fresh = (state.misses[rows] == 0) & state.motion_px[rows].any(axis=1)
    return [by_velocity, np.where(fresh[:, None], state.motion_px[rows], by_velocity)]


def _pairs(cost: np.ndarray) -> list[tuple[int, int]]:
    """Cheapest one-to-one pairs that cost less than leaving both alone."""
    first, second = linear_sum_assignment(cost)
    return [
        (int(row), int(index))
        for row, index in zip(first, second, strict=True)
        if cost[row, index] < _COST_OF_NO_PAIR
    ]


def _update(state: TrackState, rows: np.ndarray, found: _Found, frame_index: int, time_s: float) -> None:
    """Write what was found into the rows of ``state``, a private copy; count a miss for the others."""
    state.misses[state.active] += 1
    seen = np.flatnonzero(rows >= 0)
    at = rows[seen]
    shift = boxes.centres(found.boxes_xyxy_px[seen]) - boxes.centres(state.boxes_xyxy_px[at])
    gap_s = time_s - state.last_times_s[at]
    # The first step is taken whole; later ones are smoothed, since small boxes jitter by a pixel or two.
    share = np.maximum(0.3, 1.0 / np.maximum(state.hits[at], 1)) * (gap_s > 1e-6)
    measured = shift / np.maximum(gap_s, 1e-6)[:, None]
    state.velocities_px_per_s[at] += share[:, None] * (measured - state.velocities_px_per_s[at])
    state.boxes_xyxy_px[at] = found.boxes_xyxy_px[seen]
    state.motion_px[at] = found.motion_px[seen]
    state.features[at] = _unit(0.8 * state.features[at] + 0.2 * found.features[seen])
    state.scores[at] += 0.2 * (found.scores[seen] - state.scores[at])
    state.hits[at] += 1
    state.misses[at] = 0
    state.last_frames[at] = frame_index
    state.last_times_s[at] = time_s


def _without_lost(state: TrackState, rows: np.ndarray, time_s: float, options: TrackOptions) -> TrackState:
    """End the tracks that were missed for too long."""
    confirmed = state.track_ids >= 0
    old = time_s - state.last_times_s > options.max_age_s
    lost = state.active & (state.misses > 0)
    lost &= np.where(confirmed, old, old | (state.misses > options.max_tentative_misses))
    return freed(state, np.flatnonzero(lost))


def _with_born(
    state: TrackState, rows: np.ndarray, found: _Found, frame_index: int, time_s: float, options: TrackOptions
) -> tuple[TrackState, np.ndarray]:
    """Begin a track, not yet confirmed, for every good detection that has none; best score first."""
    born = np.zeros(TRACK_ROWS, bool)
    for index in np.flatnonzero(found.scores >= options.new_track_score):
        if rows[index] >= 0:
            continue
        row = _row_for_new(state)
        if row is None:
            break
        state = freed(state, np.array([row]))
        state.active[row] = True
        state.boxes_xyxy_px[row] = found.boxes_xyxy_px[index]
        state.motion_px[row] = found.motion_px[index]
        state.features[row] = found.features[index]
        state.scores[row] = found.scores[index]
        state.hits[row] = 1
        state.first_frames[row] = state.last_frames[row] = frame_index
        state.last_times_s[row] = time_s
        rows[index] = row
        born[row] = True
    return state, born


def _row_for_new(state: TrackState) -> int | None:
    """A free row; else that of an unconfirmed missing track, else of the one missed longest; else None."""
    free = np.flatnonzero(~state.active)
    if len(free):
        return int(free[0])
    missing = np.flatnonzero(state.misses > 0)
    if not len(missing):
        return None
    order = np.lexsort((state.scores[missing], -state.misses[missing], state.track_ids[missing] >= 0))
    return int(missing[order[0]])


def _with_confirmed(state: TrackState, rows: np.ndarray, found: _Found, options: TrackOptions) -> TrackState:
    """Give ids to the tracks that have earned one in this frame, best score first."""
    next_id = state.next_id
    for index, row in enumerate(rows):
        if row < 0 or state.track_ids[row] >= 0:
            continue
        if state.hits[row] >= options.min_hits or found.scores[index] >= options.sure_score:
            state.track_ids[row] = next_id
            next_id += 1
    return state._replace(next_id=next_id)


def _sizes(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.sqrt(boxes.area(boxes_xyxy))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; a zero vector stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
