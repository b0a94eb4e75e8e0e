"""Pictures into the network's input, and back: preprocessing and clip-consistent augmentation.

Legend: T frames of one clip, N boxes. Geometry is one matrix for all frames of a clip, and so is every
photometric draw, except noise, which is new in every frame as a sensor's is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from seqdet.boxes import Letterbox, area, clip

# albumentations asks its home for news when it is imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations

PAD_VALUE = 114
# An object counts as long as this part of its box is still in the picture.
MIN_VISIBLE = 0.35
MIN_SIDE_PX = 2.0


def preprocess(rgb: np.ndarray, input_wh: tuple[int, int]) -> tuple[np.ndarray, Letterbox]:
    """Fit one picture into the network's input.

    Args:
        rgb: (H, W, 3) uint8.
        input_wh: width and height of the input.

    Returns:
        (input height, input width, 3) uint8 and the geometry that ``results.postprocess`` undoes.
    """
    box = Letterbox.fit((rgb.shape[1], rgb.shape[0]), input_wh)
    scaled = shrink(rgb, box.scaled_wh)
    if box.scaled_wh == input_wh:
        return scaled, box
    canvas = np.full((input_wh[1], input_wh[0], 3), PAD_VALUE, np.uint8)
    x, y = box.offset_xy
    canvas[y : y + scaled.shape[0], x : x + scaled.shape[1]] = scaled
    return canvas, box


def shrink(rgb: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Resize with the filter that fits: area means when it gets smaller, bilinear when it grows."""
    if (rgb.shape[1], rgb.shape[0]) == size_wh:
        return rgb
    smaller = size_wh[0] < rgb.shape[1]
    return cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


