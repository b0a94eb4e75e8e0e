"""Axes whose class is the shape, which one good frame tells: clean, noise, bursts of bad frames.

`clean_clip` is the control: what it does not show, no memory can be credited with.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from seqdet.data.synth.sprites import SHAPES
from seqdet.data.synth.stress.clip import (
    CONTRAST,
    FPS,
    GREY,
    RADIUS_PX,
    Actor,
    Request,
    StressClip,
    backdrop,
    paint,
)
from seqdet.data.synth.stress.paths import MOTIONS, displacement, place_in

NOISE_LEVELS = ("2", "1", "0.7", "0.5")
"""Contrast over the noise's standard deviation."""

BURSTS = ("blur", "compression", "dropped")
LOUD_NOISE = 20.0
"""Standard deviation of the noise on the noise axis, in grey levels."""


def clean_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """One to three shapes of one class, plainly seen."""
    light = rng.choice([-1.0, 1.0])
    actors = [_shape(rng, request, light * rng.uniform(*CONTRAST)) for _ in range(int(rng.integers(1, 4)))]
    ground = backdrop(rng, request.size_wh)[None]
    return paint(rng, request.size_wh, request.frames, actors, ground)


def noise_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """Slow shapes on flat grey whose contrast is ``level`` times the standard deviation of the noise."""
    light = rng.choice([-1.0, 1.0]) * float(request.level) * LOUD_NOISE
    actors = [
        _shape(rng, request, light, radius_px=(5.0, 10.0), speed=(15.0, 35.0))
        for _ in range(int(rng.integers(1, 4)))
    ]
    ground = np.full((1, request.size_wh[1], request.size_wh[0]), GREY, np.float32)
    return paint(rng, request.size_wh, request.frames, actors, ground, LOUD_NOISE)


def bursts_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """`clean_clip` with bursts of 3 to 8 bad frames; a dropped frame is flat grey. The truth goes on."""
    clip = clean_clip(rng, request)
    frames = clip.frames.copy()
    spans = []
    begin = int(rng.integers(6, 12))
    while begin < request.frames:
        end = min(begin + int(rng.integers(3, 9)), request.frames)
        strength = rng.uniform()
        for index in range(begin, end):
            frames[index] = _spoiled(frames[index], request.level, strength)
        spans.append(f"{begin}-{end - 1}")
        begin = end + int(rng.integers(8, 17))
    return replace(clip, frames=frames, attributes={"bursts": " ".join(spans)})


def _shape(
    rng: np.random.Generator,
    request: Request,
    light: float,
    radius_px: tuple[float, float] = RADIUS_PX,
    speed: tuple[float, float] = (30.0, 60.0),
) -> Actor:
    radius = float(rng.uniform(*radius_px))
    way = displacement(rng, str(rng.choice(MOTIONS)), np.arange(request.frames) / FPS, speed)
    centres = place_in(rng, way, request.size_wh, radius)
    lights = np.full(request.frames, light)
    return Actor(centres, lights, radius, request.class_id, SHAPES[request.class_id])


def _spoiled(picture: np.ndarray, kind: str, strength: float) -> np.ndarray:
    """(H, W) uint8 after an accident of a kind of `BURSTS`; strength 0..1."""
    if kind == "dropped":
        return np.full_like(picture, int(GREY))
    if kind == "blur":
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), 4 + 4 * strength), np.uint8)
    quality = 4 - round(3 * strength)
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)
