"""How much is in a data set: counts and sizes of each split, for ``seqdet check``.

Legend: K classes, M boxes and T tracks of a sequence or of several.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from seqdet.data.check_rows import Rows
from seqdet.data.dataset import SPLITS, Sequence

QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}
SIDE_EDGES_PX = (0, 4, 8, 16, 32, 64, 128, 256, np.inf)
LENGTH_EDGES_FRAMES = (1, 2, 10, 30, 100, 300, 1000, np.inf)


@dataclass(frozen=True, slots=True)
class SequenceCounts:
    """What one sequence holds.

    Attributes:
        sequence: which.
        empty_frames: frames without a box.
        boxes_per_class: (K,) int64.
        tracks_per_class: (K,) int64; a track counts for the class of its first box.
        sides_px: (M,) float32 square roots of the areas of the boxes.
        track_frames: (T,) int64 boxes of each track.
    """

    sequence: Sequence
    empty_frames: int
    boxes_per_class: np.ndarray
    tracks_per_class: np.ndarray
    sides_px: np.ndarray
    track_frames: np.ndarray


@dataclass(frozen=True, slots=True)
class Counts:
    """What a split holds, or the whole data set.

    Attributes:
        sequences, recordings, frames, empty_frames, boxes, tracks: how many; empty frames have no box.
        sequences_per_class: by the label of the whole sequence; without one under "".
        boxes_per_class, tracks_per_class: by name.
        box_side_px: quantiles of the square root of the area of a box.
        track_frames: quantiles of the boxes of a track.
    """

    sequences: int
    recordings: int
    frames: int
    empty_frames: int
    boxes: int
    tracks: int
    sequences_per_class: dict[str, int]
    boxes_per_class: dict[str, int]
    tracks_per_class: dict[str, int]
    box_side_px: dict[str, float]
    track_frames: dict[str, float]


def count_sequence(sequence: Sequence, rows: Rows, classes: tuple[str, ...]) -> SequenceCounts:
    """Count the rows of one sequence; their boxes must have passed `check_boxes`."""
    _, first, length = np.unique(rows.track_id, return_index=True, return_counts=True)
    sides = rows.boxes_xyxy_px[:, 2:] - rows.boxes_xyxy_px[:, :2]
    return SequenceCounts(
        sequence,
        sequence.frames - len(np.unique(rows.frame)),
        np.bincount(rows.class_id, minlength=len(classes)),
        np.bincount(rows.class_id[first], minlength=len(classes)),
        np.sqrt(sides.prod(axis=1)).astype(np.float32),
        length,
    )


def sum_counts(counted: Items[SequenceCounts], classes: tuple[str, ...]) -> dict[str, Counts]:
    """Split name -> what it holds, for those with sequences; "all" is last."""
    groups = {split: [entry for entry in counted if entry.sequence.split == split] for split in SPLITS}
    return {name: _sum(group, classes) for name, group in (groups | {"all": list(counted)}).items() if group}


def _sum(counted: Items[SequenceCounts], classes: tuple[str, ...]) -> Counts:
    boxes = np.sum([entry.boxes_per_class for entry in counted], axis=0)
    tracks = np.sum([entry.tracks_per_class for entry in counted], axis=0)
    labels = [entry.sequence.class_id for entry in counted]
    per_label = {name: labels.count(index) for index, name in enumerate(classes)}
    return Counts(
        sequences=len(counted),
        recordings=len({entry.sequence.recording for entry in counted}),
        frames=sum(entry.sequence.frames for entry in counted),
        empty_frames=sum(entry.empty_frames for entry in counted),
        boxes=int(boxes.sum()),
        tracks=int(tracks.sum()),
        sequences_per_class=per_label | ({"": labels.count(-1)} if -1 in labels else {}),
        boxes_per_class=dict(zip(classes, boxes.tolist(), strict=True)),
        tracks_per_class=dict(zip(classes, tracks.tolist(), strict=True)),
        box_side_px=_quantiles(np.concatenate([entry.sides_px for entry in counted])),
        track_frames=_quantiles(np.concatenate([entry.track_frames for entry in counted])),
    )


def _quantiles(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    return {name: round(float(np.quantile(values, at)), 2) for name, at in QUANTILES.items()}


def counts_table(counts: dict[str, Counts]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with a column for each split."""
    every = list(counts.values())
    rows = [
        [name.replace("_", " "), *(str(getattr(entry, name)) for entry in every)]
        for name in ("sequences", "recordings", "frames", "empty_frames", "boxes", "tracks")
    ]
    for what in ("sequences", "tracks", "boxes"):
        parts: list[dict[str, int]] = [getattr(entry, f"{what}_per_class") for entry in every]
        for name in {name: None for part in parts for name in part}:
            label = f"{what} of {name}" if name else f"{what} without a class"
            rows.append([label, *(str(part.get(name, 0)) for part in parts)])
    for title, key in (("box side, pixels", "box_side_px"), ("frames of a track", "track_frames")):
        for quantile in QUANTILES:
            values = [getattr(entry, key).get(quantile) for entry in every]
            rows.append([f"{title}: {quantile}", *("-" if v is None else f"{v:g}" for v in values)])
    return ["", *counts], rows


def shares(values: np.ndarray, edges: Items[float]) -> list[float]:
    """Part of the values from each edge to the next, 0..1; all 0 where there is no value."""
    counts = np.histogram(values, np.asarray(edges, np.float64))[0]
    return [float(part) for part in counts / max(len(values), 1)]


def range_names(edges: Items[float]) -> list[str]:
    """Such as "4 to 8" on two lines, and "256+" for the last."""
    return [f"{low:g}+" if np.isinf(high) else f"{low:g}\nto {high:g}" for low, high in pairwise(edges)]
