"""What every label format gives: sequences as columns, and a list of what was wrong with them.

A format is a module with ``NAME``, ``LOOKS``, ``sniff`` and ``read`` (the protocol ``LabelFormat``). It only
reads what the files say; ``clean.py`` then holds it against the true size and length of the videos.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from seqdet.data.checks import SHOWN, is_inside
from seqdet.errors import InputError

EXAMPLES = 5  # places that are kept for each reason of a repair
VIDEO_SUFFIXES = frozenset(
    [".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".ts", ".mts", ".wmv", ".flv"]
)


@dataclass(frozen=True, slots=True)
class RawSequence:
    """One sequence as the label files describe it; nothing is checked against its video yet.

    Attributes:
        name: as the source names it.
        video: the video file, or the folder of its frames.
        images: its frames as files in time order, or None when ``video`` is a file.
        labels_file: where the labels came from, for messages.
        frame_files: label file of each frame, where each has its own; ``labels_file`` is then their folder.
        row_form: how a place in that file is written, such as "{file}:{row}".
        row: (M,) int64 places.
        frame: (M,) int64, from 0.
        track_id: (M,) int64; -1 where the source gives none.
        class_id: (M,) int64 indices into the classes of the RawDataset.
        boxes_xyxy_px: (M, 4) float64 edges from 0.
        first_frame: number of the first frame in the source's own counting, for messages.
        frames, size_wh, fps: what the labels say of the video, or None.
        label: class name of the whole sequence, or None.
        recording, split: as the source says, or None.
        attributes: anything else that the source knows.
        masks: M texts of `seqdet.rle`, "" where the mask is not known; () where none is read.
    """

    name: str
    video: Path
    images: tuple[Path, ...] | None
    labels_file: Path
    row_form: str
    row: np.ndarray
    frame: np.ndarray
    track_id: np.ndarray
    class_id: np.ndarray
    boxes_xyxy_px: np.ndarray
    first_frame: int = 0
    frames: int | None = None
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    label: str | None = None
    recording: str | None = None
    split: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    frame_files: Mapping[int, Path] = field(default_factory=dict)
    masks: tuple[str, ...] = ()

    def place(self, index: int) -> str:
        """Where box ``index`` was read, for messages."""
        file = self.frame_files.get(int(self.frame[index]), self.labels_file)
        return self.row_form.format(file=file, row=int(self.row[index]))


@dataclass(frozen=True, slots=True)
class RawDataset:
    """All that a source holds."""

    classes: tuple[str, ...]
    sequences: list[RawSequence]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dropped:
    """One kind of repair: why, how often, and where it was seen first."""

    reason: str
    count: int
    examples: tuple[str, ...]


class Problems:
    """Collects what is wrong: what makes the source unusable, and what was dropped or repaired.

    Args:
        strict: a repair is an error too.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self._fatal: list[str] = []
        self._fatal_count = 0
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def fail(self, where: object, message: str) -> None:
        """Note something that makes the source unusable; reading goes on, to find the rest."""
        self._fatal_count += 1
        if len(self._fatal) < SHOWN:
            self._fatal.append(f"{where}: {message}")

    def note(self, reason: str, places: Iterable[str], count: int | None = None) -> None:
        """Note what was left out although it is no fault of the labels; counted, and never an error."""
        self._count(reason, list(places), count)

    def drop(self, reason: str, places: Iterable[str], count: int | None = None) -> None:
        """Note a repair at these places (``count`` of them, when the places are only the first)."""
        listed = list(places)
        if self.strict:
            for place in listed:
                self.fail(place, reason)
        self._count(reason, listed, count)

    def _count(self, reason: str, places: list[str], count: int | None) -> None:
        kept = self._examples.setdefault(reason, [])
        kept.extend(places[: EXAMPLES - len(kept)])
        self._counts[reason] = self._counts.get(reason, 0) + (len(places) if count is None else count)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """All repairs, in the order of their first occurrence."""
        return tuple(
            Dropped(reason, count, tuple(self._examples[reason]))
            for reason, count in self._counts.items()
            if count
        )

    @property
    def failed(self) -> bool:
        """True when something makes the source unusable."""
        return self._fatal_count > 0

    def raise_if_failed(self, source: Path) -> None:
        """Raise InputError with all that makes the source unusable, the first 20 by name."""
        if not self._fatal_count:
            return
        lines = "\n".join(f"  {line}" for line in self._fatal)
        rest = self._fatal_count - len(self._fatal)
        more = f"\n  ... and {rest} more" if rest else ""
        count = f"{self._fatal_count} problem{'s' * (self._fatal_count > 1)}"
        raise InputError(
            f"{source}: the labels cannot be used as they are, nothing was written ({count}):\n{lines}{more}"
        )


class LabelFormat(Protocol):
    """A label format: a module with these four names."""

    NAME: str
    LOOKS: str  # how a source of it looks, for messages

    def sniff(self, source: Path) -> bool:
        """True when the source looks like this format; quick, and never raises for odd content."""

    def read(self, source: Path, problems: Problems) -> RawDataset:
        """Read all labels, noting in ``problems`` what is wrong; InputError where reading cannot go on."""


def path_under(root: Path, relative: str, base: Path | None = None) -> Path | None:
    """A path that a label file names, or None when it leads out of ``root`` (also by a symbolic link).

    Absolute paths, ``..``, drives and URLs are refused: a label file from elsewhere decides nothing.

    Args:
        root: the folder that is never left.
        relative: the path as the file has it.
        base: the folder under ``root`` to which it is relative; ``root`` by default.
    """
    if not is_inside(relative):
        return None
    path = (base or root) / relative
    return path if path.resolve().is_relative_to(root.resolve()) else None


def read_text(path: Path) -> str:
    """A UTF-8 text file (byte order mark and CRLF accepted).

    Raises:
        InputError: it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
