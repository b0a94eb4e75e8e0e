"""Many sources in several processes of this machine, one source a process at a time, results in their order.

Rows go through a file of a private folder each, from which this process writes them where they belong, source
after source: the same files, byte for byte, as one process writes.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from seqdet.errors import InputError, SeqdetError
from seqdet.runs.detect_source import Progress, RowSink, SourceReport, detect_one
from seqdet.runs.device import keep_freed_memory, threads_shared_by
from seqdet.runs.pace import with_every
from seqdet.runs.stream import load, with_score
from seqdet.types import Frame, FrameResult, SequenceResult

_POLL_S = 0.2
# For finishing a video after Ctrl-C.
_END_S = 20.0


@dataclass(frozen=True, slots=True)
class Job:
    """What all processes need to know.

    Attributes:
        model: shipped name, run folder, file or exported folder.
        runtime: what computes it, as for ``load``.
        expected_frames: as for ``load``.
        score: smallest score of a reported detection.
        every: the network sees every so-manyth frame.
        max_frames: of each source.
        max_pixels: larger pictures are refused.
        force: replace outputs that exist.
        threads: of the arithmetic of each process.
        rows: folder for the rows of each source; None where nobody wants them.
    """

    model: str
    runtime: str
    expected_frames: int | None
    score: float
    every: int
    max_frames: int | None
    max_pixels: int
    force: bool
    threads: int
    rows: str | None = None


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    at: int | None = None  # number of the source that it works on


@dataclass(slots=True)
class _Sources:
    """What is known of each: its name, its video, and its report once there is one."""

    names: Sequence[str]
    outs: Sequence[Path | None]
    reports: dict[int, SourceReport]
    waiting: list[int] = field(default_factory=list)


def detect_in_processes(
    names: Sequence[str],
    outs: Sequence[Path | None],
    known: dict[int, SourceReport],
    sinks: Sequence[RowSink],
    job: Job,
    jobs: int,
    progress: Progress | None,
) -> Iterator[SourceReport]:
    """Detect in sources; the arguments are those of ``detect_files``.

    On Ctrl-C every process finishes the file that it writes, and the rows that are there are written.

    Args:
        names: the sources.
        outs: the annotated video of each, or None.
        known: reports that there are already, by number: nothing is done for these.
        sinks: where rows go.
        job: ``rows`` is set here.
        jobs: how many processes at most.
        progress: is told the frames of all sources together.

    Yields:
        The reports, in the order of the sources.

    Raises:
        SeqdetError: what concerns all sources, such as a full disk.
    """
    sources = _Sources(names, outs, dict(known), [n for n in range(len(names)) if n not in known])
    context = multiprocessing.get_context("spawn")
    frames = context.Value("q", 0)
    with tempfile.TemporaryDirectory(prefix="seqdet-rows-") as folder:
        job = replace(job, rows=folder if sinks else None)
        start = partial(_started, context, job, frames)
        workers = [start() for _ in range(min(jobs, len(sources.waiting)))]
        done = 0
        try:
            while done < len(names):
                if done in sources.reports:
                    _replay(Path(folder) / str(done), sinks)
                    yield sources.reports[done]
                    done += 1
                    continue
                _hear(workers, sources, start)
                if progress is not None:
                    progress(f"{done} of {len(names)} sources", frames.value, None)
        except KeyboardInterrupt:
            _interrupt(workers)
            for number in range(done, len(names)):
                _replay(Path(folder) / str(number), sinks)
            raise
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()


def _started(context: Any, job: Job, frames: Any) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, theirs, frames), daemon=True)
    process.start()
    theirs.close()  # so that its end is seen when the worker is gone
    return _Worker(process, ours)


def _hear(workers: list[_Worker], sources: _Sources, start: Callable[[], _Worker]) -> None:
    """Take what workers say, give those that are free the next source, and replace those that have died."""
    by_pipe = {worker.pipe: worker for worker in workers}
    for pipe in wait(list(by_pipe), _POLL_S):
        assert isinstance(pipe, Connection)
        worker = by_pipe[pipe]
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            workers.remove(worker)
            _bury(worker, sources)
            if sources.waiting and worker.at is not None:
                workers.append(start())
            elif sources.waiting and not workers:
                raise SeqdetError("no process of --jobs comes to life; try fewer, or none") from None
            continue
        if isinstance(message, SeqdetError):
            raise message
        if isinstance(message, SourceReport):
            assert worker.at is not None
            sources.reports[worker.at], worker.at = message, None
        if sources.waiting:
            worker.at = sources.waiting.pop(0)
            with suppress(OSError):  # it is dead, which the next turn hears
                pipe.send((worker.at, sources.names[worker.at], sources.outs[worker.at]))


def _bury(worker: _Worker, sources: _Sources) -> None:
    """A process that is gone: the source that it had, if any, has failed."""
    worker.process.join(_END_S)
    worker.pipe.close()
    if worker.at is None:
        return
    code = worker.process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    name = sources.names[worker.at]
    error = f"{name}: its process {how}; try it alone, without --jobs"
    sources.reports[worker.at] = SourceReport(name, error=error, exit_code=InputError.exit_code)


def _interrupt(workers: Sequence[_Worker]) -> None:
    """Let every process finish its files."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_END_S)


