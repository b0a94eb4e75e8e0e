"""Masks of COCO's annotations: polygons and run-length codes, for a source whose boxes have been read.

They are read in a pass of their own, which only who asks for masks waits for. Polygons are filled by
faster-coco-eval, as COCO does it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.data.formats.coco_parts import read_document
from seqdet.data.formats.masks import box_around
from seqdet.data.formats.protocol import Problems, RawDataset, RawSequence
from seqdet.errors import UsageError
from seqdet.rle import fault, text_of

NO_MASK = "annotation without a mask: the box alone is kept"
NO_SIZE = "annotation of an image whose size the file does not say: its mask is left out"


def with_masks(format_name: str, raw: RawDataset, problems: Problems) -> RawDataset:
    """The same data set with the mask of every box whose annotation has one.

    Args:
        format_name: that it was read as.
        raw: as read.
        problems: receives what is wrong with a mask, and how many are missing.

    Raises:
        UsageError: masks of this format are not read.
    """
    if format_name not in ("coco", "coco-vid"):
        raise UsageError(f"--masks: masks are read from COCO, and this is {format_name}; convert it to COCO")
    files = dict.fromkeys(sequence.labels_file for sequence in raw.sequences)
    outlines = {file: _outlines(file) for file in files}
    sequences = [
        replace(sequence, masks=_masks(sequence, outlines[sequence.labels_file], problems))
        for sequence in raw.sequences
    ]
    return replace(raw, sequences=sequences)


def _outlines(path: Path) -> list[Any]:
    """The segmentation of each annotation, None where there is none; polygons in few bytes."""

    def slim(entry: dict[str, Any]) -> Any:
        if "image_id" not in entry or "category_id" not in entry:
            return entry
        outline = entry.get("segmentation")
        if isinstance(outline, list) and outline and all(_is_polygon(one) for one in outline):
            outline = [np.array(one, np.float32) for one in outline]
        return {"image_id": 0, "segmentation": outline}

    entries = read_document(path, ("annotations",), slim)["annotations"]
    return [entry.get("segmentation") if isinstance(entry, dict) else None for entry in entries]


def _is_polygon(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) >= 6 and len(value) % 2 == 0
    return numbers and all(type(side) in (int, float) for side in value)


def _masks(sequence: RawSequence, outlines: list[Any], problems: Problems) -> tuple[str, ...]:
    masks = []
    for index, row in enumerate(sequence.row.tolist()):
        outline = outlines[row]
        text = ""
        if not outline:
            problems.note(NO_MASK, [sequence.place(index)])
        elif sequence.size_wh is None:
            problems.note(NO_SIZE, [sequence.place(index)])
        else:
            try:
                text = _text(outline, sequence.size_wh)
            except ValueError as error:
                problems.fail(sequence.place(index), f"segmentation: {error}")
        masks.append(text)
    return tuple(masks)


def _text(outline: Any, size_wh: tuple[int, int]) -> str:
    """The run-length code of a mask in a frame of that size.

    Raises:
        ValueError: it is no mask of that frame.
    """
    from faster_coco_eval.core import mask as coco  # here: most ingestions never need it

    width, height = size_wh
    if isinstance(outline, dict):
        box_around(outline)  # checks its form
        if outline["size"] != [height, width]:
            raise ValueError(f"size: {outline['size']}, but the image has {[height, width]}")
        counts = outline["counts"]
        text: str = counts if isinstance(counts, str) else text_of(np.array(counts, np.int64))
    else:
        polygons = [one.tolist() if isinstance(one, np.ndarray) else one for one in outline]
        if type(polygons[0]) in (int, float):  # one polygon, not in a list
            polygons = [polygons]
        if not all(_is_polygon(one) for one in polygons):
            raise ValueError("a polygon of three points at least is expected: x, y, x, y, x, y, ...")
        box_around(polygons)  # checks its numbers
        code = coco.merge(coco.frPyObjects(polygons, height, width))["counts"]
        text = code.decode() if isinstance(code, bytes) else code
    if wrong := fault(text, size_wh):
        raise ValueError(wrong)
    return text
