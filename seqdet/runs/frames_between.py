"""The network in some frames of a stream only; the frames between get their boxes from those around them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from seqdet.results.between import Seen, between, moved, seen
from seqdet.results.track_state import TrackState
from seqdet.types import Frame, FrameResult

State = TypeVar("State")
See = Callable[[Iterator[Frame]], Generator[tuple[FrameResult, State], None, None]]


def results_between(
    frames: Iterable[Frame], every: int, see: See[State], tracks_of: Callable[[State], TrackState]
) -> Iterator[tuple[FrameResult, State]]:
    """A result for every frame, though the network sees every so-manyth only.

    Those between wait for the next one that is seen, so that results come up to ``every`` frames later.

    Args:
        frames: with ascending indices.
        every: at least 1.
        see: what computes the frames that are seen; it may work ahead, in another thread.
        tracks_of: the track table of a state.

    Yields:
        Results in the order of the frames, each with the state after the last frame that was seen.
    """
    waiting: deque[Frame] = deque()

    def seen_ones() -> Iterator[Frame]:
        for number, frame in enumerate(frames):
            if number % every == 0:
                yield frame
            else:
                waiting.append(frame)

    before: tuple[Seen, FrameResult, State] | None = None
    with closing(see(seen_ones())) as results:
        for result, state in results:
            now = seen(result, tracks_of(state))
            if before is not None:
                yield from _of_gap(waiting, result.frame.index, before, now)
            yield result, state
            before = now, result, state
    if before is not None:
        yield from _of_gap(waiting, None, before, None)


def _of_gap(
    waiting: deque[Frame], end: int | None, before: tuple[Seen, FrameResult, State], after: Seen | None
) -> Iterator[tuple[FrameResult, State]]:
    """Results of the frames that wait, up to the index ``end``."""
    known, result, state = before
    while waiting and (end is None or waiting[0].index < end):
        frame = waiting.popleft()
        found = moved(known, frame.time_s) if after is None else between(known, after, frame.time_s)
        yield replace(result, frame=frame, detections=found), state
