"""What the objects fly before and behind: sky, clouds, land, things that stand still and look like objects.

Everything is painted once for a scene, larger than the picture, in two layers: the sky with its clouds,
which drift, and the land, which hides what flies behind it. Per frame both are only shifted by fractions of a
pixel.

Legend: H W of the layer, C channels: 1 for thermal (grey level 0..255), 3 for visible (RGB 0..255).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seqdet.data.synth import land as ground
from seqdet.data.synth.noise import fractal, smoothstep


@dataclass(slots=True)
class Layers:
    """The painted scene.

    Attributes:
        sky: (H, W, C) float32.
        clouds: (H, W) float32 density 0..1 of the clouds in `sky`.
        land: (H, W, C) float32, already multiplied by `land_alpha`; it may darken the sky around (halo).
        land_alpha: (H, W) float32 coverage 0..1.
        skyline_px: height of the horizon in the layer, in pixels from its top; H when there is no land.
    """

    sky: np.ndarray
    clouds: np.ndarray
    land: np.ndarray
    land_alpha: np.ndarray
    skyline_px: float


def paint_layers(
    rng: np.random.Generator,
    sensor: str,
    shape_hw: tuple[int, int],
    view_hw: tuple[int, int],
    empty: bool = False,
) -> Layers:
    """Paints a scene.

    Args:
        rng: source of chance.
        sensor: ``"thermal"`` or ``"visible"``.
        shape_hw: size of the layers in pixels; at least `view_hw`.
        view_hw: size of the picture, the yardstick of everything in it.
        empty: nothing but sky.
    """
    clouds, veil = _clouds(rng, shape_hw, view_hw)
    if sensor == "thermal":
        sky = _thermal_sky(rng, shape_hw, clouds, veil)
    else:
        sky = _visible_sky(rng, shape_hw, clouds, veil)
    channels = sky.shape[2]
    land = np.zeros((*shape_hw, channels), np.float32)
    alpha = np.zeros(shape_hw, np.float32)
    skyline = float(shape_hw[0])
    if empty:
        return Layers(sky, clouds * veil, land, alpha, skyline)
    if rng.random() < 0.8:
        skyline = ground.paint_land(rng, sensor, land, alpha, view_hw)
    if rng.random() < 0.45:
        ground.paint_masts(rng, sensor, land, alpha, view_hw, skyline)
    if rng.random() < 0.18:
        ground.paint_branches(rng, sensor, land, alpha, view_hw)
    if rng.random() < 0.6:
        ground.paint_lamps(rng, sensor, land, alpha, view_hw, skyline)
    if sensor == "thermal" and alpha.any():
        ground.darken_around(rng, land, alpha, view_hw)
    return Layers(sky, clouds * veil, land, alpha, skyline)


def _clouds(
    rng: np.random.Generator, shape_hw: tuple[int, int], view_hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) density and (H, W) where it counts: none, streaks, heaps near the horizon, or overcast."""
    kind = rng.choice(["none", "streaks", "heaps", "overcast"], p=[0.35, 0.3, 0.2, 0.15])
    rows = np.linspace(0, 1, shape_hw[0], dtype=np.float32)[:, None]
    if kind == "none":
        return np.zeros(shape_hw, np.float32), np.zeros(shape_hw, np.float32)
    if kind == "streaks":
        noise = fractal(rng, shape_hw, view_hw[0] / rng.uniform(3, 8), 6, rng.uniform(2.5, 6))
        density = smoothstep(noise, rng.uniform(-0.6, 0.8), 2.2)
        veil = np.full(shape_hw, rng.uniform(0.35, 1.0), np.float32)
    elif kind == "heaps":
        noise = fractal(rng, shape_hw, view_hw[0] / rng.uniform(4, 9), 6, rng.uniform(1.4, 2.4))
        edge = rng.uniform(0.3, 1.2)
        inside = fractal(rng, shape_hw, view_hw[0] / 12, 3, 2.0)
        density = smoothstep(noise, edge, edge + rng.uniform(0.5, 1.3)) * np.clip(0.8 + 0.2 * inside, 0, 1)
        veil = np.broadcast_to(smoothstep(rows, -0.2, rng.uniform(0.4, 0.9)), shape_hw).astype(np.float32)
    else:
        noise = fractal(rng, shape_hw, view_hw[0] / rng.uniform(1.5, 4), 5, rng.uniform(1.5, 4))
        density = smoothstep(noise, -2.0, 1.8)
        veil = np.full(shape_hw, rng.uniform(0.4, 0.9), np.float32)
    return density, veil


def _thermal_sky(
    rng: np.random.Generator, shape_hw: tuple[int, int], clouds: np.ndarray, veil: np.ndarray
) -> np.ndarray:
    rows = np.linspace(0, 1, shape_hw[0], dtype=np.float32)[:, None]
    level = rng.choice([rng.uniform(30, 65), rng.uniform(80, 115)], p=[0.4, 0.6])
    sky = level + rng.normal(0, 12) * (rows - 0.5) + 2.0 * fractal(rng, shape_hw, shape_hw[0] / 2, 2, 1.5)
    sky = sky + clouds * veil * rng.uniform(25, 170)
    return sky.astype(np.float32)[..., None]


_SKIES = np.array(
    [
        [56, 104, 184],
        [86, 128, 186],
        [106, 138, 184],
        [62, 116, 168],
        [70, 128, 178],
        [148, 146, 146],
        [118, 128, 146],
    ],
    np.float32,
)


def _visible_sky(
    rng: np.random.Generator, shape_hw: tuple[int, int], clouds: np.ndarray, veil: np.ndarray
) -> np.ndarray:
    rows = np.linspace(0, 1, shape_hw[0], dtype=np.float32)[:, None, None]
    zenith = _SKIES[rng.integers(len(_SKIES))] * rng.uniform(0.8, 1.15) + rng.normal(0, 5, 3).astype(
        np.float32
    )
    horizon = zenith + rng.uniform(0.0, 0.7) * (np.array([168, 182, 192], np.float32) - zenith)
    sky = zenith + (horizon - zenith) * rows ** rng.uniform(0.8, 2.0)
    sky = sky + np.zeros((*shape_hw, 1), np.float32)
    light = np.array([226, 226, 228], np.float32) * rng.uniform(0.72, 1.0)
    shadow = light * rng.uniform(0.55, 0.85)
    # The lower side of a cloud lies in its shadow: where the density falls upwards, light; downwards, dark.
    lit = clouds - np.roll(clouds, max(2, shape_hw[0] // 60), axis=0)
    shade = smoothstep(cv2.GaussianBlur(lit, (0, 0), max(1.0, shape_hw[0] / 120)), -0.5, 0.45)[..., None]
    colour = shadow + (light - shadow) * shade
    cover = (clouds * veil * rng.uniform(0.4, 0.9))[..., None]
    return (sky + (colour - sky) * cover).astype(np.float32)
