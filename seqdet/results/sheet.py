"""A contact sheet: clips as rows of small pictures with their boxes, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

_COLOURS = ("#00e5ff", "#ffea00", "#ff4081", "#76ff03", "#ff9100", "#e040fb", "#1de9b6", "#ffffff")
_HEADER_PX = 14


def contact_sheet(
    clips: Sequence[np.ndarray],
    boxes_xyxy_px: Sequence[np.ndarray],
    class_ids: Sequence[np.ndarray],
    captions: Sequence[str],
    classes: tuple[str, ...],
    columns: int,
) -> Image.Image:
    """One row a clip, ``columns`` of its frames spread evenly, a caption above.

    Args:
        clips: each (T, H, W, 3) uint8, all of one H and W.
        boxes_xyxy_px: for each clip (T, G, 4).
        class_ids: for each clip (T, G), below -1 where there is no object, -1 for one of unknown class.
        captions: one a clip.
        classes: names.
        columns: frames shown of each clip, at most T.
    """
    height, width = clips[0].shape[1:3]
    shown = [np.linspace(0, len(clip) - 1, min(columns, len(clip))).round().astype(int) for clip in clips]
    most = max(len(frames) for frames in shown)
    sheet = Image.new("RGB", (most * width, len(clips) * (height + _HEADER_PX)), "#202020")
    draw = ImageDraw.Draw(sheet)
    for row, (clip, boxes, ids, caption) in enumerate(
        zip(clips, boxes_xyxy_px, class_ids, captions, strict=True)
    ):
        top = row * (height + _HEADER_PX)
        draw.text((3, top + 1), caption, fill="#ffffff")
        for column, t in enumerate(shown[row]):
            left = column * width
            sheet.paste(Image.fromarray(np.ascontiguousarray(clip[t])), (left, top + _HEADER_PX))
            for box, class_id in zip(boxes[t], ids[t], strict=True):
                if class_id < -1:
                    continue
                colour = _COLOURS[int(class_id) % len(_COLOURS)]
                x1, y1, x2, y2 = (float(edge) for edge in box)
                y1, y2 = y1 + top + _HEADER_PX, y2 + top + _HEADER_PX
                draw.rectangle((x1 + left - 1, y1 - 1, x2 + left, y2), outline=colour)
                if column == 0:
                    name = classes[class_id] if class_id >= 0 else "?"
                    draw.text((x1 + left, max(y1 - 12, top + _HEADER_PX)), name, fill=colour)
    return sheet
