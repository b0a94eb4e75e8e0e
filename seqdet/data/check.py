"""What is odd about the labels of a data set, and the repairs that are safe: pure functions over rows.

`inspect_labels` runs all of them over one label file, each on what the ones before have left. What has a
repair in its finding is repaired in the rows that come back, which is what ``seqdet check --fix`` writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqdet import boxes
from seqdet.data.check_counts import SequenceCounts, count_sequence
from seqdet.data.check_rows import (
    DROPPED,
    Finding,
    Rows,
    box_text,
    check_boxes,
    check_repeats,
    findings,
    read_rows,
)
from seqdet.data.dataset import Sequence
from seqdet.data.split import find_leaks

MAJORITY = 0.9  # of a track's boxes: below it, which class is right is for a person to say
SAME_IOU = 0.9
COVERED_IOU = 0.5  # a box where one is missing: the object has another track id for a frame
JUMP_SIZES = 3.0  # box sizes in a frame
JUMP_PX = 12.0  # a small box may shake by several of its sizes
LONG_STRETCH_S = 5.0
STILL_FRAMES = 15
STILL_PX = 0.01
FPS_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look at one label file gives.

    Attributes:
        found: all that is wrong or odd.
        usable: the rows whose boxes are, or were clipped to be, inside a frame of the sequence.
        rows: after all repairs; complete unless a finding is of a kind in ``UNREPAIRABLE``.
        counts: of the usable rows.
    """

    found: list[Finding]
    usable: Rows
    rows: Rows
    counts: SequenceCounts


