"""What a stress clip is, and the painter that most axes share.

Legend: T frames, H W of the picture, N labelled objects (track n + 1 is column n).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from seqdet.data.synth.noise import fractal
from seqdet.data.synth.sprites import box_around, soft_shape
from seqdet.types import Targets

FPS = 30.0
GREY = 128.0
NOISE_LEVEL = 6.0
"""Standard deviation of the sensor's noise in grey levels, where the axis says nothing else."""

CONTRAST = (38.0, 70.0)
RADIUS_PX = (4.0, 12.0)
SOFT_PX = 1.5


@dataclass(frozen=True, slots=True)
class Request:
    """What a clip should be.

    Attributes:
        size_wh: width and height in pixels, at least 64.
        frames: T.
        class_id: class of its objects; where classes mix, of the first.
        level: how hard, one of the axis's levels; "" where it has none.
    """

    size_wh: tuple[int, int]
    frames: int
    class_id: int
    level: str = ""


@dataclass(frozen=True, slots=True)
class StressClip:
    """A rendered clip with its truth.

    Attributes:
        frames: (T, H, W) uint8 grey.
        targets: T truths. A hidden object keeps its box; one that left the picture or has ended has none.
        hidden: (T, N) float32, part 0..1 of every object that something in front of it hides.
        fps: frames per second.
        class_id: class of all objects, or -1 where they differ.
        occluder: (H, W) bool, what stands in front of the objects, or None.
        attributes: what else is known, as texts.
    """

    frames: np.ndarray
    targets: tuple[Targets, ...]
    hidden: np.ndarray
    fps: float
    class_id: int
    occluder: np.ndarray | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """Something that is painted, and labelled unless its class is None.

    Attributes:
        centres_xy: (T, 2) places in pixels of the picture.
        light: (T,) grey levels that it adds.
        radius_px: half the side of its box.
        class_id: None for what is not to be found: distractors, and parts of other actors.
        shape: one of `sprites.SHAPES`.
        lasts: first frame, and the frame after the last one.
        soft_px: width of its soft edge.
    """

    centres_xy: np.ndarray
    light: np.ndarray
    radius_px: float
    class_id: int | None
    shape: str = "disc"
    lasts: tuple[int, int] = (0, 2**31)
    soft_px: float = SOFT_PX


def backdrop(
    rng: np.random.Generator, size_wh: tuple[int, int], strength: float = 6.0, cell_px: float = 24.0
) -> np.ndarray:
    """(H, W) float32 mid grey with soft clouds of `strength` grey levels."""
    clouds = fractal(rng, (size_wh[1], size_wh[0]), cell_px, 3)
    return (GREY + strength * clouds).astype(np.float32)


def paint(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    frames: int,
    actors: list[Actor],
    grounds: np.ndarray,
    noise_level: float = NOISE_LEVEL,
    fps: float = FPS,
    front: tuple[np.ndarray, np.ndarray] | None = None,
) -> StressClip:
    """Paints actors on a ground, something in front of them, and noise over all.

    Light adds up: actors shine through each other, and only what is in front hides them.

    Args:
        rng: source of chance, for the noise.
        size_wh: width and height in pixels.
        frames: T.
        actors: in the order of their track ids.
        grounds: (1 or T, H, W) float32 grey levels.
        noise_level: standard deviation in grey levels.
        fps: frames per second.
        front: (H, W) bool what is in front, and (H, W) float32 its grey levels.
    """
    width, height = size_wh
    labelled = [actor for actor in actors if actor.class_id is not None]
    hidden = np.zeros((frames, len(labelled)), np.float32)
    pictures = np.empty((frames, height, width), np.uint8)
    targets = []
    for index in range(frames):
        light = grounds[index % len(grounds)].copy()
        seen = []
        for actor in actors:
            if not actor.lasts[0] <= index < actor.lasts[1]:
                continue
            alpha = soft_shape(actor.shape, actor.centres_xy[index], actor.radius_px, actor.soft_px, size_wh)
            light += np.float32(actor.light[index]) * alpha
            if actor.class_id is None:
                continue
            column = labelled.index(actor)
            seen.append((column, actor))
            if front is not None and alpha.any():
                hidden[index, column] = hidden_part(alpha, front[0])
        if front is not None:
            light = np.where(front[0], front[1], light)
        light += np.float32(noise_level) * rng.standard_normal((height, width), np.float32)
        pictures[index] = np.clip(np.round(light), 0, 255).astype(np.uint8)
        targets.append(_truth(seen, index, size_wh))
    classes = {actor.class_id for actor in labelled if actor.class_id is not None}
    class_id = classes.pop() if len(classes) == 1 else -1
    return StressClip(pictures, tuple(targets), hidden, fps, class_id, None if front is None else front[0])


def _truth(seen: list[tuple[int, Actor]], index: int, size_wh: tuple[int, int]) -> Targets:
    """Boxes clipped to the picture; what is less than half in it has none."""
    rows = []
    for column, actor in seen:
        whole = box_around(actor.centres_xy[index], actor.radius_px)
        box = np.clip(whole, 0, np.tile(np.array(size_wh, np.float32), 2))
        sides = np.maximum(box[2:] - box[:2], 0)
        if sides.prod() >= 0.5 * (2 * actor.radius_px) ** 2:
            rows.append((box, actor.class_id, column + 1))
    if not rows:
        return Targets.empty()
    return Targets(
        np.stack([row[0] for row in rows]),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.int64),
    )


def hidden_part(alpha: np.ndarray, mask: np.ndarray) -> float:
    """Part 0..1 of a shape that is behind a mask; both (H, W), the shape's coverage and bool."""
    return float(alpha[mask].sum(dtype=np.float64) / alpha.sum(dtype=np.float64))


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First index and the one after the last of every run of True in a (T,) array."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
