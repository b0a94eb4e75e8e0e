"""Label Studio's JSON export: a list of tasks, each with a video or an image, annotations and their results.

A ``videorectangle`` result is a track: keyframes (``frame`` from 1; ``x``, ``y``, ``width``, ``height`` in
percent of the frame; ``rotation`` in degrees around the upper left corner), linear in between. The object is
there from each enabled keyframe to the next, and after the last to the end of the video; a keyframe that is
not enabled is its last frame until the next keyframe, as in Label Studio's player. Frames are those of the
frame rate that the labelling project was set to; where it is not the video's, keyframes are placed by time.

``rectanglelabels`` are boxes of an image. ``choices`` of a whole task name the class of its sequence if they
name classes of boxes or if there are no boxes. Predictions are no labels. JSON-MIN is read too, but there a
single choice is a text like any other, known only by the name of its tag.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.data.dataset import SPLITS
from seqdet.data.formats.coco_parts import label_files
from seqdet.data.formats.label_studio_media import MediaFinder, sequence_name
from seqdet.data.formats.label_studio_tasks import POLYGONS, Region, Task, read_results, read_tasks
from seqdet.data.formats.label_studio_tracks import (
    boxes_px,
    frames_per_step,
    keyframe_table,
    percent_box,
    polygon_box,
    track_boxes,
)
from seqdet.data.formats.protocol import EXAMPLES, Problems, RawDataset, RawSequence
from seqdet.data.formats.stills import STILLS, VIDEOS, FrameGroup, frame_groups
from seqdet.data.formats.unfinished import refuse_unfinished
from seqdet.errors import InputError
from seqdet.video.probe import count_packets
from seqdet.video.reader import read_info

NAME = "label-studio"
LOOKS = (
    "a .json export of Label Studio (a list of tasks) beside its videos or images, or a folder that holds one"
)
ROTATED = "rotated box: the upright box around it is taken"
POLYGON = "polygon: the box around it is taken"
MORE_TASKS = "further task of a video or image that has one already: left out"
MORE_CHOICES = "task with several choices: its sequence has no single class"
_LARGEST = 1 << 24  # pixels
_FULL_KEYS = (b'"from_name"', b'"predictions"', b'"was_cancelled"', b'"inner_id"', b'"completions"')


def sniff(source: Path) -> bool:
    """True for such a file, or a folder with one in it."""
    return bool(_files(source))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all exports of a folder, or one.

    Raises:
        InputError: a file that is not JSON or no list of tasks, or that labels nothing.
    """
    if source.is_dir():
        refuse_unfinished(label_files(source))
    files = _files(source) or ([source] if source.is_file() else [])
    if not files:
        raise InputError(f"{source}: there is no .json export of Label Studio in it")
    finder = MediaFinder(source if source.is_dir() else source.parent)
    tasks: list[Task] = []
    seen: set[Path] = set()
    for path in files:
        for task in read_tasks(path, problems):
            media = finder.find(task.data, task.file_upload, task.place, problems)
            if media in seen:
                problems.drop(MORE_TASKS, [f"{task.place} ({media.name})"])
            elif media is not None:
                seen.add(media)
                task.media = media
                read_results(task, problems)
                tasks.append(task)
    notes: list[str] = []
    classes, question = _classes(tasks, notes)
    if not classes and not problems.failed:
        raise InputError(f"{source}: there is no labelled box or video in it")
    class_ids = {name: index for index, name in enumerate(classes)}
    sequences: list[RawSequence] = []
    images: dict[Path, dict[Path, Task]] = {}
    for task in tasks:
        if not task.is_video:
            images.setdefault(task.labels_file, {})[task.media] = task
        elif sequence := _video_sequence(task, finder.root, class_ids, question, problems):
            sequences.append(sequence)
    for of_file in images.values():
        groups = frame_groups(of_file, finder.root)
        notes.extend({STILLS if len(group.images) == 1 else VIDEOS: None for group in groups})
        for group in groups:
            members = [of_file[image] for image in group.images]
            sequences.append(_image_sequence(group, members, class_ids, question, problems))
    return RawDataset(classes, sequences, tuple(dict.fromkeys(notes)))


def _files(source: Path) -> list[Path]:
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    return [path for path in paths if path.suffix.lower() == ".json" and _looks_right(path)]


