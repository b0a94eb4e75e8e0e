"""Ingestion: read labels of some format, hold them against their videos, split, write one data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqdet.data.checks import name_fault
from seqdet.data.dataset import Sequence, is_dataset, refuse_existing, save_dataset
from seqdet.data.formats import choose_format
from seqdet.data.formats.clean import clean_labels
from seqdet.data.formats.coco_masks import with_masks
from seqdet.data.formats.protocol import Dropped, Problems, RawSequence
from seqdet.data.labels import Labels
from seqdet.data.same_files import SameFiles
from seqdet.data.split import find_leaks, join_recordings, refuse_leaks, split_by_recording
from seqdet.errors import InputError, UsageError
from seqdet.runs.archive import opened
from seqdet.runs.twins import find_twins, is_much
from seqdet.video.folder import image_size
from seqdet.video.probe import count_packets
from seqdet.video.reader import MAX_PIXELS, read_info

Progress = Callable[[str, int, int], None]
IMAGE_FPS = 30.0
CLASSES_ONLY = "no boxes, only classes of sequences: training does not take this for frames without an object"
TWINS = "the same file in two sequences: they count as one recording"
SHORT_VIDEO = "video with fewer frames than its header promises: used as far as it goes"


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingestion read, wrote and left out.

    Attributes:
        out: the data set.
        format: the label format.
        sequences, frames, boxes, tracks: how many were written.
        classes: names of the classes.
        boxes_per_class: how many boxes of each class.
        dropped: repairs and what was left out: reason, count and the first places.
        splits: sequences in each split.
        notes: what else the user should know; the same lines are in ``dataset.json``.
    """

    out: Path
    format: str
    sequences: int
    frames: int
    boxes: int
    tracks: int
    classes: tuple[str, ...]
    boxes_per_class: dict[str, int]
    dropped: tuple[Dropped, ...]
    splits: dict[str, int]
    notes: tuple[str, ...]


