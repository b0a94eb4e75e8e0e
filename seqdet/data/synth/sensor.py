"""What the camera adds: noise, fixed pattern, vignetting, gain, overlay, the softness of compression.

Legend: H W of the picture, C channels: 1 thermal (grey level), 3 visible (RGB).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_NOISE_MARGIN_PX = 48


@dataclass(slots=True)
class Sensor:
    """One camera with its settings, for one scene.

    Attributes:
        softness_px: standard deviation of the lens blur, in pixels.
        exposure_s: how long the shutter is open.
        noise_level: standard deviation of the noise, in grey levels.
        gain: how much stronger than usual temperature differences show (thermal, empty sky).
    """

    softness_px: float
    exposure_s: float
    noise_level: float
    gain: float
    _pattern: np.ndarray
    _noise: np.ndarray
    _held_share: float
    _invert: bool
    _jpeg_quality: int
    _rng: np.random.Generator
    _held_at: tuple[int, int] = (0, 0)

    def develop(self, light: np.ndarray) -> np.ndarray:
        """The picture, with new noise at every call.

        Args:
            light: (H, W, C) float32 of the scene; used up.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        height, width = light.shape[:2]
        # Compression keeps some of the noise of earlier frames, so part of it is held for a while.
        if self._rng.random() < 0.12:
            self._held_at = self._corner()
        fresh, held = self._corner(), self._held_at
        grain = self._noise[fresh[0] : fresh[0] + height, fresh[1] : fresh[1] + width] * np.float32(
            1 - self._held_share
        )
        grain += self._noise[held[0] : held[0] + height, held[1] : held[1] + width] * np.float32(
            self._held_share
        )
        grain += self._pattern
        light += grain[..., None]
        if self._invert:
            np.subtract(255, light, out=light)
        picture = np.clip(light, 0, 255, out=light).astype(np.uint8)
        if self._jpeg_quality and picture.shape[2] == 3:
            picture = _through_jpeg(picture, self._jpeg_quality)
        elif self._jpeg_quality:
            picture = _through_jpeg(picture[..., 0], self._jpeg_quality)[..., None]
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture

    def _corner(self) -> tuple[int, int]:
        top, left = self._rng.integers(0, _NOISE_MARGIN_PX, 2)
        return int(top), int(left)


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)


def make_sensor(
    rng: np.random.Generator, kind: str, size_wh: tuple[int, int], compression: bool, noisy: bool
) -> Sensor:
    """A camera with random faults.

    Args:
        rng: source of chance; the sensor keeps drawing from it.
        kind: ``"thermal"`` or ``"visible"``.
        size_wh: size of the picture in pixels.
        compression: whether the picture may go through a lossy codec.
        noisy: thermal only: the gain is turned up, as over an empty sky.
    """
    width, height = size_wh
    thermal = kind == "thermal"
    noise_level = (
        rng.uniform(14, 34) if noisy else rng.uniform(0.8, 4.0) if thermal else rng.uniform(0.6, 3.0)
    )
    noise = rng.standard_normal((height + _NOISE_MARGIN_PX, width + _NOISE_MARGIN_PX), np.float32)
    grain_px = rng.uniform(0.0, 0.7)
    if grain_px > 0.35:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain_px), np.float32)
        noise /= noise.std()
    columns, rows = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    radius = (columns[None] ** 2 + rows[:, None] ** 2) / 2
    pattern: np.ndarray
    if thermal:
        strength = noise_level * rng.uniform(0.1, 0.3)
        pattern = (
            rng.standard_normal((height, width), np.float32) * strength
            + rng.standard_normal((1, width), np.float32) * strength
            + rng.standard_normal((height, 1), np.float32) * strength
        )
        pattern += rng.normal(-2, 5) * radius + (rng.uniform(0, 60) * radius**6 if noisy else 0)
    else:
        pattern = -rng.uniform(0, 18) * radius
    quality = int(rng.integers(45, 90)) if compression and rng.random() < 0.6 else 0
    return Sensor(
        softness_px=float(rng.uniform(0.45, 0.85) if thermal else rng.uniform(0.55, 1.0)),
        exposure_s=float(rng.uniform(0.006, 0.014) if thermal else rng.uniform(0.002, 0.016)),
        noise_level=float(noise_level),
        gain=float(rng.uniform(1.5, 3.0)) if noisy else 1.0,
        _pattern=pattern.astype(np.float32),
        _noise=noise * np.float32(noise_level),
        _held_share=float(rng.uniform(0.2, 0.6)),
        _invert=bool(thermal and rng.random() < 0.03),
        _jpeg_quality=quality,
        _rng=rng,
    )
