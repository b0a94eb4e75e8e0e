"""Which cells answer for which object: task-aligned assignment (TOOD, Feng et al., ICCV 2021).

Legend: N pictures, P cells, G objects (padded), k cells an object.

    alignment = objectness ** 0.5 * overlap ** 4         the best k cells inside the box answer for the object
    target    = alignment / max alignment * max overlap  what their objectness should become

The overlap is the mean of IoU and of the normalised Gaussian Wasserstein distance (Wang et al., 2021,
arXiv:2110.13389): for an object of a dozen pixels IoU alone is brittle. Early in the training, when boxes
mean nothing yet, a centre prior takes the place of the overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from seqdet.model.heads import HeadOutput

TOP_K = 10
OVERLAP_POWER = 4.0
OBJECTNESS_POWER = 0.5


class PaddedTargets(NamedTuple):
    """The truth of N pictures, padded to G objects.

    Attributes:
        boxes_xyxy: (N, G, 4) in input pixels.
        class_ids: (N, G) int64; -1 marks an object of unknown class.
        present: (N, G) bool; False is padding.
    """

    boxes_xyxy: Tensor
    class_ids: Tensor
    present: Tensor


class Assignment(NamedTuple):
    """What each cell answers for.

    Attributes:
        objects: (N, P) int64 index of the object that a cell answers for, -1 for background.
        quality: (N, P) float32 in 0..1, target of the objectness; 0 for background.
    """

    objects: Tensor
    quality: Tensor


def pairwise_overlap(boxes_xyxy: Tensor, targets_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """IoU, and its mean with the normalised Wasserstein similarity.

    Args:
        boxes_xyxy: (N, P, 4).
        targets_xyxy: (N, G, 4).

    Returns:
        Both (N, P, G).
    """
    first, second = boxes_xyxy[:, :, None], targets_xyxy[:, None]
    sides = (
        torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    ).clamp(0)
    inter = sides.prod(-1)
    first_wh, second_wh = first[..., 2:] - first[..., :2], second[..., 2:] - second[..., :2]
    iou = inter / (first_wh.prod(-1) + second_wh.prod(-1) - inter).clamp(min=1e-6)
    shift = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    wasserstein = (
        (shift.square().sum(-1) + (first_wh - second_wh).square().sum(-1) / 4).clamp(min=1e-9).sqrt()
    )
    scale = second_wh.prod(-1).clamp(min=1).sqrt()
    return iou, (iou + torch.exp(-wasserstein / scale)) / 2


@torch.no_grad()
def assign(heads: HeadOutput, targets: PaddedTargets, centre_prior: float) -> Assignment:
    """Assign cells to objects.

    Args:
        heads: predictions.
        targets: the truth.
        centre_prior: 1 at the start of the training, 0 when the overlap alone decides.

    Returns:
        The assignment; a picture without objects is all background.
    """
    n, p = heads.objectness.shape
    g = targets.boxes_xyxy.shape[1]
    if g == 0:
        return Assignment(
            torch.full((n, p), -1, dtype=torch.int64, device=heads.objectness.device),
            torch.zeros_like(heads.objectness),
        )
    iou, overlap = pairwise_overlap(heads.boxes_xyxy, targets.boxes_xyxy)
    points, boxes = heads.points_xy[None, :, None], targets.boxes_xyxy[:, None]
    sizes = boxes[..., 2:] - boxes[..., :2]
    offset = (points - (boxes[..., :2] + boxes[..., 2:]) / 2).abs()
    # A box smaller than a cell may hold no cell centre: half a stride around its centre counts as inside.
    inside = (offset <= torch.maximum(sizes / 2, heads.strides[None, :, None, None] / 2)).all(-1)
    inside = inside & targets.present[:, None]
    # Prior: near the centre, on the level whose stride is about a quarter of the object's side.
    side = sizes.prod(-1).clamp(min=1).sqrt()
    level = torch.exp(-torch.log2(side / (4 * heads.strides[None, :, None])).square() / 2)
    prior = torch.exp(-2 * (offset / sizes.clamp(min=4)).square().sum(-1)) * level
    measure = (1 - centre_prior) * overlap + centre_prior * prior
    objectness = heads.objectness.sigmoid()[..., None].pow(OBJECTNESS_POWER * (1 - centre_prior))
    alignment = objectness * measure.pow(OVERLAP_POWER) * inside

    k = min(TOP_K, p)
    threshold = alignment.topk(k, dim=1).values[:, -1:]
    chosen = (alignment >= threshold) & (alignment > 0)
    # A cell answers for one object only: the one that it is aligned with best.
    best_object = torch.where(chosen, alignment, -1.0).argmax(dim=2)
    chosen = chosen & (torch.arange(g, device=best_object.device) == best_object[..., None])
    peak_alignment = (alignment * chosen).amax(dim=1, keepdim=True).clamp(min=1e-9)
    peak_overlap = (torch.maximum(iou, overlap * centre_prior) * chosen).amax(dim=1, keepdim=True)
    quality = (alignment / peak_alignment * peak_overlap.clamp(min=0.1) * chosen).amax(dim=2).clamp(max=1)
    return Assignment(torch.where(chosen.any(dim=2), best_object, -1), quality)
