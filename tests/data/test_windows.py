"""Windows: inside the sequence, evenly spaced, and without a gap between those that follow each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.windows import next_start, window_indices, window_starts

lengths = st.integers(1, 40)
strides = st.integers(1, 5)
frame_counts = st.integers(1, 400)


@given(frame_counts, lengths, strides, st.data())
def test_every_start_gives_a_window_inside_the_sequence(
    frames: int, length: int, stride: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, window_starts(frames, length, stride) - 1))
    indices = window_indices(frames, start, length, stride)
    assert len(indices) == length
    assert indices[0] == start
    assert indices[-1] < frames
    if frames > (length - 1) * stride:
        assert np.all(np.diff(indices) == stride)


@given(frame_counts, lengths, strides)
def test_one_start_more_would_pass_the_end(frames: int, length: int, stride: int) -> None:
    last = window_starts(frames, length, stride) - 1
    assert last + 1 + (length - 1) * stride >= frames


@given(frame_counts, lengths, strides)
def test_windows_that_follow_each_other_leave_no_frame_out(frames: int, length: int, stride: int) -> None:
    start: int | None = 0
    shown: list[int] = []
    while start is not None:
        shown.extend(window_indices(frames, start, length, stride).tolist())
        start = next_start(frames, start, length, stride)
    if frames > (length - 1) * stride:
        assert shown == list(range(0, shown[-1] + 1, stride))
        assert frames - shown[-1] <= length * stride  # what is left is shorter than a window


@pytest.mark.parametrize(
    ("frames", "start", "length", "stride"),
    [(0, 0, 1, 1), (9, 0, 0, 1), (9, 0, 1, 0), (9, -1, 1, 1), (9, 9, 1, 1)],
)
def test_what_is_out_of_range_is_refused(frames: int, start: int, length: int, stride: int) -> None:
    with pytest.raises(ValueError, match=r"above 0|starts at"):
        window_indices(frames, start, length, stride)
