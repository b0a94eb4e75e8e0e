"""CVAT 1.1: ``annotations.xml`` as "CVAT for video" or "for images" exports it, of a task, job or project.

For video, a ``<track>`` lists shapes by frame of the video (``start_frame``, every ``frame_filter`` step),
with edges from 0. Entries may be keyframes only: between them boxes move as CVAT moves them. For images, an
``<image>`` holds its shapes. Only boxes are kept, and the upright box around polygons, ellipses, masks and
rotated boxes.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from seqdet.data.formats import cvat_images
from seqdet.data.formats.cvat_media import Media, Place, Task, file_name, find_media, read_tasks
from seqdet.data.formats.cvat_tracks import Entries, at_frames, draw_entries
from seqdet.data.formats.cvat_xml import CvatFile, parse
from seqdet.data.formats.markup import root_tag
from seqdet.data.formats.protocol import Problems, RawDataset, RawSequence
from seqdet.data.formats.unfinished import refuse_unfinished
from seqdet.errors import InputError

NAME = "cvat"
LOOKS = "annotations.xml of CVAT (for video or for images), beside the video or images/"
UNLABELLED = "frame before start_frame or after stop_frame: taken as a frame without object"
STEPPED_OVER = "frame that frame_filter steps over: boxes interpolated from the frames beside it"
NO_IMAGE = "labelled frame without object and without an image: left out"
EMPTY_TASK = "task without a box whose video is not there: left out"
NO_LABEL = "shape with an empty label: left out"
ID_TWICE = "id of an earlier track: kept as a track of its own"


def sniff(source: Path) -> bool:
    """True for such a file, or a folder with one in it, in its ``annotations`` folder or in its folders."""
    return bool(_files(source))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all files; several become one data set.

    Raises:
        InputError: a file that is not XML of CVAT, or files with different classes.
    """
    if source.is_dir():
        for folder in (source, *_inner(source)):
            refuse_unfinished(sorted(folder.glob("*.xml")))
    files = _files(source) or ([source] if source.is_file() else [])
    if not files:
        raise InputError(f"{source}: there is no XML file with <annotations> of CVAT in it or in its folders")
    roots = [_root(path) for path in files]
    places: dict[Path, Place] = {}
    parts = []
    for path, root in zip(files, roots, strict=True):
        content = parse(path, problems)
        tasks = read_tasks(path, content.meta, problems)
        place = places.setdefault(root, Place(root, alone=len(tasks) == 1 and roots.count(root) == 1))
        parts.append(_read_file(content, tasks, place, problems))
        if parts[-1].classes != parts[0].classes:
            raise InputError(f"{path}: its labels are not those of {files[0]}; ingest the files one by one")
    sequences = [sequence for part in parts for sequence in part.sequences]
    notes = [note for part in parts for note in part.notes]
    notes += [note for place in places.values() for note in place.notes]
    return RawDataset(parts[0].classes, _with_unique_names(sequences), tuple(dict.fromkeys(notes)))


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if _looks_right(source) else []
    if not source.is_dir():
        return []
    for folders in ([source, source / "annotations"], _inner(source)):
        found = [
            path
            for folder in folders
            if folder.is_dir()
            for path in sorted(folder.glob("*.xml"))
            if _looks_right(path)
        ]
        if found:
            return found
    return []


def _inner(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))


def _looks_right(path: Path) -> bool:
    if path.suffix.lower() != ".xml" or root_tag(path) != "annotations":
        return False
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16).replace(b"\0", b"")  # also in UTF-16
    except OSError:
        return False
    return re.search(rb"<(meta|track|image|version)[\s>/]", head) is not None


def _root(path: Path) -> Path:
    """The folder that holds the file and its media."""
    folder = path.parent
    return folder.parent if folder.name == "annotations" and not (folder / "images").is_dir() else folder