@dataclass(frozen=True, slots=True)
class ClipGeometry:
    """One affine map for all frames of a clip.

    Attributes:
        matrix: (2, 3) float64, source pixels (edges, not centres) to input pixels.
        input_wh: width and height of the result.
    """

    matrix: np.ndarray
    input_wh: tuple[int, int]

    @classmethod
    def fit(cls, source_wh: tuple[int, int], input_wh: tuple[int, int]) -> ClipGeometry:
        """The letterbox of ``preprocess`` as a matrix: no augmentation."""
        box = Letterbox.fit(source_wh, input_wh)
        return cls(
            np.array([[box.scale, 0, box.offset_xy[0]], [0, box.scale, box.offset_xy[1]]], float), input_wh
        )

    @classmethod
    def draw(
        cls, rng: np.random.Generator, source_wh: tuple[int, int], input_wh: tuple[int, int]
    ) -> ClipGeometry:
        """A random flip, scale (.6 to 1.6), rotation (to 10 degrees) and shift (to .2 of a side)."""
        width, height = input_wh
        scale = np.exp(rng.uniform(np.log(0.6), np.log(1.6)))
        angle = np.radians(rng.uniform(-10, 10)) if rng.random() < 0.4 else 0.0
        flip = rng.random() < 0.5
        shift = rng.uniform(-0.2, 0.2, 2) * (width, height)
        return cls.fit(source_wh, input_wh).moved(scale, float(angle), flip, shift)

    def moved(self, scale: float, angle_rad: float, flip: bool, shift_px: np.ndarray) -> ClipGeometry:
        """Then scaled, turned and mirrored about the centre of the input, and shifted by (x, y) pixels."""
        base = np.vstack([self.matrix, [0, 0, 1]])
        width, height = self.input_wh
        mirror = -1.0 if flip else 1.0
        cos, sin = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
        about_centre = np.array(
            [[1, 0, width / 2 + shift_px[0]], [0, 1, height / 2 + shift_px[1]], [0, 0, 1]]
        )
        turn = np.array([[mirror * cos, -sin, 0], [mirror * sin, cos, 0], [0, 0, 1]])
        to_centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        return ClipGeometry((about_centre @ turn @ to_centre @ base)[:2], self.input_wh)

    def warp(self, rgb: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(H, W, 3) uint8 source picture -> (input height, input width, 3) uint8, a new array or ``out``."""
        if out is None:
            out = np.empty((self.input_wh[1], self.input_wh[0], 3), np.uint8)
        if out.shape == rgb.shape and self.is_identity:
            out[:] = rgb
            return out
        return self._sampled(rgb, out)

    def warp_clip(self, pictures: list[np.ndarray]) -> np.ndarray:
        """T pictures of one size, each (H, W, 3) or (H, W) uint8, through the same map.

        Returns:
            (T, input height, input width, 3) uint8; (T, input height, input width) where all are grey.
        """
        grey = all(picture.ndim == 2 for picture in pictures)
        out = np.empty((len(pictures), self.input_wh[1], self.input_wh[0], 3)[: 3 if grey else 4], np.uint8)
        if not grey:
            for picture, warped in zip(pictures, out, strict=True):
                self.warp(as_rgb(picture), warped)
        elif out.shape[1:] == pictures[0].shape and self.is_identity:
            np.stack(pictures, out=out)
        else:
            # Four at once, as channels of one picture: places and weights are then worked out once for them.
            mixed = np.empty((*out.shape[1:], 4), np.uint8)
            for start in range(0, len(pictures), 4):
                four = pictures[start : start + 4]
                self._sampled(cv2.merge(four + four[:1] * (4 - len(four))), mixed)
                channels = [k for each in range(len(four)) for k in (each, each)]
                cv2.mixChannels([mixed], list(out[start : start + 4]), channels)
        return out

    @property
    def is_identity(self) -> bool:
        """True where pixels stay what they are."""
        return bool(np.array_equal(self.matrix, np.eye(2, 3)))

    def _sampled(self, picture: np.ndarray, out: np.ndarray) -> np.ndarray:
        """A picture of any number of channels through the map, into ``out``."""
        matrix = self.matrix
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        if scale < 0.75:  # shrinking by sampling would alias: take area means first
            half = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
            factors = np.array([picture.shape[1] / half[0], picture.shape[0] / half[1]])
            picture = shrink(picture, half)
            matrix = np.hstack([matrix[:, :2] * factors, matrix[:, 2:]])
        # OpenCV places pixel centres on whole numbers, we place edges there.
        centred = matrix.copy()
        centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
        return cv2.warpAffine(
            picture,
            centred,
            self.input_wh,
            dst=out,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(PAD_VALUE,) * 4,
        )

    def map_boxes(self, boxes_xyxy_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes after the map, cut to the picture.

        Returns:
            (N, 4) float32 boxes and (N,) bool: still visible by MIN_VISIBLE and large enough to learn from.
        """
        x1, y1, x2, y2 = boxes_xyxy_px.T.astype(float)
        corners = np.stack([np.stack([x1, x2, x2, x1], 1), np.stack([y1, y1, y2, y2], 1)], 1)
        mapped = np.einsum("ij,njk->nik", self.matrix[:, :2], corners) + self.matrix[:, 2:]
        whole = np.concatenate([mapped.min(axis=2), mapped.max(axis=2)], axis=1)
        # The box around a turned box is too large: keep the area of the scaled one.
        if abs(self.matrix[0, 1]) > 1e-9:
            centre, sides = (whole[:, :2] + whole[:, 2:]) / 2, whole[:, 2:] - whole[:, :2]
            wanted = area(boxes_xyxy_px.astype(float)) * abs(np.linalg.det(self.matrix[:, :2]))
            factor = np.sqrt(wanted / np.maximum(sides.prod(axis=1), 1e-9))[:, None]
            whole = np.concatenate([centre - sides * factor / 2, centre + sides * factor / 2], axis=1)
        cut = clip(whole, self.input_wh)
        visible = area(cut) >= MIN_VISIBLE * np.maximum(area(whole), 1e-9)
        large = (cut[:, 2:] - cut[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE_PX if len(cut) else visible
        return cut.astype(np.float32), visible & large


def stands_still(frames: np.ndarray, limit_px: float = 0.5) -> bool:
    """True when the picture of (T, H, W, 3) frames moves less than ``limit_px`` from the first to the last.

    By phase correlation (Kuglin and Hines, 1975) of their green channels.
    """
    first, last = frames[0, :, :, 1].astype(np.float32), frames[-1, :, :, 1].astype(np.float32)
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(first, last, window)
    return float(np.hypot(x, y)) < limit_px


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """(H, W) grey uint8 -> (H, W, 3) RGB; what has three channels stays as it is."""
    return picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)


def in_colour(frames: np.ndarray) -> np.ndarray:
    """(T, H, W) grey uint8 -> (T, H, W, 3) RGB; what has three channels stays as it is."""
    if frames.ndim == 4:
        return frames
    out = np.empty((*frames.shape, 3), np.uint8)
    for grey, rgb in zip(frames, out, strict=True):
        cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB, dst=rgb)
    return out


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


def photometric(frames: np.ndarray, rng: np.random.Generator, noise: np.random.Generator) -> np.ndarray:
    """Random contrast, brightness, gamma, inversion, colour loss, blur, compression, noise: one draw a clip.

    Args:
        frames: (T, H, W, 3) uint8, or (T, H, W) grey, which takes a third of the work.
        rng: where the draw comes from; the next chunk of a stream has the same.
        noise: where the noise comes from; new in every chunk.

    Returns:
        (T, H, W, 3) uint8, a new array.
    """
    if rng.random() < 0.3 and frames.ndim == 4:
        frames = cv2.cvtColor(_rows(frames), cv2.COLOR_RGB2GRAY).reshape(frames.shape[:3])
    frames = _toned(frames, _tone_curve(rng))
    seed = int(rng.integers(2**31))
    if np.random.default_rng(seed).random() < 0.2:
        transform = _spoiling()
        transform.set_random_seed(seed)
        frames = transform(images=in_colour(frames))["images"]
    if rng.random() < 0.4:
        frames = _add_noise(frames, rng.uniform(2, 12), rng.random() < 0.7, noise)
    return in_colour(frames)


def _rows(frames: np.ndarray) -> np.ndarray:
    """All frames below each other, as one picture."""
    return np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:])


