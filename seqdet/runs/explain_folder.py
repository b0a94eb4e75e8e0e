"""The folder of an explanation: ``explain.json``, ``explain.html``, ``explain.mp4`` and ``strips/*.png``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from seqdet.errors import OutputError, UsageError
from seqdet.results.draw import Annotator
from seqdet.results.explain_page import BoxPictures, explain_page
from seqdet.results.explain_pictures import (
    crop_around,
    cropped,
    encoded,
    on_source,
    overlay,
    scaled_to_one,
    stacked,
    strip,
    with_box,
)
from seqdet.runs.explain_box import BoxExplained
from seqdet.runs.explain_names import NOTHING, Look
from seqdet.runs.explain_stream import Moment

FIGURES, PAGE, VIDEO, STRIPS = "explain.json", "explain.html", "explain.mp4", "strips"
_CROP_SIDE_PX, _WINDOW_SIDE_PX, _STRIP_COLUMNS = 192, 96, 12


def refuse_what_exists(target: Path, force: bool) -> None:
    """Refuse to replace anything but an explanation, and that only if told so.

    Raises:
        UsageError: it exists.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not force:
        raise UsageError(f"{target} exists; choose another --out, or replace it with --force")
    if not (target / FIGURES).is_file():
        raise UsageError(
            f"{target} is not an explanation, so --force does not replace it; choose another --out"
        )


def write_folder(
    folder: Path,
    document: Mapping[str, Any],
    windows: Sequence[Sequence[Moment]],
    explained: Sequence[BoxExplained],
) -> None:
    """Write everything but the video, which is there.

    Raises:
        OutputError: it cannot be written.
    """
    pictures = []
    try:
        (folder / STRIPS).mkdir()
        for window, one in zip(windows, explained, strict=True):
            drawn = _draw(window, one)
            name = f"frame{one.found.frame:06d}-box{one.found.box}.png"
            (folder / STRIPS / name).write_bytes(encoded(_strips(drawn, window, one), "PNG"))
            pictures.append(_for_page(drawn))
        (folder / FIGURES).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (folder / PAGE).write_text(explain_page(document, pictures), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error


class _Drawn(NamedTuple):
    """The pictures of one box, RGB."""

    frame: np.ndarray
    crop: np.ndarray
    local: list[np.ndarray]
    grad_cam: list[np.ndarray]
    window: list[np.ndarray]
    looks: list[np.ndarray]


def _draw(window: Sequence[Moment], one: BoxExplained) -> _Drawn:
    last, box = window[-1], one.found.box_xyxy_px
    size_wh = last.frame.size_wh
    crop = crop_around(box, size_wh)

    def seen(moment: Moment, heat: np.ndarray, side_px: int) -> np.ndarray:
        return cropped(overlay(moment.frame.rgb, heat), crop, side_px)

    def of_levels(maps: Sequence[torch.Tensor]) -> list[np.ndarray]:
        heats = [on_source(scaled_to_one(level.numpy()), last.geometry) for level in maps]
        return [cropped(with_box(overlay(last.frame.rgb, heat), box), crop, _CROP_SIDE_PX) for heat in heats]

    of_window = [cropped(moment.frame.rgb, crop, _WINDOW_SIDE_PX) for moment in window]
    if one.attribution is not None:
        past = one.attribution.of_update.abs().numpy()
        most = float(past.max(initial=0.0))
        of_window[:-1] = [
            seen(moment, on_source(scaled_to_one(heat, most), moment.geometry), _WINDOW_SIDE_PX)
            for moment, heat in zip(window[:-1], past, strict=True)
        ]
    annotated = Annotator(last.result.classes, trail_length=0).draw(last.result)
    return _Drawn(
        frame=with_box(annotated, [box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3]),
        crop=cropped(with_box(last.frame.rgb, box), crop, _CROP_SIDE_PX),
        local=of_levels(one.maps.local),
        grad_cam=of_levels(one.maps.grad_cam),
        window=of_window,
        looks=[look.crop for look in one.looks],
    )


def _strips(drawn: _Drawn, window: Sequence[Moment], one: BoxExplained) -> np.ndarray:
    found, last = one.found, window[-1]
    strides = [f"stride {stride}" for stride in one.maps.strides]
    title = f"{found.label} {found.score:.2f}, frame {found.frame}, track {found.track_id}"
    columns = len(strides) + 1
    rows = [
        strip([drawn.crop, *drawn.local], ["frame", *strides], columns, f"{title}: where (local)"),
        strip([drawn.crop, *drawn.grad_cam], ["frame", *strides], columns, "which kind of place (Grad-CAM)"),
    ]
    if one.evidence is not None:
        worth = [f"{moment.frame.index}: {value:+.3f}" for moment, value in _worth(window, one)]
        title = "what the memory kept of the frames before: gradient x presence; last: the frame itself"
        rows.append(strip(drawn.window, worth, _STRIP_COLUMNS, title))
    if one.looks:
        said = [f"{look.frame}: {_word(look, last.result.classes)}" for look in one.looks]
        title = "what the looks at the track saw, and took it for"
        crops = [cropped(crop, (0, 0, *crop.shape[1::-1]), _WINDOW_SIDE_PX) for crop in drawn.looks]
        rows.append(strip(crops, said, _STRIP_COLUMNS, title))
    return stacked(rows)


def _word(look: Look, classes: tuple[str, ...]) -> str:
    best = int(np.argmax(look.probabilities))
    return f"{(*classes, NOTHING)[best][:8]} {look.probabilities[best]:.2f}"


def _worth(window: Sequence[Moment], one: BoxExplained) -> list[tuple[Moment, float]]:
    assert one.evidence is not None
    return list(zip(window, [*one.evidence.of_update, one.evidence.of_input[-1]], strict=True))


def _for_page(drawn: _Drawn) -> BoxPictures:
    return BoxPictures(
        frame=encoded(drawn.frame, "JPEG"),
        crop=encoded(drawn.crop, "JPEG"),
        local=[encoded(picture, "JPEG") for picture in drawn.local],
        grad_cam=[encoded(picture, "JPEG") for picture in drawn.grad_cam],
        window=[encoded(picture, "JPEG", 75) for picture in drawn.window],
        looks=[encoded(picture, "JPEG") for picture in drawn.looks],
    )
