"""Which pictures look alike: a difference hash to find them, a small grey copy to be sure.

The hash is dHash (N. Krawetz, "Kind of Like That", 2013): the picture is averaged to 9x8 greys, and each of
64 bits says whether a grey is darker than its right neighbour. It stands compression, scaling and a change of
brightness. A picture with little contrast (a clear sky) has a hash of noise, and one that only gets
brighter towards a side has that of all such; they are compared with none.

Legend: N pictures, S side of the small grey copy.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

HASH_WH = (9, 8)
SMALL_SIDE = 16
CROP_SIDE = 8
MAX_DISTANCE_BITS = 6  # of 64
MIN_CORRELATION = 0.97
MIN_CONTRAST = 3.0  # grey levels, standard deviation of the small copy
MOVED_CORRELATION = 0.7
CHANGED_CORRELATION = 0.5
MOST_LOOKS = 20_000  # of a whole data set: comparing all of them with each other takes seconds
LEAST_LOOKS = 5  # of a sequence
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of a picture.

    Attributes:
        group: position of its sequence.
        frame: from 0.
        bits: (64,) bool dHash.
        small: (S, S) float32 grey copy.
    """

    group: int
    frame: int
    bits: np.ndarray
    small: np.ndarray


@dataclass(frozen=True, slots=True)
class AlikePair:
    """Two sequences with pictures that look alike.

    Attributes:
        first, second: positions of the sequences.
        first_frame, second_frame: the two pictures that are most alike.
        distance_bits: how many bits of their hashes differ, of 64.
        pictures: how many pictures of the second have a like one in the first.
    """

    first: int
    second: int
    first_frame: int
    second_frame: int
    distance_bits: int
    pictures: int


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A picture and what is in a box of it, as small grey copies.

    Attributes:
        picture: (S, S) float32.
        inside: (8, 8) float32.
    """

    picture: np.ndarray
    inside: np.ndarray


def shrink_grey(rgb: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A grey copy, each pixel the mean of those it stands for.

    Args:
        rgb: (H, W, 3) uint8.
        size_wh: width and height of the copy in pixels; it may be larger than the picture.

    Returns:
        (height, width) float32, 0..255.
    """
    height, width = rgb.shape[:2]
    rows = zip(_bin_starts(height, size_wh[1]), _bin_sizes(height, size_wh[1]), strict=True)
    # Whole rows are added up first, as whole numbers: several times as quick as any other order.
    sums = np.stack([rgb[start : start + size].sum(axis=0, dtype=np.uint32) for start, size in rows])
    sums = np.add.reduceat(sums.sum(axis=2), _bin_starts(width, size_wh[0]), axis=1)
    areas = np.outer(_bin_sizes(height, size_wh[1]), _bin_sizes(width, size_wh[0]))
    return (sums / (3 * areas)).astype(np.float32)


def _bin_starts(length: int, bins: int) -> np.ndarray:
    return np.arange(bins) * length // bins


def _bin_sizes(length: int, bins: int) -> np.ndarray:
    """A bin without a pixel of its own takes the one at its start."""
    return np.maximum(np.diff(_bin_starts(length, bins), append=length), 1)


def dhash(rgb: np.ndarray) -> np.ndarray:
    """(64,) bool difference hash of an (H, W, 3) uint8 picture."""
    grey = shrink_grey(rgb, HASH_WH)
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def look_at(rgb: np.ndarray, group: int, frame: int) -> Look | None:
    """What is kept of a picture to compare it with others; None where it has too little contrast.

    A sky that gets brighter towards a side or the middle looks like any other such sky, so what counts is the
    contrast beside the smooth surface (of second degree) that fits best.
    """
    small = shrink_grey(rgb, (SMALL_SIDE, SMALL_SIDE))
    return Look(group, frame, dhash(rgb), small) if _detail(small) >= MIN_CONTRAST else None


def _detail(small: np.ndarray) -> float:
    """Standard deviation of a square grey copy, in grey levels, beside the best surface of second degree."""
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : len(small) * 1j, -1 : 1 : len(small) * 1j])
    surfaces = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values = small.ravel().astype(np.float64)
    fitted = surfaces @ np.linalg.lstsq(surfaces, values, rcond=None)[0]
    return float((values - fitted).std())


def hash_frames(frames: int, count: int) -> list[int]:
    """Which frames of a sequence are looked at: ``count`` of them, evenly spread; all of a short one."""
    return sorted({int((index + 0.5) * frames / count) for index in range(count)})


