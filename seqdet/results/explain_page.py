"""The page of an explanation: one file that loads nothing but the video beside it.

The figures stand in it as JSON, the pictures as data; ``explain.js`` draws them and takes text as text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple


class BoxPictures(NamedTuple):
    """The pictures of one explained box, JPEG files.

    Attributes:
        frame: the whole frame with its boxes.
        crop: around the box.
        local: which places, one a level.
        grad_cam: which kind of place, one a level.
        window: what the memory kept of each frame of the window, the last one being the frame itself.
        looks: what the looks at the track from near saw.
    """

    frame: bytes
    crop: bytes
    local: list[bytes]
    grad_cam: list[bytes]
    window: list[bytes]
    looks: list[bytes]


def explain_page(document: Mapping[str, Any], pictures: Sequence[BoxPictures]) -> str:
    """The whole page.

    Args:
        document: what ``explain.json`` holds.
        pictures: of each of ``document["boxes"]``.
    """
    folder = Path(__file__).parent
    style = (folder / "explain.css").read_text(encoding="utf-8")
    script = (folder / "explain.js").read_text(encoding="utf-8")
    shown = [
        {
            name: [_data(one) for one in value] if isinstance(value, list) else _data(value)
            for name, value in of_box._asdict().items()
        }
        for of_box in pictures
    ]
    title = escape(f"{document['source']} explained")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>\n{style}</style></head>\n<body>\n"
        '<main id="page"></main>\n<noscript>This page is drawn by its own script.</noscript>\n'
        f'<script type="application/json" id="document">{_json(document)}</script>\n'
        f'<script type="application/json" id="pictures">{_json(shown)}</script>\n'
        f"<script>\n{script}</script>\n</body></html>\n"
    )


def _json(value: Any) -> str:
    """JSON that ends no script element, whatever names are in it."""
    return json.dumps(value).replace("<", "\\u003c")


def _data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
