"""What a glimpse is shown in training: the same crop as if from elsewhere, in other light, by another camera.

Legend: M crops, S side of what the network sees, W side of what is kept of each crop, W > S.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)
# Draws: logarithmic zoom, logarithmic aspect, radians, shift in crops; then light.
ZOOM = (0.65, 1.3)
ASPECT = 0.12
ANGLE = math.radians(10)
SHIFT = 0.05
GREY, INVERTED, HIDDEN, COARSE = 0.5, 0.25, 0.2, 0.25
CONTRAST, BRIGHTNESS, GAMMA, NOISE = 0.35, 0.12, 0.25, 0.08


def plain_view(kept: Tensor, side: int, margin: float) -> Tensor:
    """The middle of crops, as it is.

    Args:
        kept: (M, 3, W, W) 0..255, that show ``margin`` times as much as the network is to see.
        side: S.
        margin: at least 1.

    Returns:
        (M, 3, S, S).
    """
    middle = torch.tensor([[1 / margin, 0.0, 0.0], [0.0, 1 / margin, 0.0]]).expand(len(kept), 2, 3)
    return _sampled(kept, middle, side)


def random_view(kept: Tensor, side: int, margin: float, rng: torch.Generator) -> Tensor:
    """Random geometry, resolution, contrast, inversion, noise and hidden parts; one draw a crop.

    Args:
        kept: as ``plain_view``.
        side: as ``plain_view``.
        margin: as ``plain_view``.
        rng: the only source of chance.

    Returns:
        (M, 3, S, S), 0..255.
    """
    count = len(kept)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    def chance(share: float) -> Tensor:
        return (torch.rand(count, generator=rng) < share)[:, None, None, None]

    low, high = (math.log(zoom) for zoom in ZOOM)
    zoom = torch.exp(low + (high - low) * torch.rand(count, generator=rng)) / margin
    aspect, angle = torch.exp(normal(count) * ASPECT), normal(count) * ANGLE
    mirror = torch.where(torch.rand(count, generator=rng) < 0.5, -1.0, 1.0)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = zoom * aspect * torch.cos(angle) * mirror, -zoom * torch.sin(angle)
    matrix[:, 1, 0], matrix[:, 1, 1] = zoom * torch.sin(angle) * mirror, zoom / aspect * torch.cos(angle)
    matrix[:, :, 2] = normal(count, 2) * SHIFT
    seen = _sampled(kept, matrix, side) / 255

    coarse = int(side * math.exp(-1.6 * float(torch.rand(1, generator=rng))))
    small = functional.interpolate(seen, size=(max(coarse, 8), max(coarse, 8)), mode="area")
    rough = functional.interpolate(small, size=(side, side), mode="bilinear")
    seen = torch.where(chance(COARSE), rough, seen)
    grey = (seen * seen.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(seen)
    seen = torch.where(chance(GREY), grey, seen)
    seen = torch.where(chance(INVERTED), 1 - seen, seen)
    mean = seen.mean(dim=(1, 2, 3), keepdim=True)
    seen = (seen - mean) * torch.exp(normal(count, 1, 1, 1) * CONTRAST) + mean
    seen = (seen + normal(count, 1, 1, 1) * BRIGHTNESS).clamp(0, 1)
    seen = seen ** torch.exp(normal(count, 1, 1, 1) * GAMMA)
    loudness = torch.rand(count, 1, 1, 1, generator=rng) ** 2 * NOISE
    seen = seen + normal(count, 1, side, side) * loudness
    return _with_hidden_part(seen, chance(HIDDEN), rng).clamp(0, 1) * 255


def _sampled(kept: Tensor, matrix: Tensor, side: int) -> Tensor:
    grid = functional.affine_grid(matrix, [len(kept), 3, side, side], align_corners=False)
    return functional.grid_sample(kept, grid, padding_mode="border", align_corners=False)


def _with_hidden_part(seen: Tensor, hidden: Tensor, rng: torch.Generator) -> Tensor:
    """A rectangle of a fifth of the side to a third, in the mean colour (Zhong et al., AAAI 2020)."""
    count, side = len(seen), seen.shape[-1]
    size = (0.12 + 0.2 * torch.rand(count, 2, generator=rng)) * side
    corner = torch.rand(count, 2, generator=rng) * (side - size)
    at = torch.arange(side)
    rows = (at >= corner[:, :1]) & (at < corner[:, :1] + size[:, :1])
    columns = (at >= corner[:, 1:]) & (at < corner[:, 1:] + size[:, 1:])
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(inside & hidden, seen.mean(dim=(2, 3), keepdim=True), seen)
