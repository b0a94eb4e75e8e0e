"""The boxes of tracks at every frame, from those at some, as CVAT draws them.

From one entry of a track to the next the corners move linearly and the angle takes the shorter way; also to
an entry with outside=1, which ends the box: it is not there in that frame, nor until the next entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdet.data.formats.cvat_xml import Shapes
from seqdet.data.formats.protocol import Problems
from seqdet.errors import InputError

BETWEEN = "frames between keyframes: boxes interpolated"
HELD = "track of keyframes without outside=1 at its end: the last box goes on"
MAX_BOXES = 10_000_000  # of one sequence; a small file can ask for any number


@dataclass(frozen=True, slots=True)
class Drawn:
    """Boxes of tracks at frames.

    Attributes:
        source: (M,) which shape each comes from.
        position: (M,) index of its frame among the frames that exist.
        boxes_xyxy_px: (M, 4) float64 upright edges.
        between: how many are interpolated between two entries.
        held: how many repeat the last entry of their track.
    """

    source: np.ndarray
    position: np.ndarray
    boxes_xyxy_px: np.ndarray
    between: int
    held: int


def lists_every_frame(shapes: Shapes, step: int) -> bool:
    """True for tracks that name each frame in which their object is, as CVAT exports them.

    Such a track ends with its last entry; one of keyframes only goes on until the last frame.

    Args:
        shapes: of all tracks, sorted by track and frame.
        step: frames from one labelled frame to the next.
    """
    if not shapes.keyframe.all():
        return True
    if shapes.outside.any():
        return False
    gaps = np.diff(shapes.frame)[np.diff(shapes.owner) == 0]
    return bool(len(gaps) and (gaps <= step).all() and (gaps == step).any())


def draw(shapes: Shapes, numbers: np.ndarray, end: int, holds: bool) -> Drawn:
    """The box of each track in each of the frames.

    Args:
        shapes: of tracks, sorted by track, then frame; those that are not outside are at frames that exist.
        numbers: (N,) ascending numbers of the frames that exist.
        end: position behind the last one that a track can reach.
        holds: a track whose last entry is not outside goes on until ``end``.

    Raises:
        InputError: more boxes than MAX_BOXES.
    """
    count = len(shapes.frame)
    start = np.searchsorted(numbers, shapes.frame)
    followed = np.zeros(count, bool)
    followed[:-1] = shapes.owner[1:] == shapes.owner[:-1]
    stop = np.where(followed, np.roll(start, -1), end if holds else 0)
    copies = np.where(shapes.outside, 0, np.maximum(stop - start, 1))
    total = int(copies.sum())
    if total > MAX_BOXES:
        raise InputError(f"the tracks have {total} boxes between their keyframes; {MAX_BOXES} can be read")
    source = np.repeat(np.arange(count), copies)
    offset = np.arange(total) - np.repeat(np.cumsum(copies) - copies, copies)
    position = start[source] + offset
    target = source + followed[source]
    gap = shapes.frame[target] - shapes.frame[source]
    passed = np.where(offset > 0, numbers[position] - shapes.frame[source], 0)
    part = np.where(gap > 0, passed / np.maximum(gap, 1), 0.0)[:, None]
    first = shapes.boxes_xyxy_px[source]
    boxes = first + (shapes.boxes_xyxy_px[target] - first) * part
    turn = (shapes.rotation_deg[target] - shapes.rotation_deg[source] + 180) % 360 - 180
    angle = shapes.rotation_deg[source] + turn * part[:, 0]
    later = offset > 0
    between = int(np.count_nonzero(later & followed[source]))
    return Drawn(source, position, upright(boxes, angle), between, int(np.count_nonzero(later)) - between)


def upright(boxes_xyxy_px: np.ndarray, rotation_deg: np.ndarray) -> np.ndarray:
    """(M, 4) upright boxes around boxes that are rotated about their middle."""
    turned = rotation_deg % 360 != 0
    if not turned.any():
        return boxes_xyxy_px
    low, high = boxes_xyxy_px[turned, :2], boxes_xyxy_px[turned, 2:]
    angle = np.radians(rotation_deg[turned])
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    width, height = (high - low).T
    half = np.stack([width * cos + height * sin, width * sin + height * cos], axis=1) / 2
    middle = (low + high) / 2
    result = boxes_xyxy_px.copy()
    result[turned] = np.concatenate([middle - half, middle + half], axis=1)
    return result


@dataclass(frozen=True, slots=True)
class Entries:
    """Shapes of known classes, with the task, the track (-1 for none) and the class of each."""

    shapes: Shapes
    task_id: np.ndarray
    track_id: np.ndarray
    class_id: np.ndarray

    def take(self, index: np.ndarray) -> Entries:
        """The entries of these indices, or of a mask."""
        return Entries(
            self.shapes.take(index), self.task_id[index], self.track_id[index], self.class_id[index]
        )


def at_frames(path: Path, entries: Entries, video: Path, numbers: np.ndarray, problems: Problems) -> Entries:
    """Those that are outside or at a frame that exists, after a message for each other one."""
    shapes = entries.shapes
    good = shapes.outside | np.isin(shapes.frame, numbers)
    for row in np.flatnonzero(~good).tolist():
        problems.fail(
            f"{path}:{shapes.line[row]}",
            f"frame: {shapes.frame[row]} is not among the {len(numbers)} frames of {video.name}, numbered "
            f"{numbers[0]} to {numbers[-1]}; are these the labels of this video?",
        )
    return entries if good.all() else entries.take(good)


def draw_entries(
    entries: Entries, numbers: np.ndarray, end: int, step: int, where: str, problems: Problems
) -> Drawn:
    """As `draw`; what is not in the file is counted."""
    drawn = draw(entries.shapes, numbers, end, holds=not lists_every_frame(entries.shapes, step))
    problems.note(BETWEEN, [where] if drawn.between else [], drawn.between)
    problems.note(HELD, [where] if drawn.held else [], drawn.held)
    return drawn
