"""What travels between the driver of a corpus and its workers; all of it can be pickled."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

WHOLE = -1  # number of the part that is the whole video


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells that a file is the one that was seen before.

    Attributes:
        size: bytes.
        mtime_ns: time of its last change.
        sha256: of its content; "" where it was not read (a folder, a URL).
    """

    size: int
    mtime_ns: int
    sha256: str = ""

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """Read a file, or look at a folder. OSError goes on."""
        status = path.stat()
        if not path.is_file():
            return cls(0, status.st_mtime_ns)
        with path.open("rb") as file:
            return cls(status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest())

    def still_of(self, path: Path) -> bool:
        """Whether the file is there and the same: see ``again``."""
        return self.again(path) is True

    def again(self, path: Path) -> bool | None:
        """Whether the file is the same: by size and time, and where only the time differs by content.

        None: it cannot be looked at.
        """
        try:
            status = os.stat(path)  # once: there may be millions, and a file server far away
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            if (size, status.st_mtime_ns) == (self.size, self.mtime_ns):
                return True
            return bool(self.sha256) and size == self.size and Fingerprint.of(path).sha256 == self.sha256
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a long video.

    Attributes:
        warm: first frame that is shown to the model, to prime its state.
        first: first frame whose rows count.
        last: the frame after its last one.
    """

    warm: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker does at once: one video, one part of a long one, or the joining of its parts.

    Attributes:
        unit_id: in the ledger.
        source: an absolute path or a URL.
        shown: the name that rows give to the source.
        number: of the part, from 0; ``WHOLE``: the video.
        part: which frames, of a part.
        parts: what is to be joined; () where the video is to be detected in.
        attempt: from 1.
        may_cut: whether a long video may be cut instead of being detected in.
    """

    unit_id: int
    source: str
    shown: str
    number: int = WHOLE
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    attempt: int = 1
    may_cut: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker says of a unit.

    Attributes:
        frames: detected in.
        decoded: from the source.
        detections: boxes reported.
        tracks: confirmed.
        video_s: seconds of video.
        processor_s: processor time of the worker while it was at it.
        label: class of the sequence.
        score: its confidence.
        short: what the source promised and did not give, or "".
        failed: why there is no result, or "".
        exit_code: of that error.
        source: what was read, None for a URL.
        outputs: files that were written, relative to the run's folder.
        parts: into which the video is to be cut, instead of a result.
        exact: False: parts of this video cannot be entered exactly; it must be read as a whole.
    """

    frames: int = 0
    decoded: int = 0
    detections: int = 0
    tracks: int = 0
    video_s: float = 0.0
    processor_s: float = 0.0
    label: str = ""
    score: float = 0.0
    short: str = ""
    failed: str = ""
    exit_code: int = 0
    source: Fingerprint | None = None
    outputs: dict[str, Fingerprint] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a run must know.

    Attributes:
        folder: of the run.
        run_id: written there; a worker that sees another, or none, is on a machine without this folder.
        model: name or path.
        device: "auto", "cpu", "cuda".
        runtime: "auto", "torch", ...
        score: smallest of a reported detection.
        parquet: write rows as Parquet, too.
        annotate: write annotated videos, too.
        cut_s: longer videos are cut into parts of about so many seconds; 0: never.
        warm_frames: shown to the model before the first frame of a part.
        streams: videos at once in one worker, which share each step of the network.
    """

    folder: str
    run_id: str
    model: str
    device: str
    runtime: str
    score: float
    parquet: bool = True
    annotate: bool = False
    cut_s: float = 0.0
    warm_frames: int = 0
    streams: int = 1


@dataclass(frozen=True, slots=True)
class Finished:
    """A unit has an outcome."""

    unit_id: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone in the middle of units; or it raised what nobody expects."""

    unit_ids: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Beat:
    """A unit is alive: so many frames so far."""

    unit_id: int
    frames: int


Event = Finished | Died | Beat


class Engine(Protocol):
    """Workers, wherever they run. A unit that is given ends in exactly one Finished or Died."""

    def free(self) -> int:
        """How many units may be given now."""

    def give(self, unit: Unit) -> None:
        """Start a unit."""

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What happened, after at most so many seconds.

        Raises:
            SeqdetError: no worker can work: no model, no folder, disk full.
        """

    def stop(self, unit_id: int) -> None:
        """Kill the worker of a unit that shows no life; Died follows."""

    def close(self) -> None:
        """End all workers."""
