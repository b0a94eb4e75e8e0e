"""COCO labels of videos: annotations/instances_SPLIT.json, one file for each split, beside videos/.

Every frame is an image of its video, also one without object; ``frame_id`` counts from 0, ``bbox`` is left,
top, width, height from 0. The files are written row by row: memory does not grow with the number of boxes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.data.export.protocol import Item, ltwh_px, what_is_lost
from seqdet.data.formats.protocol import VIDEO_SUFFIXES

NAME = "coco-vid"


def media_path(item: Item, frame: int | None) -> str:
    """``videos/CLIP.mp4``, or ``videos/CLIP/000000.png`` for its first frame."""
    if frame is None:
        return f"videos/{item.sequence.name}{item.sequence.video.suffix.lower()}"
    return f"videos/{_file_name(item, frame)}"


def write(items: Sequence[Item], classes: tuple[str, ...], out: Path) -> list[str]:
    """Write all sequences; see `protocol.LabelWriter`.

    Raises:
        OSError: a file cannot be written.
    """
    (out / "annotations").mkdir()
    for split in dict.fromkeys(item.split for item in items):
        name = f"instances_{split}.json" if split else "instances.json"
        part = [item for item in items if item.split == split]
        with (out / "annotations" / name).open("w", encoding="utf-8", newline="\n") as file:
            file.write('{\n"categories": [')
            file.writelines(_rows({"id": k, "name": name} for k, name in enumerate(classes, 1)))
            file.write('],\n"videos": [')
            file.writelines(_rows(_videos(part)))
            file.write('],\n"images": [')
            file.writelines(_rows(_images(part)))
            file.write('],\n"annotations": [')
            file.writelines(_rows(_annotations(part)))
            file.write("]\n}\n")
    return what_is_lost(items, kept=("track ids", "recording", "split", "fps"))


def _rows(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One row a line, with commas between them."""
    for index, row in enumerate(rows):
        yield (",\n" if index else "\n") + json.dumps(row, ensure_ascii=False)


def _file_name(item: Item, frame: int) -> str:
    """Of a frame: as it is beside ``videos``, or as it would be if the video were taken apart."""
    suffix = ".jpg" if item.images is None else item.images[frame].suffix.lower()
    return f"{item.sequence.name}/{frame:06d}{suffix}"


def _videos(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    for number, item in enumerate(items, 1):
        of = item.sequence
        looks_like_file = item.images is None and Path(of.name).suffix.lower() in VIDEO_SUFFIXES
        row: dict[str, Any] = {
            "id": number,
            "name": of.name + (of.video.suffix.lower() if looks_like_file else ""),
            "width": of.size_wh[0],
            "height": of.size_wh[1],
            "length": of.frames,
            "fps": of.fps,
        }
        if of.recording not in ("", of.name):
            row["recording"] = of.recording
        yield row


def _images(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    before = 0
    for number, item in enumerate(items, 1):
        width, height = item.sequence.size_wh
        for frame in range(item.sequence.frames):
            yield {
                "id": before + frame + 1,
                "video_id": number,
                "frame_id": frame,
                "file_name": _file_name(item, frame),
                "width": width,
                "height": height,
            }
        before += item.sequence.frames


def _annotations(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    before = count = 0
    for number, item in enumerate(items, 1):
        labels = item.labels
        boxes = ltwh_px(labels)
        for frame, track, class_id, box, area in zip(
            labels.frame.tolist(),
            labels.track_id.tolist(),
            labels.class_id.tolist(),
            boxes.tolist(),
            np.round(boxes[:, 2] * boxes[:, 3], 3).tolist(),
            strict=True,
        ):
            count += 1
            yield {
                "id": count,
                "image_id": before + frame + 1,
                "video_id": number,
                "category_id": class_id + 1,
                "track_id": track,
                "bbox": box,
                "area": area,
                "iscrowd": 0,
            }
        before += item.sequence.frames
