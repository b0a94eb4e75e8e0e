"""One network for several streams: what they ask for at the same time is computed as one batch.

Each stream stays a thread with a state of its own, as if it were alone; only the two calls of a ``Network``
meet here. The last stream to ask computes for all; nobody waits longer than ``patience_s`` for one that is
busy elsewhere. Meant for GPUs, where small steps leave most of the device idle; what it saves on a CPU is in
docs/scale.md.

Legend: B streams in a batch, T frames, L levels, C channels, S state width.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqdet.model.detector import DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.heads import HeadOutput
from seqdet.model.lstm import CellState
from seqdet.model.memory import DetectorState
from seqdet.runs.network import Network

PATIENCE_S = 0.01


@dataclass(slots=True, eq=False)
class _Call:
    kind: str
    key: tuple[Any, ...]  # calls of the same key can be one batch
    arguments: tuple[Any, ...]
    answer: Future[Any]


class SharedNetwork:
    """A ``Network`` that may be called from several threads, each of which is one stream (a batch of one)."""

    def __init__(self, network: Network, patience_s: float = PATIENCE_S) -> None:
        self._network = network
        self._patience_s = patience_s
        self._lock = threading.Condition()
        self._computing = threading.Lock()
        self._waiting: list[_Call] = []
        self._streams = 0

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Inside, one more stream may ask; batches wait for it a little."""
        with self._lock:
            self._streams += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams -= 1
                self._lock.notify_all()

    def embed(
        self, frames: Tensor, averages: FrameAverages | None
    ) -> tuple[list[Tensor], FrameAverages | None]:
        """``Detector.embed`` of (1, T, 3, H, W)."""
        return self._ask("embed", (tuple(frames.shape), averages is None), (frames, averages))

    def remember(
        self, maps: list[Tensor], averages: FrameAverages | None, batch: int, state: DetectorState | None
    ) -> tuple[DetectorOutput, DetectorState]:
        """``Detector.remember`` of one stream; of ``batch`` sequences (no memory) it is not shared."""
        if batch != 1:
            with self._computing:
                return self._network.remember(maps, averages, batch, state)
        key = (tuple(maps[0].shape), averages is None, state is None)
        return self._ask("remember", key, (maps, averages, state))

    def _ask(self, kind: str, key: tuple[Any, ...], arguments: tuple[Any, ...]) -> Any:
        call = _Call(kind, key, arguments, Future())
        with self._lock:
            self._waiting.append(call)
            self._lock.notify_all()
            self._lock.wait_for(
                lambda: call not in self._waiting or len(self._waiting) >= self._streams, self._patience_s
            )
            mine = [each for each in self._waiting if (each.kind, each.key) == (kind, key)]
            if call in self._waiting:
                self._waiting = [each for each in self._waiting if each not in mine]
            else:
                mine = []  # another thread has taken it along
        if mine:
            self._compute(kind, mine)
        return call.answer.result()

    def _compute(self, kind: str, calls: list[_Call]) -> None:
        work = {"embed": self._embed, "remember": self._remember}[kind]
        try:
            with self._computing:
                answers = work([call.arguments for call in calls])
        except BaseException as error:  # each stream raises it for itself
            for call in calls:
                call.answer.set_exception(error)
            return
        for call, answer in zip(calls, answers, strict=True):
            call.answer.set_result(answer)

    def _embed(self, asked: Sequence[tuple[Any, ...]]) -> list[Any]:
        frames = torch.cat([one[0] for one in asked])
        averages = _joined_averages([one[1] for one in asked])
        maps, after = self._network.embed(frames, averages)
        return [
            ([_rows(level, n, len(asked)) for level in maps], _averages_of(after, n))
            for n in range(len(asked))
        ]

    def _remember(self, asked: Sequence[tuple[Any, ...]]) -> list[Any]:
        count = len(asked)
        maps = [torch.cat(levels) for levels in zip(*(one[0] for one in asked), strict=True)]
        averages = _joined_averages([one[1] for one in asked])
        states = [one[2] for one in asked]
        output, after = self._network.remember(maps, averages, count, _joined_states(states))
        return [(_output_of(output, n, count), _state_of(after, n)) for n in range(count)]


def _rows(value: Tensor, n: int, count: int) -> Tensor:
    """The part of stream ``n`` of (B * T, ...)."""
    return value.unflatten(0, (count, -1))[n]


def _joined_averages(all_of: Sequence[FrameAverages | None]) -> FrameAverages | None:
    known = [each for each in all_of if each is not None]
    return FrameAverages(*(torch.cat(parts) for parts in zip(*known, strict=True))) if known else None


def _averages_of(averages: FrameAverages | None, n: int) -> FrameAverages | None:
    return FrameAverages(*(part[n : n + 1] for part in averages)) if averages is not None else None


def _joined_cells(cells: Sequence[CellState]) -> CellState:
    return CellState(*(torch.cat(parts) for parts in zip(*cells, strict=True)))


def _joined_states(states: Sequence[DetectorState | None]) -> DetectorState | None:
    known = [each for each in states if each is not None]
    if not known:
        return None
    return DetectorState(
        tuple(_joined_cells(cells) for cells in zip(*(each.maps for each in known), strict=True)),
        _joined_cells([each.clip for each in known]),
        _joined_cells([each.tracks for each in known]),
        _joined_averages([each.frames for each in known]),
    )


def _cell_of(cell: CellState, n: int) -> CellState:
    return CellState(*(part[n : n + 1] for part in cell))


def _state_of(state: DetectorState, n: int) -> DetectorState:
    return DetectorState(
        tuple(_cell_of(cell, n) for cell in state.maps),
        _cell_of(state.clip, n),
        _cell_of(state.tracks, n),
        _averages_of(state.frames, n),
    )


def _output_of(output: DetectorOutput, n: int, count: int) -> DetectorOutput:
    heads = output.heads
    shared: Callable[[Tensor], Tensor] = lambda value: _rows(value, n, count)  # noqa: E731
    return DetectorOutput(
        HeadOutput(
            shared(heads.objectness),
            shared(heads.class_logits),
            shared(heads.boxes_xyxy),
            shared(heads.motion),
            heads.points_xy,
            heads.strides,
        ),
        output.clip_logits[n : n + 1],
        [shared(level) for level in output.maps],
    )