def _read_file(content: CvatFile, tasks: list[Task], place: Place, problems: Problems) -> RawDataset:
    notes: list[str] = []
    classes = _classes(content, notes)
    tracks = _in_tracks(content, classes, problems)
    if content.images and (content.tracks or not cvat_images.none_is_there(content, place.root)):
        entries = _in_images(content, classes, problems)
        sequences = cvat_images.image_sequences(content, entries, tracks, place, notes, problems)
        return RawDataset(classes, sequences, tuple(notes))
    if content.images:  # frames of a video that was not exported as images: each box for itself
        entries = _in_images(content, classes, problems)
        numbers = [cvat_images.frame_number(image.name) or 0 for image in content.images]
        shapes = replace(
            entries.shapes,
            frame=np.array(numbers, np.int64)[entries.shapes.owner],
            owner=np.arange(len(entries.class_id)),
            keyframe=np.zeros(len(entries.class_id), bool),  # none goes on
        )
        tracks = replace(entries, shapes=shapes)
    if len(tasks) > 1:
        known = np.isin(tracks.task_id, [task.task_id for task in tasks])
        for line in np.unique(tracks.shapes.line[~known]).tolist():
            problems.fail(f"{content.path}:{line}", "task_id: its track is of no task that <meta> lists")
    sequences = []
    for task in tasks:
        mine = tracks if len(tasks) == 1 else tracks.take(tracks.task_id == task.task_id)
        sequence = _video_sequence(content, task, mine, place, problems)
        sequences += [sequence] if sequence else []
    return RawDataset(classes, sequences, tuple(notes))


def _classes(content: CvatFile, notes: list[str]) -> tuple[str, ...]:
    """The labels in the order of <meta>, without those of the points of a skeleton."""
    labels = [] if content.meta is None else list(content.meta.iter("label"))
    names = [(label.findtext("name") or "").strip() for label in labels if not label.findtext("parent")]
    if "" in names or len(set(names)) != len(names):
        raise InputError(f"{content.path}: meta: labels: each needs a name of its own, got {names[:20]}")
    if not names:
        names = sorted({*content.labels, *(track.label for track in content.tracks)} - {""})
        notes.append("<meta> lists no labels: the classes are those that occur, in alphabetical order")
    if not names:
        raise InputError(f"{content.path}: it names no label, neither in <meta> nor at a shape")
    return tuple(names)


def _known(
    path: Path,
    labels: list[str],
    label_of_row: np.ndarray,
    lines: np.ndarray,
    classes: tuple[str, ...],
    problems: Problems,
) -> np.ndarray:
    """Class of each row; -1 after a message where there is none."""
    index = {name: number for number, name in enumerate(classes)}
    class_of_label = np.array([index.get(label, -1) for label in labels], np.int64)
    class_id = class_of_label[label_of_row] if len(label_of_row) else np.zeros(0, np.int64)
    empty: list[str] = []
    for row in np.flatnonzero(class_id < 0).tolist():
        label, where = labels[label_of_row[row]], f"{path}:{lines[row]}"
        if label:
            problems.fail(where, f"label: {label[:80]!r} is none of {', '.join(classes[:20])}")
        else:
            empty.append(where)
    problems.drop(NO_LABEL, empty)
    return class_id


def _in_tracks(content: CvatFile, classes: tuple[str, ...], problems: Problems) -> Entries:
    """Entries of tracks, sorted by track, then frame. Each <track> is one, whatever its id."""
    shapes, tracks = content.in_tracks, content.tracks
    labels = [track.label for track in tracks]
    lines = np.array([track.line for track in tracks], np.int64)
    class_id = _known(content.path, labels, np.arange(len(tracks)), lines, classes, problems)
    ids = [track.track_id for track in tracks]
    seen: set[tuple[str, int]] = set()
    repeated: list[str] = []
    unused = max(ids, default=0) + 1
    for index, track in enumerate(tracks):
        if (track.task_id, track.track_id) in seen:
            repeated.append(f"{content.path}:{track.line}")
            ids[index] = unused
            unused += 1
        seen.add((track.task_id, track.track_id))
    problems.drop(ID_TWICE, repeated)
    order = np.lexsort((shapes.frame, shapes.owner))
    shapes = shapes.take(order[class_id[shapes.owner[order]] >= 0])
    task_ids = np.array([track.task_id for track in tracks], dtype=object)
    return Entries(
        shapes, task_ids[shapes.owner], np.array(ids, np.int64)[shapes.owner], class_id[shapes.owner]
    )


