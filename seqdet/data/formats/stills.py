"""Images without a word on time: which of them are the frames of one video, and which stand alone.

Frames that were cut out of a video are numbered one by one (``clip_000017.jpg``); images of a collection have
numbers with gaps, or none. So images of one folder and one size that share the text before their last number
are one sequence when nearly all numbers follow each other; every other image is a sequence of one frame.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqdet.errors import InputError
from seqdet.video.folder import image_size
from seqdet.video.reader import MAX_PIXELS

LEAST_FRAMES = 5
# Of the steps from one number to the next, so many are equal (frames may have been taken every k-th).
STEADY_SHARE = 0.8
VIDEOS = "consecutively numbered images: read as the frames of one video"
STILLS = "images that follow no other: each is a sequence of one frame"


class FrameGroup(NamedTuple):
    """One sequence.

    Attributes:
        name: unique among the groups of one call, fit to be a file name where the file names were.
        images: its frames in time order.
    """

    name: str
    images: tuple[Path, ...]


def frame_groups(images: Iterable[Path], root: Path) -> list[FrameGroup]:
    """Images under ``root`` -> sequences, by name. An image that cannot be opened stands alone."""
    series: dict[tuple[Path, str, str, tuple[int, int] | None], list[tuple[int, Path]]] = defaultdict(list)
    alone: list[Path] = []
    for path in sorted(images):
        numbered = re.fullmatch(r"(.*?)(\d{1,15})", path.stem)
        if numbered is None:
            alone.append(path)
        else:
            key = (path.parent, numbered[1], path.suffix.lower(), _size(path))
            series[key].append((int(numbered[2]), path))
    groups: list[FrameGroup] = []
    for (folder, prefix, _, size), members in series.items():
        members.sort()
        if size is not None and _follow_each_other([number for number, _ in members]):
            name = _name(folder / prefix.rstrip("_-. "), root)
            groups.append(FrameGroup(name, tuple(path for _, path in members)))
        else:
            alone.extend(path for _, path in members)
    groups.extend(FrameGroup(_name(path.with_suffix(""), root), (path,)) for path in alone)
    return _with_unique_names(sorted(groups))


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path, MAX_PIXELS)
    except InputError:
        return None


def _follow_each_other(numbers: list[int]) -> bool:
    if len(numbers) < LEAST_FRAMES:
        return False
    steps = np.diff(numbers)
    usual = np.median(steps)
    return bool(usual > 0 and usual <= 30 and (steps == usual).mean() >= STEADY_SHARE)


def _name(path: Path, root: Path) -> str:
    """The path below ``root`` as one name, without the folders that hold nothing but images."""
    *folders, last = path.relative_to(root).parts or (root.name,)
    return "_".join([*(part for part in folders if part.lower() not in ("images", "img1")), last])


def _with_unique_names(groups: list[FrameGroup]) -> list[FrameGroup]:
    """The same with ``_2``, ``_3`` behind a name that came before; case does not tell names apart."""
    seen: dict[str, int] = defaultdict(int)
    unique = []
    for group in groups:
        seen[group.name.lower()] += 1
        count = seen[group.name.lower()]
        unique.append(group if count == 1 else group._replace(name=f"{group.name}_{count}"))
    return unique
