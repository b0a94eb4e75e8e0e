"""What the COCO formats share: their JSON, categories, splits, where the images are, and boxes as columns."""

from __future__ import annotations

import json
import mmap
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from seqdet.boxes import xyxy_from_ltwh
from seqdet.data.checks import is_inside
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, path_under, read_text
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.errors import InputError

TRACK_KEYS = ("track_id", "instance_id")
IGNORED = "annotation marked iscrowd or ignore: left out"
FROM_MASK = "annotation without a box: the box around its segmentation is taken"
TWICE = "image listed twice: taken as one"
LARGEST_ID = 2**53
_LABEL_FOLDERS = ("annotations", "labels")
_TRIED = 20  # images that are looked for in a folder before it is believed to hold them


def keys_in(path: Path, keys: Iterable[str]) -> frozenset[str]:
    """Those of the keys that occur in a .json file with an object; searched, not parsed. Never raises."""
    if path.suffix.lower() != ".json":
        return frozenset()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"{":
                return frozenset()
            return frozenset(key for key in keys if _is_key(content, f'"{key}"'.encode()))
    except (OSError, ValueError):  # an empty file cannot be mapped
        return frozenset()


def _is_key(content: mmap.mmap, quoted: bytes) -> bool:
    found = content.find(quoted)
    while found >= 0:
        after = found + len(quoted)
        if content[after : after + 64].lstrip()[:1] == b":":
            return True
        found = content.find(quoted, after)
    return False


def read_document(
    path: Path, lists: tuple[str, ...], slim: Callable[[dict[str, Any]], Any] | None = None
) -> dict[str, Any]:
    """The object of a JSON file that has these lists.

    Args:
        path: the file.
        lists: keys under which a list must be.
        slim: called for each object as soon as it is parsed; what it returns is kept in its place, so that a
            million annotations with their outlines need not be in memory at once. It must not raise.

    Raises:
        InputError: the file cannot be read, is not JSON (with line and column), or lacks a list.
    """
    text = read_text(path)
    try:
        document = json.loads(text, object_hook=slim)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno})"
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: the JSON is nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        more = "; a list of boxes with scores is a result, not labels" if isinstance(document, list) else ""
        raise InputError(f"{path}: an object with {', '.join(lists)} is expected{more}")
    wrong = [key for key in lists if not isinstance(document.get(key), list)]
    if wrong:
        raise InputError(f"{path}: a list is expected under {', '.join(wrong)}")
    return document


