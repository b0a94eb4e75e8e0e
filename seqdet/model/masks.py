"""Instance masks: prototypes of the finest map, mixed for each box (YOLACT, Bolya et al., ICCV 2019).

    logit(u, v) = sum_k c_k P_k(u, v)  +  q_0 + q_1 u + q_2 v + q_3 u^2 + q_4 u v + q_5 v^2

over a window a little larger than the box, u and v from -1 to 1 in it. The prototypes P come from the finest
map that the memory has refined, once a frame; the mixture c and the conic q, which says roughly where in its
window an object lies, from the maps at the centre of the box, as the class of a track does. So a mask costs
next to nothing but for boxes that are kept, whatever runtime computed the maps.

Legend: N pictures, M boxes of a picture, n boxes in all, C channels, F box features, K prototypes, L levels,
S cells of a side of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import Conv2dNormActivation, roi_align

from seqdet.defaults import MASK_SIDE, MASK_TRUTH_WINDOW, MASK_WINDOW

_TOWER = 16
_CONIC = 6


class MaskHead(nn.Module):
    """Masks of boxes: (N, C, h, w) finest map, boxes and their features -> (n, S, S) logits."""

    conic: Tensor

    def __init__(self, channels: int, feature_width: int, prototypes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.prototypes = nn.Sequential(
            Conv2dNormActivation(channels, _TOWER, 3, activation_layer=nn.Hardswish),
            nn.Conv2d(_TOWER, prototypes, 1),
        )
        self.mixture = nn.Linear(feature_width + 2, prototypes + _CONIC)
        along = (torch.arange(MASK_SIDE) + 0.5) / MASK_SIDE * 2 - 1
        v, u = torch.meshgrid(along, along, indexing="ij")
        conic = torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v])
        self.register_buffer("conic", conic, persistent=False)

    def forward(self, finest: Tensor, pictures: Tensor, boxes_xyxy: Tensor, features: Tensor) -> Tensor:
        """Logits over the windows of n boxes.

        Args:
            finest: (N, C, h, w).
            pictures: (n,) int64, of which picture each box is.
            boxes_xyxy: (n, 4) in input pixels.
            features: (n, F) of ``box_features``.

        Returns:
            (n, S, S) float32, rows from the top of the window.
        """
        sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1)
        mixture = self.mixture(torch.cat([features, torch.log(sides / 16)], dim=1))
        regions = torch.cat([pictures[:, None].to(boxes_xyxy.dtype), grown(boxes_xyxy, MASK_WINDOW)], dim=1)
        maps = self.prototypes(finest.float())
        seen = roi_align(maps, regions, MASK_SIDE, 1 / self.stride, sampling_ratio=1, aligned=True)
        parts = torch.cat([seen, self.conic.expand(len(seen), -1, -1, -1)], dim=1)
        return torch.einsum("nk,nkst->nst", mixture, parts)


def grown(boxes_xyxy: Tensor, factor: float) -> Tensor:
    """(..., 4) boxes about the same centres, ``factor`` times as wide and high."""
    margin = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]) * ((factor - 1) / 2)
    return torch.cat([boxes_xyxy[..., :2] - margin, boxes_xyxy[..., 2:] + margin], dim=-1)


def truth_in_windows(masks: Tensor, true_xyxy: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """True masks over the windows of boxes that lie a little beside the true ones.

    Args:
        masks: (n, S', S') over the windows of the true boxes, MASK_TRUTH_WINDOW times as large as they.
        true_xyxy: (n, 4).
        boxes_xyxy: (n, 4).

    Returns:
        (n, S, S) of 0 and 1.
    """
    window, wanted = grown(true_xyxy, MASK_TRUTH_WINDOW), grown(boxes_xyxy, MASK_WINDOW)
    sides = (window[:, 2:] - window[:, :2]).clamp(min=1e-6)
    along = (torch.arange(MASK_SIDE, device=masks.device) + 0.5) / MASK_SIDE
    places = wanted[:, None, :2] + along[None, :, None] * (wanted[:, None, 2:] - wanted[:, None, :2])
    x, y = ((places - window[:, None, :2]) / sides[:, None] * 2 - 1).unbind(-1)
    grid = torch.stack(
        [x[:, None].expand(-1, MASK_SIDE, -1), y[:, :, None].expand(-1, -1, MASK_SIDE)], dim=-1
    )
    return functional.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0]


def mask_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """(n,) binary cross-entropy and dice loss (Milletari et al., 3DV 2016) of each window.

    Args:
        logits: (n, S, S).
        wanted: (n, S, S) of 0 and 1.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=(1, 2))
    found = logits.sigmoid()
    both, either = (found * wanted).sum(dim=(1, 2)), (found + wanted).sum(dim=(1, 2))
    return entropy + 1 - (2 * both + 1) / (either + 1)
