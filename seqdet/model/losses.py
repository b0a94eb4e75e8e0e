"""What the training minimises, term by term. A clip without boxes gives a finite loss.

Legend: B sequences, T frames, N pictures (B*T), P cells, G objects (tracks of a clip), K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from seqdet.model.assign import PaddedTargets, assign
from seqdet.model.heads import HeadOutput

# Sums a number over the processes of a training: losses are divided by what all of them hold.
Everywhere = Callable[[Tensor], Tensor]
RAMP_FRAMES = 8
# Below this error, in strides, the motion loss is a square. An object moves a fraction of a stride a frame:
# with the usual 1 the loss would have next to no gradient, and motion would not be learned.
MOTION_BETA = 0.1


class ClipTruth(NamedTuple):
    """The truth of B clips of T frames; object g is one track throughout its clip.

    Attributes:
        boxes_xyxy: (B, T, G, 4) in input pixels.
        class_ids: (B, T, G) int64, -1 unknown.
        present: (B, T, G) bool.
        sequence_class_ids: (B,) int64, -1 unknown.
        boxes_known: (B,) bool; False: nothing is known of where no object is marked.
        masks: (B, T, G, S, S) uint8 over windows around the boxes, 2 where not known; S 0, or None: none are.
    """

    boxes_xyxy: Tensor
    class_ids: Tensor
    present: Tensor
    sequence_class_ids: Tensor
    boxes_known: Tensor
    masks: Tensor | None = None

    def pictures(self) -> PaddedTargets:
        """The same, picture by picture: N = B*T."""
        return PaddedTargets(
            self.boxes_xyxy.flatten(0, 1), self.class_ids.flatten(0, 1), self.present.flatten(0, 1)
        )


def detection_losses(
    heads: HeadOutput,
    truth: ClipTruth,
    centre_prior: float,
    label_smoothing: float,
    merged: bool = False,
    everywhere: Everywhere = Tensor.detach,
) -> dict[str, Tensor]:
    """Losses of the heads. Where boxes are not known, a cell without an object is not held against them.

    objectness: quality focal loss (Li et al., NeurIPS 2020), normalised by the sum of the targets.
        ``merged``: of every class's score, the quality being that of the true class; no class loss.
    class: cross-entropy at the assigned cells, weighted by their quality.
    box: generalised IoU (Rezatofighi et al., CVPR 2019), weighted by quality.
    motion: L1 in strides, where the object is there in the next frame too.
    """
    targets = truth.pictures()
    assignment = assign(heads, targets, centre_prior)
    positive = assignment.objects >= 0
    known = truth.boxes_known.repeat_interleave(truth.present.shape[1])[:, None] | positive
    total = everywhere(assignment.quality.sum()).clamp(min=1)
    picture, cell = positive.nonzero(as_tuple=True)
    chosen = assignment.objects[picture, cell]
    quality = assignment.quality[picture, cell]
    labels = targets.class_ids[picture, chosen]
    if merged:
        best = heads.class_logits[picture, cell].argmax(dim=-1)  # of an object of unknown class
        wanted = torch.zeros_like(heads.class_logits)
        wanted[picture, cell, torch.where(labels < 0, best, labels)] = quality
        wrong = quality_focal_loss(heads.class_logits, wanted)
        losses = {"objectness": (wrong * known[..., None]).sum() / total}
    else:
        class_loss = functional.cross_entropy(
            heads.class_logits[picture, cell],
            labels,
            ignore_index=-1,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        losses = {
            "objectness": (quality_focal_loss(heads.objectness, assignment.quality) * known).sum() / total,
            "class": (class_loss * quality).sum() / total,
        }
    boxes = targets.boxes_xyxy[picture, chosen]
    box_loss = generalized_box_iou_loss(heads.boxes_xyxy[picture, cell], boxes)
    losses["box"] = (box_loss * quality).sum() / total
    losses["motion"] = _motion_loss(heads, truth, picture, cell, chosen, quality) / total
    return losses


def _motion_loss(
    heads: HeadOutput, truth: ClipTruth, picture: Tensor, cell: Tensor, chosen: Tensor, quality: Tensor
) -> Tensor:
    centres = (truth.boxes_xyxy[..., :2] + truth.boxes_xyxy[..., 2:]) / 2
    motion = torch.zeros_like(centres)
    motion[:, :-1] = centres[:, 1:] - centres[:, :-1]
    known = torch.zeros_like(truth.present)
    known[:, :-1] = truth.present[:, :-1] & truth.present[:, 1:]
    wanted = motion.flatten(0, 1)[picture, chosen]
    weight = quality * known.flatten(0, 1)[picture, chosen]
    error = (heads.motion[picture, cell] - wanted) / heads.strides[cell, None]
    return (
        functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=MOTION_BETA).sum(-1)
        * weight
    ).sum()


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Quality focal loss, element by element: |sigmoid(x) - q|^2 * binary cross-entropy(x, q)."""
    modulation = (logits.sigmoid().detach() - quality).abs().square()
    return modulation * functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def clip_class_loss(
    logits: Tensor,
    sequence_class_ids: Tensor,
    age: Tensor,
    label_smoothing: float,
    everywhere: Everywhere = Tensor.detach,
) -> Tensor:
    """Cross-entropy of the sequence's class at every frame, ramped over the first frames of a sequence.

    Args:
        logits: (B, T, K).
        sequence_class_ids: (B,), -1 unknown.
        age: (B, T) frames that the state had seen before, from 0.
        label_smoothing: 0..1.
    """
    labels = sequence_class_ids[:, None].expand(logits.shape[:2])
    return _ramped(logits, labels, age, label_smoothing, everywhere)


def track_class_loss(
    logits: Tensor,
    class_ids: Tensor,
    present: Tensor,
    label_smoothing: float,
    everywhere: Everywhere = Tensor.detach,
) -> Tensor:
    """Cross-entropy of each track's class wherever it is seen, ramped over its first frames.

    Args:
        logits: (B, T, G, K).
        class_ids: (B, T, G), -1 unknown.
        present: (B, T, G) bool.
        label_smoothing: 0..1.
    """
    labels = torch.where(present, class_ids, -1)
    age = present.long().cumsum(dim=1) - 1
    return _ramped(logits, labels, age, label_smoothing, everywhere)


def _ramped(
    logits: Tensor, labels: Tensor, age: Tensor, label_smoothing: float, everywhere: Everywhere
) -> Tensor:
    loss = functional.cross_entropy(
        logits.flatten(0, -2),
        labels.flatten(),
        ignore_index=-1,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    weight = ((age.flatten() + 1) / RAMP_FRAMES).clamp(0, 1) * (labels.flatten() >= 0)
    return (loss * weight).sum() / everywhere(weight.sum()).clamp(min=1)
