"""YouTube-VIS labels of videos (OVIS and others too): each annotation is a track, with a box for each frame.

``videos`` (id, file_names: the frames in order, width, height), ``categories`` (id, name) and ``annotations``
(id, video_id, category_id, ``bboxes``: for each frame left, top, width, height from 0, or null where the
object is not seen). Without ``bboxes`` the boxes around ``segmentations`` are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqdet.data.checks import is_plain_number
from seqdet.data.formats.coco_parts import (
    FROM_MASK,
    IGNORED,
    LARGEST_ID,
    Rows,
    box_fault,
    find_image,
    image_fault,
    image_folder,
    is_id,
    keys_in,
    label_files,
    read_categories,
    read_document,
    refuse_other_classes,
    root_of,
    size_of,
    split_of,
)
from seqdet.data.formats.masks import box_around
from seqdet.data.formats.protocol import Problems, RawDataset, RawSequence
from seqdet.data.formats.unfinished import refuse_unfinished
from seqdet.errors import InputError

NAME = "youtube-vis"
LOOKS = 'a .json file with "videos" that have "file_names", and "annotations" with "bboxes" (no "images")'
LISTS = ("videos", "annotations", "categories")
NO_FRAMES = "video without frames: left out"
_KEPT = ("id", "video_id", "category_id", "bboxes")


@dataclass(slots=True)
class _Video:
    """One element of "videos", with its frames."""

    index: int
    name: str
    frames: tuple[Path, ...]
    size_wh: tuple[int, int] | None
    fps: float | None


def sniff(source: Path) -> bool:
    """True for such a file, or a folder with one in it, in ``annotations`` or in a folder of a split."""
    return bool(_files(source))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all files; several (train/instances.json, valid/instances.json) become one data set.

    Raises:
        InputError: there is no such file, one is not JSON or lacks a list, or their classes differ.
    """
    if source.is_dir():
        refuse_unfinished(label_files(source))
    files = _files(source) or ([source] if source.is_file() else [])
    if not files:
        raise InputError(
            f"{source}: there is no .json file with {', '.join(LISTS)} and file_names of videos in it"
        )
    root = root_of(source)
    parts = [_read_file(path, root, problems) for path in files]
    refuse_other_classes(files, [part.classes for part in parts])
    return RawDataset(parts[0].classes, [sequence for part in parts for sequence in part.sequences])


