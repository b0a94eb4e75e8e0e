"""Cloud-like noise and soft steps: the stuff of skies and woods. Pure functions."""

from __future__ import annotations

import cv2
import numpy as np


def fractal(
    rng: np.random.Generator, shape_hw: tuple[int, int], cell_px: float, octaves: int, stretch: float = 1.0
) -> np.ndarray:
    """(H, W) float32 cloud-like noise of mean 0 and standard deviation about 1.

    Args:
        rng: source of chance.
        shape_hw: height and width in pixels.
        cell_px: height of the largest blobs, in pixels.
        octaves: each further one is half as large and 0.55 times as strong.
        stretch: how many times wider than high the blobs are.
    """
    height, width = shape_hw
    total = np.zeros(shape_hw, np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        grid_hw = (int(height / cell_px) + 4, int(width / (cell_px * stretch)) + 4)
        grid = rng.standard_normal(grid_hw, np.float32)
        # One more cell than needed on each side, then cut: cubic interpolation is flat at the border.
        full = (round(grid_hw[1] * cell_px * stretch), round(grid_hw[0] * cell_px))
        big = cv2.resize(grid, (max(full[0], width), max(full[1], height)), interpolation=cv2.INTER_CUBIC)
        top, left = (big.shape[0] - height) // 2, (big.shape[1] - width) // 2
        total += weight * big[top : top + height, left : left + width]
        power += weight**2 * 0.6
        weight *= 0.55
        cell_px /= 2
        if cell_px < 1:
            break
    return total / np.float32(np.sqrt(power))


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    unit = np.clip((values - low) / (high - low), 0, 1)
    return unit * unit * (3 - 2 * unit)
