"""The states of a training on disk: the last few, newest first, and the thread that writes them.

``state.safetensors`` is the newest, ``state.1.safetensors`` the one before, and so on. A new one is written
whole as ``state.new.safetensors`` before the others make room: a kill at any moment leaves the newest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from torch import Tensor

from seqdet.errors import InputError, OutputError
from seqdet.model.checkpoint import PARTIAL, read_header, read_tensors, write_tensors

NEWEST, _NEW, _DAMAGED = "state.safetensors", "state.new.safetensors", "state.damaged.safetensors"


class KeptState(NamedTuple):
    """A state that was read.

    Attributes:
        path: which one.
        tensors: by name.
        document: what describes them.
        damaged: what was wrong with each newer one.
    """

    path: Path
    tensors: dict[str, Tensor]
    document: dict[str, Any]
    damaged: tuple[str, ...]


def keep_state(folder: Path, tensors: dict[str, Tensor], document: dict[str, Any], keep: int) -> None:
    """Write the newest state and forget all but the last ``keep``.

    Raises:
        OutputError: it cannot be written; those before it are whole.
    """
    try:
        _make_room(folder, keep)  # what a kill has left undone
        write_tensors(folder / _NEW, tensors, document)
        _make_room(folder, keep)
    except OSError as error:
        raise OutputError(f"{folder}: the state could not be kept: {error.strerror or error}") from error


def _make_room(folder: Path, keep: int) -> None:
    if not (folder / _NEW).is_file():
        return
    places = [folder / NEWEST, *(folder / f"state.{age}.safetensors" for age in range(1, keep))]
    for newer, older in reversed(list(pairwise(places))):
        if newer.is_file():
            newer.replace(older)
    (folder / _NEW).replace(folder / NEWEST)
    for path in folder.glob("state.[0-9]*.safetensors"):
        if path not in places:
            path.unlink()


def has_state(folder: Path) -> bool:
    """True where a training has left something to go on from."""
    return bool(_candidates(folder))


def newest_state(folder: Path, is_older_kind: Callable[[dict[str, Any]], bool]) -> KeptState:
    """The newest state that is whole. Those that are newer and damaged are put aside.

    Args:
        folder: of the run.
        is_older_kind: tells by its document a state of the time before states had a SHA-256.

    Raises:
        InputError: there is none, or none is whole.
    """
    damaged = []
    for path in _candidates(folder):
        try:
            sealed = not is_older_kind(read_header(path))
            tensors, document = read_tensors(path, must_be_sealed=sealed)
        except InputError as error:
            damaged.append((path, str(error)))
            continue
        for wrong, _ in damaged:
            with contextlib.suppress(OSError):  # it is passed over again the next time
                wrong.replace(folder / _DAMAGED)
        return KeptState(path, tensors, document, tuple(reason for _, reason in damaged))
    reasons = "; ".join(reason for _, reason in damaged)
    raise InputError(
        f"{folder}: no state is whole, so that this run cannot go on: {reasons or 'there is none'}"
    )


def _candidates(folder: Path) -> list[Path]:
    """The states in a folder, newest first."""
    aged = {int(path.name.split(".")[1]): path for path in folder.glob("state.[0-9]*.safetensors")}
    paths = [folder / _NEW, folder / NEWEST, *(aged[age] for age in sorted(aged))]
    return [path for path in paths if path.is_file()]


def remove_partial(folder: Path) -> None:
    """Remove the files that a killed run was writing."""
    for path in folder.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):
            path.unlink()


class Writer:
    """Writes in a thread, one job at a time; whoever trains meanwhile is told of errors at its next offer."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "seqdet-checkpoint")
        self._job: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)  # what was begun is finished, whatever ends the training

    def is_free(self) -> bool:
        """True when nothing is being written.

        Raises:
            BaseException: whatever the last job raised, once.
        """
        if self._job is not None and self._job.done():
            self.wait()
        return self._job is None

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job, after the one before."""
        self.wait()
        self._job = self._thread.submit(job)

    def wait(self) -> None:
        """Wait until nothing is being written; raises as ``is_free``."""
        job, self._job = self._job, None
        if job is not None:
            job.result()
