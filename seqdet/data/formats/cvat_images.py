"""CVAT for images 1.1: ``<image name width height>`` with shapes in it.

Nothing says whether the images are the frames of a video; their names do (see `stills`). Where the file has
tracks too, the images of a task are its frames, in the order of their ids.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdet.data.checks import is_inside
from seqdet.data.formats import stills
from seqdet.data.formats.cvat_media import Place, file_name
from seqdet.data.formats.cvat_tracks import Entries, at_frames, draw_entries, upright
from seqdet.data.formats.cvat_xml import CvatFile, Image
from seqdet.data.formats.protocol import Problems, RawSequence, path_under
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.video.folder import IMAGE_SUFFIXES, is_image_name

IN_BOTH = "box of an image that a track has too: kept once"


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images that are one sequence.

    Attributes:
        name: of the sequence.
        members: (N,) indices into the images of the file, in time order.
        files: (N) where they are.
        split: as the subset says, or None.
        task_id: of the first.
    """

    name: str
    members: np.ndarray
    files: tuple[Path, ...]
    split: str | None
    task_id: str


def image_sequences(
    content: CvatFile, boxes: Entries, tracks: Entries, place: Place, notes: list[str], problems: Problems
) -> list[RawSequence]:
    """Sequences of images, each with the boxes of its images and of the tracks of its task."""
    files = find_images(content, place.root, problems)
    groups = group_images(content, files, place.root, notes)
    group_of = np.full(len(content.images), -1)
    position_of = np.zeros(len(content.images), np.int64)
    for index, group in enumerate(groups):
        group_of[group.members] = index
        position_of[group.members] = np.arange(len(group.members))
    owner = boxes.shapes.owner
    order = np.lexsort((position_of[owner], group_of[owner]))
    bounds = np.searchsorted(group_of[owner[order]], np.arange(len(groups) + 1))
    sequences = []
    for index, group in enumerate(groups):
        mine = boxes.take(order[bounds[index] : bounds[index + 1]])
        shapes = mine.shapes
        rows: tuple[np.ndarray, ...] = (
            shapes.line, position_of[shapes.owner], mine.track_id, mine.class_id,
            upright(shapes.boxes_xyxy_px, shapes.rotation_deg),
        )  # fmt: skip
        if content.tracks:
            own = tracks if len(groups) == 1 else tracks.take(tracks.task_id == group.task_id)
            rows = _with_tracks(content, group, own, rows, problems)
        sequences.append(_image_sequence(content, group, rows, problems))
    known = np.isin(tracks.task_id, [group.task_id for group in groups]) | (len(groups) == 1)
    for line in tracks.shapes.line[~known].tolist():
        problems.fail(f"{content.path}:{line}", "task_id: its track is of no task that has images")
    return sequences


def _with_tracks(
    content: CvatFile, group: ImageGroup, tracks: Entries, rows: tuple[np.ndarray, ...], problems: Problems
) -> tuple[np.ndarray, ...]:
    """The boxes of images and those of tracks; a box that both have is the track's."""
    numbers = np.array([number_of(content, index) for index in group.members.tolist()])
    for index in np.flatnonzero(np.diff(numbers) == 0).tolist():
        line = content.images[int(group.members[index + 1])].line
        problems.fail(f"{content.path}:{line}", f"image: id: {numbers[index]} occurs twice")
    tracks = at_frames(content.path, tracks, group.files[0].parent, numbers, problems)
    drawn = draw_entries(tracks, numbers, len(numbers), 1, str(content.path), problems)
    source = drawn.source
    drawn_rows = (
        tracks.shapes.line[source], drawn.position, tracks.track_id[source], tracks.class_id[source],
        drawn.boxes_xyxy_px,
    )  # fmt: skip
    seen = set(_keys(drawn_rows))
    own = np.array([key not in seen for key in _keys(rows)], bool)
    problems.note(IN_BOTH, [f"{content.path}:{line}" for line in rows[0][~own].tolist()])
    return tuple(np.concatenate([a[own], b]) for a, b in zip(rows, drawn_rows, strict=True))


def _keys(rows: tuple[np.ndarray, ...]) -> list[tuple[float, ...]]:
    _, position, _, class_id, boxes = rows
    return list(map(tuple, np.column_stack([position, class_id, np.round(boxes, 2)]).tolist()))


def _image_sequence(
    content: CvatFile, group: ImageGroup, rows: tuple[np.ndarray, ...], problems: Problems
) -> RawSequence:
    images = [content.images[index] for index in group.members.tolist()]
    for image in images:
        if image.size_wh != images[0].size_wh:
            problems.fail(
                f"{content.path}:{image.line}",
                f"image: {image.size_wh} pixels; line {images[0].line}, of the same sequence, says "
                f"{images[0].size_wh}",
            )
    row, frame, track_id, class_id, boxes_xyxy_px = rows
    several = len(group.files) > 1
    return RawSequence(
        name=file_name(group.name),
        video=group.files[0].parent if several else group.files[0],
        images=group.files,
        labels_file=content.path,
        row_form="{file}:{row}",
        row=row,
        frame=frame,
        track_id=track_id,
        class_id=class_id,
        boxes_xyxy_px=boxes_xyxy_px,
        size_wh=images[0].size_wh,
        split=group.split,
    )


