"""Where MOT Challenge labels and their videos are: the two layouts, ``seqinfo.ini`` and ``clips.csv``."""

from __future__ import annotations

import configparser
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seqdet.data.dataset import SPLITS
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems, path_under, read_text
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name, list_images

NO_LABELS = "video without a label file: left out (an empty label file says that it holds no object)"
_CLIP_COLUMNS = ("clip", "label", "recording", "split", "frames", "tracks", "width", "height", "fps")
_SEQINFO_NUMBERS = ("seqLength", "frameRate", "imWidth", "imHeight")
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class MotItem:
    """Where one sequence is, and what is said of it outside its label file (None: nothing)."""

    name: str
    labels: Path
    video: Path
    images: tuple[Path, ...] | None
    frames: int | None = None
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    label: str | None = None
    recording: str | None = None
    split: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def is_flat(source: Path) -> bool:
    """True for the layout with gt/CLIP.txt and videos/CLIP.mp4."""
    return (
        (source / "videos").is_dir() and (source / "gt").is_dir() and not (source / "gt" / "gt.txt").exists()
    )


def sequence_folders(source: Path) -> list[tuple[Path, str | None]]:
    """Folders with gt/gt.txt, each with the split that the folder above names."""

    def has_labels(folder: Path) -> bool:
        return (folder / "gt" / "gt.txt").is_file()

    if has_labels(source):
        return [(source, None)]
    found: list[tuple[Path, str | None]] = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        if has_labels(folder):
            found.append((folder, None))
        elif folder.name.lower() in SPLITS:
            inner = sorted(path for path in folder.iterdir() if has_labels(path))
            found.extend((path, folder.name.lower()) for path in inner)
    return found


def standard_items(source: Path, problems: Problems) -> Iterator[MotItem]:
    """The sequences of the standard layout; those that cannot be used are noted in ``problems``."""
    for folder, split in sequence_folders(source):
        info = _read_seqinfo(folder / "seqinfo.ini", problems)
        name = folder.resolve().name
        images_folder = path_under(folder, info.get("imdir", "img1"))
        if images_folder is None:
            problems.fail(
                folder / "seqinfo.ini", f"imDir: {info['imdir']!r} leads out of the sequence's folder"
            )
            continue
        media = _media(images_folder) or _only_video(folder) or _media_named(folder.parent, name)
        if media is None:
            problems.fail(
                folder / "gt" / "gt.txt",
                f"no frames for these labels: neither images in {images_folder} nor a video in {folder}",
            )
            continue
        said = {key: _number(info.get(key.lower(), "")) for key in _SEQINFO_NUMBERS}
        for key, value in said.items():
            if value is None and info.get(key.lower()):
                problems.fail(
                    folder / "seqinfo.ini", f"{key}: a number above 0 is expected, got {info[key.lower()]!r}"
                )
        video, images = media
        if images and not _numbered_from_one(images):
            problems.fail(
                images_folder,
                f"the images are {images[0].name} to {images[-1].name}; {len(images)} frames are numbered 1 "
                f"to {len(images)} in this format: some are missing, or they start elsewhere",
            )
        detector = re.fullmatch(r"(MOT17-\d+)-(DPM|FRCNN|SDP)", name)  # three copies of one video
        yield MotItem(
            name,
            folder / "gt" / "gt.txt",
            video,
            images,
            frames=_whole(said["seqLength"]),
            size_wh=_size(said["imWidth"], said["imHeight"]),
            fps=said["frameRate"],
            recording=detector[1] if detector else None,
            split=split,
        )


