"""Plain CSV, one row a box: the names in the first line say what the columns are.

Needed are ``frame`` (from 0; ``frame_from_1`` from 1), ``class``, and ``left, top, right, bottom`` (or
``left, top, width, height``) as edges in pixels from 0. ``video`` says which video a row is of; without it
the file is of the video of its name. ``track_id`` is optional. Rows that name an image in place of a frame
are read by the rule of ``stills``. Synonyms are in ``csv_layout``; the rows that ``seqdet detect`` saves are
of this form.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from seqdet.boxes import xyxy_from_ltwh
from seqdet.data.formats.columns import ROWS_AT_ONCE, NumberColumn, read_numbers
from seqdet.data.formats.csv_layout import (
    Header,
    Media,
    label_files,
    read_header,
    require_columns,
    table_files,
)
from seqdet.data.formats.protocol import EXAMPLES, Problems, RawDataset, RawSequence
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.data.formats.stills import STILLS, VIDEOS, frame_groups
from seqdet.errors import InputError
from seqdet.video.folder import list_images

NAME = "csv"
LOOKS = "a .csv or .tsv file, or a folder of them, with columns video, frame, class, left, top, right, bottom"
NO_BOXES = "table without columns for boxes: left out"
NO_ROWS = "video or image that no row names: left out (a row with an empty box says that it holds no object)"
UNLISTED = "frame between labelled images that no row names: taken as a frame without object"
NO_BOX = "row with an empty box: its video or image is taken, without an object there"
FROM_ZERO = (
    "frames count from 0, and no row is of frame 0: if yours count from 1, call the column frame_from_1"
)


@dataclass(slots=True)
class _Table:
    """The rows of one file.

    Attributes:
        path, header: the file and what its columns mean.
        media: finds what its rows name.
        line, frame, track_id, class_id, boxes_xyxy_px: as in RawSequence.
        source: (M,) index into ``sources``.
        sources: video or image as the file names it, and the first line that does.
        found: where each of them is; None where it is nowhere.
    """

    path: Path
    header: Header
    media: Media
    line: np.ndarray
    frame: np.ndarray
    track_id: np.ndarray
    class_id: np.ndarray
    boxes_xyxy_px: np.ndarray
    source: np.ndarray
    sources: dict[str, int]
    found: list[Path | None] = field(default_factory=list)


def sniff(source: Path) -> bool:
    """True for a .csv or .tsv file, or a folder with one that has columns for boxes."""
    return (source.is_file() or source.is_dir()) and bool(label_files(source))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all files of a source as one data set.

    Raises:
        InputError: a file that is not CSV or lacks columns, or no box in any.
    """
    paths = label_files(source) or (table_files(source) if source.is_dir() else [source])
    if not paths:
        raise InputError(f"{source}: there is no .csv or .tsv file in it")
    root = source if source.is_dir() else source.parent
    root = root.parent if root.name.lower() in ("labels", "annotations") else root
    for path in sorted({*table_files(source)} - {*paths}) if source.is_dir() else []:
        read_header(path)  # one that is empty or no text is an error
        problems.note(NO_BOXES, [str(path)])
    names: dict[str, int] = {}
    tables = [_read_table(path, root, names, problems) for path in paths]
    for table in tables:
        _find_sources(table, len(tables) == 1, problems)
    problems.raise_if_failed(source)
    if not names:
        raise InputError(f"{source}: no row names a box, so there is no class")
    notes = _notes(tables)
    sequences: list[RawSequence] = []
    for table in tables:
        others = {path for other in tables if other is not table for path in other.found if path}
        build = (
            _of_images(table, root, others, notes, problems) if table.header.of_images else _of_videos(table)
        )
        sequences.extend(replace(sequence, split=_split(table, source)) for sequence in build)
    _count_unused(tables, sequences, problems)
    classes = tuple(sorted(names))
    order = np.array([classes.index(name) for name in names], np.int64)
    named = zip(sequences, _names(sequences, root), strict=True)
    sequences = [replace(each, name=name, class_id=order[each.class_id]) for each, name in named]
    return RawDataset(classes, sequences, tuple(notes))


def _read_table(path: Path, root: Path, names: dict[str, int], problems: Problems) -> _Table:
    """Parse a file; ``names`` gets the classes that occur, numbered as they come."""
    header = read_header(path)
    require_columns(path, header)
    sources: dict[str, int] = {} if header.source is not None else {path.stem: 1}
    parts: list[tuple[np.ndarray, ...]] = []
    for rows, lines in _chunks(path, header.delimiter):
        parts.append(_parse(path, header, rows, lines, names, sources, problems))
    if not parts:
        parts.append(_parse(path, header, [], np.zeros(0, np.int64), names, sources, problems))
    line, frame, track_id, class_id, box, group = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    if len(box) and box.min() >= 0 and box.max() <= 1:
        problems.fail(path, "all boxes lie between 0 and 1: parts of the frame? Pixels are expected")
    if "width" in header.box:
        box = xyxy_from_ltwh(box)
    media = Media(root, path, header.of_images)
    return _Table(path, header, media, line, frame, track_id, class_id, box, group, sources)


