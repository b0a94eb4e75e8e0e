"""One training in several processes: who they are, what they tell each other, what happens when one is lost.

``Alone`` is a training in one process: every exchange is the value itself. ``Group`` is one of several that a
launcher such as torchrun has started (RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment).
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seqdet.errors import LostProcessError, SeqdetError, UsageError

Value = TypeVar("Value")
LastWords = Callable[[str], None]

BEAT_S = 1.0
# A process that has given no sign of life for so long is lost. With the 30 seconds after which torchrun kills
# what does not end by itself, all are gone within a minute.
SILENCE_S = 20.0
# The same when an exchange has already failed.
BROKEN_SILENCE_S = 5.0
# An exchange waits for the slowest process; one that lives and is just slow may take so long.
PATIENCE = timedelta(minutes=30)
# In the folder of a run: who began it.
LAUNCHER = "launcher.txt"
# Signs of life are numbers; these are the others.
_DONE, _HEARD, _FAILED = "done", "heard", "failed "


class Alone:
    """A training in one process."""

    rank, size, beside = 0, 1, 1

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def device(self, name: str) -> str:
        """Where this process computes."""
        return name

    def network(self, model: nn.Module) -> nn.Module:
        """What is called in the place of the model."""
        return model

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes, without gradient."""
        return values.detach()

    def gathered(self, value: Value) -> list[Value]:
        """The values of all processes, by rank."""
        return [value]

    def first_says(self, value: Value) -> Value:
        """The value of the first process."""
        return value

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, a failed exchange is told by the process that is lost."""
        yield


class Group:
    """One of several processes.

    Args:
        last_words: is told which process is lost, before this one ends.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        beside: how many there are on this machine.
    """

    def __init__(self, last_words: LastWords) -> None:
        import torch.distributed as distributed

        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.beside = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        store, rank, size = next(distributed.rendezvous("env://", timeout=PATIENCE))
        # Under torchrun all attempts share one store, where the addresses of the killed ones would be found.
        word = _agreed(store, rank, size)
        store = distributed.PrefixStore(f"seqdet/group/{word}", store)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        self._exchange = distributed
        self._watch = _Watch(self.rank, self.size, word, last_words)
        distributed.barrier()
        self._watch.start()

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            # What the first process keeps for all is needed until the last one is done.
            self._watch.leave(_DONE, stays=self.rank == 0)
            self._exchange.destroy_process_group()
        else:
            known = error if isinstance(error, SeqdetError) else LostProcessError(type(error).__name__)
            self._watch.leave(f"{_FAILED}{known.exit_code} {known}", stays=known is error)

    def device(self, name: str) -> str:
        """Where this process computes: each has a GPU of its own."""
        if name in ("auto", "cuda") and torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            return f"cuda:{torch.cuda.current_device()}"
        return name

    def network(self, model: nn.Module) -> nn.Module:
        """The model; its gradients are averaged over processes. All weights must take part in the loss."""
        # A convolution of one pixel has two orders of strides that are the same, which DDP warns of.
        warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
        return nn.parallel.DistributedDataParallel(model)

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes, without gradient."""
        total = values.detach().clone()
        self._exchange.all_reduce(total)
        return total

    def gathered(self, value: Value) -> list[Value]:
        """The values of all processes, by rank."""
        values: list[Any] = [None] * self.size
        self._exchange.all_gather_object(values, value)
        return values

    def first_says(self, value: Value) -> Value:
        """The value of the first process."""
        said = [value]
        self._exchange.broadcast_object_list(said)
        return said[0]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, a failed exchange is told by the process that is lost.

        Raises:
            LostProcessError: which one.
        """
        try:
            yield
        except RuntimeError as error:
            lost = self._watch.who_is_lost()
            if lost is None:
                raise
            raise lost from error


class _Watch:
    """Signs of life: each process counts in the launcher's store, and looks whether the others do.

    A process that is stopped or whose machine is gone closes no connection: whoever waits for it in an
    exchange would wait on. The thread ends this process then: nothing can call the main thread back.
    """

    def __init__(self, rank: int, size: int, word: str, last_words: LastWords) -> None:
        from torch.distributed import PrefixStore, TCPStore

        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=SILENCE_S))
        self._store = PrefixStore(f"seqdet/alive/{word}", store)
        self._rank, self._keys, self._last_words = rank, [str(other) for other in range(size)], last_words
        self._store.set(str(rank), "0")
        self._left, self._found, self._is_asked = threading.Event(), threading.Event(), threading.Event()
        self._lost: LostProcessError | None = None
        self._thread = threading.Thread(target=self._run, name="seqdet-watch", daemon=True)

    def start(self) -> None:
        """Begin, once every process has given its first sign."""
        self._thread.start()

    def leave(self, word: str, *, stays: bool) -> None:
        """Say how this process ends, and stop watching.

        Args:
            word: how it ends.
            stays: until the others have heard it. Once this process is gone they may find no store any more,
                or only broken connections.
        """
        self._left.set()
        self._is_asked.set()
        self._thread.join(BEAT_S + SILENCE_S)
        if self._thread.is_alive() or self._lost is not None or not self._give(word):
            return
        end = time.monotonic() + BROKEN_SILENCE_S
        while stays and time.monotonic() < end and self._is_awaited():
            time.sleep(BEAT_S / 10)

    def who_is_lost(self) -> LostProcessError | None:
        """After a failed exchange: which process, or None where all give signs."""
        self._is_asked.set()
        return self._lost if self._found.wait(BROKEN_SILENCE_S * 3) else None

    def _give(self, word: str) -> bool:
        try:
            self._store.set(str(self._rank), word)
        except (RuntimeError, OSError):  # whoever keeps the store is gone
            return False
        return True

    def _signs(self) -> list[str] | None:
        """The last sign of each process; None: whoever keeps the store is gone."""
        try:
            return [sign.decode(errors="replace") for sign in self._store.multi_get(self._keys)]
        except (RuntimeError, OSError):
            return None

    def _is_awaited(self) -> bool:
        """Whether some process still counts, and has not heard how this one ended."""
        return any(sign.isdecimal() for sign in self._signs() or ())

    def _run(self) -> None:
        count, changed_s = 0, [time.monotonic()] * len(self._keys)
        before = [""] * len(self._keys)
        while not self._left.wait(BEAT_S):
            count += 1
            signs = self._signs() if self._give(str(count)) else None
            if signs is None:
                self._end("process 0, or what launched it, does not answer any more")
                return
            now = time.monotonic()
            limit_s = BROKEN_SILENCE_S if self._is_asked.is_set() else SILENCE_S
            for rank, (sign, old) in enumerate(zip(signs, before, strict=True)):
                if sign != old:
                    changed_s[rank] = now
                if rank == self._rank or sign in (_DONE, _HEARD):
                    continue
                if sign.startswith(_FAILED):
                    self._give(_HEARD)
                    code, _, why = sign.removeprefix(_FAILED).partition(" ")
                    self._end(f"process {rank} ended: {why}", int(code))
                    return
                if now - changed_s[rank] > limit_s:
                    self._end(f"process {rank} was killed or is stuck: no sign of life for {limit_s:.0f} s")
                    return
            before = signs

    def _end(self, lost: str, exit_code: int = LostProcessError.exit_code) -> None:
        """Let the main thread end this process, or do it where that waits for the lost one."""
        self._lost = LostProcessError(
            f"{lost}. What was saved is kept; the same command with --resume goes on", exit_code
        )
        self._found.set()
        if not self._is_asked.wait(3) and not self._left.is_set():
            self._last_words(str(self._lost))
            os._exit(exit_code)


def join(last_words: LastWords) -> Alone | Group:
    """Join the processes that a launcher has started beside this one, if there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Alone()
    if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
        raise UsageError(
            "WORLD_SIZE says several processes, but RANK or MASTER_ADDR is missing; use torchrun"
        )
    return Group(last_words)