def _replay(rows: Path, sinks: Sequence[RowSink]) -> None:
    """Write the rows of one source where they belong."""
    if not rows.is_file():
        return
    with rows.open("rb") as file:
        for source, result in _kept(file):
            for sink in sinks:
                if isinstance(result, SequenceResult):
                    sink.end_sequence(result)
                else:
                    sink.write(source, result)
    rows.unlink()


def _kept(file: IO[bytes]) -> Iterator[tuple[str, FrameResult | SequenceResult]]:
    """What ``_Rows`` has kept; of a process that was killed, what is whole."""
    while True:
        try:
            source, shape, parts = pickle.load(file)  # of our own, in a folder that is ours alone
        except (EOFError, pickle.UnpicklingError):
            return
        if shape is None:
            yield source, parts
        else:
            index, time_s, *rest = parts
            picture = np.broadcast_to(np.uint8(0), shape)
            yield source, FrameResult(Frame(picture, index, time_s), *rest)


class _Rows:
    """A sink that keeps rows, without pictures, in a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, source: str, result: FrameResult) -> None:
        frame = result.frame
        words = result.detections, result.classes, result.sequence_label, result.sequence_score
        parts = (frame.index, frame.time_s, *words)
        pickle.dump((source, frame.rgb.shape, parts), self._file)

    def end_sequence(self, sequence: SequenceResult) -> None:
        pickle.dump(("", None, sequence), self._file)


def _work(job: Job, pipe: Connection, frames: Any) -> None:
    """A process's life: load the model, say so, take sources until nobody gives any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which tells us by SIGTERM
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        try:
            loaded = load(job.model, "cpu", job.runtime, expected_frames=job.expected_frames)
            model = with_every(with_score(loaded, job.score), job.every)
            with threads_shared_by(2):
                pipe.send(None)
                while True:
                    number, name, out = pipe.recv()
                    pipe.send(_one(number, name, out, model, job, frames))
        except SeqdetError as error:
            pipe.send(error)


def _one(number: int, name: str, out: Path | None, model: Any, job: Job, frames: Any) -> SourceReport:
    def count(*_: object) -> None:
        with frames.get_lock():
            frames.value += 1

    with open(os.devnull if job.rows is None else Path(job.rows) / str(number), "wb") as file:
        sinks = [_Rows(file)] if job.rows is not None else []
        try:
            return detect_one(name, out, sinks, model, job.max_frames, job.force, count, job.max_pixels)
        except InputError as error:  # others, such as a full disk, concern all
            return SourceReport(name, error=str(error), exit_code=error.exit_code)


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
