"""Association: what must hold whatever comes, and the scenes in which trackers break."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.results.tracks import (
    TRACK_ROWS,
    TrackOptions,
    associate,
    finish,
    initial_track_state,
    label_detections,
    with_class_evidence,
)
from seqdet.types import Detections

FPS = 30.0


def box(x, y, side=10.0):
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def follow(frames, options=TrackOptions(), classes=3):
    """Associate frame after frame of (frame_index, Detections): ids per frame, final state."""
    state, ids = initial_track_state(classes), []
    for index, detections in frames:
        association = associate(state, detections, index, index / FPS, options)
        state = association.state
        ids.append(label_detections(detections, state, association.rows).track_ids.tolist())
    return ids, state


def scene(make_detections, *paths, scores=0.9):
    """Each path is one centre (or None) per frame; detections come in the order of the paths."""
    return [
        (t, make_detections([box(*xy) for xy in centres if xy is not None], scores))
        for t, centres in enumerate(zip(*paths, strict=True))
    ]


def test_a_small_object_that_jumps_its_own_size_keeps_its_id(make_detections):
    """10 px boxes 8 px apart: IoU .11; 12 px apart: none at all."""
    for step in (8, 12):
        ids, _ = follow(scene(make_detections, [(20 + step * t, 50) for t in range(20)]))
        assert ids == [[1]] * 20


def test_two_objects_that_cross_keep_their_ids(make_detections):
    left = [(20 + 6 * t, 100 + t) for t in range(40)]
    right = [(260 - 6 * t, 102 - t) for t in range(40)]
    ids, state = follow(scene(make_detections, left, right))
    assert ids == [[1, 2]] * 40
    assert state.next_id == 3


def test_an_occluded_object_comes_back_under_its_id_and_a_late_one_does_not(make_detections):
    def path(hidden):
        return [None if 10 <= t < 10 + hidden else (20 + 2 * t, 50) for t in range(70)]

    assert follow(scene(make_detections, path(15)))[0][-1] == [1]
    ids, state = follow(scene(make_detections, path(45)))
    assert ids[-1] == [2]
    assert [track.track_id for track in finish(state, ("a", "b", "c"))] == [1, 2]


def test_the_networks_motion_carries_a_track_over_a_jump_that_nothing_else_explains(make_detections):
    still, jumped = make_detections([box(50, 50)]), make_detections([box(90, 50)])
    told = replace(still, motion_px=np.array([[40.0, 0.0]], np.float32))
    assert follow([(0, still), (1, still), (2, still), (3, jumped)])[0][-1] == [2]
    assert follow([(0, still), (1, still), (2, told), (3, jumped)])[0][-1] == [1]


def test_a_weak_detection_keeps_a_track_alive_but_never_begins_one(make_detections):
    weak, strong = make_detections([box(50, 50)], 0.2), make_detections([box(50, 50)], 0.9)
    assert follow([(t, weak) for t in range(5)])[0] == [[-1]] * 5
    assert follow([(0, strong), *((t, weak) for t in range(1, 60))])[0] == [[1]] * 60


def test_strong_detections_choose_before_weak_ones(make_detections):
    first = make_detections([box(50, 50)], 0.9)
    both = make_detections([box(50, 50), box(53, 50)], [0.2, 0.9])
    assert follow([(0, first), (1, both)])[0][-1] == [-1, 1]


def test_a_track_is_confirmed_by_hits_or_at_once_by_a_sure_score(make_detections):
    still = [(50, 50)] * 4
    assert follow(scene(make_detections, still, scores=0.5))[0] == [[-1], [-1], [1], [1]]
    assert follow(scene(make_detections, still, scores=0.85))[0] == [[1]] * 4


def test_an_unconfirmed_track_that_is_missed_is_forgotten_and_takes_no_id(make_detections):
    spark, real = make_detections([box(50, 50)], 0.5), make_detections([box(150, 50)], 0.9)
    frames = [(0, spark), *((t, make_detections([])) for t in range(1, 6)), (6, real)]
    ids, state = follow(frames)
    assert ids[-1] == [1]
    assert [t.first_frame for t in finish(state, ("a", "b", "c"))] == [6]


def test_intervals_may_vary_velocity_is_in_time_not_in_frames(make_detections):
    """150 px/s, seen after 1/30 s, then after 3/30 s (a stride, a dropped frame)."""
    times = [0, 1, 2, 3, 6, 7, 10, 13, 14]
    ids, _ = follow([(t, make_detections([box(20 + 5 * t, 50)])) for t in times])
    assert ids == [[1]] * len(times)


def test_a_low_frame_rate_does_not_end_tracks(make_detections):
    """One frame in two seconds, while a track may be missing for one."""
    state = initial_track_state(3)
    for t in range(4):
        association = associate(state, make_detections([box(50 + t, 50)]), t, 2.0 * t)
        state = association.state
    assert state.next_id == 2
    assert state.hits[association.rows[0]] == 4


def test_more_objects_than_rows(make_detections):
    """64 are followed, the best ones; when some leave, their rows are given to the newcomers."""
    grid = [box(40 * (i % 10) + 20, 40 * (i // 10) + 20) for i in range(70)]
    scores = np.linspace(0.95, 0.85, 70)
    crowd = make_detections(grid, scores)
    ids, state = follow([(0, crowd), (1, crowd)])
    assert ids[1] == [*range(1, 65), *[-1] * 6]
    last = make_detections(grid[6:], scores[6:])
    association = associate(state, last, 2, 2 / FPS)
    assert (association.rows >= 0).all()
    assert int(association.born.sum()) == 6
    ids = label_detections(last, association.state, association.rows).track_ids
    assert sorted(ids.tolist()) == [*range(7, 65), *range(65, 71)]
    assert [track.track_id for track in finish(association.state, ("a", "b", "c"))] == [*range(1, 71)]


def test_what_is_not_finite_takes_no_part(make_detections):
    detections = make_detections(
        [box(50, 50), [np.nan, 0, 1, 1], box(90, 90), [0, 0, np.inf, 1]], [0.9, 0.9, np.nan, 0.9]
    )
    detections = replace(detections, motion_px=np.full((4, 2), np.nan, np.float32))
    frames = [(t, detections) for t in range(3)]
    ids, state = follow(frames)
    assert ids == [[1, -1, -1, -1]] * 3
    assert all(np.isfinite(value).all() for value in state[:-2])


def test_nothing_at_all(make_detections):
    ids, state = follow([(t, Detections.empty(3, 8)) for t in range(3)])
    assert ids == [[]] * 3
    assert finish(state, ("a", "b", "c")) == ()


def test_features_settle_what_places_cannot(make_detections):
    """Two objects swap places in one frame; their features tell."""
    features = np.eye(2, dtype=np.float32)
    before = make_detections([box(50, 50), box(56, 50)], features=features)
    after = make_detections([box(50, 50), box(56, 50)], features=features[::-1])
    options = TrackOptions(feature_weight=0.8)
    assert follow([(0, before), (1, before), (2, after)], options)[0][-1] == [2, 1]
    assert follow([(0, before), (1, before), (2, after)])[0][-1] == [1, 2]


def test_evidence_makes_the_tracks_class(make_detections):
    """Three weak votes for 1 outweigh a strong one for 2; the input state stays."""
    detections = make_detections([box(50, 50)])
    association = associate(initial_track_state(3), detections, 0, 0.0)
    state, rows = association.state, association.rows
    unlabelled = label_detections(detections, state, rows)
    assert unlabelled.track_class_ids.tolist() == [0]  # no evidence yet: the detection's own
    assert unlabelled.track_scores.tolist() == pytest.approx([0.9])
    for probabilities in ([0, 0.1, 0.9], [0, 0.7, 0.3], [0, 0.7, 0.3], [0, 0.7, 0.3], [np.nan] * 3):
        before = state.class_evidence.copy()
        after = with_class_evidence(state, rows, np.array([probabilities]), np.ones(1))
        assert np.array_equal(before, state.class_evidence)
        state = after
    labelled = label_detections(detections, state, rows)
    assert labelled.track_class_ids.tolist() == [1]
    assert labelled.track_scores.tolist() == pytest.approx([2.2 / 4])
    (track,) = finish(state, ("a", "b", "c"))
    assert (track.label, track.detections) == ("b", 1)
    assert track.score == pytest.approx(2.2 / 4)


def test_a_new_track_in_an_old_row_starts_without_evidence(make_detections):
    state = initial_track_state(3)
    here, there = make_detections([box(50, 50)]), make_detections([box(250, 50)])
    association = associate(state, here, 0, 0.0)
    state = with_class_evidence(association.state, association.rows, np.array([[0, 0, 1.0]]), np.ones(1))
    association = associate(state, there, 90, 3.0)
    assert association.born[association.rows[0]]
    assert association.state.class_evidence.sum() == 0
    labels = [track.label for track in finish(association.state, ("a", "b", "c"))]
    assert labels == ["c", ""]


def bare_detections(boxes_xyxy_px, scores):
    """As the fixture makes them; hypothesis takes no fixture."""
    empty, count = Detections.empty(2), len(boxes_xyxy_px)
    columns = {
        name: np.zeros((count, *getattr(empty, name).shape[1:]), getattr(empty, name).dtype)
        for name in Detections.__slots__
    }
    boxes = np.array(boxes_xyxy_px, np.float32).reshape(-1, 4)
    return Detections(**columns | {"boxes_xyxy_px": boxes, "scores": scores})


coordinates = st.integers(0, 30).map(lambda n: 8.0 * n)
frames_of_detections = st.lists(
    st.lists(
        st.tuples(coordinates, coordinates, st.sampled_from([6.0, 10.0, 25.0]), st.floats(0, 1, width=32)),
        max_size=6,
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(frames=frames_of_detections, seed=st.integers(0, 1000))
def test_what_holds_whatever_comes(frames, seed):
    """Pure, order-invariant, one row per detection, ids from 1 without holes, no confirmed track lost."""
    generator = np.random.default_rng(seed)
    options = TrackOptions()
    state = shuffled_state = initial_track_state(2)
    seen: dict[int, list[int]] = {}
    for index, rows in enumerate(frames):
        table = np.unique(np.array(rows, np.float32).reshape(-1, 4), axis=0)  # twins cannot be told apart
        _, first = np.unique(table[:, :3], axis=0, return_index=True)
        table = table[first]
        detections = bare_detections([box(x, y, side) for x, y, side, _ in table], table[:, 3])
        order = generator.permutation(len(table))
        shuffled = Detections(*(getattr(detections, name)[order] for name in Detections.__slots__))
        before = [value.copy() for value in state[:-2]]
        result = associate(state, detections, index, index / FPS, options)
        assert all(np.array_equal(a, b) for a, b in zip(before, state[:-2], strict=True)), "state was changed"
        permuted = associate(shuffled_state, shuffled, index, index / FPS, options)
        assert permuted.rows.tolist() == result.rows[order].tolist()

        used = result.rows[result.rows >= 0]
        assert len(set(used.tolist())) == len(used)
        assert result.state.active[used].all()
        assert (result.rows[detections.scores < options.low_score] == -1).all()
        old = np.setdiff1d(used, np.flatnonzero(result.born))
        assert state.active[old].all(), "a row that was not born now was there before"
        state, shuffled_state = result.state, permuted.state
        for track_id in label_detections(detections, state, result.rows).track_ids.tolist():
            if track_id >= 0:
                seen.setdefault(track_id, []).append(index)

    tracks = finish(state, ("a", "b"))
    assert [track.track_id for track in tracks] == [*range(1, state.next_id)]
    assert {track.track_id for track in tracks} == set(seen)
    for track in tracks:
        assert seen[track.track_id][-1] == track.last_frame
        assert track.first_frame <= seen[track.track_id][0]
        assert len(seen[track.track_id]) <= track.detections <= track.last_frame - track.first_frame + 1


def test_pairs_are_the_cheapest_of_all(make_detections):
    """Against brute force: of all ways to pair four objects, the total distance moved is the least."""
    generator = np.random.default_rng(4)
    for _ in range(20):
        centres = generator.uniform(40, 60, (4, 2))
        moved = centres + generator.normal(0, 2, (4, 2))
        options = TrackOptions(iou_weight=0.0, gate_sizes=1e3)
        start = associate(
            initial_track_state(3), make_detections([box(*c) for c in centres]), 0, 0.0, options
        )
        end = associate(start.state, make_detections([box(*c) for c in moved]), 1, 1 / FPS, options)
        rows = {int(row): index for index, row in enumerate(start.rows)}
        chosen = tuple(rows[int(row)] for row in end.rows)

        def total(order, centres=centres, moved=moved):
            squares = ((centres[list(order)] - moved) ** 2).sum(axis=1)
            return float((1 - np.exp(-squares / 100 / 2)).sum())

        assert total(chosen) == pytest.approx(min(map(total, itertools.permutations(range(4)))), abs=1e-6)


def test_the_state_does_not_grow_with_time(make_detections):
    ids, state = follow([(t, make_detections([box(50 + t % 3, 50)])) for t in range(300)])
    assert ids[-1] == [1]
    assert state.ended == ()
    assert all(len(value) == TRACK_ROWS for value in state[:-2])