def find_images(content: CvatFile, root: Path, problems: Problems) -> list[Path | None]:
    """Where each image is; None, noted as a problem, where it is not found or another image has the file."""
    places: list[Path | None] = []
    seen: dict[Path, int] = {}
    bases = _bases(content, root)
    for image in content.images:
        where = f"{content.path}:{image.line}"
        path = None
        if not is_inside(image.name):
            problems.fail(where, f"image: name: {image.name[:120]!r} leads out of the source folder")
        else:
            path = _find(image, root, bases[image.subset])
            if path is None:
                listed = ", ".join(str(base) for base in bases[image.subset])
                problems.fail(where, f"image: name: there is no {image.name[:120]!r} in {listed}")
        if path is not None and path in seen:
            problems.fail(where, f"image: name: {image.name[:120]!r} occurs in line {seen[path]} too")
            path = None
        elif path is not None:
            seen[path] = image.line
        places.append(path)
    return places


def none_is_there(content: CvatFile, root: Path) -> bool:
    """True when the images are frames of a video by name, and not one of them is a file."""
    bases = _bases(content, root)
    return all(
        frame_number(image.name) is not None and _find(image, root, bases[image.subset]) is None
        for image in content.images
    )


def frame_number(name: str) -> int | None:
    """The number in the name that CVAT gives a frame of a video, or None for another name."""
    match = re.fullmatch(r"frame_([0-9]{1,15})(\.[A-Za-z]+)?", name)
    return int(match[1]) if match else None


def _bases(content: CvatFile, root: Path) -> dict[str, list[Path]]:
    """For each subset the folders that may hold its images, its own first."""
    bases = {}
    for subset in {image.subset for image in content.images}:
        own = [f"images/{subset}", subset] if subset else []
        wanted = (path_under(root, name) for name in (*own, "images", "."))
        bases[subset] = [path for path in wanted if path is not None and path.is_dir()]
    return bases


def _find(image: Image, root: Path, bases: list[Path]) -> Path | None:
    # Frames of a video have names without a suffix in the XML, and files frame_000000.PNG.
    suffixes = [""] if is_image_name(image.name) else [".PNG", ".png", ".jpg", *sorted(IMAGE_SUFFIXES), ""]
    for base in bases:
        for suffix in suffixes:
            path = path_under(root, image.name + suffix, base)
            if path is not None and path.is_file():
                return path
    return None


def group_images(
    content: CvatFile, places: list[Path | None], root: Path, notes: list[str]
) -> list[ImageGroup]:
    """Sequences of the images that were found."""
    if content.tracks:
        return _groups_by_task(content, places)
    index_of = {path: index for index, path in enumerate(places) if path is not None}
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for path, index in index_of.items():
        by_split[split_of(content.images[index].subset, notes)].append(path)
    groups = []
    names: set[str] = set()
    for split, paths in sorted(by_split.items(), key=lambda item: item[0] or ""):
        for group in stills.frame_groups(paths, root):
            members = np.array([index_of[path] for path in group.images], np.int64)
            name = group.name
            if name.lower() in names:  # the same name in another split
                name = f"{name}_{split or 'rest'}"
            names.add(name.lower())
            task_id = content.images[int(members[0])].task_id
            groups.append(ImageGroup(name, members, group.images, split, task_id))
    notes.extend(_sentences(groups))
    return groups


def _groups_by_task(content: CvatFile, places: list[Path | None]) -> list[ImageGroup]:
    """The images of each task, in the order of their ids."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(places):
        if path is not None:
            members[content.images[index].task_id].append(index)
    groups = []
    for task_id, indices in members.items():
        indices.sort(key=lambda index: number_of(content, index))
        files = tuple(path for index in indices if (path := places[index]) is not None)
        split = split_of(content.images[indices[0]].subset, [])
        groups.append(ImageGroup(f"task_{task_id}", np.array(indices), files, split, task_id))
    return groups


def number_of(content: CvatFile, index: int) -> int:
    """Number by which tracks know an image."""
    number = content.images[index].number
    return index if number is None else number


def split_of(subset: str, notes: list[str]) -> str | None:
    """The split that a subset's name means, or None."""
    split = SPLIT_WORDS.get(subset.lower())
    sentence = f"the subset {subset!r} is none of train, val and test: taken as no split"
    if split is None and subset.lower() not in ("", "default") and sentence not in notes:
        notes.append(sentence)
    return split


def _sentences(groups: list[ImageGroup]) -> list[str]:
    lengths = {len(group.files) > 1 for group in groups}
    return [
        sentence
        for several, sentence in ((True, stills.VIDEOS), (False, stills.STILLS))
        if several in lengths
    ]
