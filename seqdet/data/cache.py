"""Decoded frames kept in memory as JPEG, so that any window of any video is at hand without seeking.

A frame of 320x256 takes 12 (visible) to 22 KB (thermal, noisier) so, and .3 to .5 ms to decode.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from seqdet.boxes import Letterbox
from seqdet.data.dataset import Sequence
from seqdet.data.transforms import shrink
from seqdet.errors import InputError
from seqdet.video.reader import open_video

JPEG_QUALITY = 95


class FrameCache:
    """Frames of sequences, shrunk to fit the network's input; the least recently used sequence leaves first.

    One reader at a time: each worker thread has a cache of its own.

    Args:
        limit_bytes: memory for JPEG data; 0 keeps only the sequence that was read last.
        fit_wh: frames larger than this are shrunk to fit before they are kept.
    """

    def __init__(self, limit_bytes: int, fit_wh: tuple[int, int]) -> None:
        self.limit_bytes = limit_bytes
        self.fit_wh = fit_wh
        self.used_bytes = 0
        self._sequences: OrderedDict[Path, tuple[list[np.ndarray], np.ndarray]] = OrderedDict()

    def frames(self, sequence: Sequence, indices: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Frames by index.

        Args:
            sequence: which video.
            indices: (T,) frame indices from 0; one beyond the last decoded frame gives the last one.

        Returns:
            T arrays (H, W, 3) uint8 and their (T,) times in seconds.
        """
        if sequence.video not in self._sequences:
            self._load(sequence)
        self._sequences.move_to_end(sequence.video)
        encoded, times = self._sequences[sequence.video]
        safe = np.minimum(indices, len(encoded) - 1)
        return [_decoded(encoded[i]) for i in safe], times[safe]

    def _load(self, sequence: Sequence) -> None:
        size_wh = Letterbox.fit(sequence.size_wh, self.fit_wh).scaled_wh
        encoded: list[np.ndarray] = []
        times: list[float] = []
        with open_video(sequence.video) as reader:
            for frame in reader:
                small = shrink(frame.rgb, size_wh) if size_wh[0] < frame.rgb.shape[1] else frame.rgb
                done, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                if not done:
                    raise InputError(f"{sequence.video}: frame {frame.index} cannot be kept as JPEG")
                encoded.append(data)
                times.append(frame.time_s)
        self._sequences[sequence.video] = (encoded, np.array(times))
        self.used_bytes += sum(data.nbytes for data in encoded)
        while self.used_bytes > self.limit_bytes and len(self._sequences) > 1:
            _, (dropped, _) = self._sequences.popitem(last=False)
            self.used_bytes -= sum(data.nbytes for data in dropped)


def _decoded(encoded: np.ndarray) -> np.ndarray:
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError("a frame in the cache cannot be decoded again; is the memory of this machine sound?")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
