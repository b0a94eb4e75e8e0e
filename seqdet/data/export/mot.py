"""MOT Challenge labels in the flat layout: gt/CLIP.txt, classes.txt, clips.csv, videos/CLIP.mp4.

A line is ``frame,track,left,top,width,height,conf,class,visibility``; frames, pixel coordinates and classes
count from 1. ``clips.csv`` holds what the lines cannot: class of the sequence, recording, split, attributes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from seqdet.data.export.protocol import Item, ltwh_px, plain, refuse_line_breaks
from seqdet.errors import InputError

NAME = "mot"
_COLUMNS = ("clip", "label", "recording", "split", "frames", "width", "height", "fps")
_READ_OTHERWISE = (*_COLUMNS, "tracks")  # columns of clips.csv that are no attributes to its readers
_TAKEN = ("gt", "labels")  # gt/gt.txt is the other layout, gt/labels.txt the names of classes


def media_path(item: Item, frame: int | None) -> str:
    """``videos/CLIP.mp4``, or ``videos/CLIP/000001.png`` for its first frame."""
    if frame is None or item.images is None:
        return f"videos/{item.sequence.name}{item.sequence.video.suffix.lower()}"
    return f"videos/{item.sequence.name}/{frame + 1:06d}{item.images[frame].suffix.lower()}"


def write(items: Sequence[Item], classes: tuple[str, ...], out: Path) -> list[str]:
    """Write all sequences; see `protocol.LabelWriter`.

    Raises:
        InputError: a sequence or class whose name this layout cannot hold.
        OSError: a file cannot be written.
    """
    refuse_line_breaks(classes, "classes.txt")
    for item in items:
        if item.sequence.name in _TAKEN:
            raise InputError(f"this layout cannot hold a sequence called {item.sequence.name!r}; rename it")
    (out / "gt").mkdir()
    (out / "videos").mkdir()
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    for item in items:
        _write_lines(out / "gt" / f"{item.sequence.name}.txt", item)
    return _write_clips(out / "clips.csv", items, classes)


def _write_lines(path: Path, item: Item) -> None:
    labels = item.labels
    columns = zip(
        labels.frame.tolist(),
        labels.track_id.tolist(),
        ltwh_px(labels).tolist(),
        labels.class_id.tolist(),
        strict=True,
    )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(
            f"{frame + 1},{track},{plain(left + 1)},{plain(top + 1)},{plain(width)},{plain(height)},"
            f"1,{class_id + 1},1\n"
            for frame, track, (left, top, width, height), class_id in columns
        )


def _write_clips(path: Path, items: Sequence[Item], classes: tuple[str, ...]) -> list[str]:
    """What is known of the clips; a note for each attribute that has no place."""
    known = list(dict.fromkeys(key for item in items for key in item.sequence.attributes))
    attributes = [key for key in known if key not in _READ_OTHERWISE and key.strip()]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*_COLUMNS, *attributes])
        for item in items:
            of = item.sequence
            label = classes[of.class_id] if of.class_id >= 0 else ""
            recording = of.recording if of.recording != of.name else ""
            rows.writerow(
                [of.name, label, recording, item.split or "", of.frames, *of.size_wh, repr(of.fps)]
                + [of.attributes.get(key, "") for key in attributes]
            )
    return [
        f"attribute {key!r} dropped: clips.csv has another column of that name"
        for key in known
        if key not in attributes
    ]
