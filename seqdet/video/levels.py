"""Decoded pictures as pixels: RGB, or one channel where the picture has no colour.

FFmpeg stores most video as a plane of luminance and two small ones of colour. Where both of these are
neutral, RGB is the luminance through a table, thrice; the table is FFmpeg's own conversion of a picture that
holds every level once, so that the result is the same to the bit.
"""

from __future__ import annotations

import av.video.frame
import av.video.reformatter
import cv2
import numpy as np

NEUTRAL = 128
# Formats of 8 bits whose planes are luminance and two of colour, at half the width and height.
_PLANAR = frozenset({"yuv420p", "yuvj420p"})
_SAMPLED = 16


class Pixels:
    """Converts the pictures of one video. FFmpeg's scaler is set up once: that takes longer than its work."""

    def __init__(self) -> None:
        self._scaler = av.video.reformatter.VideoReformatter()
        self._tables: dict[tuple[str, int, int], np.ndarray | None] = {}

    def __call__(self, picture: av.video.frame.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB as OpenCV gives it, or (H, W) uint8 where its channels are the same."""
        if (
            picture.format.name in _PLANAR
            and (_plane(picture, 1) == NEUTRAL).all()
            and (_plane(picture, 2) == NEUTRAL).all()
        ):
            look = (picture.format.name, int(picture.color_range), int(picture.colorspace))
            if look not in self._tables:
                self._tables[look] = self._table(picture)
            if (table := self._tables[look]) is not None:
                grey: np.ndarray = cv2.LUT(_plane(picture, 0), table)
                return grey
        return self._rgb(picture)

    def _rgb(self, picture: av.video.frame.VideoFrame) -> np.ndarray:
        converted = self._scaler.reformat(picture, format="rgb24", interpolation="BICUBIC")
        rgb: np.ndarray = converted.to_ndarray()
        return rgb

    def _table(self, picture: av.video.frame.VideoFrame) -> np.ndarray | None:
        """(256,) uint8: what becomes of each luminance; None where neutral colour is not grey."""
        planes = np.full((3, 256), NEUTRAL, np.uint8)
        planes[:2] = np.arange(256)
        ramp = av.video.frame.VideoFrame.from_ndarray(planes, format=picture.format.name)
        ramp.color_range, ramp.colorspace = picture.color_range, picture.colorspace
        rgb = (
            av.video.reformatter.VideoReformatter()
            .reformat(ramp, format="rgb24", interpolation="BICUBIC")
            .to_ndarray()
        )
        same = (rgb == rgb[:1, :, :1]).all()
        return rgb[0, :, 0].copy() if same else None


def _plane(picture: av.video.frame.VideoFrame, number: int) -> np.ndarray:
    """(h, w) uint8 view of a plane of 8 bits."""
    plane = picture.planes[number]
    rows: np.ndarray = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def one_channel(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (H, W) where the three channels are the same, else as it is."""
    some = rgb[::_SAMPLED, ::_SAMPLED]
    if not (some == some[:, :, :1]).all():
        return rgb
    red, green, blue = cv2.split(rgb)
    return red if np.array_equal(red, green) and np.array_equal(green, blue) else rgb
