"""The three memories: of the maps (where), of the sequence (what is this clip), of each track (what is it).

Legend: B sequences, T frames, N pictures (B*T), C channels, H W cells, L levels, K classes, P cells of all
levels, R track rows, S state width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqdet.model.conv_cells import ConvGRU, ConvLSTM
from seqdet.model.difference import FrameAverages
from seqdet.model.heads import HeadOutput
from seqdet.model.lstm import BottleneckConvLSTM, CellState, PeepholeLSTM


class DetectorState(NamedTuple):
    """All that a detector remembers of B sequences; the same size after a second or a week.

    Attributes:
        maps: one CellState (B, C, H, W) a level; empty without map memory.
        clip: CellState (B, S) of the sequence.
        tracks: CellState (B, R, S), one row a track; which track holds which row is the caller's table.
        frames: running averages of the frames, None where the encoder sees no differences.
    """

    maps: tuple[CellState, ...]
    clip: CellState
    tracks: CellState
    frames: FrameAverages | None = None


_MAP_CELLS: dict[str, Callable[[int, bool], nn.Module]] = {
    "bottleneck": BottleneckConvLSTM,
    "convlstm": ConvLSTM,
    "convgru": lambda channels, peepholes: ConvGRU(channels),
}


class MapMemory(nn.Module):
    """One cell a pyramid level, a bottleneck-ConvLSTM unless ``cell`` names another."""

    def __init__(
        self, channels: int, levels: tuple[int, ...], peepholes: bool, cell: str = "bottleneck"
    ) -> None:
        super().__init__()
        self.levels = levels
        self.cells = nn.ModuleList(_MAP_CELLS[cell](channels, peepholes) for _ in levels)

    def initial_state(self, batch: int, size_wh: tuple[int, int]) -> tuple[CellState, ...]:
        """Zeros for ``batch`` sequences of pictures of ``size_wh`` input pixels."""
        return tuple(
            cell.initial_state(batch, size_wh[1] // stride, size_wh[0] // stride)  # type: ignore[operator]
            for cell, stride in zip(self.cells, self.levels, strict=True)
        )

    def forward(
        self, maps: list[Tensor], state: tuple[CellState, ...], batch: int
    ) -> tuple[list[Tensor], tuple[CellState, ...]]:
        """L maps (B*T, C, H, W) and their states -> L refined maps, last states."""
        refined, states = [], []
        for cell, feature, previous in zip(self.cells, maps, state, strict=True):
            output, last = cell(feature.unflatten(0, (batch, -1)), previous)
            refined.append(output.flatten(0, 1))
            states.append(last)
        return refined, tuple(states)


class ClipMemory(nn.Module):
    """Names the sequence: what the detector looks at, pooled, through a peephole LSTM.

    The embedding of a frame is pooled over all cells with softmax(objectness) as weights, so that the class
    is read off the objects and not off the scene; with it go the class logits there, their motion and the
    best objectness.
    """

    def __init__(self, channels: int, classes: int, width: int, peepholes: bool) -> None:
        super().__init__()
        self.lstm = PeepholeLSTM(channels + classes + 3, width, peepholes)
        self.classes = nn.Linear(width, classes)

    def pool(self, maps: list[Tensor], heads: HeadOutput) -> Tensor:
        """L maps (N, C, H, W) and the heads -> (N, C + K + 3) embedding; no gradient into the heads."""
        weights = heads.objectness.detach().softmax(dim=1).unsqueeze(1)
        cells = [feature.shape[-2] * feature.shape[-1] for feature in maps]
        embedding = torch.zeros(1, device=weights.device)
        for feature, of_level in zip(maps, weights.split(cells, dim=2), strict=True):
            pooled = of_level.to(feature.dtype) @ feature.permute(0, 2, 3, 1).flatten(1, 2)
            embedding = embedding + pooled.squeeze(1).float()
        rest = torch.cat([heads.class_logits, heads.motion / heads.strides[:, None]], dim=2).detach()
        best = heads.objectness.detach().amax(dim=1, keepdim=True)
        return torch.cat([embedding, (weights @ rest).squeeze(1), best / 4], dim=1)

    def forward(self, pooled: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """(B, T, C + K + 3) -> class logits (B, T, K), last state."""
        hidden, state = self.lstm(pooled, state)
        return self.classes(hidden), state


class TrackMemory(nn.Module):
    """Names each track: the embedding at its box, its shape and its velocity through a peephole LSTM."""

    BOX_FEATURES = 5

    def __init__(self, feature_width: int, classes: int, width: int, peepholes: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(feature_width + self.BOX_FEATURES, width)
        self.lstm = PeepholeLSTM(width, width, peepholes)
        self.classes = nn.Linear(width, classes)

    def embedding(self, features: Tensor, boxes_xyxy: Tensor, velocity: Tensor) -> Tensor:
        """What the LSTM sees of objects.

        Args:
            features: (..., F) of ``box_features``.
            boxes_xyxy: (..., 4) in input pixels.
            velocity: (..., 2) movement of the centre in box sizes a second, 0 where unknown.

        Returns:
            (..., S).
        """
        sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=1)
        speed = torch.tanh(velocity.norm(dim=-1, keepdim=True) / 4)
        shape = torch.cat([torch.log(sides / 16), torch.tanh(velocity / 4), speed], dim=-1)
        return nn.functional.hardswish(self.embed(torch.cat([features, shape], dim=-1)))

    def forward(self, embedding: Tensor, state: CellState, present: Tensor) -> tuple[Tensor, CellState]:
        """One frame of M tracks: embedding (M, S), state (M, S), present (M,) bool -> logits (M, K), state.

        A track that is absent keeps its state.
        """
        new = self.lstm.step(embedding, state)
        keep = present[:, None]
        state = CellState(
            torch.where(keep, new.hidden, state.hidden), torch.where(keep, new.cell, state.cell)
        )
        return self.classes(state.hidden), state


def box_features(maps: list[Tensor], levels: tuple[int, ...], boxes_xyxy: Tensor) -> Tensor:
    """The maps at the centres of boxes, bilinear, all levels side by side.

    Args:
        maps: L maps (N, C, H, W).
        levels: their strides.
        boxes_xyxy: (N, M, 4) in input pixels.

    Returns:
        (N, M, L * C) float32.
    """
    centres = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
    sampled = []
    for feature, stride in zip(maps, levels, strict=True):
        size = centres.new_tensor([feature.shape[-1] * stride, feature.shape[-2] * stride])
        grid = (centres / size * 2 - 1).unsqueeze(1)
        values = nn.functional.grid_sample(
            feature.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        sampled.append(values.squeeze(2).transpose(1, 2))
    return torch.cat(sampled, dim=-1)