def _in_images(content: CvatFile, classes: tuple[str, ...], problems: Problems) -> Entries:
    shapes = content.in_images
    class_id = _known(content.path, content.labels, shapes.label, shapes.line, classes, problems)
    task_ids = np.array([image.task_id for image in content.images], dtype=object)
    entries = Entries(shapes, task_ids[shapes.owner], np.full(len(class_id), -1), class_id)
    return entries.take(class_id >= 0)


def _video_sequence(
    content: CvatFile, task: Task, entries: Entries, place: Place, problems: Problems
) -> RawSequence | None:
    """One task that CVAT holds as a video; None after a message when its frames are not known."""
    where = f"{content.path}: task {task.name!r}" if task.name else str(content.path)
    shown = entries.shapes.frame[~entries.shapes.outside]
    try:
        media = find_media(task, int(shown.max(initial=-1)), place)
        _hold_against(task, media, where, problems)
    except InputError as error:
        if len(shown) or place.alone:
            problems.fail(where, str(error))
        else:
            problems.drop(EMPTY_TASK, [where])
        return None
    entries = at_frames(content.path, entries, media.video, media.numbers, problems)
    end = len(media.numbers)
    if task.stop is not None:
        end = int(np.searchsorted(media.numbers, task.stop, "right"))
    drawn = draw_entries(entries, media.numbers, end, task.step, where, problems)
    own_name = media.video.stem if media.images is None else place.root.resolve().name
    return RawSequence(
        name=file_name(Path(task.source).stem or task.name or own_name),
        video=media.video,
        images=media.images,
        labels_file=content.path,
        row_form="{file}:{row}",
        row=entries.shapes.line[drawn.source],
        frame=drawn.position,
        track_id=entries.track_id[drawn.source],
        class_id=entries.class_id[drawn.source],
        boxes_xyxy_px=drawn.boxes_xyxy_px,
        first_frame=int(media.numbers[0]),
        size_wh=task.size_wh,
        split=cvat_images.split_of(task.subset, place.notes),
    )


def _hold_against(task: Task, media: Media, where: str, problems: Problems) -> None:
    """Count frames that were not labelled, and labelled frames that are not there.

    Raises:
        InputError: the video is shorter than the labels say.
    """
    numbers = media.numbers
    stop = numbers.max(initial=-1) if task.stop is None else task.stop
    if not len(numbers) or (media.images is None and stop >= len(numbers)):
        raise InputError(
            f"the labels say frames to {stop}, {media.video} has {len(numbers)}, counted from 0; are they "
            "of one cut?"
        )
    within = (numbers >= task.start) & (numbers <= stop)
    labelled = within & ((numbers - task.start) % task.step == 0)
    counts = {
        UNLABELLED: np.count_nonzero(~within),
        STEPPED_OVER: np.count_nonzero(within & ~labelled),
        NO_IMAGE: (stop - task.start) // task.step + 1 - np.count_nonzero(labelled),
    }
    for reason, count in counts.items():
        problems.drop(reason, [f"{where} ({media.video.name})"] if count > 0 else [], max(int(count), 0))


def _with_unique_names(sequences: list[RawSequence]) -> list[RawSequence]:
    """Names with _2, _3 where they came before; sequences of one video are of one recording."""
    seen: Counter[str] = Counter()
    videos = Counter(sequence.video for sequence in sequences if sequence.images is None)
    unique = []
    for sequence in sequences:
        seen[sequence.name.lower()] += 1
        count = seen[sequence.name.lower()]
        unique.append(
            replace(
                sequence,
                name=sequence.name if count == 1 else f"{sequence.name}_{count}",
                recording=sequence.video.stem if videos[sequence.video] > 1 else None,
            )
        )
    return unique
