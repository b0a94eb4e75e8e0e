"""The one thread boundary: run a generator in a thread, a few items ahead of its consumer.

Decoding, the model and encoding each hold the interpreter's lock only briefly, so that
``for item in prefetch(step(prefetch(frames)))`` lets them overlap.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """Marks the end of the items, with the error that ended them, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Iterable[Item], depth: int = 4) -> Generator[Item, None, None]:
    """Produce items in a thread, at most ``depth`` ahead.

    The thread starts with the first ``next`` and ends when the items end, when an error ends them, or when
    the consumer leaves (``close``, an exception, garbage collection); the items' own ``close`` is then called
    in that thread. The consumer waits for the thread, so that nothing of it outlives the loop.

    Args:
        items: what to iterate in the thread.
        depth: how many finished items may wait, at least 1.

    Yields:
        The items, in order.

    Raises:
        ValueError: ``depth`` is below 1.
        BaseException: whatever ``items`` raises, with its own traceback, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"depth is the number of items that may wait, at least 1; got {depth}")
    return _consume(items, depth)


def _consume(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    waiting: queue.Queue[Item | _End] = queue.Queue(depth)
    left = threading.Event()
    thread = threading.Thread(
        target=_produce, args=(iter(items), waiting, left), name="seqdet-prefetch", daemon=True
    )
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                try:
                    if item.error is not None:
                        raise item.error
                    return
                finally:
                    del item  # else error, traceback and this frame keep each other alive
            yield item
    finally:
        left.set()
        _make_room(waiting)
        if threading.current_thread() is not thread:  # garbage may be collected in any thread
            thread.join()


def _produce(items: Iterator[Item], waiting: queue.Queue[Item | _End], left: threading.Event) -> None:
    end = _End()
    try:
        try:
            for item in items:
                if left.is_set():
                    break
                waiting.put(item)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
    except BaseException as error:  # forwarded, whatever it is: the consumer raises it
        end = _End(error)
    if not left.is_set():
        waiting.put(end)


def _make_room(waiting: queue.Queue[Item | _End]) -> None:
    """Empty the queue, which frees a producer that waits to put; it then sees that the consumer has left."""
    with contextlib.suppress(queue.Empty):
        while True:
            waiting.get_nowait()
