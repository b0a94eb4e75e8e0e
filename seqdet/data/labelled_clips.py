"""Batches for a sequence classifier: windows of sequences with a class, one geometric draw for each window.

Legend: B clips, T frames. Epoch e of a seed is always the same windows, so that a run can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqdet.data.cache import FrameCache
from seqdet.data.dataset import Sequence
from seqdet.data.transforms.geometry import ClipGeometry, in_colour
from seqdet.data.windows import window_indices, window_starts


class LabelledClips(NamedTuple):
    """B windows: frames (B, T, H, W, 3) uint8 RGB in the network's input size, and class ids (B,) int64."""

    frames: np.ndarray
    class_ids: np.ndarray


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What one draw may do to a clip; field by field as in ``config.ClassifierTrainConfig``."""

    rotation_degrees: float
    shift: float
    horizontal_flip: bool

    def draw(
        self, rng: np.random.Generator, source_wh: tuple[int, int], input_wh: tuple[int, int]
    ) -> ClipGeometry:
        """One map for all frames of a clip."""
        angle = float(np.radians(rng.uniform(-self.rotation_degrees, self.rotation_degrees)))
        shift_px = rng.uniform(-self.shift, self.shift, 2) * input_wh
        flip = self.horizontal_flip and rng.random() < 0.5
        return ClipGeometry.fit(source_wh, input_wh).moved(1.0, angle, flip, shift_px)


def epoch(
    sequences: tuple[Sequence, ...],
    cache: FrameCache,
    *,
    batch: int,
    frames: int,
    max_stride: int,
    augmentation: Augmentation,
    seed: tuple[int, int],
) -> Iterator[LabelledClips]:
    """Every sequence once, in a random order; of each a random window. The last batch may be smaller.

    Args:
        sequences: of known class.
        cache: reads their frames; its size is the network's input.
        batch: B.
        frames: T; behind the end of a shorter sequence its last frame stays.
        max_stride: frames of a window are 1 to this many apart.
        augmentation: drawn once a window.
        seed: of the training, and number of the epoch.

    Raises:
        InputError: a video cannot be read.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(sequences))
    for start in range(0, len(order), batch):
        chosen = [sequences[i] for i in order[start : start + batch]]
        windows = [_window(sequence, cache, frames, max_stride, augmentation, rng) for sequence in chosen]
        yield LabelledClips(np.stack(windows), np.array([sequence.class_id for sequence in chosen], np.int64))


def _window(
    sequence: Sequence,
    cache: FrameCache,
    frames: int,
    max_stride: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> np.ndarray:
    """(T, H, W, 3) uint8: one window of a sequence."""
    stride = int(rng.integers(1, max_stride + 1))
    start = int(rng.integers(window_starts(sequence.frames, frames, stride)))
    pictures, _ = cache.frames(sequence, window_indices(sequence.frames, start, frames, stride))
    source_wh = (pictures[0].shape[1], pictures[0].shape[0])
    geometry = augmentation.draw(rng, source_wh, cache.fit_wh)
    return in_colour(geometry.warp_clip(pictures))