def is_first() -> bool:
    """True in the one process that speaks and writes."""
    return os.environ.get("RANK", "0") == "0" or os.environ.get("WORLD_SIZE", "1") == "1"


def _agreed(store: Any, rank: int, size: int) -> str:
    """A word that these processes have in common, and no process that was killed before had.

    The number of the attempt is none: with several machines each counts its own (``--max-restarts``). So the
    first process proposes a word and repeats whom it has heard; whoever finds itself there takes the word.
    """
    own, end = uuid.uuid4().hex, time.monotonic() + PATIENCE.total_seconds()

    def read(key: str) -> str:
        return store.get(key).decode() if store.check([key]) else ""

    others = range(1, size)
    store.set(f"seqdet/hello/{rank}", own)
    while time.monotonic() < end:
        if rank > 0 and own in (heard := read("seqdet/word").split()):
            store.set(f"seqdet/agreed/{rank}", heard[0])
            return heard[0]
        if rank == 0 and all(read(f"seqdet/agreed/{other}") == own for other in others):
            return own
        if rank == 0:
            store.set("seqdet/word", " ".join([own, *(read(f"seqdet/hello/{other}") for other in others)]))
        time.sleep(0.02)
    raise LostProcessError(f"the other processes did not come within {PATIENCE}")


def launcher() -> str:
    """Which torchrun started this process: the same for one that it has started again; "" without any."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ""
    parent = os.getppid()
    try:  # the same number may be another program's after a restart of the machine
        began = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = ""
    return f"{os.environ['TORCHELASTIC_RUN_ID']} {socket.gethostname()} {parent} {began}".rstrip()


def was_started_here(run: Path) -> bool:
    """True where this very launcher has begun the run: a process was lost or came in, and all start again."""
    try:
        return (launcher() or None) in (run / LAUNCHER).read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