def flat_items(source: Path, problems: Problems) -> Iterator[MotItem]:
    """The sequences of the flat layout; those that cannot be used are noted in ``problems``."""
    rows = _read_clips(source / "clips.csv", problems)
    media: dict[str, tuple[Path, tuple[Path, ...] | None]] = {}
    for path in sorted((source / "videos").iterdir()):
        found = _media(path)
        name = path.name if path.is_dir() else path.stem
        if found and name in media:
            problems.fail(path, f"two videos are called {name!r}")
        elif found:
            media[name] = found
    labels = {path.stem: path for path in sorted((source / "gt").glob("*.txt")) if path.stem != "labels"}
    for name in labels.keys() - media.keys():
        problems.fail(
            labels[name], f"there is no video {source / 'videos' / name}.mp4 (or other suffix) for it"
        )
    for name in rows.keys() - labels.keys():
        problems.fail(source / "clips.csv", f"clip: {name!r} has no label file {source / 'gt' / name}.txt")
    problems.drop(
        NO_LABELS, (str(media[name][0]) for name in sorted(media.keys() - labels.keys() - rows.keys()))
    )
    for name in sorted(labels.keys() & media.keys()):
        video, images = media[name]
        yield MotItem(name, labels[name], video, images, **rows.get(name, {}))  # type: ignore[arg-type]


def _media(path: Path) -> tuple[Path, tuple[Path, ...] | None] | None:
    """A video file or a folder of images; None for anything else."""
    if path.is_file():
        return (path, None) if path.suffix.lower() in VIDEO_SUFFIXES else None
    if path.is_dir() and any(is_image_name(entry) for entry in path.iterdir()):
        return path, tuple(list_images(path))
    return None


def _only_video(folder: Path) -> tuple[Path, None] | None:
    videos = [path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
    return (videos[0], None) if len(videos) == 1 else None


def _media_named(folder: Path, name: str) -> tuple[Path, None] | None:
    videos = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in VIDEO_SUFFIXES]
    return next(((path, None) for path in videos if path.stem == name), None)


def _numbered_from_one(images: tuple[Path, ...]) -> bool:
    """False only where the names are numbers, but not 1 to N."""
    stems = [path.stem for path in images]
    return not all(stem.isdecimal() for stem in stems) or [int(stem) for stem in stems] == list(
        range(1, len(stems) + 1)
    )


def _number(text: str) -> float | None:
    """A finite number above 0, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < _LARGEST else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _size(width: float | None, height: float | None) -> tuple[int, int] | None:
    return None if width is None or height is None else (int(width), int(height))


def _read_seqinfo(path: Path, problems: Problems) -> dict[str, str]:
    """The [Sequence] section with lower-case keys; empty where there is no file."""
    if not path.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text(path), source=str(path))
        return dict(parser["Sequence"])
    except (configparser.Error, KeyError) as error:
        problems.fail(
            path, f"a [Sequence] section with key=value lines is expected: {str(error).splitlines()[0]}"
        )
        return {}


def _read_clips(path: Path, problems: Problems) -> dict[str, dict[str, object]]:
    """What ``clips.csv`` says of each clip, as fields of MotItem; empty where there is no file."""
    if not path.is_file():
        return {}
    reader = csv.DictReader(io.StringIO(read_text(path)))
    if "clip" not in _header(path, reader):
        problems.fail(f"{path}:1", "the header needs a column 'clip'; others are optional")
        return {}
    rows: dict[str, dict[str, object]] = {}
    for row in _rows(path, reader):
        where = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            problems.fail(where, f"{len(reader.fieldnames or ())} columns are expected, as in the header")
            continue
        if row["clip"] in rows:
            problems.fail(where, f"clip: {row['clip']!r} occurs twice")
        said = {key: _number(row.get(key, "")) for key in ("frames", "width", "height", "fps")}
        for key, value in said.items():
            if value is None and row.get(key):
                problems.fail(where, f"{key}: a number above 0 is expected, got {row[key][:60]!r}")
        if row.get("split") and row["split"] not in SPLITS:
            problems.fail(where, f"split: one of {', '.join(SPLITS)} is expected, got {row['split'][:60]!r}")
        rows[row["clip"]] = {
            "label": row.get("label") or None,
            "recording": row.get("recording") or None,
            "split": row.get("split") or None,
            "frames": _whole(said["frames"]),
            "fps": said["fps"],
            "size_wh": _size(said["width"], said["height"]),
            "attributes": {key: value for key, value in row.items() if key not in _CLIP_COLUMNS and value},
        }
    return rows


def _header(path: Path, reader: csv.DictReader[str]) -> tuple[str, ...]:
    try:
        return tuple(reader.fieldnames or ())
    except csv.Error as error:
        raise InputError(f"{path}:1: not a CSV file: {error}") from error


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not a CSV file: {error}") from error
