"""The axis where objects pass behind a wall: 80 % and more of each is hidden for 3 to 12 frames at a time.

Legend: T frames, H W of the picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqdet.data.synth.sprites import SHAPES, soft_shape
from seqdet.data.synth.stress.clip import (
    CONTRAST,
    FPS,
    SOFT_PX,
    Actor,
    Request,
    StressClip,
    backdrop,
    hidden_part,
    paint,
    runs,
)
from seqdet.data.synth.stress.paths import displacement, place_in

HIDDEN_PART = 0.8
HIDDEN_FRAMES = (3, 12)
MIN_FRAMES = 24
_TRIES = 400


def occlusion_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """One to three shapes of one class that move straight behind a wall, each at least once.

    The attribute ``hidden`` lists ``track:first-last`` of all frames where 80 % and more is hidden.

    Raises:
        ValueError: fewer than 24 frames, in which objects may not get there and out again.
    """
    if request.frames < MIN_FRAMES:
        raise ValueError(f"an occlusion clip has {MIN_FRAMES} frames at least, got {request.frames}")
    width, height = request.size_wh
    motion = str(rng.choice(["across", "up"]))
    side = width if motion == "across" else height
    thick = int(rng.integers(18, 29))
    begin = int(rng.integers(side // 4, side - side // 4 - thick + 1))
    wall = np.zeros((height, width), bool)
    wall[
        (slice(None), slice(begin, begin + thick)) if motion == "across" else slice(begin, begin + thick)
    ] = True
    light = rng.choice([-1.0, 1.0])
    actors = [_passer(rng, request, motion, wall, light) for _ in range(int(rng.integers(1, 4)))]
    bricks = backdrop(rng, request.size_wh, strength=12, cell_px=6) + rng.choice([-1.0, 1.0]) * rng.uniform(
        15, 50
    )
    ground = backdrop(rng, request.size_wh)[None]
    clip = paint(
        rng, request.size_wh, request.frames, actors, ground, front=(wall, bricks.astype(np.float32))
    )
    spans = [
        f"{track}:{first}-{last - 1}"
        for track, column in enumerate(clip.hidden.T, 1)
        for first, last in runs(column >= HIDDEN_PART)
    ]
    return replace(clip, attributes={"hidden": " ".join(spans)})


def _passer(rng: np.random.Generator, request: Request, motion: str, wall: np.ndarray, light: float) -> Actor:
    """Draws objects until one is hidden as often and as long as it should."""
    shape = SHAPES[request.class_id]
    for _ in range(_TRIES):
        radius = float(rng.uniform(4, 11))
        way = displacement(rng, motion, np.arange(request.frames) / FPS, (40.0, 75.0))
        centres = place_in(rng, way, request.size_wh, radius)
        spans = runs(_hidden(shape, centres, radius, wall) >= HIDDEN_PART)
        # It has been seen before, and it is seen again.
        if spans and all(
            first >= 4 and last <= request.frames - 2 and HIDDEN_FRAMES[0] <= last - first <= HIDDEN_FRAMES[1]
            for first, last in spans
        ):
            lights = np.full(request.frames, light * rng.uniform(*CONTRAST))
            return Actor(centres, lights, radius, request.class_id, shape)
    raise ValueError(f"no path of {request.frames} frames passes behind a wall in {request.size_wh}")


def _hidden(shape: str, centres_xy: np.ndarray, radius_px: float, wall: np.ndarray) -> np.ndarray:
    """(T,) part of a shape that the wall covers."""
    size_wh = (wall.shape[1], wall.shape[0])
    shapes = (soft_shape(shape, centre, radius_px, SOFT_PX, size_wh) for centre in centres_xy)
    return np.array([hidden_part(alpha, wall) for alpha in shapes])
