"""Which YOLO label file belongs to which image or frame of a video, and what is one sequence."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems
from seqdet.data.formats.source_files import MediaIndex, name_under, walk
from seqdet.data.formats.stills import STILLS, VIDEOS, frame_groups
from seqdet.data.formats.yolo_config import LISTS, YoloConfig, config_files, split_images
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name

NO_VIDEO_LABELS = "video without a label file: left out"
NO_SPLIT_LABELS = "image of a split in which no image has a label file: left out"
UNLISTED = "label file whose image is in no split: left out"
OTHER_TEXT = "text file that belongs to no image or video: not read"
LEAK = "frames of one video are in several splits: each part is a sequence, the recording is the video"


@dataclass(frozen=True, slots=True)
class YoloItem:
    """One sequence: frames and the label file of each.

    Attributes:
        name: of the sequence.
        video: a video file, or the folder of the images.
        images: the frames, or None for a video file.
        labels: label file by frame number, counted from 0.
        split, recording: as the source says, or None.
        first_frame: number of the first frame in the source's counting.
    """

    name: str
    video: Path
    images: tuple[Path, ...] | None
    labels: dict[int, Path]
    split: str | None
    recording: str | None = None
    first_frame: int = 0


def find_items(config: YoloConfig, problems: Problems) -> list[YoloItem]:
    """All sequences, each frame with its label file; what cannot be placed is noted in ``problems``."""
    files = walk(config.root)
    media = [path for path in files if is_image_name(path) or path.suffix.lower() in VIDEO_SUFFIXES]
    texts = [path for path in files if path.suffix.lower() == ".txt"]
    chosen = split_images(config, media, problems)
    image_labels, video_labels = _pair(config, media, texts, problems)
    labelled = {chosen[path] for path in (*image_labels, *video_labels) if path in chosen}
    unused = [image_labels[path] for path in image_labels if path not in chosen]
    unused += [label for path in video_labels if path not in chosen for label in video_labels[path].values()]
    problems.note(UNLISTED, map(str, unused))
    if not labelled:
        if problems.failed:
            return []
        raise InputError(
            f"{config.root}: there is no label file (.txt) for any of its {len(chosen)} images and videos"
        )
    problems.note(NO_SPLIT_LABELS, [str(path) for path, split in chosen.items() if split not in labelled])
    chosen = {path: split for path, split in chosen.items() if split in labelled}
    items = _image_items(config, {path: chosen[path] for path in chosen if is_image_name(path)}, image_labels)
    taken = {item.name.lower() for item in items}
    for path in (path for path in chosen if not is_image_name(path)):
        if path not in video_labels:
            problems.drop(NO_VIDEO_LABELS, [str(path)])
            continue
        name = name_under(path, config.root)
        name = f"{name}_video" if name.lower() in taken else name
        numbers = video_labels[path]
        first = min(1, min(numbers))
        if not first:
            config.notes.append("frames of a video file are counted from 0 in the names of the label files")
        labels = {number - first: label for number, label in sorted(numbers.items())}
        items.append(YoloItem(name, path, None, labels, chosen[path], first_frame=first))
    return items


def _image_items(
    config: YoloConfig, images: dict[Path, str | None], labels: dict[Path, Path]
) -> list[YoloItem]:
    items = []
    for group in frame_groups(images, config.root):
        parts: dict[str | None, list[Path]] = defaultdict(list)
        for path in group.images:
            parts[images[path]].append(path)
        for split, frames in parts.items():
            numbered = {index: labels[path] for index, path in enumerate(frames) if path in labels}
            name = group.name if len(parts) == 1 else f"{group.name}_{split}"
            recording = group.name if len(parts) > 1 else None
            items.append(YoloItem(name, frames[0].parent, tuple(frames), numbered, split, recording))
        config.notes += [STILLS if len(group.images) == 1 else VIDEOS, *([LEAK] if len(parts) > 1 else [])]
    return items


def _pair(
    config: YoloConfig, media: list[Path], texts: list[Path], problems: Problems
) -> tuple[dict[Path, Path], dict[Path, dict[int, Path]]]:
    """Label file of each image; label files of each video by the frame number in their names."""
    index = MediaIndex(config.root, media)
    image_labels: dict[Path, Path] = {}
    video_labels: dict[Path, dict[int, Path]] = defaultdict(dict)
    others = []
    for text in texts:
        images = [path for path in index.find(text.parent, text.stem) if is_image_name(path)]
        numbered = re.fullmatch(r"(.+)_(\d{1,15})", text.stem)
        videos = index.find(text.parent, numbered[1]) if numbered and not images else []
        videos = [path for path in videos if not is_image_name(path)]
        found = images or videos
        if not found:
            others.append(text)
            continue
        if len(found) > 1:
            problems.fail(text, f"belongs to {found[0].name} or to {found[1].name}?")
        frames = image_labels if images else video_labels[found[0]]
        key: Any = found[0] if images else int(numbered[2]) if numbered else 0
        if key in frames:
            problems.fail(text, f"a second label file for the same image or frame, after {frames[key]}")
        frames[key] = text
    others = [path for path in others if path not in config.lists and not _is_known_text(path)]
    for path in others:
        if looks_like_row(_first_line(path)):
            problems.fail(path, "there is no image or video for these labels")
    problems.note(OTHER_TEXT, [str(path) for path in others if not looks_like_row(_first_line(path))])
    return image_labels, video_labels


def _is_known_text(path: Path) -> bool:
    return path.stem.lower() in (*LISTS, "classes", "readme", "license", "notes", "requirements")


def _first_line(path: Path) -> str:
    """The first line with text in it, of the first 64 KiB; "" for none. Never raises."""
    try:
        with path.open("rb") as file:
            lines = file.read(1 << 16).decode("utf-8-sig", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in lines if line.strip()), "")


def looks_like_row(line: str) -> bool:
    """True for a class number and four or more fractions."""
    try:
        values = [float(cell) for cell in line.split()]
    except ValueError:
        return False
    return (
        len(values) >= 5
        and values[0] >= 0
        and values[0].is_integer()
        and all(-0.05 <= v <= 1.05 for v in values[1:5])
    )


def looks_like_yolo(source: Path) -> bool:
    """True for a described data set, or a folder where text files of such rows belong to images or videos."""
    if config_files(source):
        return True
    if not source.is_dir():
        return False
    files = walk(source, 200_000)
    media = [path for path in files if is_image_name(path) or path.suffix.lower() in VIDEO_SUFFIXES]
    index = MediaIndex(source, media)
    checked = 0
    for path in (path for path in files if path.suffix.lower() == ".txt"):
        stems = (path.stem, re.sub(r"_\d+$", "", path.stem))
        if checked < 1000 and any(index.find(path.parent, stem) for stem in stems):
            line = _first_line(path)
            checked += bool(line)
            if looks_like_row(line):
                return True
    return False