def _files(source: Path) -> list[Path]:
    return [path for path in label_files(source) if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    """True also for a file without annotations (as of val and test): reading says that it has none."""
    keys = keys_in(path, ("videos", "file_names", "categories", "images"))
    return keys == {"videos", "file_names", "categories"}


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Of an annotation only what is read; masks only where there are no boxes."""
    if "video_id" not in entry or "category_id" not in entry:
        return entry
    kept = {key: entry[key] for key in _KEPT if key in entry}
    if entry.get("iscrowd") or entry.get("ignore"):
        kept["ignore"] = True
    if not kept.get("bboxes") and "segmentations" in entry:
        kept["segmentations"] = entry["segmentations"]
    return kept


def _read_file(path: Path, root: Path, problems: Problems) -> RawDataset:
    document = read_document(path, LISTS, _slim)
    classes, class_of = read_categories(path, document["categories"])
    videos = _read_videos(path, document["videos"], root, problems)
    rows = _read_annotations(path, document["annotations"], videos, class_of, problems)
    found = [video for video in videos.values() if video]
    split = split_of(path)
    sequences = [
        RawSequence(
            name=video.name,
            video=video.frames[0].parent,
            images=video.frames,
            labels_file=path,
            row_form="{file}: annotations[{row}]",
            **columns._asdict(),
            size_wh=video.size_wh,
            fps=video.fps,
            split=split,
        )
        for video, columns in zip(found, rows.columns(len(found), class_of), strict=True)
    ]
    return RawDataset(classes, sequences)


def _read_videos(
    path: Path, entries: list[Any], root: Path, problems: Problems
) -> dict[int | str, _Video | None]:
    """The video of each id; None for one that cannot be used, which is said."""
    folder: Path | None = None
    videos: dict[int | str, _Video | None] = {}
    for index, entry in enumerate(entries):
        place = f"{path}: videos[{index}]"
        identity = entry.get("id") if isinstance(entry, dict) else None
        if not is_id(identity):
            problems.fail(place, "id: a whole number or a text is expected")
            continue
        if identity in videos:
            problems.fail(place, f"id: {identity!r} occurs twice")
            continue
        videos[identity] = None
        names, length = entry.get("file_names"), entry.get("length")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            problems.fail(place, "file_names: a list of texts is expected")
        elif length is not None and length != len(names):
            problems.fail(place, f"length: {str(length)[:40]}, but there are {len(names)} file_names")
        elif not names:
            problems.drop(NO_FRAMES, [place])
        else:
            folder = folder or image_folder(root, path, names)
            frames = _find_frames(place, root, folder or root, names, problems)
            if len(frames) == len(names):
                videos[identity] = _video(index, entry, frames)
    return videos


def _find_frames(place: str, root: Path, folder: Path, names: list[str], problems: Problems) -> list[Path]:
    """All must be there, each once."""
    frames: dict[Path, None] = {}
    for number, name in enumerate(names):
        file = find_image(root, folder, name)
        if file is None:
            problems.fail(f"{place}.file_names[{number}]", image_fault(root, folder, name))
        elif file in frames:
            problems.fail(f"{place}.file_names[{number}]", f"{name[:120]!r} occurs twice")
        else:
            frames[file] = None
    return list(frames)


def _video(index: int, entry: dict[str, Any], frames: list[Path]) -> _Video:
    """Named after the folder of its frames, which is the name that YouTube-VIS gives videos."""
    inner = str(entry["file_names"][0]).replace("\\", "/").rpartition("/")[0]
    given = entry.get("name")
    name = inner or (given if isinstance(given, str) and given else f"video_{entry['id']}")
    fps: Any = entry.get("fps")
    return _Video(
        index,
        "_".join(part for part in name.split("/") if part not in ("", ".")),
        tuple(frames),
        size_of(entry.get("width"), entry.get("height")),
        float(fps) if is_plain_number(fps) and fps > 0 else None,
    )


def _read_annotations(
    path: Path,
    entries: list[Any],
    videos: dict[int | str, _Video | None],
    classes: dict[int, int],
    problems: Problems,
) -> Rows:
    """The boxes of all videos that can be used, numbered in their order."""
    rows = Rows()
    numbers = {key: number for number, key in enumerate(key for key, video in videos.items() if video)}
    ids: set[int] = set()
    for index, entry in enumerate(entries):
        place = f"{path}: annotations[{index}]"
        fault = _fault(entry, videos, classes, ids)
        if fault:
            problems.fail(place, fault)
            continue
        ids.add(entry["id"])
        video = videos[entry["video_id"]]
        if entry.get("ignore"):
            problems.note(IGNORED, [place])
        elif video:
            boxes = _boxes(place, entry, len(video.frames), problems)
            number = numbers[entry["video_id"]]
            for frame, box in enumerate(boxes):
                if box is not None:
                    rows.add(number, index, frame, entry["id"], entry["category_id"], box)
    return rows


def _boxes(place: str, entry: dict[str, Any], frames: int, problems: Problems) -> list[list[float] | None]:
    """One box for each frame, or none when something is wrong with one of them."""
    from_masks = not entry.get("bboxes")
    key = "segmentations" if from_masks else "bboxes"
    values = entry.get(key)
    if not isinstance(values, list) or len(values) != frames:
        problems.fail(place, f"{key}: a list of {frames} is expected, one for each frame of its video")
        return []
    boxes: list[list[float] | None] = []
    for frame, value in enumerate(values):
        if value is None:
            boxes.append(None)
            continue
        try:
            fault = None if from_masks else box_fault(value)
            boxes.append(box_around(value) if from_masks else value)
        except ValueError as error:
            fault = str(error)
        if fault:
            problems.fail(f"{place}.{key}[{frame}]", fault)
            return []
    if from_masks:
        problems.note(FROM_MASK, [place], sum(box is not None for box in boxes))
    return boxes


def _fault(
    entry: Any, videos: dict[int | str, _Video | None], classes: dict[int, int], ids: set[int]
) -> str | None:
    """What makes one annotation unusable, or None."""
    if not isinstance(entry, dict):
        return "an object is expected"
    identity, video_id, category_id = (entry.get(key) for key in ("id", "video_id", "category_id"))
    if type(identity) is not int or not 0 <= identity < LARGEST_ID:
        return f"id: a whole number, 0 or more, is expected, got {str(identity)[:40]}"
    if identity in ids:
        return f"id: {identity} occurs twice"
    if not is_id(video_id) or video_id not in videos:
        return f"video_id: there is no video {str(video_id)[:40]!r}"
    if type(category_id) is not int or category_id not in classes:
        return f"category_id: there is no category {str(category_id)[:40]!r}"
    return None