@dataclass(frozen=True, slots=True)
class Still:
    """A stretch in which a box does not move at all.

    Attributes:
        line: of its first box in the label file.
        track_id: of the track.
        first, last: frames.
        box_xyxy_px: (4,) edges in pixels.
    """

    line: int
    track_id: int
    first: int
    last: int
    box_xyxy_px: np.ndarray


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is found to be.

    Attributes:
        frames: packets or pictures in it.
        sizes_wh: the widths and heights in pixels that the labels may give for it.
        fps: frames per second, or None where it does not say.
    """

    frames: int
    sizes_wh: tuple[tuple[int, int], ...]
    fps: float | None


def inspect_labels(path: Path, sequence: Sequence, classes: tuple[str, ...]) -> Inspection:
    """Look at the label file of one sequence.

    Args:
        path: the CSV file.
        sequence: whose labels they are.
        classes: names of the classes of the data set.
    """
    file = f"labels/{path.name}"
    rows, found = read_rows(path, file, classes)
    usable, outside = check_boxes(rows, file, sequence.frames, sequence.size_wh)
    rows, repeats = check_repeats(usable, file)
    rows, flips = check_class_flips(rows, file, classes)
    rows, duplicates = check_duplicates(rows, file)
    rows, gaps = fill_gaps(rows, file)
    found += outside + repeats + flips + duplicates + gaps
    found += find_jumps(rows, file)
    found += find_short_tracks(rows, file, sequence.frames)
    if sequence.boxes_known:
        found += find_empty_stretches(rows, file, sequence.frames, sequence.fps)
    return Inspection(found, usable, rows, count_sequence(sequence, usable, classes))


def check_class_flips(rows: Rows, file: str, classes: tuple[str, ...]) -> tuple[Rows, list[Finding]]:
    """Tracks of more than one class; where one class has 90 % of the boxes or more, it takes the rest."""
    order, same_track = rows.by_track()
    flips = same_track & (np.diff(rows.class_id[order]) != 0)
    ids = rows.track_id[order]
    class_id = rows.class_id.copy()
    found = []
    for track in np.unique(ids[1:][flips]).tolist():
        mine = order[np.searchsorted(ids, track) : np.searchsorted(ids, track, side="right")]
        counts = np.bincount(rows.class_id[mine], minlength=len(classes))
        most = int(counts.argmax())
        other = mine[rows.class_id[mine] != most]
        listed = ", ".join(
            f"{counts[index]} of {classes[index]}" for index in np.argsort(-counts) if counts[index]
        )
        repair = ""
        if counts[most] >= MAJORITY * len(mine):
            class_id[other] = most
            repair = f"all {classes[most]}"
        where = int(other[0])
        message = f"track {track} changes its class: {listed}"
        line, frame = int(rows.line[where]), int(rows.frame[where])
        found.append(Finding("class-flip", "warning", file, line, frame, message, repair))
    return replace(rows, class_id=class_id), found


def check_duplicates(rows: Rows, file: str) -> tuple[Rows, list[Finding]]:
    """Two boxes of one class nearly at one place in a frame; one that is a whole track of its own goes."""
    pairs = _duplicate_pairs(rows)
    track_boxes = Counter(rows.track_id.tolist()) if len(pairs) else Counter()
    keep = np.ones(len(rows), bool)
    found = []
    for pair in pairs.tolist():
        first, second = sorted(pair, key=lambda row: (rows.frame[row], rows.line[row]))
        if not (keep[first] and keep[second]):
            continue
        lone = [row for row in (second, first) if track_boxes[int(rows.track_id[row])] == 1]
        if lone:
            keep[lone[0]] = False
        message = (
            f"track {rows.track_id[second]} has nearly the box of track {rows.track_id[first]} "
            f"(line {rows.line[first]}): {box_text(rows, second)}"
        )
        if lone:
            message += f"; track {rows.track_id[lone[0]]} has no other"
        line, frame = int(rows.line[second]), int(rows.frame[second])
        repair = DROPPED if lone else ""
        found.append(Finding("duplicate-box", "warning", file, line, frame, message, repair))
    return rows.take(keep), found


def _duplicate_pairs(rows: Rows) -> np.ndarray:
    """(P, 2) rows of one frame and class whose boxes overlap by more than SAME_IOU.

    Such boxes have nearly the same left edge, so of the boxes sorted by it only near ones are compared.
    """
    order = np.lexsort((rows.boxes_xyxy_px[:, 0], rows.class_id, rows.frame))
    box, frame, kind = rows.boxes_xyxy_px[order], rows.frame[order], rows.class_id[order]
    area = boxes.area(box)
    reach = (box[:, 2] - box[:, 0]) * (1 - SAME_IOU)
    pairs = [np.zeros((0, 2), np.int64)]
    left = np.arange(len(rows))
    for step in range(1, len(rows)):
        left = left[left + step < len(rows)]
        right = left + step
        near = (frame[left] == frame[right]) & (kind[left] == kind[right])
        near &= box[right, 0] - box[left, 0] <= reach[left]
        left, right = left[near], right[near]
        if not len(left):
            break
        sides = np.minimum(box[left, 2:], box[right, 2:]) - np.maximum(box[left, :2], box[right, :2])
        overlap = np.clip(sides, 0, None).prod(axis=1)
        same = overlap > SAME_IOU * (area[left] + area[right] - overlap)
        pairs.append(np.stack([order[left[same]], order[right[same]]], axis=1))
    return np.concatenate(pairs)


def fill_gaps(rows: Rows, file: str) -> tuple[Rows, list[Finding]]:
    """Tracks that miss one frame; the box halfway is put there if it is plain that it belongs there."""
    order, same_track = rows.by_track()
    gaps = np.flatnonzero(same_track & (np.diff(rows.frame[order]) == 2))
    before, after = order[gaps], order[gaps + 1]
    jumping = _steps(rows, before, after)[0]
    by_frame = np.argsort(rows.frame, kind="stable")
    frames = rows.frame[by_frame]
    halfway = (rows.boxes_xyxy_px[before] + rows.boxes_xyxy_px[after]) / 2
    found, filled = [], []
    for index, (row, then) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
        missing = int(rows.frame[row]) + 1
        there = by_frame[np.searchsorted(frames, missing) : np.searchsorted(frames, missing + 1)]
        overlap = boxes.iou(halfway[index : index + 1], rows.boxes_xyxy_px[there])
        message, repair = f"track {rows.track_id[row]} has no box here, but one before and after", ""
        if rows.class_id[row] != rows.class_id[then]:
            message += ", of different classes"
        elif jumping[index]:
            message += ", far apart"
        elif (overlap > COVERED_IOU).any():
            message += f"; track {rows.track_id[there[overlap[0].argmax()]]} has one at its place"
        else:
            repair = "interpolated"
            filled.append(index)
        found.append(Finding("gap", "warning", file, int(rows.line[then]), missing, message, repair))
    new = replace(
        rows.take(before[filled]), frame=rows.frame[before[filled]] + 1, boxes_xyxy_px=halfway[filled]
    )
    return _joined(rows, new), found


def _joined(rows: Rows, more: Rows) -> Rows:
    return Rows(
        np.concatenate([rows.line, more.line]),
        np.concatenate([rows.frame, more.frame]),
        np.concatenate([rows.track_id, more.track_id]),
        np.concatenate([rows.class_id, more.class_id]),
        np.concatenate([rows.boxes_xyxy_px, more.boxes_xyxy_px]),
    )


def _steps(rows: Rows, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From one box of a track to the next: whether it jumps, pixels a frame, and the size in pixels."""
    first, second = rows.boxes_xyxy_px[before], rows.boxes_xyxy_px[after]
    sizes_px = np.sqrt(np.maximum(boxes.area(first), boxes.area(second)))
    distances_px = np.linalg.norm(boxes.centres(second) - boxes.centres(first), axis=1)
    speeds_px = distances_px / np.maximum(rows.frame[after] - rows.frame[before], 1)
    return (speeds_px > JUMP_SIZES * sizes_px) & (speeds_px > JUMP_PX), speeds_px, sizes_px


