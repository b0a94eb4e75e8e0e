"""Decoded frames kept in memory as JPEG, so that any window of any video is at hand.

Videos are read in spans from keyframe to keyframe (``video.spans``), so that a window of a long recording
does not wait for all of it. A frame of 320x256 takes 11 (thermal) to 22 KB (visible) so, and .2 to .5 ms to
decode, about as long as from the video. Grey pictures are kept with one channel, which changes no pixel and
takes half the time.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from seqdet.boxes import Letterbox
from seqdet.data.dataset import Sequence
from seqdet.data.transforms import shrink
from seqdet.errors import InputError
from seqdet.video.spans import InexactError, Spans, find_spans, in_order, read_span

JPEG_QUALITY = 95


class _Kept(NamedTuple):
    """One span: F frames as JPEG, each with whether it is grey, and their (F,) times in seconds."""

    pictures: list[tuple[np.ndarray, bool]]
    times_s: np.ndarray

    @property
    def nbytes(self) -> int:
        return sum(data.nbytes for data, _ in self.pictures)


class FrameCache:
    """Frames of sequences, shrunk to fit the network's input; the least recently used span leaves first.

    One reader at a time: each worker thread has a cache of its own.

    Args:
        limit_bytes: memory for JPEG data; 0 keeps only the span that was read last.
        fit_wh: frames larger than this are shrunk to fit before they are kept.
    """

    def __init__(self, limit_bytes: int, fit_wh: tuple[int, int]) -> None:
        self.limit_bytes = limit_bytes
        self.fit_wh = fit_wh
        self.used_bytes = 0
        self._spans: dict[Path, Spans] = {}
        self._kept: OrderedDict[tuple[Path, int], _Kept] = OrderedDict()

    def frames(self, sequence: Sequence, indices: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Frames by index.

        Args:
            sequence: which video.
            indices: (T,) frame indices from 0; one beyond the last decoded frame gives the last one.

        Returns:
            T arrays (H, W, 3) uint8 and their (T,) times in seconds.
        """
        if sequence.video not in self._spans:
            self._spans[sequence.video] = find_spans(sequence.video, sequence.frames)
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
        for t, index in enumerate(indices.tolist()):
            number = spans.of(index)
            kept = self._span(sequence, spans, number)
            place = min(index - int(spans.starts[number]), len(kept.pictures) - 1)
            pictures.append(_unpacked(*kept.pictures[place]))
            times[t] = kept.times_s[place]
        return pictures, times

    def _span(self, sequence: Sequence, spans: Spans, number: int) -> _Kept:
        """One span, read where it is not kept."""
        key = (sequence.video, number)
        if key not in self._kept:
            self._kept[key] = kept = self._read(sequence, spans, number)
            self.used_bytes += kept.nbytes
            while self.used_bytes > self.limit_bytes and len(self._kept) > 1:
                self.used_bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return self._kept[key]

    def _read(self, sequence: Sequence, spans: Spans, number: int) -> _Kept:
        size_wh = Letterbox.fit(sequence.size_wh, self.fit_wh).scaled_wh
        pictures: list[tuple[np.ndarray, bool]] = []
        times: list[float] = []
        for frame in read_span(spans, number):
            small = shrink(frame.rgb, size_wh) if size_wh[0] < frame.rgb.shape[1] else frame.rgb
            pictures.append(_packed(small))
            times.append(frame.time_s)
        return _Kept(pictures, np.array(times))


def _packed(rgb: np.ndarray) -> tuple[np.ndarray, bool]:
    """A picture as JPEG, and whether it is grey."""
    red, green, blue = cv2.split(rgb)
    grey = np.array_equal(red, green) and np.array_equal(green, blue)
    # A flipped view instead of a copy would take OpenCV twice as long to encode.
    source = red if grey else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise InputError(f"a picture of {rgb.shape[1]}x{rgb.shape[0]} pixels cannot be kept as JPEG")
    return data, grey


def _unpacked(jpeg: np.ndarray, grey: bool) -> np.ndarray:
    picture = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise InputError("a frame in the cache cannot be decoded again; is the memory of this machine sound?")
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if grey else picture
