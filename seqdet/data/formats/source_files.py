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