def looks_each(frames: Items[int]) -> int:
    """How many frames of a sequence are looked at, the same for all: as many as MOST_LOOKS has room for.

    Args:
        frames: of each sequence; one with fewer leaves the rest to the others.
    """
    left, room = sorted(frames), MOST_LOOKS
    for done, count in enumerate(left):
        share = room // (len(left) - done)
        if count > share:
            return max(share, LEAST_LOOKS)
        room -= count
    return max([LEAST_LOOKS, *left[-1:]])


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """-1..1 of two grey pictures of one size; 0 where one of them is flat."""
    one, other = first - first.mean(), second - second.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norm if norm > 1e-6 else 0.0


def glimpse(rgb: np.ndarray, box_xyxy_px: np.ndarray) -> Glimpse:
    """What is kept of a picture to see later whether a resting box still holds what it held.

    Args:
        rgb: (H, W, 3) uint8.
        box_xyxy_px: (4,) edges in pixels.
    """
    height, width = rgb.shape[:2]
    left, top = np.minimum(np.floor(box_xyxy_px[:2]).astype(int), [width - 1, height - 1])
    right, bottom = np.maximum(np.ceil(box_xyxy_px[2:]).astype(int), [left + 1, top + 1])
    inside = shrink_grey(rgb[top:bottom, left:right], (CROP_SIDE, CROP_SIDE))
    return Glimpse(shrink_grey(rgb, (SMALL_SIDE, SMALL_SIDE)), inside)


def is_left_behind(first: Glimpse, last: Glimpse) -> bool:
    """Whether a resting box has lost its object: the whole picture has moved, and what is in the box changed.

    A camera that follows its object moves the picture, too, but what is in the box stays.

    Args:
        first, last: at the ends of the stretch.
    """
    if min(first.picture.std(), last.picture.std()) < MIN_CONTRAST:
        return False
    moved = correlation(first.picture, last.picture) < MOVED_CORRELATION
    return moved and correlation(first.inside, last.inside) < CHANGED_CORRELATION


def find_alike(looks: Items[Look], sides: Items[str]) -> list[AlikePair]:
    """Pairs of sequences on different sides, such as splits, with pictures that look alike.

    Args:
        looks: of some pictures of each sequence.
        sides: side of each sequence.

    Returns:
        One entry for each pair, most pictures first.
    """
    if not looks:
        return []
    # Side by side, so that no side is compared with itself.
    names = sorted(set(sides))
    side = np.array([names.index(sides[look.group]) for look in looks])
    order = np.argsort(side, kind="stable")
    side = side[order]
    signs = np.array([looks[index].bits for index in order], np.float32) * 2 - 1
    units = np.array([looks[index].small.ravel() for index in order])
    units -= units.mean(axis=1, keepdims=True)
    units /= np.linalg.norm(units, axis=1, keepdims=True)  # not 0: every look has contrast
    ends = np.searchsorted(side, side, side="right")
    parts: list[np.ndarray] = []
    start = 0
    while start < len(order) and ends[start] < len(order):
        end, behind = min(start + _ROWS_AT_ONCE, int(ends[start])), int(ends[start])
        agreeing = signs[start:end] @ signs[behind:].T  # bits that agree, less those that differ
        alike = agreeing >= signs.shape[1] - 2 * MAX_DISTANCE_BITS
        some = alike.any(axis=1)
        alike[some] &= units[start:end][some] @ units[behind:].T >= MIN_CORRELATION
        row, column = np.nonzero(alike)
        distance = ((signs.shape[1] - agreeing[row, column]) / 2).astype(np.int64)
        parts.append(np.stack([order[start + row], order[behind + column], distance], axis=1))
        start = end
    return _pairs(looks, np.concatenate(parts) if parts else np.zeros((0, 3), np.int64))


def _pairs(looks: Items[Look], alike: np.ndarray) -> list[AlikePair]:
    """(N, 3) pairs of looks and their distance -> what two sequences have in common."""
    group = np.array([look.group for look in looks])
    frame = np.array([look.frame for look in looks])
    swapped = group[alike[:, 0]] > group[alike[:, 1]]
    alike[swapped, :2] = alike[swapped, 1::-1]
    table = np.column_stack([group[alike[:, 0]], group[alike[:, 1]], alike[:, 2], frame[alike[:, :2]]])
    table = table[np.lexsort(table.T[::-1])]
    _, best = np.unique(table[:, :2], axis=0, return_index=True)
    pictures = np.unique(table[:, [0, 1, 4]], axis=0)
    _, counts = np.unique(pictures[:, :2], axis=0, return_counts=True)
    found = [
        AlikePair(first, second, first_frame, second_frame, distance, count)
        for (first, second, distance, first_frame, second_frame), count in zip(
            table[best].tolist(), counts.tolist(), strict=True
        )
    ]
    return sorted(found, key=lambda pair: (-pair.pictures, pair.distance_bits, pair.first, pair.second))
