"""The detector as one step of plain tensors, for other runtimes: a picture and a state in, a state out.

Legend: B sequences, C channels, H W input pixels, h w cells of a level, L levels, K classes, P cells of all
levels, R frame averages, S state width.

Inputs, in this order (docs/export.md):
    frame (B, H, W, 3) uint8 RGB; for each level hidden_STRIDE, cell_STRIDE (B, h, w, C); clip_hidden,
    clip_cell (B, S); where the encoder sees differences frame_means (B, R, H, W), frames_seen (B,).
Outputs, in this order:
    objectness (B, P), class_logits (B, P, K), boxes_xyxy (B, P, 4), motion (B, P, 2), clip_logits (B, K), for
    each level map_STRIDE (B, h, w, C), and the state under its names with ``next_`` before them.

With ``pyramid``, behind them, for each level pyramid_STRIDE (B, h, w, C): what the memory gets of the frame.
There a graph can be cut into the two halves ``Detector.embed`` and ``Detector.remember``.

Maps have their channels last, as runtimes for CPUs compute them: the state is never reordered. Tracks are the
caller's: their memory is a row a track, which a graph of fixed size does not know.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqdet.model.detector import Detector, DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.heads import HeadOutput, cell_centres
from seqdet.model.lstm import CellState
from seqdet.model.memory import DetectorState

HEADS = ("objectness", "class_logits", "boxes_xyxy", "motion")
NEXT = "next_"
# Of names, shapes, order and meaning of what goes in and comes out; a graph of another version is made again.
STEP_VERSION = 2


class StepModel(nn.Module):
    """One frame of B sequences; equal to ``Detector.forward`` with T = 1."""

    def __init__(self, detector: Detector, pyramid: bool = False) -> None:
        super().__init__()
        self.detector = detector
        self.pyramid = pyramid

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the parts of the state, in order."""
        cells = [f"{part}_{stride}" for stride in self._map_levels for part in ("hidden", "cell")]
        frames = ["frame_means", "frames_seen"] if self.detector.difference is not None else []
        return (*cells, "clip_hidden", "clip_cell", *frames)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the arguments of ``forward``, in order."""
        return ("frame", *self.state_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the results of ``forward``, in order."""
        maps = [f"map_{stride}" for stride in self.detector.levels]
        after = [f"{NEXT}{name}" for name in self.state_names]
        return (*HEADS, "clip_logits", *maps, *after, *(self.pyramid_names if self.pyramid else ()))

    @property
    def pyramid_names(self) -> tuple[str, ...]:
        """Names of the maps between the two halves, finest first."""
        return tuple(f"pyramid_{stride}" for stride in self.detector.levels)

    @property
    def _map_levels(self) -> tuple[int, ...]:
        return self.detector.levels if self.detector.memory is not None else ()

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The inputs and outputs of the legend above."""
        detector, batch = self.detector, frame.shape[0]
        before = self.unpack_state(state)
        maps, averages = detector.embed(frame.permute(0, 3, 1, 2).unsqueeze(1), before.frames)
        between = [_channels_last(feature) for feature in maps] if self.pyramid else []
        cells = before.maps
        if detector.memory is not None:
            maps, cells = detector.memory(maps, cells, batch)
        heads = detector.heads(maps)
        clip_logits, clip = detector.clip(detector.clip.pool(maps, heads).unsqueeze(1), before.clip)
        after = DetectorState(cells, clip, before.tracks, averages)
        return (
            *heads[: len(HEADS)],
            clip_logits.squeeze(1),
            *(_channels_last(feature) for feature in maps),
            *self.pack_state(after),
            *between,
        )

    def pack_state(self, state: DetectorState) -> tuple[Tensor, ...]:
        """The parts of a state as plain tensors; views where their memory has the channels last already."""
        cells = [_channels_last(part) for cell in state.maps for part in cell]
        return (*cells, *state.clip, *(state.frames or ()))

    def unpack_state(self, parts: Sequence[Tensor], tracks: CellState | None = None) -> DetectorState:
        """The state that ``pack_state`` took apart; ``tracks`` are passed on."""
        levels = len(self._map_levels)
        cells = tuple(
            CellState(_channels_first(parts[2 * n]), _channels_first(parts[2 * n + 1])) for n in range(levels)
        )
        clip, frames = parts[2 * levels : 2 * levels + 2], parts[2 * levels + 2 :]
        no_tracks = CellState(clip[0][:, :0], clip[0][:, :0])
        return DetectorState(
            cells, CellState(*clip), tracks or no_tracks, FrameAverages(*frames) if frames else None
        )

    def unpack_output(self, outputs: Sequence[Tensor]) -> DetectorOutput:
        """What ``Detector.forward`` returns for the same frame, of the outputs before the state."""
        objectness, class_logits, boxes, motion, clip_logits, *maps = outputs
        features = [_channels_first(feature) for feature in maps[: len(self.detector.levels)]]
        centres = [
            cell_centres(feature.shape[-2], feature.shape[-1], stride, feature.device)
            for stride, feature in zip(self.detector.levels, features, strict=True)
        ]
        strides = [
            points.new_full((len(points),), float(stride))
            for stride, points in zip(self.detector.levels, centres, strict=True)
        ]
        heads = HeadOutput(objectness, class_logits, boxes, motion, torch.cat(centres), torch.cat(strides))
        return DetectorOutput(heads, clip_logits.unsqueeze(1), features)

    def example(self, batch: int, size_wh: tuple[int, int]) -> tuple[Tensor, ...]:
        """Inputs of the right shapes: grey pictures of ``size_wh`` input pixels, and nothing remembered."""
        frame = torch.full((batch, size_wh[1], size_wh[0], 3), 114, dtype=torch.uint8)
        state = self.pack_state(self.detector.initial_state(batch, size_wh))
        return (frame, *(part.contiguous() for part in state))


def _channels_last(feature: Tensor) -> Tensor:
    return feature.permute(0, 2, 3, 1)


def _channels_first(feature: Tensor) -> Tensor:
    return feature.permute(0, 3, 1, 2)
