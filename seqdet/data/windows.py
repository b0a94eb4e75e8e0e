"""Which frames a window of a sequence shows: index arithmetic, nothing else.

Legend: a window has ``length`` frames, ``stride`` apart.
"""

from __future__ import annotations

import numpy as np


def window_starts(frames: int, length: int, stride: int = 1) -> int:
    """How many different windows a sequence has: their starts are 0 to this number - 1.

    A sequence that is too short for one whole window has one, which starts at 0.

    Args:
        frames: length of the sequence, above 0.
        length: frames in a window, above 0.
        stride: distance between frames, above 0.

    Raises:
        ValueError: one of them is not above 0.
    """
    _require_positive(frames=frames, length=length, stride=stride)
    return max(frames - (length - 1) * stride, 1)


def window_indices(frames: int, start: int, length: int, stride: int = 1) -> np.ndarray:
    """Frame indices of a window: ``start``, ``start + stride``, ...; behind the end the last frame stays.

    Args:
        frames: length of the sequence, above 0.
        start: index of the first frame, 0 to ``frames`` - 1.
        length: frames in a window, above 0.
        stride: distance between frames, above 0.

    Returns:
        (length,) int64.

    Raises:
        ValueError: one of them is out of its range.
    """
    _require_positive(frames=frames, length=length, stride=stride)
    if not 0 <= start < frames:
        raise ValueError(f"a window of {frames} frames starts at 0 to {frames - 1}, got {start}")
    return np.minimum(start + stride * np.arange(length, dtype=np.int64), frames - 1)


def with_gap(indices: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """The window as a stream shows it that lost frames: from some place on, later frames.

    Args:
        indices: (T,) of ``window_indices``.
        frames: length of the sequence.
        rng: the only source of chance.

    Returns:
        (T,) int64, the same where there is no room for a gap of up to T / 3 steps.
    """
    room = frames - 1 - int(indices[-1])
    stride = int(indices[1] - indices[0]) if len(indices) > 1 else 0
    most = min(len(indices) // 3, room // stride) if stride else 0
    if most < 1:
        return indices
    gapped = indices.copy()
    gapped[int(rng.integers(1, len(indices))) :] += stride * int(rng.integers(1, most + 1))
    return gapped


def next_start(frames: int, start: int, length: int, stride: int = 1) -> int | None:
    """Where the window that follows without a gap starts, or None when it would pass the end.

    Args:
        frames: length of the sequence, above 0.
        start: first frame of the window before.
        length: frames in a window, above 0.
        stride: distance between frames, above 0.
    """
    follows = start + length * stride
    return follows if follows + (length - 1) * stride < frames else None


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be a whole number above 0, got {number}")