def find_jumps(rows: Rows, file: str) -> list[Finding]:
    """Tracks whose box moves by more than JUMP_SIZES of its sizes a frame."""
    order, same_track = rows.by_track()
    at = np.flatnonzero(same_track)
    before, after = order[at], order[at + 1]
    jumping, speeds_px, sizes_px = _steps(rows, before, after)
    return [
        Finding(
            "jump",
            "warning",
            file,
            int(rows.line[after[index]]),
            int(rows.frame[after[index]]),
            f"track {rows.track_id[after[index]]} moves {speeds_px[index]:.0f} pixels a frame since frame "
            f"{rows.frame[before[index]]}, {speeds_px[index] / sizes_px[index]:.1f} of its size",
        )
        for index in np.flatnonzero(jumping).tolist()
    ]


def find_short_tracks(rows: Rows, file: str, frames: int) -> list[Finding]:
    """Tracks of one box; one note where all tracks are such, for there the labels know no tracks."""
    _, first, length = np.unique(rows.track_id, return_index=True, return_counts=True)
    if frames == 1 or not len(rows):
        return []
    if length.max() == 1 and len(length) > 2:
        message = f"each of the {len(rows)} boxes is a track of its own: the labels know no tracks"
        return [Finding("no-tracks", "note", file, None, None, message)]
    short = np.zeros(len(rows), bool)
    short[first[length == 1]] = True
    message = "track {track} has this one box only: {box}"
    return findings(rows, short, "short-track", "warning", file, message)


def find_empty_stretches(rows: Rows, file: str, frames: int, fps: float) -> list[Finding]:
    """Stretches of LONG_STRETCH_S and more without a box."""
    if not len(rows):
        return [Finding("no-labels", "note", file, None, None, f"no box in all {frames} frames")]
    ends = np.concatenate([[-1], np.unique(rows.frame), [frames]])
    lengths = np.diff(ends) - 1
    return [
        Finding(
            "no-labels",
            "note",
            file,
            None,
            int(ends[index]) + 1,
            f"no box in {lengths[index]} frames ({lengths[index] / fps:.1f} s), "
            f"to frame {ends[index + 1] - 1}",
        )
        for index in np.flatnonzero(lengths >= max(LONG_STRETCH_S * fps, 2)).tolist()
    ]


def still_stretches(rows: Rows) -> list[Still]:
    """Stretches of STILL_FRAMES and more frames in which the box of a track does not move at all."""
    order, same_track = rows.by_track()
    box, frame = rows.boxes_xyxy_px[order], rows.frame[order]
    resting = same_track & (np.diff(frame) == 1) & (np.abs(np.diff(box, axis=0)) < STILL_PX).all(axis=1)
    edges = np.diff(np.concatenate([[False], resting, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [
        Still(
            int(rows.line[order[start]]),
            int(rows.track_id[order[start]]),
            int(frame[start]),
            int(frame[end]),
            box[start],
        )
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if end - start + 1 >= STILL_FRAMES
    ]


def check_video(
    sequence: Sequence, file: str, facts: VideoFacts, last_frame: int
) -> tuple[Sequence, list[Finding]]:
    """Length, size and rate of a video against what the data set says of it.

    Args:
        sequence: as the data set has it.
        file: the video's name in findings.
        facts: what the video is.
        last_frame: the last frame with a box, or -1.

    Returns:
        The sequence after the repairs, and what was found.
    """
    found = []
    if facts.frames < sequence.frames:
        message = f"the video has {facts.frames} frames, dataset.json says {sequence.frames}"
        repair = ""
        if last_frame >= facts.frames:
            message += f"; there are labels up to frame {last_frame}: are they of this cut?"
        elif facts.frames:
            repair = "set in dataset.json"
            sequence = replace(sequence, frames=facts.frames)
        found.append(Finding("frame-count", "error", file, None, None, message, repair))
    elif facts.frames > sequence.frames:
        message = (
            f"the video has {facts.frames} frames, dataset.json says {sequence.frames}; the rest is unused"
        )
        found.append(Finding("frame-count", "warning", file, None, None, message))
    if sequence.size_wh not in facts.sizes_wh:
        true, said = (f"{width}x{height}" for width, height in (facts.sizes_wh[0], sequence.size_wh))
        message = f"the video has {true} pixels, dataset.json says {said}: boxes are misplaced"
        found.append(Finding("size", "error", file, None, None, message))
    if facts.fps is not None and abs(facts.fps - sequence.fps) > FPS_TOLERANCE * sequence.fps:
        message = f"the video has {facts.fps:.6g} frames a second, dataset.json says {sequence.fps:.6g}"
        found.append(Finding("fps", "warning", file, None, None, message))
    return sequence, found


def find_recording_leaks(sequences: Items[Sequence]) -> list[Finding]:
    """Recordings that are in more than one split."""
    leaks = find_leaks([s.recording for s in sequences], [s.split for s in sequences])
    return [
        Finding(
            "leak", "error", "dataset.json", None, None, f"recording {name!r} is in {' and '.join(splits)}"
        )
        for name, splits in sorted(leaks.items())
    ]
