"""Images without a word on time: which of them are the frames of one video, and which stand alone.

Frames that were cut out of a video are numbered one by one (``clip_000017.jpg``); images of a collection have
numbers with gaps, or none. So images of one folder that share the text before their last number are one
sequence when nearly all numbers follow each other; every other image is a sequence of one frame.

A video has one size. Where the size changes once, as after a camera was set up anew, there are two videos.
Where sizes come mixed (portrait among landscape), numbers say nothing of time: it is a collection, and each
stands alone. Two series, one of each size, would skip in time and be no one's video.
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
STILLS = "images that follow no other of their size: each is a sequence of one frame"


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
    series: dict[tuple[Path, str, str], list[tuple[int, Path]]] = defaultdict(list)
    alone: list[Path] = []
    for path in sorted(images):
        numbered = re.fullmatch(r"(.*?)(\d{1,15})", path.stem)
        if numbered is None:
            alone.append(path)
        else:
            series[path.parent, numbered[1], path.suffix.lower()].append((int(numbered[2]), path))
    groups: list[FrameGroup] = []
    for (folder, prefix, _), members in series.items():
        members.sort()
        numbers = np.array([number for number, _ in members])
        places: dict[tuple[int, int] | None, list[int]] = defaultdict(list)
        for place, (_, path) in enumerate(members):
            places[_size(path)].append(place)
        for size, mine in places.items():
            images = tuple(members[place][1] for place in mine)
            if size is not None and _follow_each_other(numbers[mine], np.array(mine)):
                groups.append(FrameGroup(_name(folder / prefix.rstrip("_-. "), root), images))
            else:
                alone.extend(images)
    groups.extend(FrameGroup(_name(path.with_suffix(""), root), (path,)) for path in alone)
    return _with_unique_names(sorted(groups))


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path, MAX_PIXELS)
    except InputError:
        return None


def _follow_each_other(numbers: np.ndarray, places: np.ndarray) -> bool:
    """Whether images are one video.

    Args:
        numbers: (N,) in their names, ascending.
        places: (N,) among all images of the folder with such a name; another between two is of another size.
    """
    if len(numbers) < LEAST_FRAMES:
        return False
    steps = np.diff(numbers)
    usual = np.median(steps)
    steady = (steps == usual) & (np.diff(places) == 1)
    return bool(usual > 0 and usual <= 30 and steady.mean() >= STEADY_SHARE)


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