def ingest(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    split: str = "auto",
    val_fraction: float = 0.2,
    seed: int = 0,
    force: bool = False,
    link: bool = False,
    strict: bool = False,
    allow_leak: bool = False,
    masks: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Make a data set of labels in any known format and their videos.

    Args:
        source: folder, label file, or zip file with one of them and its videos or images.
        out: the data set to make.
        format: name of the label format, or "auto" to find it by content.
        split: "auto" keeps the splits that the source names and makes them by recording where it names none;
            "recording" makes them anew.
        val_fraction: part of each class that val gets where splits are made.
        seed: of the split.
        force: replace ``out`` if it is a data set.
        link: link the videos instead of copying them.
        strict: fail where labels would be repaired or dropped.
        allow_leak: accept a recording that is in two splits.
        masks: keep the masks of objects, of formats that have them.
        progress: called as ``progress(stage, done, total)`` with the stages "check" and "write".

    Raises:
        UsageError: ``out`` exists, an option is wrong, or a recording is in two splits.
        InputError: the labels or videos cannot be used; all problems are listed with file and line.
        OutputError: ``out`` cannot be written.
    """
    source, out = Path(source), Path(out)
    _check_options(source, out, split, force)
    with opened(source, out, format, link) as folder:
        report = _ingest_folder(
            folder,
            out,
            format=format,
            split=split,
            val_fraction=val_fraction,
            seed=seed,
            force=force,
            link=link,
            strict=strict,
            allow_leak=allow_leak,
            masks=masks,
            progress=progress,
        )
    if folder == source:
        return report
    dropped = tuple(
        replace(entry, examples=tuple(place.replace(str(folder), str(source)) for place in entry.examples))
        for entry in report.dropped
    )
    return replace(report, dropped=dropped)


def _ingest_folder(
    source: Path,
    out: Path,
    *,
    format: str,
    split: str,
    val_fraction: float,
    seed: int,
    force: bool,
    link: bool,
    strict: bool,
    allow_leak: bool,
    masks: bool,
    progress: Progress | None,
) -> IngestReport:
    """As ``ingest``, of what lies open on disk."""
    problems = Problems(strict)
    try:
        chosen = choose_format(source, format)
        raw = chosen.read(source, problems)
        if masks:
            raw = with_masks(chosen.NAME, raw, problems)
    except OSError as error:  # a folder without permission, a disk that fails
        raise InputError(f"{error.filename or source}: cannot be read: {error.strerror or error}") from error
    checked: list[tuple[RawSequence, Sequence, Labels]] = []
    for done, item in enumerate(raw.sequences, 1):
        made = check_sequence(item, raw.classes, problems)
        if made:
            checked.append((item, *made))
        if progress:
            progress("check", done, len(raw.sequences))
    problems.raise_if_failed(source)
    if not checked:
        raise InputError(f"{source}: there is no sequence with labels and a video in it")
    _refuse_same_names(source, [sequence for _, sequence, _ in checked])
    notes = [f"made by seqdet ingest from {source.resolve().name} ({chosen.NAME})", *raw.notes]
    if _is_of_classes_only(checked):
        checked = [(item, replace(sequence, boxes_known=False), labels) for item, sequence, labels in checked]
        notes.append(CLASSES_ONLY)
    files = [item.images or (item.video,) for item, *_ in checked]
    twins = [same for same in find_twins(files) if is_much(same, files)]
    checked = _joined(checked, twins, problems)
    splits = _splits(checked, split, val_fraction, seed, raw.classes, notes)
    recordings = [sequence.recording for _, sequence, _ in checked]
    if not allow_leak:
        _refuse_twins(twins, splits)
        refuse_leaks(recordings, splits)
    elif leaks := find_leaks(recordings, splits):
        notes.append(f"LEAK, allowed by the user: {len(leaks)} recordings are in more than one split")
    for entry in problems.dropped:
        first = entry.examples[0].replace(f"{source}/", "")
        notes.append(f"{entry.reason}: {entry.count} (first: {first})")

    total = len(checked)
    save_dataset(
        out,
        raw.classes,
        [
            (replace(sequence, split=name), item.images, labels)
            for (item, sequence, labels), name in zip(checked, splits, strict=True)
        ],
        notes=notes,
        link=link,
        force=force,
        progress=(lambda done: progress("write", done, total)) if progress else None,
    )
    counts = np.sum(
        [np.bincount(labels.class_id, minlength=len(raw.classes)) for *_, labels in checked], axis=0
    )
    return IngestReport(
        out=out,
        format=chosen.NAME,
        sequences=total,
        frames=sum(sequence.frames for _, sequence, _ in checked),
        boxes=int(counts.sum()),
        tracks=sum(len(np.unique(labels.track_id)) for *_, labels in checked),
        classes=raw.classes,
        boxes_per_class={name: int(count) for name, count in zip(raw.classes, counts, strict=True)},
        dropped=problems.dropped,
        splits=dict(sorted(Counter(splits).items())),
        notes=tuple(notes),
    )


def _joined(
    checked: list[tuple[RawSequence, Sequence, Labels]], twins: list[SameFiles], problems: Problems
) -> list[tuple[RawSequence, Sequence, Labels]]:
    """Sequences with files in common become one recording, which no split divides."""
    problems.note(TWINS, [f"{same.pairs[0][1]} and {same.pairs[0][0]}" for same in twins])
    pairs = [(same.first, same.second) for same in twins]
    joined = join_recordings([sequence.recording for _, sequence, _ in checked], pairs)
    return [
        (item, replace(sequence, recording=name), labels)
        for (item, sequence, labels), name in zip(checked, joined, strict=True)
    ]


def _refuse_twins(twins: list[SameFiles], splits: list[str]) -> None:
    """Raise UsageError where the source itself has a file in two of its splits."""
    leaks = [same for same in twins if splits[same.first] != splits[same.second]]
    if leaks:
        theirs, mine = leaks[0].pairs[0]
        count = sum(len(same.pairs) for same in leaks)
        raise UsageError(
            f"{count} video{'s' * (count > 1)} or picture{'s' * (count > 1)} of one split "
            f"{'are' if count > 1 else 'is'} in another, too: {mine} ({splits[leaks[0].second]}) is the same "
            f"file as {theirs} ({splits[leaks[0].first]}). Figures on val would be flattered. Remove "
            "one, make splits anew by --split recording, or say --allow-leak"
        )


def _is_of_classes_only(checked: list[tuple[RawSequence, Sequence, Labels]]) -> bool:
    """True where sequences have classes and there is no box at all: that no object is there is not meant."""
    return not any(len(labels) for *_, labels in checked) and any(
        sequence.class_id >= 0 for _, sequence, _ in checked
    )


def _check_options(source: Path, out: Path, split: str, force: bool) -> None:
    """Refuse what can be refused before anything is read."""
    if split not in ("auto", "recording"):
        raise UsageError(f"--split {split}: auto (keep the source's own) or recording (make them anew)")
    if source.exists() and source.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{out} holds the source {source}; choose another folder for the data set")
    if is_dataset(source):
        raise UsageError(f"{source} is a seqdet data set already; train on it with: seqdet train {source}")
    refuse_existing(out, force)


def check_sequence(
    raw: RawSequence, classes: tuple[str, ...], problems: Problems
) -> tuple[Sequence, Labels] | None:
    """Hold one sequence against its video; None when the video cannot be read."""
    try:
        frames, size_wh, fps = _video_facts(raw, problems)
    except InputError as error:
        problems.fail(raw.labels_file, f"its video cannot be read: {error}")
        return None
    if raw.frames is not None and raw.frames != frames:
        problems.fail(
            raw.video, f"the labels say {raw.frames} frames, the video has {frames}; are they of one cut?"
        )
    if raw.size_wh is not None and raw.size_wh != size_wh:
        said, true = (f"{width}x{height}" for width, height in (raw.size_wh, size_wh))
        problems.fail(
            raw.video, f"the labels say {said} pixels, the video has {true}; boxes would be misplaced"
        )
    if fault := name_fault(raw.name):
        problems.fail(raw.labels_file, f"the sequence name {raw.name!r} cannot be a file name: {fault}")
    if raw.label is not None and raw.label not in classes:
        problems.fail(raw.labels_file, f"label: {raw.label!r} is not one of the classes {', '.join(classes)}")
        return None
    labels = clean_labels(raw, frames, size_wh, problems)
    if raw.label is not None:
        class_id = classes.index(raw.label)
    else:  # all objects of one class: that is the class of the sequence
        found = np.unique(labels.class_id)
        class_id = int(found[0]) if len(found) == 1 else -1
    sequence = Sequence(
        name=raw.name,
        video=raw.video,
        frames=frames,
        size_wh=size_wh,
        fps=fps,
        class_id=class_id,
        recording=raw.recording or raw.name,
        attributes=dict(raw.attributes),
    )
    return sequence, labels


def _video_facts(raw: RawSequence, problems: Problems) -> tuple[int, tuple[int, int], float]:
    """True number of frames, displayed size and frames per second.

    The packets of a video are counted, not its header believed; of images every header is read.
    """
    if raw.images is not None:
        sizes = [image_size(image, MAX_PIXELS) for image in raw.images]
        for image, size in zip(raw.images, sizes, strict=True):
            if size != sizes[0]:
                first, other = (f"{width}x{height}" for width, height in (sizes[0], size))
                raise InputError(f"{image}: {other} pixels, but the first image of the sequence has {first}")
        return (
            len(raw.images),
            read_info(raw.images[0]).size_wh,
            raw.fps or IMAGE_FPS,
        )  # EXIF rotation applied
    info = read_info(raw.video)
    count = count_packets(raw.video)
    if count.broke or count.damaged:
        raise InputError(
            f"{raw.video}: the file is damaged ({count.broke or f'{count.damaged} bad packets'})"
        )
    if info.frames_promised and count.packets < info.frames_promised:
        problems.drop(SHORT_VIDEO, [f"{raw.video} ({info.frames_promised} promised)"])
    return count.packets, info.size_wh, raw.fps or info.fps or IMAGE_FPS


def _refuse_same_names(source: Path, sequences: list[Sequence]) -> None:
    """Names are compared without case: two that differ only in case are one file on some systems."""
    seen = Counter(sequence.name.lower() for sequence in sequences)
    twice = sorted(name for name, count in seen.items() if count > 1)
    if twice:
        raise InputError(f"{source}: these sequence names occur more than once: {', '.join(twice[:20])}")


def _splits(
    checked: list[tuple[RawSequence, Sequence, Labels]],
    split: str,
    val_fraction: float,
    seed: int,
    classes: tuple[str, ...],
    notes: list[str],
) -> list[str]:
    """The source's own splits, or new ones by recording."""
    named = [raw.split for raw, _, _ in checked]
    if split == "auto" and all(named):
        if "val" not in named:
            notes.append(
                f"the source names no val split (only {', '.join(sorted(set(filter(None, named))))}); "
                "--split recording makes one"
            )
        return [name for name in named if name]
    if split == "auto" and any(named):
        raise UsageError(
            f"the source names a split for {sum(map(bool, named))} of {len(named)} sequences; name it for "
            "all, or say --split recording to make splits anew"
        )
    notes.append(f"split by recording, seed {seed}, val fraction {val_fraction:g}")
    if not any(raw.recording for raw, _, _ in checked):
        notes.append(
            "the source does not say which sequences were cut from one recording; each counts as its own"
        )
    splits = split_by_recording(
        [sequence.recording for _, sequence, _ in checked],
        [classes[sequence.class_id] if sequence.class_id >= 0 else None for _, sequence, _ in checked],
        weights=[sequence.frames for _, sequence, _ in checked],
        val_fraction=val_fraction,
        seed=seed,
    )
    if val_fraction > 0 and "val" not in splits:
        notes.append("there is only one recording: all of it is train, and there is no val")
    return splits
