"""Masks as COCO's run-length code (RLE): how many pixels are off, on, off ... down the columns from the left.

As text, each number is groups of five bits, least first, each character 48 and its bits, with 32 when more
follow and the sign in the last; from the fourth on each number is the difference to the last but one.

A mask of a whole frame is never drawn where its runs are enough.

Legend: R runs, H W of the frame, h w of a part of it.
"""

from __future__ import annotations

import numpy as np

_LONGEST = 7  # characters of one number


def runs_of(text: str) -> np.ndarray:
    """(R,) int64 runs of the text form.

    Raises:
        ValueError: it is no run-length code.
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    more = (codes & 32) > 0
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or more[-1]:
        raise ValueError("counts: this text is no run-length code")
    starts = np.flatnonzero(np.concatenate(([True], ~more[:-1])))
    lengths = np.diff(np.append(starts, len(codes)))
    if lengths.max() > _LONGEST:
        raise ValueError("counts: this text is no run-length code")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    negative = (codes[starts + lengths - 1] & 16) > 0
    numbers[negative] -= np.int64(1) << (5 * lengths[negative])
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def text_of(runs: np.ndarray) -> str:
    """The text form of (R,) runs."""
    numbers = runs.tolist()
    letters = []
    for index, run in enumerate(numbers):
        rest = run - numbers[index - 2] if index > 2 else run
        more = True
        while more:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            letters.append(chr(48 + bits + 32 * more))
    return "".join(letters)


def fault(text: str, size_wh: tuple[int, int]) -> str | None:
    """What keeps a text from being the mask of a frame of that size, or None."""
    try:
        runs = runs_of(text)
    except ValueError as error:
        return str(error)
    width, height = size_wh
    if (runs < 0).any() or runs.sum() != width * height:
        return f"counts: these runs do not make {height} by {width} pixels"
    return None


def encoded(
    part: np.ndarray, left_top: tuple[int, int] = (0, 0), size_wh: tuple[int, int] | None = None
) -> str:
    """The text of a mask.

    Args:
        part: (h, w) bool, the whole mask or the part of the frame outside of which nothing is on.
        left_top: where the part begins.
        size_wh: of the frame; None: the part is all of it.
    """
    width, height = size_wh or (part.shape[1], part.shape[0])
    padded = np.zeros((part.shape[0] + 2, part.shape[1]), np.int8)
    padded[1:-1] = part
    edges = np.diff(padded, axis=0).T  # column by column: 1 where a run begins, -1 behind its end
    begun, ended = (
        (left_top[0] + column) * height + left_top[1] + row
        for column, row in (np.nonzero(edges == 1), np.nonzero(edges == -1))
    )
    borders = np.stack([begun, ended], axis=1).ravel()
    apart = np.ones(len(borders), bool)  # a run over the foot of a column is one
    apart[1:-1] = np.repeat(begun[1:] != ended[:-1], 2)
    borders = borders[apart]
    runs = np.diff(np.concatenate([[0], borders, [width * height]]))
    return text_of(runs[:-1] if runs[-1] == 0 and len(runs) > 1 else runs)


def decoded(text: str, size_wh: tuple[int, int]) -> np.ndarray:
    """(H, W) bool.

    Raises:
        ValueError: the text is not the mask of a frame of that size.
    """
    if wrong := fault(text, size_wh):
        raise ValueError(wrong)
    runs = runs_of(text)
    on = np.arange(len(runs)) % 2 == 1
    return np.repeat(on, runs).reshape(size_wh[0], size_wh[1]).T


def sampled(text: str, size_wh: tuple[int, int], x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
    """Whether the mask is on at places of the frame; off outside of it.

    Args:
        text: a mask without ``fault``.
        size_wh: of its frame.
        x_px: places, 0 is the left edge of the frame; any shape.
        y_px: likewise from the upper edge, of the same shape.

    Returns:
        bool of their shape.
    """
    width, height = size_wh
    inside = (x_px >= 0) & (x_px < width) & (y_px >= 0) & (y_px < height)
    column, row = np.floor(x_px).astype(np.int64), np.floor(y_px).astype(np.int64)
    run = np.searchsorted(np.cumsum(runs_of(text)), column * height + row, side="right")
    return inside & (run % 2 == 1)
