"""The page of ``seqdet check``: which frames it shows, and its parts put together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence as Items
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from seqdet.data.check import Inspection
from seqdet.data.check_counts import (
    LENGTH_EDGES_FRAMES,
    SIDE_EDGES_PX,
    Counts,
    SequenceCounts,
    counts_table,
    range_names,
    shares,
)
from seqdet.data.check_rows import CELLS, Finding, Rows, cells, grouped
from seqdet.data.dataset import SPLITS, Dataset
from seqdet.errors import OutputError, UsageError
from seqdet.results.check_page import ROWS_SHOWN, Group, Histogram, Picture, check_page

PAGE = "check.html"
SAMPLES = 12
PICTURES_A_KIND = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame that the page shows.

    Attributes:
        sequence: position of its sequence.
        frame: from 0.
        kind: of the finding that it shows, or "" for a sample.
        caption: what it shows.
    """

    sequence: int
    frame: int
    kind: str
    caption: str


def prepare_page(out: Path, force: bool) -> None:
    """Make the folder before the work is done, and refuse to replace a page.

    Raises:
        UsageError: there is one, and ``force`` is not given.
        OutputError: the folder cannot be made.
    """
    if (out / PAGE).exists() and not force:
        raise UsageError(f"{out / PAGE} exists; choose another --out, or replace it with --force")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error


def choose_frames(dataset: Dataset, inspections: Items[Inspection]) -> list[Shown]:
    """Frames to show: some of each split and class, and the first of each kind of finding."""
    chosen = []
    pools: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (sequence, inspection) in enumerate(zip(dataset.sequences, inspections, strict=True)):
        for class_id in np.unique(inspection.usable.class_id).tolist():
            pools[class_id, SPLITS.index(sequence.split)].append(index)
    every = sorted(pools.items())
    a_pool = max(1, SAMPLES // max(len(every), 1))
    step = max(1, len(every) // SAMPLES)
    for (class_id, _), pool in every[::step][:SAMPLES]:
        count = min(a_pool, len(pool))
        for place in [(2 * index + 1) * len(pool) // (2 * count) for index in range(count)]:
            rows = inspections[pool[place]].usable
            frames = rows.frame[rows.class_id == class_id]
            frame = int(np.sort(frames)[len(frames) // 2])
            sequence = dataset.sequences[pool[place]]
            caption = f"{sequence.name} ({sequence.split}), frame {frame}: {_names(rows, frame, dataset)}"
            chosen.append(Shown(pool[place], frame, "", caption))
    kinds: Counter[str] = Counter()
    for index, (sequence, inspection) in enumerate(zip(dataset.sequences, inspections, strict=True)):
        here: set[str] = set()  # one of a kind a sequence: others show more
        for finding in inspection.found:
            frame_there = finding.frame is not None and 0 <= finding.frame < sequence.frames
            if frame_there and finding.kind not in here and kinds[finding.kind] < PICTURES_A_KIND:
                here.add(finding.kind)
                kinds[finding.kind] += 1
                chosen.append(Shown(index, finding.frame or 0, finding.kind, caption_of(finding)))
    return chosen


def _names(rows: Rows, frame: int, dataset: Dataset) -> str:
    """Such as "drone 1, bird 4": class and track id of each box."""
    return ", ".join(
        f"{dataset.classes[rows.class_id[row]]} {rows.track_id[row]}"
        for row in np.flatnonzero(rows.frame == frame).tolist()[:8]
    )


def caption_of(finding: Finding) -> str:
    """Where and what, in one line."""
    where, frame, message, _ = cells(finding)
    return f"{where}, frame {frame}: {message}"


def write_page(
    out: Path,
    dataset: Dataset,
    facts: Items[str],
    counts: dict[str, Counts],
    counted: Items[SequenceCounts],
    found: Items[Finding],
    pictures: Items[tuple[str, Picture]],
) -> Path:
    """Write the page into a folder that ``prepare_page`` made.

    Args:
        out: the folder.
        dataset: what was checked.
        facts: sentences for the head of the page.
        counts: of each split.
        counted: of each sequence, for the histograms.
        found: all findings.
        pictures: kind of finding ("" for a sample) and picture.

    Returns:
        The file.

    Raises:
        OutputError: it cannot be written.
    """
    groups = [
        Group(
            group[0].kind,
            group[0].severity,
            len(group),
            CELLS,
            [cells(finding) for finding in group[:ROWS_SHOWN]],
            [picture for kind, picture in pictures if kind == group[0].kind],
        )
        for group in grouped(found)
    ]
    samples = [picture for kind, picture in pictures if not kind]
    text = check_page(
        str(dataset.root.resolve().name),
        facts,
        counts_table(counts),
        histograms(counted, counts, dataset.classes),
        groups,
        samples,
    )
    path = out / PAGE
    partial = path.with_name(f".{PAGE}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def histograms(
    counted: Items[SequenceCounts], counts: dict[str, Counts], classes: tuple[str, ...]
) -> list[Histogram]:
    """Classes, sizes, track lengths and empty frames by split."""
    splits = [split for split in SPLITS if split in counts]
    groups = {split: [entry for entry in counted if entry.sequence.split == split] for split in splits}
    sides = {split: np.concatenate([entry.sides_px for entry in group]) for split, group in groups.items()}
    lengths = {split: np.concatenate([e.track_frames for e in group]) for split, group in groups.items()}
    boxes = {
        split: [part / max(counts[split].boxes, 1) for part in counts[split].boxes_per_class.values()]
        for split in splits
    }
    filled = {
        split: np.array([1 - entry.empty_frames / entry.sequence.frames for entry in group])
        for split, group in groups.items()
    }
    fifths = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    return [
        Histogram("Classes", "Share of the boxes of a split.", boxes, classes, "class", "share of boxes"),
        Histogram(
            "Box sizes",
            "Square root of the area.",
            {split: shares(values, SIDE_EDGES_PX) for split, values in sides.items()},
            range_names(SIDE_EDGES_PX),
            "side, pixels",
            "share of boxes",
        ),
        Histogram(
            "Track lengths",
            "Boxes of a track.",
            {split: shares(values, LENGTH_EDGES_FRAMES) for split, values in lengths.items()},
            range_names(LENGTH_EDGES_FRAMES),
            "frames",
            "share of tracks",
        ),
        Histogram(
            "Labelled frames",
            "Share of the frames of a sequence that have a box.",
            {split: shares(values, fifths) for split, values in filled.items()},
            [f"{low:.0%} to {high:.0%}" for low, high in pairwise(fifths)],
            "labelled",
            "share of sequences",
        ),
    ]
