"""What happens to levels and colours of a clip: one draw for all of its frames.

Legend: T frames of one clip. Only noise is new in every frame, as a sensor's is.
"""

from __future__ import annotations

import os
from functools import lru_cache

import cv2
import numpy as np

from seqdet.data.transforms.geometry import as_rgb, in_colour

# albumentations asks its home for news when it is imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations


@lru_cache(maxsize=1)
def _spoiling() -> albumentations.Compose:
    return albumentations.Compose(
        [
            albumentations.OneOf(
                [
                    albumentations.GaussianBlur(blur_limit=(3, 5), p=1),
                    albumentations.MotionBlur(blur_limit=(3, 5), p=1),
                    albumentations.ImageCompression(quality_range=(40, 85), p=1),
                    albumentations.Downscale(scale_range=(0.5, 0.8), p=1),
                ],
                p=1,
            ),
        ]
    )


def photometric(
    frames: np.ndarray,
    rng: np.random.Generator,
    noise: np.random.Generator,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Random contrast, brightness, gamma, inversion, colour loss, blur, compression, noise: one draw a clip.

    Args:
        frames: (T, H, W, 3) uint8, or (T, H, W) grey, which takes a third of the work.
        rng: where the draw comes from; the next chunk of a stream has the same.
        noise: where the noise comes from; new in every chunk.
        out: where the result goes, contiguous.

    Returns:
        (T, H, W, 3) uint8, a new array or ``out``.
    """
    if rng.random() < 0.3 and frames.ndim == 4:
        frames = cv2.cvtColor(_rows(frames), cv2.COLOR_RGB2GRAY).reshape(frames.shape[:3])
    if out is None:
        out = np.empty((*frames.shape[:3], 3), np.uint8)
    frames = _toned(frames, _tone_curve(rng), out)
    seed = int(rng.integers(2**31))
    if np.random.default_rng(seed).random() < 0.2:
        transform = _spoiling()
        transform.set_random_seed(seed)
        frames = transform(images=frames.reshape(*frames.shape[:3], -1))["images"].reshape(frames.shape)
    if rng.random() < 0.4:
        frames = _add_noise(frames, rng.uniform(2, 12), rng.random() < 0.7, noise, out)
    return frames if frames is out else in_colour(frames, out)


def _rows(frames: np.ndarray) -> np.ndarray:
    """All frames below each other, as one picture."""
    return np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:])


def _toned(frames: np.ndarray, curve: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Every level through the (256, 1, 3) table: a new array if frames and table are grey, else ``out``."""
    alike = (curve == curve[:, :, :1]).all()  # one table for all channels is much quicker
    flat = _rows(frames)
    if alike and frames.ndim == 3:
        return cv2.LUT(flat, curve[:, 0, 0]).reshape(frames.shape)
    if frames.ndim == 3:
        levels = [cv2.LUT(flat, np.ascontiguousarray(curve[:, 0, k])) for k in range(3)]
        cv2.merge(levels, dst=_rows(out))
    else:
        cv2.LUT(flat, curve[:, 0, 0] if alike else curve, dst=_rows(out))
    return out


def _tone_curve(rng: np.random.Generator) -> np.ndarray:
    """(256, 1, 3) table: gamma, contrast about a pivot, brightness, colour cast, inversion."""
    level = np.linspace(0, 1, 256)
    curve = level ** np.exp(rng.uniform(-0.5, 0.5))
    pivot = rng.uniform(0.3, 0.7)
    curve = (curve - pivot) * np.exp(rng.uniform(np.log(0.5), np.log(1.6))) + pivot + rng.uniform(-0.15, 0.15)
    if rng.random() < 0.15:
        curve = 1 - curve
    cast = rng.uniform(-0.05, 0.05, 3) if rng.random() < 0.5 else np.zeros(3)
    return (np.clip(curve[:, None] + cast, 0, 1) * 255).astype(np.uint8)[:, None, :]


def _add_noise(
    frames: np.ndarray, sigma: float, grey: bool, rng: np.random.Generator, out: np.ndarray
) -> np.ndarray:
    """Sensor noise: one field of normal numbers, moved to another place in every frame.

    Returns:
        A new array where frames and noise are grey, else ``out``, which may be what is given.
    """
    if not grey and frames.ndim == 3:
        frames = in_colour(frames, out)
    height, width = frames.shape[1:3]
    field = np.empty((height, width) if grey else (height, width, 3), np.float32)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(field, np.zeros(1), np.full(1, sigma))
    if grey and frames.ndim == 4:
        field = as_rgb(field)
    # Twice in each direction, so that a piece of it is the field moved round; bright and dark apart, because
    # sums of bytes are ten times as quick as those of mixed numbers.
    twice = (2, 2, 1)[: field.ndim]
    brighter, darker = (np.tile(cv2.convertScaleAbs(np.maximum(part, 0)), twice) for part in (field, -field))
    noisy = out if frames.ndim == 4 else np.empty_like(frames)
    for t, frame in enumerate(frames):
        y, x = (height, width) - rng.integers(0, (height, width))
        piece = slice(y, y + height), slice(x, x + width)
        cv2.add(frame, brighter[piece], dst=noisy[t])
        cv2.subtract(noisy[t], darker[piece], dst=noisy[t])
    return noisy
