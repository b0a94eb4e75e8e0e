"""Pictures into the network's input, and back: preprocessing, and one map for all frames of a clip.

Legend: T frames of one clip, N boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from seqdet.boxes import Letterbox, area, clip

PAD_VALUE = 114
# An object counts as long as this part of its box is still in the picture.
MIN_VISIBLE = 0.35
MIN_SIDE_PX = 2.0
# From a picture (H, W) or (H, W, C) into one of the input's size and as many channels.
Resample = Callable[[np.ndarray, np.ndarray], None]


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
        drawn = cls.fit(source_wh, input_wh).moved(scale, float(angle), flip, shift)
        return drawn if angle else drawn.to_whole_pixels()

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

    def to_whole_pixels(self) -> ClipGeometry:
        """A map without a turn, moved by less than a source pixel so that the input shows whole ones.

        It is then a resize of a cut, which OpenCV does in half the time of a warp.
        """
        matrix = np.zeros((2, 3))
        for axis, (start, end) in enumerate(np.round(self._shown())):
            end += start == end
            matrix[axis, axis] = self.input_wh[axis] / (end - start)
            matrix[axis, 2] = -start * matrix[axis, axis]
        return ClipGeometry(matrix, self.input_wh)

    def _shown(self) -> np.ndarray:
        """(2, 2) source x, then y, at the left or upper edge of the input and at the other; no turn."""
        factors = np.diag(self.matrix[:, :2])
        edges = np.array([[0, side] for side in self.input_wh])
        return (edges - self.matrix[:, 2:]) / factors[:, None]

    def warp(self, rgb: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(H, W, 3) uint8 source picture -> (input height, input width, 3) uint8, a new array or ``out``."""
        if out is None:
            out = np.empty((self.input_wh[1], self.input_wh[0], 3), np.uint8)
        self._resample(rgb.shape[:2])(rgb, out)
        return out

    def warp_clip(self, pictures: list[np.ndarray]) -> np.ndarray:
        """T pictures of one size, each (H, W, 3) or (H, W) uint8, through the same map.

        Returns:
            (T, input height, input width, 3) uint8; (T, input height, input width) where all are grey.
        """
        grey = all(picture.ndim == 2 for picture in pictures)
        out = np.empty((len(pictures), self.input_wh[1], self.input_wh[0], 3)[: 3 if grey else 4], np.uint8)
        if grey and out.shape[1:] == pictures[0].shape and self.is_identity:
            return np.stack(pictures, out=out)
        sample = self._resample(pictures[0].shape[:2])
        if not grey:
            for picture, warped in zip(pictures, out, strict=True):
                sample(as_rgb(picture), warped)
            return out
        # Four at once, as channels of one picture: places and weights are then worked out once for them.
        mixed = np.empty((*out.shape[1:], 4), np.uint8)
        for start in range(0, len(pictures), 4):
            four = pictures[start : start + 4]
            sample(cv2.merge(four + four[:1] * (4 - len(four))), mixed)
            channels = [k for each in range(len(four)) for k in (each, each)]
            cv2.mixChannels([mixed], list(out[start : start + 4]), channels)
        return out

    @property
    def is_identity(self) -> bool:
        """True where pixels stay what they are."""
        return bool(np.array_equal(self.matrix, np.eye(2, 3)))

    def _resample(self, source_hw: tuple[int, ...]) -> Resample:
        """What takes pictures of one size and any number of channels through the map."""
        if source_hw == self.input_wh[::-1] and self.is_identity:
            return lambda picture, out: np.copyto(out, picture)
        matrix = self.matrix
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        if scale < 0.5:  # shrinking by sampling would alias: take area means first
            half = max(1, round(source_hw[1] * scale)), max(1, round(source_hw[0] * scale))
            factors = np.array([source_hw[1] / half[0], source_hw[0] / half[1]])
            matrix = np.hstack([matrix[:, :2] * factors, matrix[:, 2:]])
            warp = _affine(matrix, self.input_wh)
            return lambda picture, out: warp(shrink(picture, half), out)
        sample = self._cut(source_hw) or _affine(matrix, self.input_wh)
        if scale >= 0.75:
            return sample
        # A blur is ten times as quick as area means and does as well.
        sigma = 0.5 * np.sqrt(scale**-2 - 1)
        return lambda picture, out: sample(cv2.GaussianBlur(picture, (3, 3), sigma), out)

    def _cut(self, source_hw: tuple[int, ...]) -> Resample | None:
        """Where the input shows whole pixels: a resize of them."""
        if self.matrix[0, 1] or self.matrix[1, 0]:
            return None
        shown = self._shown()
        whole = np.round(shown).astype(int)
        if np.abs(shown - whole).max() > 1e-6:
            return None
        (left, right), (top, bottom) = np.sort(whole).tolist()
        height, width = source_hw
        if left >= width or right <= 0 or top >= height or bottom <= 0:
            return None
        part = slice(max(top, 0), bottom), slice(max(left, 0), right)
        beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
        code = {(True, False): 1, (False, True): 0, (True, True): -1}.get(
            tuple((whole[:, 1] < whole[:, 0]).tolist())
        )

        def resize(picture: np.ndarray, out: np.ndarray) -> None:
            inside = picture[part]
            if any(beyond):
                inside = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_CONSTANT, value=(PAD_VALUE,) * 4)
            if code is not None:
                inside = cv2.flip(inside, code)
            cv2.resize(inside, self.input_wh, dst=out, interpolation=cv2.INTER_LINEAR)

        return resize

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


def _affine(matrix: np.ndarray, input_wh: tuple[int, int]) -> Resample:
    """Bilinear sampling of any map."""
    # OpenCV places pixel centres on whole numbers, we place edges there.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5

    def warp(picture: np.ndarray, out: np.ndarray) -> None:
        cv2.warpAffine(
            picture,
            centred,
            input_wh,
            dst=out,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(PAD_VALUE,) * 4,
        )

    return warp


def stands_still(frames: np.ndarray, limit_px: float = 0.5) -> bool:
    """True when the picture of (T, H, W, 3) frames moves less than ``limit_px`` from the first to the last.

    By phase correlation (Kuglin and Hines, 1975) of their green channels.
    """
    first, last = frames[0, :, :, 1].astype(np.float32), frames[-1, :, :, 1].astype(np.float32)
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(first, last, window)
    return float(np.hypot(x, y)) < limit_px


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """(H, W) grey -> (H, W, 3) RGB; what has three channels stays as it is."""
    return picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)


def in_colour(frames: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(T, H, W) grey uint8 -> (T, H, W, 3) RGB; what has three channels stays as it is or goes to ``out``."""
    if frames.ndim == 4:
        if out is None:
            return frames
        out[:] = frames
        return out
    if out is None:
        out = np.empty((*frames.shape, 3), np.uint8)
    for grey, rgb in zip(frames, out, strict=True):
        cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB, dst=rgb)
    return out
