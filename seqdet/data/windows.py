"""Which frames a clip holds: pure index arithmetic, frames counted from 0.

A window never repeats a frame and never invents one: it is moved back to fit the sequence, and is short only
where the whole sequence is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def window_length(frames: int, length: int, stride: int = 1) -> int:
    """How many frames a window of ``length`` can have in a sequence of ``frames`` frames."""
    _require_positive(frames=frames, length=length, stride=stride)
    return min(length, (frames - 1) // stride + 1)


def window_starts(frames: int, length: int, stride: int = 1) -> int:
    """How many different windows a sequence has: their starts are 0 to this number - 1."""
    return frames - (window_length(frames, length, stride) - 1) * stride


def clip_indices(frames: int, start: int, length: int, stride: int = 1) -> np.ndarray:
    """Frame indices of a window: ``start``, ``start + stride``, ... inside the sequence.

    A start that is too late (or negative) is moved so that the window fits. Where the sequence is too short
    for ``length`` frames at this stride, the window has as many as there are.

    Args:
        frames: length of the sequence, above 0.
        start: wanted index of the first frame.
        length: wanted number of frames, above 0.
        stride: distance between frames, above 0.

    Returns:
        (T,) int64, increasing by ``stride``, 1 <= T <= length.

    Raises:
        ValueError: a number that must be above 0 is not.
    """
    count = window_length(frames, length, stride)
    first = min(max(start, 0), window_starts(frames, length, stride) - 1)
    return first + stride * np.arange(count, dtype=np.int64)


def stream_chunks(frames: int, length: int) -> tuple[range, ...]:
    """Consecutive chunks that cover every frame exactly once, in order; only the last may be shorter.

    Args:
        frames: length of the sequence, 0 or more.
        length: frames in a chunk, above 0.

    Raises:
        ValueError: ``length`` is not above 0, or ``frames`` is negative.
    """
    _require_positive(length=length, frames=frames + 1)
    return tuple(range(start, min(start + length, frames)) for start in range(0, frames, length))


def random_windows(
    frames: Sequence[int], length: int, stride: int, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw windows from sequences; every window of every sequence is equally likely.

    Args:
        frames: length of each sequence, above 0.
        length: wanted frames in a window, above 0.
        stride: distance between frames, above 0.
        count: how many windows to draw, with replacement.
        generator: the only source of chance.

    Returns:
        (count, 2) int64: index of the sequence and start of the window, for ``clip_indices``.

    Raises:
        ValueError: there is no sequence, or a number that must be above 0 is not.
    """
    if not len(frames):
        raise ValueError("there is no sequence to draw windows from")
    starts = np.array([window_starts(number, length, stride) for number in frames], np.int64)
    ends = np.cumsum(starts)
    drawn = generator.integers(0, ends[-1], size=count)
    sequence = np.searchsorted(ends, drawn, side="right")
    return np.stack([sequence, drawn - (ends - starts)[sequence]], axis=1)


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be a whole number above 0, got {number}")
