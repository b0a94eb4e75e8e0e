"""Workers of a corpus as processes of this machine: one thread of arithmetic each, replaced when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from seqdet.errors import SeqdetError
from seqdet.runs.corpus_values import Beat, Died, Event, Finished, Job, Outcome, Unit
from seqdet.runs.corpus_worker import WORK, Worker
from seqdet.runs.device import keep_freed_memory

BEAT_S = 1.0
_STARTS_ALLOWED = 3  # of a worker in a row, without one that came to life
_END_S = 5.0


@dataclass(slots=True)
class _Process:
    process: BaseProcess
    pipe: Connection
    log: Path
    ready: bool = False
    units: set[int] = field(default_factory=set)


class LocalEngine:
    """Processes, started afresh (spawn); see ``corpus_values.Engine``."""

    def __init__(self, job: Job, workers: int) -> None:
        self._job = job
        self._context = multiprocessing.get_context("spawn")
        self._number = 0
        self._failed_starts = 0
        self._workers = [self._start() for _ in range(workers)]

    def free(self) -> int:
        """How many units may be given now, to workers that have come to life."""
        return sum(self._job.streams - len(each.units) for each in self._workers if each.ready)

    def give(self, unit: Unit) -> None:
        """Start a unit in the worker that has the fewest."""
        worker = min((each for each in self._workers if each.ready), key=lambda each: len(each.units))
        worker.units.add(unit.unit_id)
        try:
            worker.pipe.send(unit)
        except OSError:
            return  # it is dead, which ``wait`` will find

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What happened; dead workers are replaced.

        Raises:
            SeqdetError: what a worker says for all of them, or workers that die before they live.
        """
        ready = wait([worker.pipe for worker in self._workers], timeout_s)
        events: list[Event] = []
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            try:
                while worker.pipe.poll():
                    events += self._heard(worker, worker.pipe.recv())
            except (EOFError, OSError):
                events += self._buried(worker)
        return events

    def _heard(self, worker: _Process, message: object) -> list[Event]:
        if message is None:
            worker.ready, self._failed_starts = True, 0
            return []
        if isinstance(message, SeqdetError):
            raise message
        assert isinstance(message, Finished | Beat)
        if isinstance(message, Finished):
            worker.units.discard(message.unit_id)
        return [message]

    def _buried(self, worker: _Process) -> list[Event]:
        worker.process.join(_END_S)
        worker.pipe.close()
        reason = _last_words(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS_ALLOWED:
                raise SeqdetError(f"no worker comes to life: {reason}; see {worker.log}")
        self._workers[self._workers.index(worker)] = self._start()
        return [Died(tuple(worker.units), reason)] if worker.units else []

    def stop(self, unit_id: int) -> None:
        """Kill the worker of a unit; Died follows."""
        for worker in self._workers:
            if unit_id in worker.units:
                worker.process.kill()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(_END_S)
            worker.pipe.close()

    def _start(self) -> _Process:
        self._number += 1
        ours, theirs = self._context.Pipe()
        log = Path(self._job.folder) / WORK / f"worker-{self._number}.log"
        process = self._context.Process(target=_work, args=(self._job, theirs, str(log)), daemon=True)
        process.start()
        theirs.close()  # so that its end is seen when the worker is gone
        return _Process(process, ours, log)


def _last_words(worker: _Process) -> str:
    code = worker.process.exitcode
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    try:
        lines = worker.log.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"ended with exit code {code}"


def _work(job: Job, pipe: Connection, log: str) -> None:
    """A worker's life: load the model, say so, take units until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 2)
    os.dup2(output, 1)
    torch.set_num_threads(1)
    keep_freed_memory()
    sending = threading.Lock()
    try:
        worker = Worker(job)
        pipe.send(None)
    except SeqdetError as error:
        pipe.send(error)
        return
    while True:
        try:
            unit = pipe.recv()
        except EOFError:
            return
        threading.Thread(target=_one, args=(worker, unit, pipe, sending), daemon=True).start()


def _one(worker: Worker, unit: Unit, pipe: Connection, sending: threading.Lock) -> None:
    told_s = time.monotonic()

    def tell(frames: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s > BEAT_S:
            told_s = time.monotonic()
            say(Beat(unit.unit_id, frames))

    def say(message: Beat | Finished | SeqdetError) -> None:
        with sending:
            pipe.send(message)

    try:
        outcome: Outcome = worker.run(unit, tell)
        say(Finished(unit.unit_id, outcome))
    except SeqdetError as error:
        say(error)
    except BaseException:  # what nobody expects ends this worker, and is counted as its death
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
