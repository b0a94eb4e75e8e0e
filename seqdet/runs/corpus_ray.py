"""Workers of a corpus as actors of a Ray cluster, or of one started here; each replaced when it dies."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seqdet.errors import SeqdetError, UsageError
from seqdet.runs.corpus_store import need
from seqdet.runs.corpus_values import Beat, Died, Event, Finished, Job, Outcome, Unit
from seqdet.runs.corpus_worker import WORK, Worker

BEAT_S = 10.0
REACH_S = 5.0
_STARTS_ALLOWED = 3  # of an actor in a row, without one that came to life
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports to its makers otherwise
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Started by `uv run`, Ray would lay out the whole environment anew for its workers: 7 GB, downloaded.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@dataclass(slots=True, eq=False)
class _Actor:
    handle: Any
    ready: bool = False
    units: set[int] = field(default_factory=set)


class RayEngine:
    """Actors; see ``corpus_values.Engine``.

    Args:
        job: what they do.
        workers: how many; None: one a GPU of the cluster where the job may use it, else one a core.
        address: of a cluster; None: Ray is started here, and ends with this run.

    Raises:
        MissingDependencyError: Ray is not installed.
        UsageError: the cluster does not answer, or has no room for one actor.
    """

    def __init__(self, job: Job, workers: int | None, address: str | None) -> None:
        need(["ray"], "--engine ray")
        self._job = job
        self._ray = _connected(address, workers)
        held = self._ray.cluster_resources()
        on_gpu = job.device != "cpu" and held.get("GPU", 0) >= 1
        room = int(held.get("GPU" if on_gpu else "CPU", 0))
        if room < 1:
            self._ray.shutdown()
            raise UsageError(f"--address {address}: the cluster has no free core for a worker")
        # A thread of Ray prints each death to stdout, where only results belong.
        self._talk = ExitStack()
        log = self._talk.enter_context((Path(job.folder) / WORK / "ray.log").open("w", encoding="utf-8"))
        self._talk.enter_context(redirect_stdout(log))
        # One more thread than units: it answers how far they are.
        options = {"num_cpus": 1, "num_gpus": int(on_gpu), "max_concurrency": job.streams + 1}
        self._make = self._ray.remote(RemoteWorker).options(**options)
        self._failed_starts = 0
        self._beat_at_s = time.monotonic() + BEAT_S
        # What is waited for: the actor, and the unit, None for its start, -1 for a beat.
        self._waiting: dict[Any, tuple[_Actor, int | None]] = {}
        self._actors: list[_Actor] = []
        for _ in range(min(workers or room, room)):
            self._start()

    def free(self) -> int:
        """How many units may be given now, to actors that have come to life."""
        return sum(self._job.streams - len(each.units) for each in self._actors if each.ready)

    def give(self, unit: Unit) -> None:
        """Start a unit in the actor that has the fewest."""
        actor = min((each for each in self._actors if each.ready), key=lambda each: len(each.units))
        actor.units.add(unit.unit_id)
        self._waiting[actor.handle.run.remote(unit)] = (actor, unit.unit_id)

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What happened; dead actors are replaced.

        Raises:
            SeqdetError: what an actor says for all of them, or actors that die before they live.
        """
        if time.monotonic() >= self._beat_at_s:
            self._beat_at_s = time.monotonic() + BEAT_S
            asked = {actor for actor, unit_id in self._waiting.values() if unit_id == -1}
            for actor in self._actors:
                if actor.units and actor not in asked:
                    self._waiting[actor.handle.frames.remote()] = (actor, -1)
        ready, _ = self._ray.wait(list(self._waiting), timeout=timeout_s)
        events: list[Event] = []
        for reference in ready:
            if reference in self._waiting:  # it went with its actor otherwise
                events += self._heard(reference, *self._waiting.pop(reference))
        return events

    def _heard(self, reference: Any, actor: _Actor, unit_id: int | None) -> list[Event]:
        failures = self._ray.exceptions
        try:
            said = self._ray.get(reference)
        except failures.RayActorError as error:
            return self._buried(actor, _first_line(error))
        except failures.RayError as error:  # what nobody expects, raised by the unit
            if unit_id is None or unit_id < 0:
                return self._buried(actor, _first_line(error))
            actor.units.discard(unit_id)
            return [Died((unit_id,), _first_line(getattr(error, "cause", None) or error))]
        if isinstance(said, SeqdetError):
            raise said
        if unit_id is None:
            actor.ready, self._failed_starts = True, 0
            return []
        if unit_id < 0:
            return [Beat(one, frames) for one, frames in said.items() if one in actor.units]
        actor.units.discard(unit_id)
        return [Finished(unit_id, said)]

    def _buried(self, actor: _Actor, reason: str) -> list[Event]:
        self._ray.kill(actor.handle)  # dead already, or of no use
        self._waiting = {ref: entry for ref, entry in self._waiting.items() if entry[0] is not actor}
        self._actors.remove(actor)
        if not actor.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS_ALLOWED:
                raise SeqdetError(f"no Ray worker comes to life: {reason}")
        self._start()
        return [Died(tuple(actor.units), reason)] if actor.units else []

    def stop(self, unit_id: int) -> None:
        """Kill the actor of a unit; Died follows."""
        for actor in self._actors:
            if unit_id in actor.units:
                self._ray.kill(actor.handle)

    def close(self) -> None:
        """End all actors, and leave the cluster."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._ray.shutdown()
        self._talk.close()

    def _start(self) -> None:
        actor = _Actor(self._make.remote(self._job))
        self._actors.append(actor)
        self._waiting[actor.handle.load.remote()] = (actor, None)


class RemoteWorker:
    """What an actor is: a worker whose errors are answers, because Ray wraps those that are raised."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self._job = job
        self._frames: dict[int, int] = {}
        self._worker: Worker | None = None

    def load(self) -> SeqdetError | None:
        """Load the model; what went wrong, or None."""
        try:
            self._worker = Worker(self._job)
        except SeqdetError as error:
            return error
        return None

    def run(self, unit: Unit) -> Outcome | SeqdetError:
        """Work on a unit."""
        assert self._worker is not None, "load first"
        self._frames[unit.unit_id] = 0
        try:
            return self._worker.run(unit, lambda frames: self._frames.update({unit.unit_id: frames}))
        except SeqdetError as error:
            return error
        finally:
            del self._frames[unit.unit_id]

    def frames(self) -> dict[int, int]:
        """Units at work, and how far they are: a sign of life."""
        return dict(self._frames)


def _connected(address: str | None, workers: int | None) -> Any:
    """The module of Ray, connected."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    where = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+)\]?:(\d{1,5})", address or "")
    if where is not None:
        try:
            socket.create_connection((where[1], int(where[2])), REACH_S).close()
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"--address {address}: no Ray cluster answers there ({error}); start one with "
                "`ray start --head`, or leave --address away to start Ray here"
            ) from error
    elif address not in (None, "auto"):
        raise UsageError(f"--address {address}: give HOST:PORT, ray://HOST:PORT or auto")
    with warnings.catch_warnings(), _signals_kept():
        warnings.simplefilter("ignore")
        ray = importlib.import_module("ray")
        begins = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
        try:
            ray.init(address=address or "local", logging_level="ERROR", log_to_driver=False, **begins)
        except BaseException as error:  # Ray raises plain Exception where a node is late
            if not isinstance(error, Exception):
                raise
            raise UsageError(
                f"--engine ray: no Ray cluster can be used ({_first_line(error)}); "
                "start one with `ray start --head`, or use --engine local"
            ) from error
    return ray


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; who had it before gets it back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
