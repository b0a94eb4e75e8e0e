"""The axis where only motion shows the object: random dots in front of random dots of the same kind.

All dots lie on one grid and objects move by whole dots, so that every single frame is a field of independent
dots, whatever is in it: nothing can be found in it, not even in principle (Braddick 1974). The ground is at
rest. An object takes one step a frame, so it is never invisible in two frames.

Legend: T frames, H W of the picture, GH GW of the grid of dots.
"""

from __future__ import annotations

import numpy as np

from seqdet.data.synth.stress.clip import FPS, GREY, Request, StressClip
from seqdet.types import Targets

CAMOUFLAGE_CLASSES = ("patch",)
DOT_PX = 2
_CONTRAST = 32.0
_HEADINGS = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])


def camouflage_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """One to three discs of 12 to 24 px; later ones hide earlier ones."""
    width, height = request.size_wh
    grid_hw = (-(-height // DOT_PX), -(-width // DOT_PX))
    ground = _dots(rng, grid_hw)
    count = int(rng.integers(1, 4))
    masks = [_disc(int(rng.integers(12, 25)) // DOT_PX) for _ in range(count)]
    skins = [_dots(rng, mask.shape) for mask in masks]
    corners = [
        _steps(rng, request.frames, (width // DOT_PX - len(mask), height // DOT_PX - len(mask)))
        for mask in masks
    ]
    frames = np.empty((request.frames, height, width), np.uint8)
    hidden = np.zeros((request.frames, count), np.float32)
    targets = []
    for index in range(request.frames):
        grid = ground.copy()
        owner = np.full(grid_hw, -1)
        boxes = np.empty((count, 4), np.float32)
        for number, (mask, skin) in enumerate(zip(masks, skins, strict=True)):
            left, top = corners[number][index]
            window = (slice(top, top + len(mask)), slice(left, left + len(mask)))
            grid[window][mask] = skin[mask]
            owner[window][mask] = number
            boxes[number] = np.array([left, top, left + len(mask), top + len(mask)]) * DOT_PX
        for number, mask in enumerate(masks):
            hidden[index, number] = 1 - (owner == number).sum() / mask.sum()
        frames[index] = grid.repeat(DOT_PX, axis=0).repeat(DOT_PX, axis=1)[:height, :width]
        targets.append(Targets(boxes, np.full(count, request.class_id, np.int64), np.arange(1, count + 1)))
    return StressClip(frames, tuple(targets), hidden, FPS, request.class_id)


def _dots(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 independent dots of one distribution."""
    return np.clip(rng.normal(GREY, _CONTRAST, shape), 0, 255).astype(np.uint8)


def _disc(diameter: int) -> np.ndarray:
    """(diameter, diameter) bool disc that touches all four sides."""
    away = np.arange(diameter) - (diameter - 1) / 2
    return np.hypot(away[:, None], away[None]) <= diameter / 2


def _steps(rng: np.random.Generator, frames: int, room_wh: tuple[int, int]) -> np.ndarray:
    """(frames, 2) corners on the grid, one step of a king apart; the heading is kept for 6 to 14 frames."""
    room = np.array(room_wh)
    place = rng.integers(0, room + 1)
    corners = [place]
    heading, left = _HEADINGS[rng.integers(8)], int(rng.integers(6, 15))
    while len(corners) < frames:
        if left == 0:
            heading, left = _HEADINGS[rng.integers(8)], int(rng.integers(6, 15))
        bounces = (place + heading < 0) | (place + heading > room)
        heading = np.where(bounces, -heading, heading)
        place = place + heading
        corners.append(place)
        left -= 1
    return np.stack(corners)
