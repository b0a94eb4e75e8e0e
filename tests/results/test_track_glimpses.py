"""What glimpses add to tracks: whose turn it is, and what memory and glimpses say together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.results.track_glimpses import EVERY, FIRST_LOOKS, due_for_glimpse, with_glimpses
from seqdet.results.track_state import (
    TRACK_ROWS,
    TrackState,
    class_words,
    freed,
    initial_track_state,
    realness,
)


def tracks_of(evidence: list[list[float]], glimpses: list[list[float]]) -> TrackState:
    state = initial_track_state(len(evidence[0]))
    state.class_evidence[: len(evidence)] = evidence
    if glimpses:
        state.glimpse_evidence[: len(glimpses)] = glimpses
    state.active[: len(evidence)] = True
    return state


def test_everybody_has_a_turn_before_anybody_has_a_second():
    state, rows = initial_track_state(2), np.array([4, -1, 9, 2, 30])
    seen: list[int] = []
    for _ in range(6):
        due = due_for_glimpse(state, rows, 2)
        assert len(due) == 2
        assert len(set(due.tolist())) == 2
        seen += rows[due].tolist()
        state = with_glimpses(state, rows[due], np.full((2, 3), 1 / 3))
    assert {row: seen.count(row) for row in (4, 9, 2, 30)} == dict.fromkeys((4, 9, 2, 30), 3)


def test_a_track_that_is_known_leaves_its_turn_to_a_new_one_and_is_seen_again_now_and_then():
    state, rows, looked = initial_track_state(2), np.array([7]), []
    for frame in range(60):
        state.hits[rows] += 1
        due = due_for_glimpse(state, rows, 1)
        looked += [frame] * len(due)
        state = with_glimpses(state, rows[due], np.full((len(due), 3), 1 / 3))
    assert looked[:FIRST_LOOKS] == list(range(FIRST_LOOKS))
    assert set(np.diff(looked[FIRST_LOOKS:])) == {EVERY}
    assert len(looked) == 60 / EVERY + 1, "one of EVERY frames in the long run"
    assert due_for_glimpse(state, np.array([7, 3]), 1).tolist() == [1]


def test_detections_without_a_track_have_no_turn():
    assert due_for_glimpse(initial_track_state(2), np.array([-1, -1]), 3).tolist() == []
    assert due_for_glimpse(initial_track_state(2), np.zeros(0, np.int64), 3).tolist() == []


def test_the_old_state_is_left_and_what_is_no_number_is_passed_over():
    state = initial_track_state(2)
    said = np.array([[0.2, 0.3, 0.5], [np.nan, 0.5, 0.5]])
    after = with_glimpses(state, np.array([3, 5]), said)
    assert not state.glimpse_evidence.any()
    np.testing.assert_allclose(after.glimpse_evidence[3], said[0])
    assert not after.glimpse_evidence[5].any()


PROBABILITIES = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(
    lambda values: sum(values) > 0.01
)


@settings(deadline=None, max_examples=100)
@given(PROBABILITIES, PROBABILITIES, st.floats(0, 1), st.permutations([0, 1, 2]))
def test_together_they_keep_the_amount_of_evidence_and_know_no_order_of_classes(
    memory, glimpses, nothing, order
):
    state = tracks_of([memory], [[*glimpses, nothing]])
    words = class_words(state, np.array([0]))[0]
    assert (words >= 0).all()
    assert words.sum() == pytest.approx(sum(memory))
    turned = tracks_of([[memory[k] for k in order]], [[*(glimpses[k] for k in order), nothing]])
    np.testing.assert_allclose(class_words(turned, np.array([0]))[0], words[order], atol=1e-9)


@settings(deadline=None, max_examples=100)
@given(PROBABILITIES)
def test_without_glimpses_the_memory_speaks_alone_and_indifferent_glimpses_turn_no_verdict(memory):
    rows = np.array([0])
    np.testing.assert_allclose(class_words(tracks_of([memory], []), rows)[0], memory)
    indifferent = class_words(tracks_of([memory], [[0.2, 0.2, 0.2, 0.4]]), rows)[0]
    assert indifferent[int(np.argmax(memory))] == pytest.approx(indifferent.max())


def test_sure_glimpses_outvote_a_memory_in_doubt():
    words = class_words(tracks_of([[0.5, 0.4, 0.1]], [[0.1, 8.0, 0.1, 0.1]]), np.array([0]))[0]
    assert words.argmax() == 1


def test_how_real_a_track_looks():
    state = tracks_of([[1.0, 0.0]] * 3, [[1.0, 1.0, 2.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(realness(state, np.array([0, 1, 2])), [0.5, 1.0, 1.0])


def test_a_row_that_is_given_away_has_not_been_looked_at():
    state = tracks_of([[1.0, 0.0]], [[1.0, 1.0, 2.0]])
    state = freed(state, np.array([0]))
    assert not state.glimpse_evidence.any()
    assert state.glimpse_evidence.shape == (TRACK_ROWS, 3)
