"""One batch through the detector to one number to minimise, with its terms.

Legend: B clips, T frames, G objects (tracks of a clip), N pictures (B*T), K classes, S state width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqdet.model.detector import Detector, DetectorOutput
from seqdet.model.losses import (
    ClipTruth,
    Everywhere,
    clip_class_loss,
    detection_losses,
    track_class_loss,
)
from seqdet.model.masks import mask_loss, truth_in_windows
from seqdet.model.memory import box_features

# Boxes at test time are not the truth: the track memory learns on boxes that are off by this part of a side,
# about as much as those of a trained detector (docs/ablations.md). More would drown the velocity in noise.
BOX_JITTER = 0.06


def objective(
    model: Detector,
    output: DetectorOutput,
    truth: ClipTruth,
    time_s: Tensor,
    age: Tensor,
    centre_prior: float,
    label_smoothing: float,
    weights: dict[str, float],
    noise: Tensor | None = None,
    everywhere: Everywhere = torch.Tensor.detach,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all losses, and each term before its weight.

    Args:
        model: the detector; its track memory is run here on the true boxes.
        output: of the detector on the batch.
        truth: of the batch.
        time_s: (B, T) presentation times.
        age: (B,) frames that each clip's state had seen before.
        centre_prior: see ``assign``.
        label_smoothing: 0..1.
        weights: of the terms, by name.
        noise: (B, T, G, 4) normal numbers that move the edges of the true boxes; None draws them.
        everywhere: sums what losses are divided by over all processes, so that their terms add up.
    """
    terms = detection_losses(
        output.heads, truth, centre_prior, label_smoothing, model.heads.merged, everywhere
    )
    ages = age[:, None] + torch.arange(time_s.shape[1], device=age.device)
    known = truth.sequence_class_ids
    terms["clip"] = clip_class_loss(output.clip_logits, known, ages, label_smoothing, everywhere)
    logits = true_track_logits(model, output, truth, time_s, noise)
    terms["track"] = track_class_loss(logits, truth.class_ids, truth.present, label_smoothing, everywhere)
    if model.masks is not None and truth.masks is not None:
        terms["mask"] = true_mask_loss(model, output, truth, truth.masks, noise, everywhere)
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return total, terms


def true_track_logits(
    model: Detector, output: DetectorOutput, truth: ClipTruth, time_s: Tensor, noise: Tensor | None = None
) -> Tensor:
    """Class logits (B, T, G, K) of the track memory, shown the (jittered) true boxes from a zero state."""
    boxes = jittered(truth.boxes_xyxy, noise)
    batch, frames, objects = truth.present.shape
    features = box_features(output.maps, model.levels, boxes.flatten(0, 1)).unflatten(0, (batch, frames))
    embedding = model.tracks.embedding(features, boxes, true_velocity(boxes, truth.present, time_s))
    state = model.tracks.lstm.initial_state(batch * objects)
    logits = []
    for t in range(frames):
        step, state = model.tracks(embedding[:, t].flatten(0, 1), state, truth.present[:, t].flatten())
        logits.append(step.unflatten(0, (batch, objects)))
    return torch.stack(logits, dim=1)


def true_mask_loss(
    model: Detector,
    output: DetectorOutput,
    truth: ClipTruth,
    masks: Tensor,
    noise: Tensor | None,
    everywhere: Everywhere,
) -> Tensor:
    """Mean loss of the masks of the (jittered) true boxes, where known; ``masks`` as in ``truth``."""
    assert model.masks is not None
    boxes, masks = jittered(truth.boxes_xyxy, noise).flatten(0, 1), masks.flatten(0, 1)
    known = truth.present.flatten(0, 1) & (masks.amax(dim=(2, 3)) < 2)
    picture, chosen = known.nonzero(as_tuple=True)
    features = box_features(output.maps, model.levels, boxes)[picture, chosen]
    logits = model.masks(output.maps[0], picture, boxes[picture, chosen], features)
    true_boxes = truth.boxes_xyxy.flatten(0, 1)[picture, chosen]
    wanted = truth_in_windows(masks[picture, chosen], true_boxes, boxes[picture, chosen])
    count = torch.tensor(float(len(picture)), device=logits.device)
    return mask_loss(logits, wanted).sum() / everywhere(count).clamp(min=1)


def jittered(boxes_xyxy: Tensor, noise: Tensor | None = None) -> Tensor:
    """Boxes with every edge moved by a normal number (of ``noise``, or drawn) of BOX_JITTER / 2 sides."""
    noise = torch.randn_like(boxes_xyxy) if noise is None else noise
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).repeat(*[1] * (boxes_xyxy.ndim - 1), 2)
    return boxes_xyxy + noise * sides * (BOX_JITTER / 2)


def true_velocity(boxes_xyxy: Tensor, present: Tensor, time_s: Tensor) -> Tensor:
    """(B, T, G, 2) movement of the centres since the frame before, in box sizes a second; 0 where unknown."""
    centres = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=1).prod(-1, keepdim=True).sqrt()
    passed = (time_s[:, 1:] - time_s[:, :-1]).clamp(min=1e-3).to(boxes_xyxy.dtype)[:, :, None, None]
    speed = torch.zeros_like(centres)
    known = (present[:, 1:] & present[:, :-1])[..., None]
    speed[:, 1:] = torch.where(known, (centres[:, 1:] - centres[:, :-1]) / sides[:, 1:] / passed, 0.0)
    return speed
