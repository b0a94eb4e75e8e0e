"""CVAT for video 1.1: one XML file for each video, CLIP.xml, beside videos/CLIP.mp4.

Every box is a keyframe, so CVAT interpolates nothing; behind each run of frames in which a track is seen
stands a box with ``outside="1"``, else CVAT would go on showing it. Frames count from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from seqdet.data.export.protocol import Item, counted, edges_px, plain, what_is_lost
from seqdet.errors import InputError

NAME = "cvat"
CLASS_CHANGES = "tracks whose class changes: CVAT has one class a track, so each class is a track of its own"
_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def media_path(item: Item, frame: int | None) -> str:
    """``videos/CLIP.mp4``, or ``images/CLIP/frame_000000.png``, as CVAT exports it, for its first frame."""
    if frame is None or item.images is None:
        return f"videos/{item.sequence.name}{item.sequence.video.suffix.lower()}"
    return f"images/{item.sequence.name}/frame_{frame:06d}{item.images[frame].suffix.lower()}"


def write(items: Sequence[Item], classes: tuple[str, ...], out: Path) -> list[str]:
    """Write all sequences; see `protocol.LabelWriter`.

    Raises:
        InputError: a class name that XML cannot hold.
        OSError: a file cannot be written.
    """
    for name in classes:
        if _NOT_XML.search(name):
            raise InputError(f"the class name {name!r} holds a character that XML cannot; rename the class")
    changing = 0
    for item in items:
        tracks, edges = _tracks(item), edges_px(item.labels)
        changing += len(tracks) - len(np.unique(item.labels.track_id))
        with (out / f"{item.sequence.name}.xml").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_head(item, classes))
            for track, class_id, rows in tracks:
                file.write(f'  <track id="{track}" label={quoteattr(classes[class_id])} source="file">\n')
                file.writelines(_boxes(item.labels.frame[rows], edges[rows], item.sequence.frames))
                file.write("  </track>\n")
            file.write("</annotations>\n")
    notes = what_is_lost(items, kept=("track ids", "split"))
    return notes + ([f"{CLASS_CHANGES} ({counted(changing, 'track')} more)"] if changing else [])


def _head(item: Item, classes: tuple[str, ...]) -> Iterator[str]:
    of = item.sequence
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n'
    yield f"    <task>\n      <name>{escape(of.name)}</name>\n      <size>{of.frames}</size>\n"
    if item.split:
        yield f"      <subset>{item.split}</subset>\n"
    yield "      <mode>interpolation</mode>\n      <start_frame>0</start_frame>\n"
    yield f"      <stop_frame>{of.frames - 1}</stop_frame>\n      <labels>\n"
    for name in classes:
        yield f"        <label>\n          <name>{escape(name)}</name>\n"
        yield "          <attributes></attributes>\n        </label>\n"
    width, height = of.size_wh
    yield f"      </labels>\n      <original_size>\n        <width>{width}</width>\n"
    yield f"        <height>{height}</height>\n      </original_size>\n    </task>\n"
    if item.images is None:
        yield f"    <source>{escape(Path(media_path(item, None)).name)}</source>\n"
    yield "  </meta>\n"


def _tracks(item: Item) -> list[tuple[int, int, np.ndarray]]:
    """(id, class, rows in time order) of each track; a class after a track's first gets an id of its own."""
    labels = item.labels
    order = np.lexsort((labels.frame, labels.class_id, labels.track_id))
    keys = np.stack([labels.track_id[order], labels.class_id[order]], axis=1)
    begins = np.flatnonzero((np.diff(keys, axis=0) != 0).any(axis=1)) + 1
    next_id = int(labels.track_id.max(initial=-1)) + 1
    tracks: list[tuple[int, int, np.ndarray]] = []
    seen: set[int] = set()
    for rows in np.split(order, begins) if len(order) else []:
        track, class_id = int(labels.track_id[rows[0]]), int(labels.class_id[rows[0]])
        if track in seen:
            track, next_id = next_id, next_id + 1
        seen.add(track)
        tracks.append((track, class_id, rows))
    return tracks


def _boxes(frame: np.ndarray, edges: np.ndarray, frames: int) -> Iterator[str]:
    """The boxes of one track of a video of ``frames`` frames."""
    numbers = frame.tolist()
    for number, after, corners in zip(numbers, [*numbers[1:], frames], edges.tolist(), strict=True):
        left, top, right, bottom = map(plain, corners)
        place = f'occluded="0" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" z_order="0"></box>\n'
        yield f'    <box frame="{number}" keyframe="1" outside="0" {place}'
        if after > number + 1:
            yield f'    <box frame="{number + 1}" keyframe="1" outside="1" {place}'
