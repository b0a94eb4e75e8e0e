"""The track table against a naive one, step by step: hypothesis looks for the frames at which they part.

Objects stand still and far apart, so that which detection is which object is beyond doubt. What is left is
the table itself: who gets a row, who is confirmed and when, who ends, who makes room when all rows are taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seqdet.results.tracks import (
    TRACK_ROWS,
    TrackOptions,
    associate,
    finish,
    initial_track_state,
    label_detections,
)
from seqdet.types import Detections

CELLS = TRACK_ROWS + 16
FPS = 30.0
OPTIONS = TrackOptions()
# None lies on a threshold.
SCORES = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.9]


@dataclass
class Naive:
    """One object as a table would have it that was written in a hurry."""

    cell: int
    row: int
    score: float
    first: int
    last: int
    last_s: float
    hits: int = 1
    misses: int = 0
    track_id: int = -1


def detections(seen: list[tuple[int, float]]) -> Detections:
    corners = np.array([[200.0 * (c % 10), 200.0 * (c // 10)] for c, _ in seen]).reshape(-1, 2)
    count = len(seen)
    return Detections(
        boxes_xyxy_px=np.concatenate([corners, corners + 10], axis=1).astype(np.float32),
        scores=np.array([score for _, score in seen], np.float32),
        class_ids=np.zeros(count, np.int64),
        track_ids=np.full(count, -1, np.int64),
        track_class_ids=np.full(count, -1, np.int64),
        track_scores=np.zeros(count, np.float32),
        class_scores=np.zeros((count, 1), np.float32),
        features=np.zeros((count, 0), np.float32),
        motion_px=np.zeros((count, 2), np.float32),
    )


class TrackTable(RuleBasedStateMachine):
    """Both tables, after the same frames."""

    def __init__(self) -> None:
        super().__init__()
        self.state = initial_track_state(1)
        self.living: list[Naive] = []
        self.ended: list[Naive] = []
        self.next_id, self.frame = 1, -1

    @rule(
        seen=st.dictionaries(st.integers(0, CELLS - 1), st.sampled_from(SCORES), max_size=12),
        gap=st.sampled_from([1, 1, 1, 2, 10, 29, 31]),
    )
    def a_frame(self, seen: dict[int, float], gap: int) -> None:
        self.show(list(seen.items()), gap)

    @rule(score=st.sampled_from(SCORES[3:]), first=st.integers(0, CELLS - 1), count=st.integers(50, CELLS))
    def a_crowd(self, score: float, first: int, count: int) -> None:
        self.show([((first + k) % CELLS, score) for k in range(count)], 1)

    @rule(gap=st.integers(1, 40))
    def an_empty_frame(self, gap: int) -> None:
        self.show([], gap)

    def show(self, seen: list[tuple[int, float]], gap: int) -> None:
        self.frame += gap
        before = [value.copy() if isinstance(value, np.ndarray) else value for value in self.state]
        found = detections(seen)
        association = associate(self.state, found, self.frame, self.frame / FPS, OPTIONS)
        for old, value in zip(before, self.state, strict=True):
            assert old is value or np.array_equal(old, value), "the state of before is not changed"
        self.state = association.state
        ids = label_detections(found, self.state, association.rows).track_ids.tolist()
        assert dict(zip([cell for cell, _ in seen], ids, strict=True)) == self.expected(seen)
        assert association.born.sum() == sum(t.hits == 1 and t.last == self.frame for t in self.living)

    def expected(self, seen: list[tuple[int, float]]) -> dict[int, int]:
        """What the naive table makes of it: the id of every cell."""
        time_s, by_cell = self.frame / FPS, {track.cell: track for track in self.living}
        best_first = sorted(seen, key=lambda one: (-one[1], one[0] % 10, one[0] // 10))
        for track in self.living:
            track.misses += 1
        for cell, score in best_first:
            if cell in by_cell and score > OPTIONS.low_score:
                track = by_cell[cell]
                track.score += 0.2 * (np.float64(np.float32(score)) - track.score)
                track.hits, track.misses = track.hits + 1, 0
                track.last, track.last_s = self.frame, time_s
        for track in list(self.living):
            old = time_s - track.last_s > OPTIONS.max_age_s
            hopeless = track.track_id < 0 and track.misses > OPTIONS.max_tentative_misses
            if track.misses and (old or hopeless):
                self.end(track)
        for cell, score in best_first:
            if score > OPTIONS.new_track_score and all(track.cell != cell for track in self.living):
                self.begin(cell, score, time_s)
        for cell, score in best_first:
            for track in self.living:
                sure = track.hits >= OPTIONS.min_hits or score > OPTIONS.sure_score
                if track.cell == cell and track.misses == 0 and track.track_id < 0 and sure:
                    track.track_id, self.next_id = self.next_id, self.next_id + 1
        ids = {track.cell: track.track_id for track in self.living if track.misses == 0}
        return {cell: ids.get(cell, -1) for cell, _ in seen}

    def begin(self, cell: int, score: float, time_s: float) -> None:
        if len(self.living) == TRACK_ROWS:
            missing = [track for track in self.living if track.misses]
            if not missing:
                return
            self.end(min(missing, key=lambda t: (t.track_id >= 0, -t.misses, t.score, t.row)))
        row = min(set(range(TRACK_ROWS)) - {track.row for track in self.living})
        self.living.append(Naive(cell, row, float(np.float32(score)), self.frame, self.frame, time_s))

    def end(self, track: Naive) -> None:
        self.living.remove(track)
        if track.track_id >= 0:
            self.ended.append(track)

    @invariant()
    def both_hold_the_same(self) -> None:
        assert self.state.active.sum() == len(self.living)
        assert self.state.next_id == self.next_id
        known = sorted((*self.ended, *(t for t in self.living if t.track_id >= 0)), key=lambda t: t.track_id)
        told = finish(self.state, ("thing",))
        assert [(t.track_id, t.first_frame, t.last_frame, t.detections) for t in told] == [
            (t.track_id, t.first, t.last, t.hits) for t in known
        ]


TestTrackTable = TrackTable.TestCase
TestTrackTable.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
