"""Where events go that leave the program: a queue and a thread, so that a receiver that is slow or dead never
holds up who tells."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from seqdet.live_types import Event

WAITING = 1000
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
TRIES = 6
_LAST_WORDS_S = 2.0


class NotSent(Exception):
    """A message did not arrive.

    Attributes:
        final: True when trying again makes no sense.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@dataclass(frozen=True, slots=True)
class OutletReport:
    """What became of the events of an outlet.

    Attributes:
        name: where they went, passwords hidden.
        sent: events that arrived.
        failed: events that did not, after all tries.
        dropped: events that found no room in the queue, or were still in it at the end.
        problem: why the last one that failed did so; "".
    """

    name: str
    sent: int
    failed: int
    dropped: int
    problem: str


class Outlet:
    """Sends events in a thread of its own; a context manager.

    Args:
        name: where they go, passwords hidden.
        send: sends one; raises ``NotSent``. Called in one thread only.
        end: is called in that thread when no more is sent.
    """

    def __init__(
        self, name: str, send: Callable[[Event], None], end: Callable[[], None] = lambda: None
    ) -> None:
        self.name = name
        self._send, self._end = send, end
        self._waiting: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._left = threading.Event()
        self._sent = self._failed = self._dropped = 0
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="seqdet-outlet", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Have it sent; never waits. When the queue is full it is dropped, and counted."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._dropped += 1

    def report(self) -> OutletReport:
        """What became of the events so far."""
        return OutletReport(self.name, self._sent, self._failed, self._dropped, self._problem)

    def close(self) -> None:
        """Give what waits two more seconds, then count it as dropped; safe to call twice."""
        if not self._left.is_set() and self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=_LAST_WORDS_S)
            self._thread.join(_LAST_WORDS_S)
        self._left.set()
        self._thread.join()

    def __enter__(self) -> Outlet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None and not self._left.is_set():
            self._deliver(event)
        self._dropped += (event is not None) + sum(e is not None for e in self._rest())
        self._end()

    def _rest(self) -> list[Event | None]:
        rest: list[Event | None] = []
        with contextlib.suppress(queue.Empty):
            while True:
                rest.append(self._waiting.get_nowait())
        return rest

    def _deliver(self, event: Event) -> None:
        pause_s = FIRST_PAUSE_S
        for tried in range(1, TRIES + 1):
            try:
                self._send(event)
                self._sent += 1
                return
            except NotSent as problem:
                self._problem = str(problem)
                if problem.final or tried == TRIES or self._left.wait(pause_s):
                    break
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._failed += 1
