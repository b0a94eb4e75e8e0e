"""YOLO labels as Ultralytics has them: labels/SPLIT/CLIP_000001.txt for the first frame of a clip, data.yaml.

A line is ``class centre_x centre_y width height``, classes from 0, the rest in parts of the frame's width and
height. Every frame has a file: an empty one says that there is no object in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml

from seqdet.boxes import centres
from seqdet.data.dataset import SPLITS
from seqdet.data.export.protocol import Item, edges_px, what_is_lost

NAME = "yolo"
FRAMES_NEEDED = (
    "Ultralytics trains on images, not on videos: take the frames out of each video, such as with "
    "ffmpeg -i CLIP.mp4 -fps_mode passthrough -start_number 1 {folder}/CLIP_%06d.jpg"
)
NO_VAL = "there is no val split, which Ultralytics needs to train: name one in data.yaml"


def media_path(item: Item, frame: int | None) -> str:
    """``images/SPLIT/CLIP.mp4``, or ``images/SPLIT/CLIP_000001.png`` for its first frame."""
    folder = _folder("images", item.split)
    if frame is None or item.images is None:
        return f"{folder}/{item.sequence.name}{item.sequence.video.suffix.lower()}"
    return f"{folder}/{_stem(item, frame)}{item.images[frame].suffix.lower()}"


def write(items: Sequence[Item], classes: tuple[str, ...], out: Path) -> list[str]:
    """Write all sequences; see `protocol.LabelWriter`.

    Raises:
        OSError: a file cannot be written.
    """
    found = {item.split for item in items}
    splits = [split for split in SPLITS if split in found] + [None] * (None in found)
    for split in splits:
        (out / _folder("labels", split)).mkdir(parents=True)
    for item in items:
        _write_frames(out / _folder("labels", item.split), item)
    document = {split or "train": _folder("images", split) for split in splits}
    names = dict(enumerate(classes))
    text = yaml.safe_dump({**document, "names": names}, sort_keys=False, allow_unicode=True)
    (out / "data.yaml").write_text(text, encoding="utf-8")
    notes = what_is_lost(items, kept=("split",)) + [NO_VAL] * ("val" not in found)
    if any(item.images is None for item in items):
        notes.append(FRAMES_NEEDED.format(folder=_folder("images", splits[0])))
    return notes


def _folder(kind: str, split: str | None) -> str:
    return f"{kind}/{split}" if split else kind


def _stem(item: Item, frame: int) -> str:
    return f"{item.sequence.name}_{frame + 1:06d}"


def _write_frames(folder: Path, item: Item) -> None:
    labels = item.labels
    size = np.array(item.sequence.size_wh, np.float64)
    edges = edges_px(labels)
    shares = np.concatenate([centres(edges) / size, (edges[:, 2:] - edges[:, :2]) / size], axis=1)
    lines = [
        f"{class_id} {x:.9f} {y:.9f} {width:.9f} {height:.9f}\n"
        for class_id, (x, y, width, height) in zip(labels.class_id.tolist(), shares.tolist(), strict=True)
    ]
    starts = np.searchsorted(labels.frame, np.arange(item.sequence.frames + 1)).tolist()
    for frame, (first, last) in enumerate(pairwise(starts)):
        (folder / f"{_stem(item, frame)}.txt").write_text("".join(lines[first:last]), encoding="utf-8")
