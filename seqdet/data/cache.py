"""Decoded frames kept in memory, so that any window of any video is at hand.

Videos are read in spans from keyframe to keyframe (``video.spans``), so that a window of a long recording
does not wait for all of it. While there is room, frames are kept as they are; where it becomes scarce, those
of the spans that were not asked for the longest are packed, without loss, and where that is not enough they
leave. Whatever is kept, the pictures are the same. Grey ones have one channel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdet.boxes import Letterbox
from seqdet.data.dataset import Sequence
from seqdet.data.pack import Packed, in_one_thread, pack, unpack
from seqdet.data.transforms.geometry import shrink
from seqdet.video.spans import InexactError, Picture, SpanReader, Spans, find_spans, in_order

# A video that can only be read in order is one span: of a long one, frames beyond this are packed at once.
MOST_OPEN_BYTES = 256 << 20


@dataclass(slots=True)
class _Kept:
    """One span: F frames and their (F,) times in seconds."""

    pictures: Items[np.ndarray | Packed]
    times_s: np.ndarray

    @property
    def nbytes(self) -> int:
        return sum(picture.nbytes for picture in self.pictures)

    def packed(self) -> list[Packed]:
        return [each if isinstance(each, Packed) else pack(each) for each in self.pictures]


class FrameCache:
    """Frames of sequences, shrunk to fit the network's input; the least recently used span leaves first.

    One reader at a time: each worker thread has a cache of its own.

    Args:
        limit_bytes: memory for frames; 0 keeps only the span that was read last.
        fit_wh: frames larger than this are shrunk to fit before they are kept.
    """

    def __init__(self, limit_bytes: int, fit_wh: tuple[int, int]) -> None:
        self.limit_bytes = limit_bytes
        self.fit_wh = fit_wh
        self.used_bytes = 0
        self._reader = SpanReader()
        self._spans: dict[Path, Spans] = {}
        self._kept: OrderedDict[tuple[Path, int], _Kept] = OrderedDict()
        in_one_thread()

    def frames(self, sequence: Sequence, indices: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Frames by index.

        Args:
            sequence: which video.
            indices: (T,) frame indices from 0; one beyond the last decoded frame gives the last one.

        Returns:
            T arrays (H, W, 3) uint8, or (H, W) where a frame is grey, not to be changed; and their (T,) times
            in seconds.
        """
        if sequence.video not in self._spans:
            self._spans[sequence.video] = find_spans(sequence.video, sequence.frames, self._reader)
        try:
            return self._frames(sequence, self._spans[sequence.video], indices)
        except InexactError:
            self._spans[sequence.video] = in_order(sequence.video)
            for key in [key for key in self._kept if key[0] == sequence.video]:
                self.used_bytes -= self._kept.pop(key).nbytes
            return self._frames(sequence, self._spans[sequence.video], indices)

    def _frames(
        self, sequence: Sequence, spans: Spans, indices: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        pictures: list[np.ndarray] = []
        times = np.empty(len(indices))
        first = last = 0
        for t, index in enumerate(indices.tolist()):
            if not first <= index < last:
                number = spans.of(index)
                first, last = spans.part(number)
                kept = self._span(sequence, spans, number)
            place = min(index - first, len(kept.pictures) - 1)
            picture = kept.pictures[place]
            pictures.append(unpack(picture) if isinstance(picture, Packed) else picture)
            times[t] = kept.times_s[place]
        return pictures, times

    def _span(self, sequence: Sequence, spans: Spans, number: int) -> _Kept:
        """One span, read where it is not kept."""
        key = (sequence.video, number)
        if key not in self._kept:
            pictures = self._reader.read(spans, number)
            kept = _collect(pictures, Letterbox.fit(sequence.size_wh, self.fit_wh).scaled_wh)
            self._kept[key] = kept
            self.used_bytes += kept.nbytes
            self._make_room()
        self._kept.move_to_end(key)
        return self._kept[key]

    def _make_room(self) -> None:
        """Pack, then forget, what was not asked for the longest; never the span that was just read."""
        *older, _ = self._kept.values()
        for kept in older:
            if self.used_bytes <= self.limit_bytes:
                return
            if self.limit_bytes:
                before = kept.nbytes
                kept.pictures = kept.packed()
                self.used_bytes += kept.nbytes - before
        while self.used_bytes > self.limit_bytes and len(self._kept) > 1:
            self.used_bytes -= self._kept.popitem(last=False)[1].nbytes


def _collect(decoded: Iterable[Picture], size_wh: tuple[int, int]) -> _Kept:
    pictures: list[np.ndarray | Packed] = []
    times: list[float] = []
    used_bytes = 0
    for picture in decoded:
        larger = size_wh[0] < picture.pixels.shape[1]
        small = shrink(picture.pixels, size_wh) if larger else picture.pixels
        used_bytes += small.nbytes
        pictures.append(small if used_bytes < MOST_OPEN_BYTES else pack(small))
        times.append(picture.time_s)
    return _Kept(pictures, np.array(times))
