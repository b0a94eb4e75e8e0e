"""How far a run is: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

BAR_PERIOD_S = 0.1
LINE_PERIOD_S = 10.0


class Progress:
    """A callable that runs report to, and a context manager that leaves the terminal as it was.

    A terminal that goes away does not end the run: from then on nothing is shown.

    Args:
        unit: what is counted, in the plural: "frames".
        quiet: show nothing.
        stream: where to; stderr when not given.
    """

    def __init__(self, unit: str = "frames", *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._unit = unit
        self._stream = stream if stream is not None else sys.stderr
        self._silent = quiet or self._stream is None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._label = ""
        self._done = sys.maxsize  # the first call starts a count
        self._start = (0.0, 0)
        self._shown_s = 0.0

    def __enter__(self) -> Progress:
        if not self._silent and self._stream.isatty():
            self._bar = _open_bar(self._stream)
            try:
                self._bar.start()
            except OSError:
                self._silent = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            try:
                self._bar.stop()
            except OSError:
                self._silent = True

    def __call__(self, label: str, done: int, total: int | None = None) -> None:
        """Say how far the run is.

        Args:
            label: what is worked on, such as the source's name.
            done: how much of it is done, in units; a smaller number than before starts a new count.
            total: how much there is, where known. A hint: it may be passed, or never reached.
        """
        if self._silent:
            return
        now = time.monotonic()
        is_new = done < self._done or (done == self._done and label != self._label)
        period_s = BAR_PERIOD_S if self._bar is not None else LINE_PERIOD_S
        is_last = total is not None and done == total
        self._label, self._done = label, done
        if is_new:
            self._start, self._shown_s = (now, done), now
        if now - self._shown_s < period_s and not is_last and not (is_new and self._bar is not None):
            return
        self._shown_s = now
        try:
            self._show(label, done, total, is_new, status(done, total, self._unit, now, self._start))
        except OSError:
            self._silent = True

    def _show(self, label: str, done: int, total: int | None, is_new: bool, text: str) -> None:
        end = total if total is not None and done <= total else None
        if self._bar is None:
            self._stream.write(f"{label}: {text}\n")
            self._stream.flush()
            return
        if is_new or self._task is None:
            self._task = self._bar.add_task(label, total=end, status=text)
        self._bar.update(self._task, description=label, completed=done, total=end, status=text)
        self._bar.refresh()


def status(done: int, total: int | None, unit: str, now_s: float, start: tuple[float, int]) -> str:
    """How far, how fast and how long still, in words: ``120/600 frames, 40.0 frames/s, 0:12 left``.

    Args:
        done: how much is done.
        total: how much there is, or None.
        unit: what is counted.
        now_s: the time, in seconds.
        start: the time and the count when counting began.
    """
    known = total is not None and done <= total
    parts = [f"{done}/{total} {unit}" if known else f"{done} {unit}"]
    elapsed_s, counted = now_s - start[0], done - start[1]
    if elapsed_s > 0 and counted > 0:
        rate = counted / elapsed_s
        parts.append(f"{rate:.1f} {unit}/s")
        if known and total is not None and done < total:
            left_s = round((total - done) / rate)
            parts.append(f"{left_s // 60}:{left_s % 60:02d} left")
    return ", ".join(parts)


def _open_bar(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    class ForgivingConsole(Console):
        """A console whose broken pipe is an OSError to handle, not the end of the program."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    columns: list[Any] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    ]
    # Refreshed by hand: a thread of its own could not hand its errors to us.
    return Bar(*columns, console=ForgivingConsole(file=stream), auto_refresh=False, redirect_stdout=False)
