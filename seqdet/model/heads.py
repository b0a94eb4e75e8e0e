"""The heads: from pyramid maps to objectness, class, box and motion at every cell, and their decoding.

Legend: N pictures (B*T), C channels, H W input pixels, L levels, K classes, P cells of all levels together.
Objectness is kept apart from class: a class that shows only after seconds must not suppress the box. Merged,
as in other one-stage detectors, it is the best score of a class (docs/ablations.md compares the two).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation


class HeadOutput(NamedTuple):
    """Raw predictions at P cells of N pictures, in pixels of the network's input.

    Attributes:
        objectness: (N, P) logits.
        class_logits: (N, P, K), softmax over K.
        boxes_xyxy: (N, P, 4).
        motion: (N, P, 2) displacement of the centre to the next frame.
        points_xy: (P, 2) centres of the cells.
        strides: (P,) stride of each cell.
    """

    objectness: Tensor
    class_logits: Tensor
    boxes_xyxy: Tensor
    motion: Tensor
    points_xy: Tensor
    strides: Tensor


class Heads(nn.Module):
    """Two towers, shared by all levels: geometry (objectness, sides, motion) and class."""

    def __init__(self, channels: int, classes: int, levels: tuple[int, ...], merged: bool = False) -> None:
        super().__init__()
        self.levels = levels
        self.merged = merged
        self.geometry_tower = Conv2dNormActivation(channels, channels, 3, activation_layer=nn.Hardswish)
        self.class_tower = Conv2dNormActivation(channels, channels, 3, activation_layer=nn.Hardswish)
        self.geometry = nn.Conv2d(channels, 1 + 4 + 2, 1)
        self.classes = nn.Conv2d(channels, classes, 1)
        # One scale a level (FCOS, Tian et al., ICCV 2019): a side is exp(prediction) * scale * stride.
        self.scales = nn.Parameter(torch.zeros(len(levels)))
        nn.init.normal_(self.geometry.weight, std=0.01)
        nn.init.zeros_(self.geometry.bias)  # type: ignore[arg-type]
        # Few cells hold an object: start at 1 % (focal loss, Lin et al., ICCV 2017).
        scores = self.classes.bias if merged else self.geometry.bias[:1]  # type: ignore[index]
        nn.init.constant_(scores, -math.log(99))  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor]) -> HeadOutput:
        """L maps (N, C, H / stride, W / stride) -> predictions at all P cells."""
        parts: list[list[Tensor]] = [[], [], [], [], [], []]
        for level, (stride, feature) in enumerate(zip(self.levels, maps, strict=True)):
            geometry = self.geometry(self.geometry_tower(feature)).flatten(2).transpose(1, 2).float()
            logits = self.classes(self.class_tower(feature)).flatten(2).transpose(1, 2).float()
            points = cell_centres(feature.shape[-2], feature.shape[-1], stride, feature.device)
            sides = torch.exp((geometry[..., 1:5] + self.scales[level]).clamp(-4, 4)) * stride
            parts[0].append(logits.amax(dim=-1) if self.merged else geometry[..., 0])
            parts[1].append(logits)
            parts[2].append(torch.cat([points - sides[..., :2], points + sides[..., 2:]], dim=-1))
            parts[3].append(geometry[..., 5:7] * stride)
            parts[4].append(points)
            parts[5].append(points.new_full((len(points),), float(stride)))
        objectness, logits, boxes, motion = (torch.cat(part, dim=1) for part in parts[:4])
        return HeadOutput(objectness, logits, boxes, motion, torch.cat(parts[4]), torch.cat(parts[5]))


def cell_centres(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """(height * width, 2) centres x, y of the cells in input pixels, row by row."""
    ys = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
    return torch.stack([xs.repeat(height), ys.repeat_interleave(width)], dim=1)
