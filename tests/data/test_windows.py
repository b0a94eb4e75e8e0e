from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.windows import clip_indices, random_windows, stream_chunks, window_length, window_starts

SOME = st.integers(1, 60)


@given(frames=SOME, start=st.integers(-100, 100), length=SOME, stride=st.integers(1, 20))
def test_a_window_is_inside_and_evenly_spaced(frames: int, start: int, length: int, stride: int) -> None:
    indices = clip_indices(frames, start, length, stride)
    assert indices.min() >= 0
    assert indices.max() < frames
    assert set(np.diff(indices).tolist()) <= {stride}
    assert len(indices) == length or (indices[0] < stride and indices[-1] + stride >= frames), (
        "short only if it must"
    )


@given(frames=SOME, length=SOME, stride=st.integers(1, 20))
def test_a_start_that_fits_is_kept_and_starts_are_counted(frames: int, length: int, stride: int) -> None:
    fitting = [
        start
        for start in range(frames)
        if start + (window_length(frames, length, stride) - 1) * stride < frames
    ]
    assert len(fitting) == window_starts(frames, length, stride)
    assert all(clip_indices(frames, start, length, stride)[0] == start for start in fitting)


@given(frames=st.integers(0, 200), length=SOME)
def test_chunks_cover_every_frame_once_in_order(frames: int, length: int) -> None:
    chunks = stream_chunks(frames, length)
    assert [frame for chunk in chunks for frame in chunk] == list(range(frames))
    assert all(len(chunk) == length for chunk in chunks[:-1])


@given(
    frames=st.lists(SOME, min_size=1, max_size=5),
    length=SOME,
    stride=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_random_windows_fit_and_depend_on_the_generator_only(
    frames: list[int], length: int, stride: int, seed: int
) -> None:
    drawn = random_windows(frames, length, stride, 20, np.random.default_rng(seed))
    again = random_windows(frames, length, stride, 20, np.random.default_rng(seed))
    np.testing.assert_array_equal(drawn, again)
    for sequence, start in drawn.tolist():
        assert clip_indices(frames[sequence], start, length, stride)[0] == start


def test_every_window_is_equally_likely() -> None:
    drawn = random_windows([5, 8], 4, 1, 7000, np.random.default_rng(0))  # 2 and 5 windows
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 7
    assert abs(counts - 1000).max() < 150  # five standard deviations


@pytest.mark.parametrize("numbers", [(0, 0, 1, 1), (5, 0, 0, 1), (5, 0, 1, 0)])
def test_numbers_that_must_be_above_zero(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        clip_indices(*numbers)
