"""COCO labels of videos (CocoVID, as mmtracking, TAO and others write it): one JSON file for many videos.

``videos`` (id, name), ``images`` (id, video_id, frame_id or frame_index, file_name), ``categories`` (id,
name) and ``annotations`` (image_id, category_id, bbox as left, top, width, height from 0, track_id or
instance_id). The frames are the images that are listed, in the order of their frame ids, or those of a video
file of the video's name, which ``frame_id`` then counts from 0.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.boxes import xyxy_from_ltwh
from seqdet.data.checks import is_inside, is_plain_number
from seqdet.data.formats.coco_parts import (
    IGNORED,
    LARGEST_ID,
    TRACK_KEYS,
    box_fault,
    keys_in,
    label_files,
    read_categories,
    read_document,
    refuse_other_classes,
    root_of,
    split_of,
    track_fault,
)
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems, RawDataset, RawSequence, path_under
from seqdet.data.formats.unfinished import refuse_unfinished
from seqdet.errors import InputError
from seqdet.video.folder import natural_key
from seqdet.video.probe import count_packets

NAME = "coco-vid"
LOOKS = 'a .json file with "videos", "images" and "annotations", or a folder that holds one'
LISTS = ("videos", "images", "annotations", "categories")
FRAME_KEYS = ("frame_id", "frame_index")
NO_IMAGES = "video without images: left out"
UNLISTED = "frame of a video file that the label file does not list: taken as a frame without object"


@dataclass(slots=True)
class _Video:
    """One element of "videos", and where its frames were found."""

    path: Path
    index: int
    name: str = ""
    fps: float | None = None
    recording: str | None = None
    images: list[_Image] = field(default_factory=list)
    file: Path | None = None
    frames: tuple[Path, ...] | None = None

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.path}: videos[{self.index}]"


@dataclass(slots=True)
class _Image:
    """One element of "images"."""

    place: str
    video_id: int
    frame: int | None
    file_name: str
    size_wh: tuple[int, int] | None
    position: int = -1  # among the frames of its video, from 0


def sniff(source: Path) -> bool:
    """True for such a file, or a folder with one in it or in its ``annotations`` folder."""
    return bool(_files(source))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all files; several (train.json, val.json) become one data set.

    Raises:
        InputError: a file that is not JSON or has not the four lists, or files with different classes.
    """
    if source.is_dir():
        refuse_unfinished(label_files(source))
    files = _files(source) or ([source] if source.is_file() else [])
    if not files:
        raise InputError(
            f"{source}: there is no .json file with {', '.join(LISTS)} in it or in its annotations folder"
        )
    root = root_of(source)
    parts = [_read_file(path, root, problems) for path in files]
    refuse_other_classes(files, [part.classes for part in parts])
    return RawDataset(
        parts[0].classes,
        [sequence for part in parts for sequence in part.sequences],
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if _looks_right(source) else []
    folders = [source, source / "annotations"]
    return [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.glob("*.json"))
        if _looks_right(path)
    ]


def _looks_right(path: Path) -> bool:
    return len(keys_in(path, LISTS)) == len(LISTS)


def _read_file(path: Path, root: Path, problems: Problems) -> RawDataset:
    document = read_document(path, LISTS)
    classes, class_indices = read_categories(path, document["categories"])
    videos = _read_videos(path, document["videos"], problems)
    images = _read_images(path, document["images"], videos, problems)
    notes: list[str] = []
    for video in videos.values():
        if not video.images:
            problems.drop(NO_IMAGES, [video.place])
        elif _order_images(video, problems, notes):
            _find_frames(video, root, problems, notes)
    rows = _read_annotations(path, document["annotations"], images, class_indices, problems)
    split = split_of(path)
    found = [(key, video, video.file) for key, video in videos.items() if video.file is not None]
    sequences = [_sequence(video, file, rows.get(key, []), split) for key, video, file in found]
    return RawDataset(classes, sequences, tuple(notes))


