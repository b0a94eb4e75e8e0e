"""Shapes with exact masks: turning blobs, rings and stars before cloud-like noise, each with a texture.

The box of a shape says little of its mask: a ring has a hole, a star fills a third of its box, a blob is long
and lies in any direction. Everything is drawn from the outline in polar coordinates about the centre,

    inside = r <= radius * outline(angle - turn)        and, of a ring, r >= hole * radius * outline

so that the mask is exact at the centre of every pixel.

Legend: T frames, H W of the picture, N objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqdet.data.synth.noise import fractal
from seqdet.data.synth.sprites import fold
from seqdet.rle import encoded
from seqdet.types import Targets

SHAPE_CLASSES = ("blob", "ring", "star")
"""Names of the classes, in the order of their ids."""

_RADIUS_PX = (9.0, 22.0)
_SPEED_PX_PER_FRAME = (0.3, 2.0)
_TURN_PER_FRAME = 0.08
_CONTRAST = (35.0, 80.0)
_NOISE_LEVEL = 6.0
_MOST_OBJECTS = 3


@dataclass(frozen=True, slots=True)
class _Shape:
    """One object throughout its clip.

    Attributes:
        class_id: index into SHAPE_CLASSES.
        centres: (T, 2) in pixels.
        radius_px: the largest.
        turns: (T,) radians.
        hole: of a ring, part of the radius.
        waves: (3,) relative heights of two, three and five waves around the outline.
        contrast: against the background.
        texture: (H, W) that shines through, in the picture's place.
    """

    class_id: int
    centres: np.ndarray
    radius_px: float
    turns: np.ndarray
    hole: float
    waves: np.ndarray
    contrast: float
    texture: np.ndarray

    def mask(self, index: int, size_wh: tuple[int, int]) -> np.ndarray:
        """(H, W) bool at frame ``index``."""
        width, height = size_wh
        right = (np.arange(width) + 0.5 - self.centres[index, 0])[None]
        down = (np.arange(height) + 0.5 - self.centres[index, 1])[:, None]
        reach, angle = np.hypot(right, down), np.arctan2(down, right) - self.turns[index]
        outline = 1 + sum(
            high * np.cos(count * angle) for count, high in zip((2, 3, 5), self.waves, strict=True)
        )
        outline = self.radius_px * outline / (1 + np.abs(self.waves).sum())
        return (reach <= outline) & (reach >= self.hole * outline)


def render_shape_clip(
    rng: np.random.Generator, class_id: int, size_wh: tuple[int, int] = (128, 128), frames: int = 16
) -> tuple[np.ndarray, tuple[Targets, ...]]:
    """Renders one clip; its first object is of ``class_id``, one or two others of any class.

    A later object lies before an earlier one and covers it: masks and boxes are of what is seen. What is
    hidden but for a few pixels has no box in that frame.

    Args:
        rng: source of chance; the clip depends on its state alone.
        class_id: index into SHAPE_CLASSES.
        size_wh: width and height in pixels, at least 64.
        frames: T.

    Returns:
        (T, H, W, 3) uint8 RGB and T truths with masks.
    """
    if min(size_wh) < 64 or frames < 1 or not 0 <= class_id < len(SHAPE_CLASSES):
        raise ValueError(
            f"a clip has 64 x 64 pixels and 1 frame at least, got {size_wh}, {frames}, class {class_id}"
        )
    width, height = size_wh
    others = rng.integers(len(SHAPE_CLASSES), size=rng.integers(0, _MOST_OBJECTS))
    shapes = [_drawn(rng, int(kind), size_wh, frames) for kind in (class_id, *others)]
    backdrop = 120 + 25 * fractal(rng, (height, width), 32, 3)
    tint = rng.uniform(0.8, 1.2, (len(shapes) + 1, 3))
    pictures = np.empty((frames, height, width, 3), np.uint8)
    truths = []
    for index in range(frames):
        light = backdrop[..., None] * tint[0]
        masks = [shape.mask(index, size_wh) for shape in shapes]
        for number, (shape, mask) in enumerate(zip(shapes, masks, strict=True)):
            painted = (backdrop + shape.contrast + shape.texture)[..., None] * tint[number + 1]
            light = np.where(mask[..., None], painted, light)
            masks[:number] = [below & ~mask for below in masks[:number]]
        light = light + rng.normal(0, _NOISE_LEVEL, (height, width, 1))
        pictures[index] = np.clip(light, 0, 255).astype(np.uint8)
        truths.append(_truth(shapes, masks))
    return pictures, tuple(truths)


def _drawn(rng: np.random.Generator, class_id: int, size_wh: tuple[int, int], frames: int) -> _Shape:
    radius = float(rng.uniform(*_RADIUS_PX))
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*_SPEED_PX_PER_FRAME)
    room = np.array(size_wh) - 2 * (radius + 1)
    steps = speed * np.stack([np.cos(heading), np.sin(heading)]) * np.arange(frames)[:, None]
    waves = {
        "blob": np.array([rng.uniform(0.3, 0.5), rng.uniform(0, 0.15), 0.0]),
        "ring": np.array([0.0, 0.0, 0.0]),
        "star": np.array([0.0, 0.0, rng.uniform(0.35, 0.5)]),
    }[SHAPE_CLASSES[class_id]]
    return _Shape(
        class_id=class_id,
        centres=fold(rng.uniform(0, 2 * room) + steps, room) + radius + 1,
        radius_px=radius,
        turns=rng.uniform(0, 2 * np.pi) + rng.uniform(-1, 1) * _TURN_PER_FRAME * np.arange(frames),
        hole=float(rng.uniform(0.4, 0.65)) if SHAPE_CLASSES[class_id] == "ring" else 0.0,
        waves=waves,
        contrast=float(rng.uniform(*_CONTRAST) * rng.choice([-1.0, 1.0])),
        texture=12 * fractal(rng, (size_wh[1], size_wh[0]), 8, 2),
    )


def _truth(shapes: list[_Shape], masks: list[np.ndarray]) -> Targets:
    """Boxes around what is seen of each."""
    seen = [number for number, mask in enumerate(masks) if mask.sum() >= 12]
    boxes = np.zeros((len(seen), 4), np.float32)
    for row, number in enumerate(seen):
        columns = np.flatnonzero(masks[number].any(axis=0))
        rows = np.flatnonzero(masks[number].any(axis=1))
        boxes[row] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return Targets(
        boxes,
        np.array([shapes[number].class_id for number in seen], np.int64),
        np.array(seen, np.int64) + 1,
        tuple(encoded(masks[number]) for number in seen),
    )
