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
        geometry = [self.geometry(self.geometry_tower(feature)) for feature in maps]
        logits = [self.classes(self.class_tower(feature)) for feature in maps]
        return self.decode(geometry, logits)

    def decode(self, geometry: list[Tensor], logits: list[Tensor]) -> HeadOutput:
        """What the towers say -> predictions at all P cells.

        Args:
            geometry: L maps (N, 7, H / stride, W / stride): objectness, four sides, motion.
            logits: L maps (N, K, H / stride, W / stride).
        """
        parts: list[list[Tensor]] = [[], [], [], [], [], []]
        for level, (stride, map_g, map_l) in enumerate(zip(self.levels, geometry, logits, strict=True)):
            of_cells = map_g.permute(0, 2, 3, 1).flatten(1, 2).float()
            classes = map_l.permute(0, 2, 3, 1).flatten(1, 2).float()
            points = cell_centres(map_g.shape[-2], map_g.shape[-1], stride, map_g.device)
            sides = torch.exp((of_cells[..., 1:5] + self.scales[level]).clamp(-4, 4)) * stride
            parts[0].append(classes.amax(dim=-1) if self.merged else of_cells[..., 0])
            parts[1].append(classes)
            parts[2].append(torch.cat([points - sides[..., :2], points + sides[..., 2:]], dim=-1))
            parts[3].append(of_cells[..., 5:7] * stride)
            parts[4].append(points)
            parts[5].append(points.new_full((len(points),), float(stride)))
        objectness, class_logits, boxes, motion = (torch.cat(part, dim=1) for part in parts[:4])
        return HeadOutput(objectness, class_logits, boxes, motion, torch.cat(parts[4]), torch.cat(parts[5]))


def cell_centres(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """(height * width, 2) centres x, y of the cells in input pixels, row by row."""
    ys = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
    return torch.stack([xs.repeat(height), ys.repeat_interleave(width)], dim=1)
