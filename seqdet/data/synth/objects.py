"""The flying objects as a sensor sees them: posed, projected, drawn with sub-pixel precision, blurred.

Everything is drawn several times larger than it is, then averaged down, so that an object of eight pixels
moves smoothly. Picture axes: x right, y down, in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seqdet.data.synth.solids import Build, Pose, solid_parts

_CIRCLE = np.stack(
    [np.cos(np.arange(10) * (2 * np.pi / 10)), np.sin(np.arange(10) * (2 * np.pi / 10))], axis=1
).astype(np.float32)
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Sprite:
    """An object as it falls on the sensor.

    Attributes:
        left, top: where its upper left pixel lies in the picture.
        alpha: (h, w) float32 coverage 0..1.
        value: (h, w, channels) float32 paint, multiplied by alpha.
    """

    left: int
    top: int
    alpha: np.ndarray
    value: np.ndarray


def _projection(pose: Pose) -> np.ndarray:
    """(3, 3): body axes to picture right, picture down and depth."""
    cy, sy, cp, sp = np.cos(pose.yaw), np.sin(pose.yaw), np.cos(pose.pitch), np.sin(pose.pitch)
    cr, sr, ce, se = np.cos(pose.roll), np.sin(pose.roll), np.cos(pose.elevation), np.sin(pose.elevation)
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    pitch = np.array([[cp, 0, -sp], [0, 1, 0], [sp, 0, cp]])
    roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    camera = np.array([[1, 0, 0], [0, se, -ce], [0, ce, se]])
    return (camera @ yaw @ pitch @ roll).astype(np.float32)


def forward_on_picture(pose: Pose) -> np.ndarray:
    """(2,) float32: where the nose points on the picture; shorter than 1 when seen head on."""
    return _projection(pose)[:2, 0]


def draw_sprite(
    build: Build,
    pose: Pose,
    centre_xy_px: np.ndarray,
    size_px: float,
    blur_xy_px: np.ndarray,
    softness_px: float,
) -> Sprite:
    """Draws one object as the sensor sees it during one exposure.

    Args:
        build: which individual.
        pose: how it is held.
        centre_xy_px: (2,) centre on the picture, to fractions of a pixel; pixel (0, 0) covers 0..1.
        size_px: length of its longest extent, in pixels.
        blur_xy_px: (2,) displacement on the sensor while the shutter is open, in pixels.
        softness_px: standard deviation of the lens blur, in pixels.

    Returns:
        the sprite; it may lie outside of the picture.
    """
    blur_reach = float(np.abs(blur_xy_px).max()) / 2
    reach = int(np.ceil(size_px * 0.68 + blur_reach + 3 * softness_px)) + 2
    left, top = int(np.floor(centre_xy_px[0])) - reach, int(np.floor(centre_xy_px[1])) - reach
    side = 2 * reach + 1
    fine = 8 if size_px < 16 else 4 if size_px < 64 else 2
    alpha, value = _rasterise(build, pose, np.asarray(centre_xy_px) - (left, top), size_px, side, fine)
    if np.hypot(*blur_xy_px) > 0.3:
        kernel = _line_kernel(blur_xy_px)
        alpha, value = cv2.filter2D(alpha, -1, kernel), cv2.filter2D(value, -1, kernel)
    if softness_px > 0:
        alpha = cv2.GaussianBlur(alpha, (0, 0), softness_px)
        value = cv2.GaussianBlur(value, (0, 0), softness_px)
    return Sprite(left, top, alpha, value.reshape(side, side, -1))


def _rasterise(
    build: Build, pose: Pose, centre_xy: np.ndarray, size_px: float, side: int, fine: int
) -> tuple[np.ndarray, np.ndarray]:
    """(side, side) alpha and (side, side, channels) paint times alpha, averaged from `fine` times as many."""
    parts = solid_parts(build, pose)
    projection = _projection(pose)
    channels = build.paint.shape[1]
    paint = np.clip(build.paint * (255.0 if channels == 1 else 1.0), 0, 255)
    coverage = np.zeros((side * fine, side * fine), np.uint8)
    colour = np.empty((side * fine, side * fine, channels), np.uint8)
    colour[:] = np.round(paint[0])
    scale = size_px * fine
    placed = [(part, part.spheres[:, :3] @ projection.T) for part in parts]
    # What turns is drawn first, thinnest first, then the solid parts from far to near.
    placed.sort(key=lambda item: (item[0].opacity == 1.0, item[0].opacity, -float(item[1][:, 2].mean())))
    for part, points in placed:
        rim = points[:, None, :2] + part.spheres[:, None, 3:4] * _CIRCLE[None]
        rim = rim.reshape(-1, 2) * scale + centre_xy.astype(np.float32) * fine - 0.5
        outline = cv2.convexHull(np.round(rim * (1 << _SUBPIXEL_BITS)).astype(np.int32))
        tone = tuple(float(value) for value in np.round(paint[part.tone]))
        cv2.fillConvexPoly(coverage, outline, round(255 * part.opacity), cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.fillConvexPoly(colour, outline, tone, cv2.LINE_8, _SUBPIXEL_BITS)
    alpha = coverage.astype(np.float32) / 255
    value = colour.astype(np.float32) * alpha[..., None] / (255.0 if channels == 1 else 1.0)
    small = (side, side)
    return cv2.resize(alpha, small, interpolation=cv2.INTER_AREA), cv2.resize(
        value, small, interpolation=cv2.INTER_AREA
    )


def _line_kernel(blur_xy_px: np.ndarray) -> np.ndarray:
    """A line of length and direction `blur_xy_px` as a kernel that sums to 1."""
    reach, fine = int(np.ceil(np.abs(blur_xy_px).max() / 2)), 5
    side = 2 * reach + 1
    canvas = np.zeros((side * fine, side * fine), np.uint8)
    middle = np.full(2, side * fine / 2 - 0.5)
    half = np.asarray(blur_xy_px, np.float64) * fine / 2
    ends = np.round(np.stack([middle - half, middle + half]) * 16).astype(int)
    cv2.line(canvas, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 255, fine, cv2.LINE_AA, 4)
    kernel = cv2.resize(canvas.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return kernel / max(float(kernel.sum()), 1e-6)
