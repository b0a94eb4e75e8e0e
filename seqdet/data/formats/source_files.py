"""Sources with a label file for each image: what there is, what belongs together, how places are named.

Labels are beside their images, or in a folder next to that of the images with the same folders inside
(``images/train/a.jpg`` and ``labels/train/a.txt``), or in a folder ``labels`` inside that of the images.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

LABEL_FOLDERS = frozenset({"labels", "annotations", "label", "xml", "xmls"})
IMAGE_FOLDERS = frozenset(
    {"images", "jpegimages", "data", "videos", "frames", "img", "imgs", "image", "video", "img1"}
)
# What files and folders of splits are called, in any of the formats.
SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
MOST_FILES = 5_000_000


def walk(root: Path, most: int = MOST_FILES) -> list[Path]:
    """All files under a folder, sorted; without hidden ones and those behind linked folders.

    Args:
        root: the folder.
        most: stop after so many.
    """

    def found() -> Iterator[Path]:
        for folder, inner, names in os.walk(root):
            inner[:] = sorted(name for name in inner if not name.startswith(".") and name != "__MACOSX")
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))

    return list(islice(found(), most))


def split_of(folder: Path, root: Path) -> str | None:
    """The split that a folder under ``root`` names (``train``, ``valid``, ``train2017``), or None."""
    for part in folder.relative_to(root).parts:
        word = re.fullmatch(r"([a-z]+)\d*", part.lower())
        if word and word[1] in SPLIT_WORDS:
            return SPLIT_WORDS[word[1]]
    return None


class MediaIndex:
    """Images and videos by where their labels may be.

    Args:
        root: the source folder.
        media: all images and videos under it.
    """

    def __init__(self, root: Path, media: Iterable[Path]) -> None:
        self._root = root
        self._media: dict[tuple[str, str], list[Path]] = defaultdict(list)
        self._asked: dict[Path, list[str]] = {}
        keys: dict[Path, list[str]] = {}
        for path in media:
            folder = path.parent
            if folder not in keys:
                parts = folder.relative_to(root).parts
                keys[folder] = ["/".join(parts), *_starred(parts, IMAGE_FOLDERS)]
            for key in keys[folder]:
                self._media[key, path.stem].append(path)

    def find(self, folder: Path, stem: str) -> list[Path]:
        """The images and videos called ``stem`` to which a label file in ``folder`` can belong."""
        if folder not in self._asked:
            parts = folder.relative_to(self._root).parts
            without = [
                "/".join(parts[:index] + parts[index + 1 :])
                for index, part in enumerate(parts)
                if part.lower() in LABEL_FOLDERS
            ]
            self._asked[folder] = [*_starred(parts, LABEL_FOLDERS), *without[::-1], "/".join(parts)]
        for key in self._asked[folder]:
            if found := self._media.get((key, stem)):
                return found
        return []


def _starred(parts: tuple[str, ...], names: frozenset[str]) -> list[str]:
    """The folder with each part that is one of ``names`` replaced by ``*``, the last part first."""
    return [
        "/".join((*parts[:index], "*", *parts[index + 1 :]))
        for index in reversed(range(len(parts)))
        if parts[index].lower() in names
    ]


def name_under(path: Path, root: Path) -> str:
    """The path below ``root`` as one name, without suffix and folders like ``images`` and ``labels``."""
    parts = path.relative_to(root).with_suffix("").parts
    folders = [part for part in parts[:-1] if part.lower() not in IMAGE_FOLDERS | LABEL_FOLDERS]
    return "_".join((*folders, parts[-1]))


def place_form(files: dict[int, Path]) -> tuple[Path, str, np.ndarray]:
    """How messages name the label files of a sequence in which each frame has its own.

    Args:
        files: label file by frame; one or more.

    Returns:
        ``labels_file`` and ``row_form`` of a RawSequence, and the (F,) row that stands for each of ``files``.
    """
    paths = list(files.values())
    matches = [match for path in paths if (match := re.fullmatch(r"(.*?)(\d{1,15})", path.stem))]
    alike = {(path.parent, path.suffix) for path in paths}
    prefixes = {match[1] for match in matches}
    widths = {len(match[2]) for match in matches}
    padded = any(match[2].startswith("0") and len(match[2]) > 1 for match in matches)
    if len(matches) < len(paths) or len(alike) > 1 or len(prefixes) > 1 or (padded and len(widths) > 1):
        return paths[0].parent, "{file}: frame {row} from 0", np.array(list(files), np.int64)
    prefix, suffix = (text.replace("{", "{{").replace("}", "}}") for text in (*prefixes, paths[0].suffix))
    form = f"{{file}}{os.sep}{prefix}{{row:0{widths.pop() if padded else 1}d}}{suffix}"
    return paths[0].parent, form, np.array([int(match[2]) for match in matches], np.int64)
