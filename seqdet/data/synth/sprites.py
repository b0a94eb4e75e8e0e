"""The shapes of the small tasks: soft, grey, at fractional places, with exact boxes. Pure functions.

Legend: H W of the picture.
"""

from __future__ import annotations

import numpy as np

SHAPES = ("disc", "square", "cross")


def soft_shape(
    shape: str, centre_xy: np.ndarray, radius_px: float, soft_px: float, size_wh: tuple[int, int]
) -> np.ndarray:
    """(H, W) float32 coverage 0..1 of a shape.

    Args:
        shape: one of `SHAPES`.
        centre_xy: (2,) place in pixels; 0 is the left or upper edge of the picture.
        radius_px: half the side of its box.
        soft_px: width of the slope inside of the box, from 0 at the edge to 1.
        size_wh: width and height of the picture in pixels.
    """
    width, height = size_wh
    right = np.abs(np.arange(width) + 0.5 - centre_xy[0])[None]
    down = np.abs(np.arange(height) + 0.5 - centre_xy[1])[:, None]
    if shape == "disc":
        reach = np.hypot(right, down)
    elif shape == "square":
        reach = np.maximum(right, down)
    else:
        reach = np.maximum(np.maximum(right, down), np.minimum(right, down) + radius_px * 0.66)
    return np.clip((radius_px - reach) / soft_px, 0, 1).astype(np.float32)


def box_around(centre_xy: np.ndarray, radius_px: float) -> np.ndarray:
    """(4,) float32 xyxy box in pixels."""
    return np.concatenate([centre_xy - radius_px, centre_xy + radius_px]).astype(np.float32)


def fold(free_xy: np.ndarray, room_wh: np.ndarray) -> np.ndarray:
    """(..., 2) places in an endless plane reflected into 0..room: what leaves comes back as off a wall.

    A path whose start is uniform over 0..2 room is uniform in the room at all times, whatever its motion.
    """
    folded: np.ndarray = room_wh - np.abs(np.mod(free_xy, 2 * room_wh) - room_wh)
    return folded
