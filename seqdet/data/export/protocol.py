"""What every label writer takes and gives: sequences with labels in, files and what is lost out.

A writer is a module with ``NAME``, ``write`` and ``media_path`` (the protocol `LabelWriter`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from seqdet.boxes import ltwh_from_xyxy
from seqdet.data.dataset import Sequence as VideoSequence
from seqdet.data.labels import DECIMALS, Labels
from seqdet.errors import InputError

COPIED = "videos copied, because they cannot be linked to (another disk, or not yours)"
_USUAL_FPS = 30.0  # of images, where nobody says


@dataclass(frozen=True, slots=True)
class Item:
    """One sequence to write.

    Attributes:
        sequence: with ``video`` where it is now.
        labels: its boxes.
        images: its frames as files in time order, or None when ``video`` is a file.
        split: "train", "val" or "test", or None where nobody said.
    """

    sequence: VideoSequence
    labels: Labels
    images: tuple[Path, ...] | None = None
    split: str | None = None


class LabelWriter(Protocol):
    """A label format: a module with these three names."""

    NAME: str

    def write(self, items: Sequence[Item], classes: tuple[str, ...], out: Path) -> list[str]:
        """Write the labels of all sequences into the folder ``out`` and say what the format cannot hold."""

    def media_path(self, item: Item, frame: int | None) -> str:
        """Where in ``out`` the video of a sequence belongs, or its frame (from 0) where frames are images."""


def edges_px(labels: Labels) -> np.ndarray:
    """(M, 4) float64 edges, rounded to the thousandth of a pixel that a data set keeps."""
    return np.round(labels.boxes_xyxy_px.astype(np.float64), DECIMALS)


def ltwh_px(labels: Labels) -> np.ndarray:
    """(M, 4) float64 left, top, width, height, rounded likewise; left + width is the right edge."""
    return np.round(ltwh_from_xyxy(edges_px(labels)), DECIMALS)


def plain(value: float) -> str:
    """A coordinate without superfluous digits and without an exponent."""
    return f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")


def has_class_of_its_own(item: Item) -> bool:
    """True when the class of the sequence does not follow from its boxes (all of one class: that one)."""
    found = np.unique(item.labels.class_id)
    return item.sequence.class_id >= 0 and found.tolist() != [item.sequence.class_id]


_PARTS: dict[str, tuple[str, Callable[[Item], bool]]] = {
    "track ids": ("track ids dropped", lambda item: len(item.labels) > 0),
    "class": ("sequence class dropped", has_class_of_its_own),
    "recording": (
        "recording dropped",
        lambda item: item.sequence.recording not in ("", item.sequence.name),
    ),
    "split": ("split dropped", lambda item: item.split is not None),
    "attributes": ("attributes dropped", lambda item: bool(item.sequence.attributes)),
    "fps": (
        "frame rate of images dropped",
        lambda item: item.images is not None and item.sequence.fps != _USUAL_FPS,
    ),
}


def what_is_lost(items: Iterable[Item], kept: Iterable[str]) -> list[str]:
    """One note for each thing that a format cannot hold and some sequence has.

    Args:
        items: the sequences.
        kept: what the format holds, of "track ids", "class", "recording", "split", "attributes", "fps".
    """
    items, kept = list(items), set(kept)
    counts = {
        text: sum(map(has, items)) for part, (text, has) in _PARTS.items() if part not in kept
    }  # fmt: skip
    return [f"{text} ({counted(count, 'sequence')})" for text, count in counts.items() if count]


def counted(count: int, thing: str) -> str:
    """``1 sequence``, ``3 sequences``."""
    return f"{count} {thing}{'s' * (count != 1)}"


def refuse_line_breaks(classes: Iterable[str], what: str) -> None:
    """Raise InputError for a class name that cannot stand on one line of a text file."""
    for name in classes:
        if len(name.splitlines()) != 1:
            raise InputError(f"the class name {name!r} holds a line break, which {what} cannot; rename it")


def place_media(
    items: Iterable[Item], out: Path, media_path: Callable[[Item, int | None], str], link: bool
) -> list[str]:
    """Copy the videos and images, or link to them, to where a format has them.

    Links are hard links: they stay inside ``out``, which readers insist on, and survive a move of either end.

    Args:
        items: the sequences.
        out: the folder that is written.
        media_path: of the writer.
        link: link where that is possible.

    Raises:
        OSError: a file cannot be read or written.
    """
    copied = 0
    for item in items:
        files = [(item.sequence.video, media_path(item, None))] if item.images is None else [
            (image, media_path(item, frame)) for frame, image in enumerate(item.images)
        ]  # fmt: skip
        for source, relative in files:
            target = out / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (link and _linked(source.resolve(), target)):
                shutil.copyfile(source, target)
                copied += link
    return [f"{COPIED}: {copied}"] if copied else []


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
