"""Conversion: a data set, or what ``detect`` saved, to the label format of a tool that can correct it.

The folder appears whole or not at all. What the format cannot hold is said, and kept in ``CONVERTED.md``.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqdet.data.checks import name_fault
from seqdet.data.dataset import is_dataset, load_dataset, swap_in
from seqdet.data.export import WRITERS
from seqdet.data.export.protocol import Item, LabelWriter, counted, place_media
from seqdet.data.export.rows import SUFFIXES, is_rows, read_rows
from seqdet.data.formats.protocol import Dropped, Problems, RawSequence
from seqdet.errors import InputError, OutputError, UsageError
from seqdet.runs.ingest import check_sequence
from seqdet.video.folder import is_image_name, list_images, natural_key

Progress = Callable[[str, int, int], None]
VIDEOS = ("none", "copy", "link")
SCORES = "scores dropped: labels say what is there, not how likely"
MARK = "CONVERTED.md"  # in every folder that was written here; only such a folder is ever replaced
_HEADING = "# Made by `seqdet convert`"


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """What a conversion wrote and what it left out.

    Attributes:
        out: the folder.
        format: the label format.
        sequences, frames, boxes, tracks: how many were written.
        classes: names of the classes.
        dropped: repairs and what was left out of rows: reason, count and the first places.
        notes: what the format cannot hold and what else the user should know.
    """

    out: Path
    format: str
    sequences: int
    frames: int
    boxes: int
    tracks: int
    classes: tuple[str, ...]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...]


def convert(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    videos: str = "none",
    video: Sequence[str | Path] = (),
    force: bool = False,
    progress: Progress | None = None,
) -> ConvertReport:
    """Write labels in the format of another tool.

    Args:
        source: a data set, or a .jsonl or .csv file of ``detect --save``.
        out: the folder to make.
        to: name of the label format.
        videos: "none" writes labels only, "copy" and "link" put the videos beside them.
        video: where the videos of rows are, if not where the rows say; for several, found by file name.
        force: replace ``out`` if an earlier conversion made it.
        progress: called as ``progress("read", done, total)`` for each sequence.

    Raises:
        UsageError: ``out`` exists, or an option is wrong.
        InputError: the source cannot be used, or the format cannot hold its names.
        OutputError: ``out`` cannot be written.
    """
    source, out = Path(source), Path(out)
    _check_options(source, out, to, videos)
    _refuse_existing(out, force)
    problems = Problems()
    notes: list[str] = []
    if is_dataset(source):
        if video:
            raise UsageError("--video is for rows; a data set knows where its videos are")
        classes, items = _items_of_dataset(source, progress)
    elif is_rows(source):
        classes, items, notes = _items_of_rows(source, [Path(path) for path in video], problems, progress)
    elif not source.exists():
        raise InputError(f"{source}: no such file or folder")
    else:
        raise InputError(
            f"{source}: neither a data set of seqdet ingest nor rows of seqdet detect ({', '.join(SUFFIXES)})"
        )
    if not items:
        raise InputError(f"{source}: there is no sequence in it")
    for entry in problems.dropped:
        notes.append(f"{entry.reason}: {entry.count} (first: {entry.examples[0]})")
    if unknown := sum(not item.sequence.boxes_known for item in items):
        notes.append(
            f"{counted(unknown, 'sequence')} of which only the class is known: written as without object"
        )
    notes = _write_folder(source, out, WRITERS[to], items, classes, videos, notes)
    return ConvertReport(
        out=out,
        format=to,
        sequences=len(items),
        frames=sum(item.sequence.frames for item in items),
        boxes=sum(len(item.labels) for item in items),
        tracks=sum(len(np.unique(item.labels.track_id)) for item in items),
        classes=classes,
        dropped=problems.dropped,
        notes=tuple(notes),
    )


def _check_options(source: Path, out: Path, to: str, videos: str) -> None:
    if to not in WRITERS:
        raise UsageError(f"--to {to}: the formats are {', '.join(WRITERS)}")
    if videos not in VIDEOS:
        raise UsageError(f"--videos {videos}: one of {', '.join(VIDEOS)}")
    if source.exists() and source.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{out} holds the source {source}; choose another folder")


def _refuse_existing(out: Path, force: bool) -> None:
    """Raise UsageError when ``out`` may not be written."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} exists and is not a folder; choose another name")
    if not out.exists() or not any(out.iterdir()):
        return
    mark = out / MARK
    if not mark.is_file() or not mark.read_text("utf-8", "replace").startswith(_HEADING):
        raise UsageError(
            f"{out} exists, is not empty and was not made by seqdet convert; choose another folder"
        )
    if not force:
        raise UsageError(f"{out} exists; add --force to replace it, or choose another folder")