def _read_videos(path: Path, entries: list[Any], problems: Problems) -> dict[int, _Video]:
    videos: dict[int, _Video] = {}
    for index, entry in enumerate(entries):
        video = _Video(path, index)
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            problems.fail(video.place, "id: a whole number is expected")
            continue
        name, fps, recording = (
            entry.get("name", entry.get("file_name")),
            entry.get("fps"),
            entry.get("recording"),
        )
        if not isinstance(name, str) or not is_inside(name):
            problems.fail(
                video.place, f"name: a text that leads out of no folder is expected, got {str(name)[:120]!r}"
            )
        elif entry["id"] in videos:
            problems.fail(video.place, f"id: {entry['id']} occurs twice")
        else:
            video.name = name
            video.fps = float(fps) if is_plain_number(fps) and fps > 0 else None  # type: ignore[operator,arg-type]
            video.recording = recording if isinstance(recording, str) and recording else None
            videos[entry["id"]] = video
    return videos


def _read_images(
    path: Path, entries: list[Any], videos: dict[int, _Video], problems: Problems
) -> dict[int, _Image]:
    images: dict[int, _Image] = {}
    for index, entry in enumerate(entries):
        place = f"{path}: images[{index}]"
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            problems.fail(place, "id: a whole number is expected")
            continue
        video_id, file_name = entry.get("video_id"), entry.get("file_name")
        frame = next((entry[key] for key in FRAME_KEYS if key in entry), None)
        width, height = entry.get("width"), entry.get("height")
        known = frame is None or (type(frame) is int and 0 <= frame < LARGEST_ID)
        checks = (
            (entry["id"] not in images, f"id: {entry['id']} occurs twice"),
            (type(video_id) is int and video_id in videos, f"video_id: there is no video {video_id!r}"),
            (isinstance(file_name, str), "file_name: a text is expected"),
            (known, f"frame_id: a whole number, 0 or more, is expected, got {str(frame)[:40]}"),
        )
        wrong = [message for good, message in checks if not good]
        for message in wrong:
            problems.fail(place, message)
        if wrong:
            continue
        if not is_inside(file_name):  # type: ignore[arg-type]
            problems.fail(place, f"file_name: {file_name[:120]!r} leads out of the source folder")  # type: ignore[index]
            continue
        size = (width, height) if type(width) is int and type(height) is int else None
        image = _Image(place, video_id, frame, str(file_name), size)  # type: ignore[arg-type]
        images[entry["id"]] = image
        videos[image.video_id].images.append(image)
    return images


def _order_images(video: _Video, problems: Problems, notes: list[str]) -> bool:
    """Sort the images of a video by frame; False when it is not known which frame each is."""
    images = video.images
    lacking = [image for image in images if image.frame is None]
    if lacking and len(lacking) < len(images):
        problems.fail(lacking[0].place, "frame_id: missing here, though other images of its video have one")
        return False
    if lacking:
        images.sort(key=lambda image: natural_key(image.file_name))
        notes.append("images without frame_id are taken in the order of their names")
    else:
        images.sort(key=lambda image: image.frame or 0)
    for position, image in enumerate(images):
        image.position = position
        if position and image.frame is not None and image.frame == images[position - 1].frame:
            problems.fail(image.place, f"frame_id: {image.frame} occurs twice in video {video.name!r}")
    return True


def _find_frames(video: _Video, root: Path, problems: Problems, notes: list[str]) -> None:
    """Find the frames of a video, as images or as a video file, and say for each image which frame it is."""
    bases = [root, video.path.parent]
    bases += sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    first = video.images[0].file_name
    for folder in (inner for base in bases for inner in (base, base / video.name)):
        path = path_under(root, first, folder)
        if path and path.is_file() and path.suffix.lower() not in VIDEO_SUFFIXES:
            _place_images(video, root, folder, problems, notes)
            return
    suffixes = ["", *sorted(VIDEO_SUFFIXES)]
    for base in bases:
        for name in (video.name + suffix for suffix in suffixes):
            path = path_under(root, name, base)
            if path and path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
                video.file = path
                _place_in_file(video, path, problems, notes)
                return
    problems.fail(
        video.place, f"neither its first image {first!r} nor a video file {video.name!r} is under {root}"
    )


