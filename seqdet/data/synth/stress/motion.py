"""Axes whose class is the way to move: motion, camera, rate, long; and a fast ball among slow ones.

Legend: T frames, H W of the picture.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from seqdet.data.synth.stress.clip import (
    CONTRAST,
    FPS,
    RADIUS_PX,
    Actor,
    Request,
    StressClip,
    backdrop,
    paint,
)
from seqdet.data.synth.stress.paths import MOTIONS, displacement, place_in

BALL_CLASSES = ("ball",)


def motion_clip(rng: np.random.Generator, request: Request, fps: float = FPS) -> StressClip:
    """One to three equal discs, all of one motion, on a ground at rest."""
    time_s = np.arange(request.frames) / fps
    actors = _discs(rng, request, time_s, request.size_wh)
    ground = backdrop(rng, request.size_wh)[None]
    return paint(rng, request.size_wh, request.frames, actors, ground, fps=fps)


def rate_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """`motion_clip` seen at ``level`` frames a second: the same motions per second, other steps per frame."""
    return motion_clip(rng, request, fps=float(request.level))


def camera_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """Two or three discs in a textured world 1.3 times the picture; the camera drifts and shakes.

    The class is the motion in the world. Objects leave the picture and come back as the same track. It may
    happen that none is ever seen: to redraw such clips would favour some places, and so some classes.
    """
    size = np.array(request.size_wh)
    world = np.ceil(1.3 * size).astype(int)
    time_s = np.arange(request.frames) / FPS
    drift = _swing(rng, time_s, (0.15, 0.3))
    shake = _swing(rng, time_s, (0.5, 1.0))
    corner_xy = (world - size) / 2 * (1 + 0.65 * drift + 0.35 * shake)
    land = backdrop(rng, (int(world[0]), int(world[1])), strength=14, cell_px=16)
    centres_xy = corner_xy + (size - 1) / 2
    grounds = np.stack(
        [cv2.getRectSubPix(land, request.size_wh, (float(x), float(y))) for x, y in centres_xy]
    )
    actors = _discs(rng, request, time_s, (int(world[0]), int(world[1])), least=2)
    seen = [replace(actor, centres_xy=actor.centres_xy - corner_xy) for actor in actors]
    return paint(rng, request.size_wh, request.frames, seen, grounds)


def long_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """A stream in which objects come and go: each stays 4 to 10 s, moves its own way and is a new track."""
    time_s = np.arange(request.frames) / FPS
    actors: list[Actor] = []
    light = rng.choice([-1.0, 1.0])
    for _ in range(int(rng.integers(1, 4))):
        begin = 0
        while begin < request.frames:
            end = begin + int(rng.integers(120, 300))
            class_id = int(rng.integers(len(MOTIONS))) if actors else request.class_id
            actor = _disc(rng, class_id, time_s, request.size_wh, light)
            actors.append(replace(actor, lasts=(begin, end)))
            begin = end + int(rng.integers(15, 60))
    ground = backdrop(rng, request.size_wh)[None]
    return paint(rng, request.size_wh, request.frames, actors, ground)


def fast_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """A ball of 3 to 6 px at 5 to 10 px a frame among 6 to 10 specks like it that rest or drift.

    It is painted sharp: smear would give it away in a single frame.
    """
    time_s = np.arange(request.frames) / FPS
    light = rng.choice([-1.0, 1.0])
    actors = []
    for index in range(1 + int(rng.integers(6, 11))):
        speeds = (150.0, 300.0) if index == 0 else (0.0, 0.0) if index % 2 else (5.0, 20.0)
        heading = rng.uniform(0, 2 * np.pi)
        way = rng.uniform(*speeds) * time_s[:, None] * np.array([np.cos(heading), np.sin(heading)])
        radius = float(rng.uniform(1.5, 3))
        centres = place_in(rng, way, request.size_wh, radius)
        strength = np.full(request.frames, light * rng.uniform(55, 90))
        class_id = request.class_id if index == 0 else None
        actors.append(Actor(centres, strength, radius, class_id, soft_px=0.75))
    order = rng.permutation(len(actors))
    ground = backdrop(rng, request.size_wh)[None]
    return paint(rng, request.size_wh, request.frames, [actors[k] for k in order], ground)


def _discs(
    rng: np.random.Generator,
    request: Request,
    time_s: np.ndarray,
    room_wh: tuple[int, int],
    least: int = 1,
) -> list[Actor]:
    light = rng.choice([-1.0, 1.0])
    count = int(rng.integers(least, 4))
    return [_disc(rng, request.class_id, time_s, room_wh, light) for _ in range(count)]


def _disc(
    rng: np.random.Generator, class_id: int, time_s: np.ndarray, room_wh: tuple[int, int], light: float
) -> Actor:
    radius = float(rng.uniform(*RADIUS_PX))
    centres = place_in(rng, displacement(rng, MOTIONS[class_id], time_s), room_wh, radius)
    return Actor(centres, np.full(len(time_s), light * rng.uniform(*CONTRAST)), radius, class_id)


def _swing(rng: np.random.Generator, time_s: np.ndarray, hertz: tuple[float, float]) -> np.ndarray:
    """(T, 2) swings between -1 and 1, each axis with its own pace and phase."""
    return np.sin(2 * np.pi * (rng.uniform(*hertz, 2) * time_s[:, None] + rng.uniform(0, 1, 2)))