def _toned(frames: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Every level through the (256, 1, 3) table: a new array, grey where frames and table are."""
    alike = (curve == curve[:, :, :1]).all()  # one table for all channels is much quicker
    flat = _rows(frames)
    if alike:
        toned = cv2.LUT(flat, curve[:, 0, 0])
    elif frames.ndim == 3:
        toned = cv2.merge([cv2.LUT(flat, np.ascontiguousarray(curve[:, 0, k])) for k in range(3)])
    else:
        toned = cv2.LUT(flat, curve)
    return toned.reshape(*frames.shape[:3], *toned.shape[2:])


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


def _add_noise(frames: np.ndarray, sigma: float, grey: bool, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise: one field of normal numbers, moved to another place in every frame."""
    if not grey:
        frames = in_colour(frames)
    height, width = frames.shape[1:3]
    field = rng.standard_normal((height, width, 1 if grey else 3), dtype=np.float32) * sigma
    field = field[:, :, 0] if frames.ndim == 3 else np.broadcast_to(field, (height, width, 3))
    # Twice in each direction, so that a piece of it is the field moved round; bright and dark apart, because
    # sums of bytes are ten times as quick as those of mixed numbers.
    twice = (2, 2, 1)[: field.ndim]
    brighter, darker = (np.tile(np.clip(part, 0, 255).astype(np.uint8), twice) for part in (field, -field))
    noisy = np.empty_like(frames)
    for t, frame in enumerate(frames):
        y, x = (height, width) - rng.integers(0, (height, width))
        piece = slice(y, y + height), slice(x, x + width)
        cv2.add(frame, brighter[piece], dst=noisy[t])
        cv2.subtract(noisy[t], darker[piece], dst=noisy[t])
    return noisy
