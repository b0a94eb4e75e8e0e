"""The network of a model, whatever computes it: two halves, so that a stream may run ahead of its memory.

PyTorch's ``Detector`` is one as it is; other runtimes stand behind the same two calls. The state is the same
value in all of them.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from seqdet.model.detector import DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.memory import DetectorState


class Network(Protocol):
    """``Detector.embed`` and ``Detector.remember``.

    What ``embed`` returns is for ``remember`` of the same network; nobody else looks into it.
    """

    def embed(
        self, frames: Tensor, averages: FrameAverages | None
    ) -> tuple[list[Tensor], FrameAverages | None]:
        """Frames (B, T, 3, H, W) uint8 RGB and the averages of those before -> maps, averages after."""
        ...

    def remember(
        self, maps: list[Tensor], averages: FrameAverages | None, batch: int, state: DetectorState | None
    ) -> tuple[DetectorOutput, DetectorState]:
        """What ``embed`` returned, and the state before -> the output, and the state after."""
        ...