def _looks_right(path: Path) -> bool:
    """True for a list with the keys of a full or a JSON-MIN export; the file is searched, not parsed."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if not content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                return False
            if content.find(b'"annotation_id"') >= 0 and content.find(b'"annotator"') >= 0:
                return True
            listed = content.find(b'"annotations"') >= 0 or content.find(b'"completions"') >= 0
            return (
                listed and content.find(b'"data"') >= 0 and any(content.find(key) >= 0 for key in _FULL_KEYS)
            )
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def _classes(tasks: list[Task], notes: list[str]) -> tuple[tuple[str, ...], str | None]:
    """The classes, and which choice names the class of a sequence, if any does."""
    names = {region.label for task in tasks for region in task.regions}
    answers: dict[str, set[str]] = {}
    for task in tasks:
        for question, chosen in task.choices.items():
            answers.setdefault(question, set()).update(chosen)
    class_question = next((key for key, said in answers.items() if not names or said <= names), None)
    names = names or answers.get(class_question or "", set())
    notes.extend(
        f"the choice {key!r} names no classes of boxes: kept as an attribute of the sequences"
        for key in answers
        if key != class_question
    )
    return tuple(sorted(names)), class_question


def _about(tasks: list[Task], question: str | None, problems: Problems) -> dict[str, Any]:
    """What the tasks of one sequence say of all of it: what they agree on."""
    labels: set[str | None] = set()
    attributes: dict[str, list[str]] = {}
    for task in tasks:
        chosen = task.choices.get(question or "", [])
        if len(chosen) > 1:
            problems.note(MORE_CHOICES, [task.place])
        labels.add(chosen[0] if len(chosen) == 1 else None)
        for key, said in task.choices.items():
            if key != question:
                attributes.setdefault(key, []).extend(said)
    recordings = {task.data.get("recording") for task in tasks if isinstance(task.data.get("recording"), str)}
    splits = {task.data.get("split") for task in tasks if task.data.get("split") in SPLITS}
    return {
        "label": labels.pop() if len(labels) == 1 else None,
        "attributes": {key: ", ".join(dict.fromkeys(said)) for key, said in attributes.items()},
        "recording": recordings.pop() or None if len(recordings) == 1 else None,
        "split": splits.pop() if len(splits) == 1 else None,
    }


def _video_sequence(
    task: Task, root: Path, class_ids: dict[str, int], question: str | None, problems: Problems
) -> RawSequence | None:
    try:
        info, frames = read_info(task.media), count_packets(task.media).packets
    except InputError as error:
        problems.fail(task.place, f"its video cannot be read: {error}")
        return None
    tables = [
        (region, table)
        for region in task.regions
        if len(table := keyframe_table(region.value, task.result_place(region.position), problems))
    ]
    values = [region.value for region, _ in tables]
    step = frames_per_step(values, frames, info.fps, task.place, problems)
    frame, index, class_id, boxes = [np.zeros(0, np.int64)], [-1], [-1], [np.zeros((0, 5))]
    for region, table in tables:
        place = task.result_place(region.position)
        at, box = track_boxes(table, step, frames, place, problems)
        frame.append(at)
        boxes.append(box)
        index.append(region.position)
        class_id.append(class_ids[region.label])
        if (box[:, 4] % 360 != 0).any():
            problems.drop(ROTATED, [place], int(np.count_nonzero(box[:, 4] % 360)))
    counts = [len(at) for at in frame]
    row = np.repeat(np.array(index, np.int64), counts)
    return RawSequence(
        name=sequence_name(task.media, root),
        video=task.media,
        images=None,
        labels_file=task.labels_file,
        row_form=task.row_form,
        row=row,
        frame=np.concatenate(frame),
        track_id=row.copy(),
        class_id=np.repeat(np.array(class_id, np.int64), counts),
        boxes_xyxy_px=boxes_px(np.concatenate(boxes), np.array([info.size_wh], np.float64)),
        first_frame=1,
        **_about([task], question, problems),
    )


def _image_sequence(
    group: FrameGroup,
    tasks: list[Task],
    class_ids: dict[str, int],
    question: str | None,
    problems: Problems,
) -> RawSequence:
    rows: list[tuple[float, ...]] = []
    sizes: set[tuple[int, int]] = set()
    for frame, task in enumerate(tasks):
        size: tuple[int, int] | None = None
        for region in task.regions:
            place = task.result_place(region.position)
            size = _image_size(region, task.media, place, problems, size)
            polygon = region.kind in POLYGONS
            box = polygon_box(region.value) if polygon else percent_box(region.value)
            if box is None:
                expected = "points: pairs of" if polygon else "x, y, width, height, rotation:"
                problems.fail(place, f"value.{expected} numbers are expected")
            elif size is not None:
                rows.append((task.index, frame, class_ids[region.label], *box, *size))
                sizes.add(size)
                if polygon or box[4] % 360:
                    problems.drop(POLYGON if polygon else ROTATED, [place])
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)[:EXAMPLES])
        problems.fail(tasks[0].place, f"original_width: images of one video have several sizes: {listed}")
    table = np.array(rows, np.float64).reshape(-1, 10)
    return RawSequence(
        name=group.name,
        video=group.images[0].parent,
        images=group.images,
        labels_file=tasks[0].labels_file,
        row_form="{file}: [{row}]",
        row=table[:, 0].astype(np.int64),
        frame=table[:, 1].astype(np.int64),
        track_id=np.full(len(table), -1, np.int64),
        class_id=table[:, 2].astype(np.int64),
        boxes_xyxy_px=boxes_px(table[:, 3:8], table[:, 8:]),
        size_wh=min(sizes, default=None),
        **_about(tasks, question, problems),
    )


def _image_size(
    region: Region, image: Path, place: str, problems: Problems, known: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Width and height that the percentages refer to: as the export says, else those of the image."""
    width, height = region.result.get("original_width"), region.result.get("original_height")
    if region.result.get("image_rotation"):
        problems.fail(
            place, "image_rotation: the image was turned while it was labelled; boxes cannot be placed"
        )
        return None
    if type(width) is int and type(height) is int and 0 < width < _LARGEST and 0 < height < _LARGEST:
        return width, height
    if width is not None or height is not None:
        problems.fail(place, f"original_width: numbers of pixels are expected, got {str(width)[:40]}")
        return None
    if known is not None:
        return known
    try:
        return read_info(image).size_wh
    except InputError as error:
        problems.fail(place, f"its image cannot be read: {error}")
        return None
