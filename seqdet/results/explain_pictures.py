"""Pictures of an explanation: heat over a frame, zoomed crops, strips of them.

Legend: H W pixels of the source, h w cells of a map.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from seqdet.boxes import Letterbox

# Black, violet, red, yellow, white: brighter with more heat, also for those who see no colours.
_HEAT_RGB = np.array(
    [(0, 0, 0), (60, 10, 90), (150, 30, 90), (220, 70, 50), (250, 150, 20), (250, 230, 110), (255, 255, 255)],
    float,
)
_BOX_RGB = (86, 180, 233)
_CAPTION_PX = 15
# A crop shows so many times the box, and no less than this.
_AROUND, _LEAST_CROP_PX = 5.0, 72.0


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """(...) in 0..1 -> (..., 3) uint8 RGB, from black to white."""
    places = np.clip(np.nan_to_num(heat), 0, 1) * (len(_HEAT_RGB) - 1)
    steps = np.arange(len(_HEAT_RGB))
    channels = [np.interp(places, steps, _HEAT_RGB[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def on_source(values: np.ndarray, geometry: Letterbox) -> np.ndarray:
    """A map of the network's input, brought to the size of the source.

    Args:
        values: (h, w) float; it covers the whole input.
        geometry: how the source was fitted into the input.

    Returns:
        (H, W) float32.
    """
    input_w, input_h = geometry.input_wh
    scale_x, scale_y = values.shape[1] / input_w, values.shape[0] / input_h
    left, top = geometry.offset_xy
    width, height = geometry.scaled_wh
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    part = (left * scale_x, top * scale_y, (left + width) * scale_x, (top + height) * scale_y)
    resized = picture.resize(geometry.source_wh, Image.Resampling.BILINEAR, box=part)
    return np.asarray(resized, np.float32)


def overlay(rgb: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat over a grey version of a frame.

    Args:
        rgb: (H, W, 3) uint8.
        heat: (H, W) in 0..1.

    Returns:
        (H, W, 3) uint8: the frame in grey where there is no heat.
    """
    grey = rgb.mean(axis=2, keepdims=True) * 0.6
    share = np.sqrt(np.clip(np.nan_to_num(heat), 0, 1))[..., None] * 0.85
    mixed = (1 - share) * grey + share * heat_colours(heat).astype(float)
    return np.broadcast_to(mixed.round(), rgb.shape).astype(np.uint8)


def scaled_to_one(values: np.ndarray, most: float | None = None) -> np.ndarray:
    """Values with ``most`` (their own greatest without it) as 1; all 0 where that is not above 0."""
    top = float(values.max(initial=0.0)) if most is None else most
    return np.clip(values / top, 0, 1) if top > 0 else np.zeros_like(values)


def crop_around(box_xyxy_px: Sequence[float], size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square around a box, inside the picture where it fits, as left, top, right and bottom in pixels."""
    x1, y1, x2, y2 = box_xyxy_px
    side = min(max(_AROUND * max(x2 - x1, y2 - y1), _LEAST_CROP_PX), *size_wh)
    left = np.clip((x1 + x2 - side) / 2, 0, size_wh[0] - side)
    top = np.clip((y1 + y2 - side) / 2, 0, size_wh[1] - side)
    return int(left), int(top), int(left + side), int(top + side)


def with_box(rgb: np.ndarray, box_xyxy_px: Sequence[float]) -> np.ndarray:
    """A copy of a frame with a thin line around a box, outside of it."""
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    x1, y1, x2, y2 = box_xyxy_px
    ImageDraw.Draw(picture).rectangle((x1 - 2, y1 - 2, x2 + 1, y2 + 1), outline=_BOX_RGB)
    return np.asarray(picture)


def cropped(rgb: np.ndarray, crop: tuple[int, int, int, int], side_px: int) -> np.ndarray:
    """A square crop, enlarged or shrunk to (side, side, 3)."""
    left, top, right, bottom = crop
    part = Image.fromarray(np.ascontiguousarray(rgb[top:bottom, left:right]))
    return np.asarray(part.resize((side_px, side_px), Image.Resampling.BICUBIC))


def strip(
    pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int, title: str = ""
) -> np.ndarray:
    """Pictures of one size side by side with captions above, in rows of ``columns``, as one picture."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    above = _CAPTION_PX if title else 0
    sheet = Image.new(
        "RGB", (min(columns, len(pictures)) * (width + 2), above + rows * (height + _CAPTION_PX)), "#202020"
    )
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((3, 1), title, fill="#ffffff")
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = (number % columns) * (width + 2)
        top = above + (number // columns) * (height + _CAPTION_PX)
        draw.text((left + 2, top + 1), caption, fill="#e0e0e0")
        sheet.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top + _CAPTION_PX))
    return np.asarray(sheet)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of any widths one below the other."""
    width = max(picture.shape[1] for picture in pictures)
    padded = [
        np.pad(picture, ((0, 4), (0, width - picture.shape[1]), (0, 0)), constant_values=32)
        for picture in pictures
    ]
    return np.concatenate(padded)


def encoded(rgb: np.ndarray, kind: str, quality: int = 85) -> bytes:
    """A picture as a file: "PNG" or "JPEG"."""
    buffer = io.BytesIO()
    options = {"quality": quality} if kind == "JPEG" else {}
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, kind, **options)
    return buffer.getvalue()