def _chunks(path: Path, delimiter: str) -> Iterator[tuple[list[list[str]], np.ndarray]]:
    """Rows below the header that are not empty, with their line numbers, a bounded number at a time."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            next(reader)
            numbered = ((row, reader.line_num) for row in reader if any(row))
            while chunk := list(islice(numbered, ROWS_AT_ONCE)):
                line = chunk[-1][1]
                yield [row for row, _ in chunk], np.array([number for _, number in chunk], np.int64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text after line {line}: {error.reason}") from error
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not a row of CSV: {error}") from error


def _parse(
    path: Path,
    header: Header,
    rows: list[list[str]],
    lines: np.ndarray,
    names: dict[str, int],
    sources: dict[str, int],
    problems: Problems,
) -> tuple[np.ndarray, ...]:
    """Line, frame, track, class, box and source of the rows that can be used."""

    def fail(row: int, message: str) -> None:
        problems.fail(f"{path}:{lines[row]}", message)

    roles, kind, where = header.roles, header.roles["class"], header.source
    if where is not None:
        for row, number in zip(rows, lines.tolist(), strict=True):
            if len(row) > where:
                sources.setdefault(row[where], number)
    rows, lines = _with_boxes(path, header, rows, lines, problems)
    # A table of a country with decimal commas has semicolons between its cells.
    cells = [[cell.replace(",", ".") for cell in row] for row in rows] if header.delimiter == ";" else rows
    columns = [NumberColumn(header.names[roles[role]], roles[role]) for role in header.box]
    if not header.of_images:
        frame = roles["frame"]
        columns.append(NumberColumn(header.names[frame], frame, whole=True, lowest=header.first_frame))
    if "track_id" in roles:
        track = roles["track_id"]
        columns.append(NumberColumn(header.names[track], track, whole=True, lowest=-1, empty="-1"))
    values, kept = read_numbers(cells, [len(header.names)], columns, fail)
    texts = [rows[row][kind].strip() for row in kept.tolist()]
    if "" in texts:
        for row, text in zip(kept.tolist(), texts, strict=True):
            if not text:
                fail(row, f"{header.names[kind]}: the name of a class is expected")
    count = len(kept)
    frames = np.zeros(count, np.int64)
    if not header.of_images:
        frames = values[:, 4].astype(np.int64) - header.first_frame
    tracks = values[:, -1].astype(np.int64) if "track_id" in roles else np.full(count, -1, np.int64)
    class_id = np.fromiter((names.setdefault(text, len(names)) for text in texts), np.int64, count)
    group = np.zeros(count, np.int64)
    if where is not None:
        index = {text: position for position, text in enumerate(sources)}
        group = np.fromiter((index[rows[row][where]] for row in kept.tolist()), np.int64, count)
    return lines[kept], frames, tracks, class_id, values[:, :4], group


def _with_boxes(
    path: Path, header: Header, rows: list[list[str]], lines: np.ndarray, problems: Problems
) -> tuple[list[list[str]], np.ndarray]:
    """The rows but those with neither box nor class, which are counted."""
    width = len(header.names)
    first, *others = (header.roles[role] for role in (*header.box, "class"))
    empty = [
        not row[first] and not any(row[index].strip() for index in others) if len(row) == width else False
        for row in rows
    ]
    if not any(empty):
        return rows, lines
    found = np.flatnonzero(empty)
    problems.note(NO_BOX, [f"{path}:{lines[row]}" for row in found[:EXAMPLES].tolist()], len(found))
    keep = np.flatnonzero(np.logical_not(empty))
    return [rows[row] for row in keep.tolist()], lines[keep]


def _find_sources(table: _Table, only_file: bool, problems: Problems) -> None:
    """Fill ``found``; what is not there is a problem."""
    for text, line in table.sources.items():
        path, fault = (
            table.media.find(text.strip()) if text.strip() else (None, "the name of a video is expected")
        )
        if path is None and table.header.source is None:
            every = {path for paths in table.media.all().values() for path in paths}
            if only_file and len(every) == 1:  # one table, one video: whatever they are called
                (path,) = every
            fault += "; the file has no column video, so it is of the video of its own name"
        if path is None:
            column = "" if table.header.source is None else f"{table.header.names[table.header.source]}: "
            problems.fail(f"{table.path}:{line}", column + fault)
        table.found.append(path)


def _of_videos(table: _Table) -> Iterator[RawSequence]:
    """One sequence a video."""
    videos = list(dict.fromkeys(path for path in table.found if path))
    index = {path: position for position, path in enumerate(videos)}
    sequence_of = np.array([index[path] for path in table.found if path], np.int64)
    for video, rows in zip(videos, _rows_of(sequence_of[table.source], len(videos)), strict=True):
        images = tuple(list_images(video)) if video.is_dir() else None
        yield _sequence(table, video, images, rows, table.frame[rows])


def _of_images(
    table: _Table, root: Path, others: set[Path], notes: dict[str, None], problems: Problems
) -> Iterator[RawSequence]:
    """One sequence a series of images that follow each other, or an image that stands alone."""
    named = {path for path in table.found if path}
    beside = {image for folder in {path.parent for path in named} for image in list_images(folder)}
    groups = [
        group for group in frame_groups(named | (beside - others), root) if not named.isdisjoint(group.images)
    ]
    position = {image: place for group in groups for place, image in enumerate(group.images)}
    group_of = {image: number for number, group in enumerate(groups) for image in group.images}
    notes |= {(STILLS if len(group.images) == 1 else VIDEOS): None for group in groups}
    unlisted = [image for group in groups for image in group.images if image not in named]
    problems.drop(UNLISTED, map(str, unlisted))
    sequence_of = np.array([group_of[path] for path in table.found if path], np.int64)
    frame_of = np.array([position[path] for path in table.found if path], np.int64)
    for group, rows in zip(groups, _rows_of(sequence_of[table.source], len(groups)), strict=True):
        video = group.images[0] if len(group.images) == 1 else group.images[0].parent
        sequence = _sequence(table, video, group.images, rows, frame_of[table.source[rows]])
        yield replace(sequence, name=group.name)


def _rows_of(sequence_of_row: np.ndarray, count: int) -> list[np.ndarray]:
    """The rows of each of ``count`` sequences, in their order in the file."""
    order = np.argsort(sequence_of_row, kind="stable")
    return np.split(order, np.searchsorted(sequence_of_row[order], np.arange(1, count)))


def _sequence(
    table: _Table, video: Path, images: tuple[Path, ...] | None, rows: np.ndarray, frame: np.ndarray
) -> RawSequence:
    return RawSequence(
        name="",
        video=video,
        images=images,
        labels_file=table.path,
        row_form="{file}:{row}",
        row=table.line[rows],
        frame=frame,
        track_id=table.track_id[rows],
        class_id=table.class_id[rows],
        boxes_xyxy_px=table.boxes_xyxy_px[rows],
        first_frame=table.header.first_frame,
    )


def _split(table: _Table, source: Path) -> str | None:
    """The split that the folder of a file names, or, where it is of many videos, its own name."""
    if table.path.parent != source and (split := SPLIT_WORDS.get(table.path.parent.name.lower())):
        return split
    words = re.split(r"[^a-z]+", table.path.stem.lower()) if table.header.source is not None else []
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def _names(sequences: list[RawSequence], root: Path) -> list[str]:
    """Names of videos: the file's, or with its folders where several have that. Images have theirs."""
    stems = [each.name or (each.video.stem if each.images is None else each.video.name) for each in sequences]
    seen = Counter(stem.lower() for stem in stems)
    return [
        "_".join((*sequence.video.relative_to(root).parent.parts, stem))
        if seen[stem.lower()] > 1 and not sequence.name
        else stem
        for sequence, stem in zip(sequences, stems, strict=True)
    ]


def _notes(tables: list[_Table]) -> dict[str, None]:
    """What the user should know of the files as a whole."""
    unused = dict.fromkeys(name for table in tables for name in table.header.unused if name)
    notes = [f"columns that are not used: {', '.join(unused)}"] if unused else []
    frames = [table.frame for table in tables if len(table.frame) and not table.header.of_images]
    if (
        frames
        and min(int(frame.min()) for frame in frames) == 1
        and not any(table.header.first_frame for table in tables)
    ):
        notes.append(FROM_ZERO)
    return dict.fromkeys(notes)


def _count_unused(tables: list[_Table], sequences: list[RawSequence], problems: Problems) -> None:
    """Count the videos and images beside the label files that no row names."""
    used = {path for each in sequences for path in (each.video, *(each.images or ()))}
    found = {path for table in tables for paths in table.media.all().values() for path in paths}
    problems.drop(NO_ROWS, (str(path) for path in sorted(found) if path not in used))
