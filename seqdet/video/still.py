"""One picture as the bytes of a JPEG or PNG file, for those who look over a network."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

JPEG_QUALITY = 85  # objects of 8 to 40 px keep their edges; 640x512 takes some 60 KB


def encode_still(
    rgb: np.ndarray, kind: Literal["jpeg", "png"] = "jpeg", *, longest_px: int | None = None
) -> bytes:
    """Encode one picture.

    Args:
        rgb: (H, W, 3) uint8.
        kind: of file.
        longest_px: a picture that is wider or higher is shrunk to fit, keeping its shape.

    Raises:
        ValueError: OpenCV refuses to encode it.
    """
    height, width = rgb.shape[:2]
    if longest_px is not None and max(height, width) > longest_px:
        scale = longest_px / max(height, width)
        size_wh = max(round(width * scale), 1), max(round(height * scale), 1)
        rgb = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)
    extension, options = (".png", []) if kind == "png" else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    fine, data = cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not fine:
        raise ValueError(f"a picture of {width}x{height} could not be encoded as {kind}")
    return data.tobytes()