def read_categories(
    path: Path, entries: list[Any], left_out: frozenset[int] = frozenset()
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names in the order of their ids, and the index of each id.

    Args:
        path: the file, for messages.
        entries: its list "categories".
        left_out: ids that are no classes.

    Raises:
        InputError: an id or name is missing or occurs twice, or there is none.
    """
    names: dict[int, str] = {}
    for index, entry in enumerate(entries):
        identity = entry.get("id") if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if type(identity) is not int or not isinstance(name, str) or not name.strip():
            raise InputError(f"{path}: categories[{index}]: an id (whole number) and a name are expected")
        if not name.strip().isprintable():
            raise InputError(f"{path}: categories[{index}]: the name {name[:80]!r} holds control characters")
        if identity in left_out:
            continue
        if identity in names or name.strip() in names.values():
            raise InputError(
                f"{path}: categories[{index}]: the id {identity} or the name {name!r} occurs twice"
            )
        names[identity] = name.strip()
    if not names:
        raise InputError(f"{path}: categories: at least one is expected")
    ids = sorted(names)
    return tuple(names[identity] for identity in ids), {identity: index for index, identity in enumerate(ids)}


def refuse_other_classes(files: list[Path], classes: list[tuple[str, ...]]) -> None:
    """Raise InputError when the files do not have the same classes in the same order."""
    for path, names in zip(files, classes, strict=True):
        if names != classes[0]:
            raise InputError(
                f"{path}: its categories are not those of {files[0]}; ingest the files one by one"
            )


def words_of(path: Path) -> list[str]:
    """Words of letters in a file's name: "instances_val2017.json" -> instances, val."""
    return [word for word in re.split(r"[^a-z]+", path.stem.lower()) if word]


def split_of(path: Path) -> str | None:
    """The split that a label file's name says, else that of its folder (Roboflow: "valid/...")."""
    for word in words_of(path):
        if word in SPLIT_WORDS:
            return SPLIT_WORDS[word]
    folder = path.parent.parent if path.parent.name in _LABEL_FOLDERS else path.parent
    return _split_of_folder(folder.name)


def _split_of_folder(name: str) -> str | None:
    """The split of a folder "train", "val2017" and the like; "train_camera" is none."""
    found = re.fullmatch(r"([a-z]+)[-_]?\d*", name.lower())
    return SPLIT_WORDS.get(found[1]) if found else None


def root_of(source: Path) -> Path:
    """The folder that holds the labels and images of a source, which reading never leaves."""
    root = source if source.is_dir() else source.parent
    return root.parent if root.name in _LABEL_FOLDERS else root


def label_files(source: Path) -> list[Path]:
    """All .json files in a folder, its folders of labels and its folders named like splits; or the file."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".json" else []
    folders = [source]
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        if folder.name in _LABEL_FOLDERS:
            folders.append(folder)
        elif _split_of_folder(folder.name):
            folders += [folder, folder / _LABEL_FOLDERS[0]]
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.json"))]


def image_folder(root: Path, path: Path, names: list[str]) -> Path | None:
    """The folder under ``root`` that holds most of the first images a label file names, or None."""
    tried = [name for name in names[:_TRIED] if is_inside(name)]
    best, most = None, 0
    for folder in dict.fromkeys(_image_folders(root, path)):
        found = sum(find_image(root, folder, name) is not None for name in tried)
        if found > most:
            best, most = folder, found
        if found and found == len(tried):
            break
    return best


def _image_folders(root: Path, path: Path) -> Iterator[Path]:
    """Where the images of a label file may be, most likely first."""
    yield path.parent
    split = split_of(path)
    names = [
        path.stem.partition("_")[2],
        path.stem,
        *(word for word, of in SPLIT_WORDS.items() if of == split),
    ]
    inner = ("images", "JPEGImages", "data")
    for name in filter(None, names):
        yield root / name
        yield from (path for part in inner for path in (root / part / name, root / name / part))
    yield root
    yield from (root / part for part in inner)
    outer = _folders_in(root)
    yield from outer
    for folder in outer:
        yield from _folders_in(folder)


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())[:1000]


def find_image(root: Path, folder: Path, name: str) -> Path | None:
    """An image file that exists and is under ``root``, or None; a path of Windows is read as one."""
    if not _is_utf8(name):
        return None
    path = path_under(root, name.replace("\\", "/"), folder)
    return path if path and path.suffix.lower() not in VIDEO_SUFFIXES and path.is_file() else None


def image_fault(root: Path, folder: Path, name: object) -> str:
    """Why ``find_image`` found nothing."""
    if not isinstance(name, str):
        return "a text is expected"
    if not _is_utf8(name):
        return f"{name[:120]!r} is half of a character"
    if not is_inside(name):
        return f"{name[:120]!r} leads out of the source folder"
    if path_under(root, name.replace("\\", "/"), folder) is None:
        return f"{name[:120]!r} is a link out of {root}"
    return f"there is no image {name[:120]!r} in {folder}"


def _is_utf8(name: str) -> bool:
    r"""False for half of a surrogate pair, which JSON can write ("\ud800") and no file system knows."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def is_id(value: object) -> TypeGuard[int | str]:
    """True for a whole number or a text; some tools write ids as text."""
    return type(value) in (int, str)


def size_of(width: object, height: object) -> tuple[int, int] | None:
    """The size that a file gives, or None where it gives none (0 is none)."""
    if type(width) is int and type(height) is int and width > 0 and height > 0:
        return width, height
    return None


def box_fault(box: object) -> str | None:
    """Why this is not a box of left, top, width, height; NaN is found later, with all boxes at once."""
    if not isinstance(box, list) or len(box) != 4 or not all(type(side) in (int, float) for side in box):
        return f"[left, top, width, height] is expected, got {str(box)[:80]}"
    if any(abs(side) >= LARGEST_ID for side in box):
        return f"{str(box)[:80]} is no place in an image"
    return None


def track_fault(entry: dict[str, Any]) -> str | None:
    """Why the track id of an annotation is none."""
    for key in TRACK_KEYS:
        if key in entry and (type(entry[key]) is not int or not -1 <= entry[key] < LARGEST_ID):
            return (
                f"{key}: a whole number, 0 or more (or -1 for none) is expected, got {str(entry[key])[:40]}"
            )
    return None


class Columns(NamedTuple):
    """The boxes of one sequence, named as in RawSequence."""

    row: np.ndarray
    frame: np.ndarray
    track_id: np.ndarray
    class_id: np.ndarray
    boxes_xyxy_px: np.ndarray


@dataclass(slots=True)
class Rows:
    """Boxes of many sequences while they are read: 72 bytes for each."""

    _whole: array[int] = field(default_factory=lambda: array("q"))
    _ltwh: array[float] = field(default_factory=lambda: array("d"))

    def add(self, sequence: int, row: int, frame: int, track_id: int, category: int, ltwh: list[Any]) -> None:
        """Add one box, of category id ``category``."""
        self._whole.extend((sequence, row, frame, track_id, category))
        self._ltwh.extend(map(float, ltwh))

    def categories(self) -> set[int]:
        """Category ids that occur."""
        return set(np.unique(np.array(self._whole, np.int64)[4::5]).tolist())

    def columns(self, sequences: int, classes: dict[int, int]) -> list[Columns]:
        """The boxes of sequences 0 to ``sequences`` - 1, with the class of each category id."""
        whole = np.array(self._whole, np.int64).reshape(-1, 5)
        boxes = xyxy_from_ltwh(np.array(self._ltwh, np.float64).reshape(-1, 4))
        ids, which = np.unique(whole[:, 4], return_inverse=True)
        whole[:, 4] = np.array([classes[identity] for identity in ids.tolist()], np.int64)[which.reshape(-1)]
        order = np.argsort(whole[:, 0], kind="stable")
        whole, boxes = whole[order], boxes[order]
        edges = np.searchsorted(whole[:, 0], np.arange(sequences + 1)).tolist()
        _, row, frame, track_id, class_id = whole.T
        return [
            Columns(row[part], frame[part], track_id[part], class_id[part], boxes[part])
            for part in (slice(first, last) for first, last in pairwise(edges))
        ]