def _place_in_file(video: _Video, file: Path, problems: Problems, notes: list[str]) -> None:
    """Images are frames of a video file: frame_id is their number, counted from 0 (or visibly from 1)."""
    frames = count_packets(file).packets
    numbers = [image.position if image.frame is None else image.frame for image in video.images]
    shift = 1 if min(numbers) == 1 and max(numbers) == frames else 0
    if shift:
        notes.append("frame_id counts from 1 in the source")
    for image, number in zip(video.images, numbers, strict=True):
        image.position = number - shift
    if len(numbers) < frames:
        problems.drop(UNLISTED, [f"{video.place} ({file.name})"], frames - len(numbers))


def _place_images(video: _Video, root: Path, folder: Path, problems: Problems, notes: list[str]) -> None:
    """Images are files: all must be there."""
    files = []
    for image in video.images:
        found = path_under(root, image.file_name, folder)
        if found is None:
            problems.fail(image.place, f"file_name: {image.file_name[:120]!r} is a link out of {root}")
        elif not found.is_file():
            problems.fail(image.place, f"file_name: there is no {image.file_name[:120]!r} in {folder}")
        else:
            files.append(found)
    known = [image.frame for image in video.images if image.frame is not None]
    if known and known[-1] - known[0] + 1 != len(known):
        notes.append("frame ids have gaps; frames are numbered anew, in their order")
    if len(files) == len(video.images):
        video.file, video.frames = files[0].parent, tuple(files)


def _read_annotations(
    path: Path, entries: list[Any], images: dict[int, _Image], classes: dict[int, int], problems: Problems
) -> dict[int, list[tuple[float, ...]]]:
    """For each video rows of (index, frame, track, class, left, top, width, height)."""
    rows: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    ignored: list[str] = []
    for index, entry in enumerate(entries):
        fault = _annotation_fault(entry, images, classes)
        if fault:
            problems.fail(f"{path}: annotations[{index}]", fault)
            continue
        if entry.get("iscrowd") or entry.get("ignore"):
            ignored.append(f"{path}: annotations[{index}]")
            continue
        image = images[entry["image_id"]]
        track = next((entry[key] for key in TRACK_KEYS if key in entry), -1)
        rows[image.video_id].append(
            (index, image.position, track, classes[entry["category_id"]], *map(float, entry["bbox"]))
        )
    problems.note(IGNORED, ignored)
    return rows


def _annotation_fault(entry: Any, images: dict[int, _Image], classes: dict[int, int]) -> str | None:
    """What makes one annotation unusable, or None."""
    if not isinstance(entry, dict):
        return "an object is expected"
    image_id, category_id, box = entry.get("image_id"), entry.get("category_id"), entry.get("bbox")
    if type(image_id) is not int or image_id not in images:
        return f"image_id: there is no image {image_id!r}"
    if type(category_id) is not int or category_id not in classes:
        return f"category_id: there is no category {category_id!r}"
    if fault := box_fault(box):
        return f"bbox: {fault}"
    if "video_id" in entry and entry["video_id"] != images[image_id].video_id:
        return f"video_id: {entry['video_id']!r}, but its image is of video {images[image_id].video_id}"
    return track_fault(entry)


def _sequence(video: _Video, file: Path, rows: list[tuple[float, ...]], split: str | None) -> RawSequence:
    values = np.array(rows, np.float64).reshape(-1, 8)
    name = video.name.removesuffix(file.suffix) if video.frames is None else video.name
    return RawSequence(
        name=name.strip("/").replace("/", "_"),
        video=file,
        images=video.frames,
        labels_file=video.path,
        row_form="{file}: annotations[{row}]",
        row=values[:, 0].astype(np.int64),
        frame=values[:, 1].astype(np.int64),
        track_id=values[:, 2].astype(np.int64),
        class_id=values[:, 3].astype(np.int64),
        boxes_xyxy_px=xyxy_from_ltwh(values[:, 4:]),
        size_wh=video.images[0].size_wh,
        fps=video.fps,
        recording=video.recording,
        split=split,
    )