def _items_of_dataset(root: Path, progress: Progress | None) -> tuple[tuple[str, ...], list[Item]]:
    dataset = load_dataset(root)
    items = []
    for done, sequence in enumerate(dataset.sequences, 1):
        images = tuple(list_images(sequence.video)) if sequence.video.is_dir() else None
        if images is not None and len(images) != sequence.frames:
            raise InputError(
                f"{sequence.video}: {len(images)} images, but dataset.json says {sequence.frames} frames"
            )
        items.append(Item(sequence, dataset.labels(sequence), images, sequence.split))
        if progress:
            progress("read", done, len(dataset.sequences))
    return dataset.classes, items


def _items_of_rows(
    path: Path, videos: list[Path], problems: Problems, progress: Progress | None
) -> tuple[tuple[str, ...], list[Item], list[str]]:
    """Rows held against their videos, as labels of any format are."""
    raw, seen = read_rows(path, problems)
    problems.raise_if_failed(path)
    if not raw.classes:
        raise InputError(f"{path}: there is no detection in it")
    items: list[Item] = []
    notes, names = [SCORES], set[str]()
    for done, found in enumerate(_with_videos(path, raw.sequences, videos), 1):
        named = replace(found, name=_free_name(found, names))
        made = check_sequence(named, raw.classes, problems)
        if made:
            items.append(Item(*made, named.images))
            looked_at = seen.get(found.name, made[0].frames)
            if looked_at < made[0].frames:
                notes.append(
                    f"{named.name}: detect looked at {looked_at} of {made[0].frames} frames; "
                    "the others have no boxes, whatever is in them"
                )
        if progress:
            progress("read", done, len(raw.sequences))
    problems.raise_if_failed(path)
    notes.append("classes are those that the rows name; add what is missing in the labelling tool")
    return raw.classes, items, notes


def _with_videos(path: Path, sequences: list[RawSequence], videos: list[Path]) -> Iterator[RawSequence]:
    """The sequences with their videos: where the rows say, or where ``--video`` says."""
    for video in videos:
        if not video.exists():
            raise UsageError(f"--video {video}: no such file or folder")
    if len(videos) > len(sequences):
        raise UsageError(f"--video is given {len(videos)} times, the rows are of {len(sequences)} sources")
    used = set()
    for sequence in sequences:
        chosen = [each for each in videos if each.name == Path(sequence.name).name]
        if not chosen and len(sequences) == 1:
            chosen = videos
        used |= set(chosen)
        places = chosen[:1] or [Path(sequence.name), path.parent / sequence.name]
        media = next((found for found in map(_media, places) if found), None)
        if media is None:
            raise InputError(
                f"{path}: its video {sequence.name!r} is not there (or is a stream); "
                "say where it is with --video PATH"
            )
        yield replace(sequence, video=media[0], images=media[1])
    if unused := [each for each in videos if each not in used]:
        names = ", ".join(Path(sequence.name).name for sequence in sequences[:20])
        raise UsageError(f"--video {unused[0]}: the rows are of no file of that name, but of {names}")


def _media(path: Path) -> tuple[Path, tuple[Path, ...] | None] | None:
    """A video file, or images with their folder: one, a folder of them, or a pattern; None when not there."""
    try:
        if path.is_file():
            return (path.parent, (path,)) if is_image_name(path) else (path, None)
        if path.is_dir():
            return path, tuple(list_images(path))
        if glob.has_magic(str(path)):
            found = sorted(map(Path, glob.glob(str(path))), key=natural_key)
            images = tuple(each for each in found if is_image_name(each))
            return (images[0].parent, images) if images else None
    except (OSError, ValueError):  # a name that is too long, or holds a null
        return None
    return None


def _free_name(sequence: RawSequence, taken: set[str]) -> str:
    """A name for a sequence of rows: that of its file or folder, fit to be a file name, and not taken."""
    stem = sequence.video.resolve().name if sequence.images else sequence.video.stem
    kept = "".join("_" if name_fault(f"a{letter}a") else letter for letter in stem).strip(" .") or "clip"
    name, count = kept[:100], 1
    while name.lower() in taken:
        count += 1
        name = f"{kept[:100]}_{count}"
    taken.add(name.lower())
    return name


def _write_folder(
    source: Path,
    out: Path,
    writer: LabelWriter,
    items: list[Item],
    classes: tuple[str, ...],
    videos: str,
    notes: list[str],
) -> list[str]:
    """Write under a temporary name, then rename; returns all notes."""
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        os.chmod(work, 0o755)  # mkdtemp's 0700 would stay with the folder
        notes = writer.write(items, classes, work) + notes
        if videos != "none":
            notes += place_media(items, work, writer.media_path, link=videos == "link")
        lines = "".join(f"- {note}\n" for note in notes or ["nothing was lost"])
        heading = f"{_HEADING} from {source.resolve().name} ({writer.NAME})\n\n"
        count = counted(len(items), "sequence")
        (work / MARK).write_text(f"{heading}{count}. What to know:\n\n{lines}", encoding="utf-8")
        swap_in(work, out)
    except OSError as error:
        raise OutputError(f"{out}: the labels could not be written: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return notes
