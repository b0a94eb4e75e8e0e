"""Every object finds its cells, and what is minimised is least where the prediction is the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou

from seqdet.model.assign import Assignment, PaddedTargets, assign, pairwise_overlap
from seqdet.model.heads import HeadOutput, cell_centres
from seqdet.model.losses import ClipTruth, clip_class_loss, detection_losses, track_class_loss

SIDE, LEVELS, CLASSES = 64, (4, 8), 3


def cells() -> tuple[Tensor, Tensor]:
    """Centres (P, 2) and strides (P,) of all levels of a picture of SIDE pixels."""
    points = [cell_centres(SIDE // s, SIDE // s, s, torch.device("cpu")) for s in LEVELS]
    strides = [torch.full((len(p),), float(s)) for p, s in zip(points, LEVELS, strict=True)]
    return torch.cat(points), torch.cat(strides)


def random_heads(pictures: int) -> HeadOutput:
    """Predictions like those of fresh weights: boxes of a few cells around each cell, all alike in score."""
    points, strides = cells()
    sides = torch.exp(torch.randn(pictures, len(points), 4) * 0.7) * strides[:, None]
    return HeadOutput(
        objectness=torch.randn(pictures, len(points)) - 4,
        class_logits=torch.randn(pictures, len(points), CLASSES),
        boxes_xyxy=torch.cat([points - sides[..., :2], points + sides[..., 2:]], dim=-1),
        motion=torch.randn(pictures, len(points), 2),
        points_xy=points,
        strides=strides,
    )


def grid_of_objects(pictures: int) -> PaddedTargets:
    """Up to nine objects of 1 to 21 pixels a picture, more than a coarse cell apart, some missing."""
    centres = torch.tensor([[x, y] for y in (12.0, 32, 52) for x in (12.0, 32, 52)])
    centres = centres + torch.rand(pictures, 9, 2) * 6 - 3
    half = 0.5 + torch.rand(pictures, 9, 2).square() * 10
    boxes = torch.cat([centres - half, centres + half], dim=-1).clamp(0, SIDE)
    return PaddedTargets(boxes, torch.randint(0, CLASSES, (pictures, 9)), torch.rand(pictures, 9) < 0.7)


def clip_truth(boxes: Tensor, class_ids: Tensor, present: Tensor, sequence: int = 0) -> ClipTruth:
    """One clip whose frames are the pictures."""
    known = torch.ones(1, dtype=torch.bool)
    return ClipTruth(boxes[None], class_ids[None], present[None], torch.tensor([sequence]), known)


@pytest.mark.parametrize("centre_prior", [1.0, 0.5, 0.0])
def test_every_object_gets_cells_and_a_cell_answers_for_one(centre_prior: float):
    heads, targets = random_heads(12), grid_of_objects(12)
    objects, quality = assign(heads, targets, centre_prior)
    assert objects.shape == quality.shape == heads.objectness.shape
    for n in range(12):
        wanted = set(torch.nonzero(targets.present[n]).flatten().tolist())
        assert set(objects[n].tolist()) - {-1} == wanted, "all that are there, none that is padding"
    assert torch.equal(quality > 0, objects >= 0)
    assert torch.isfinite(quality).all()
    assert quality.max() <= 1
    picture, cell = torch.nonzero(objects >= 0, as_tuple=True)
    boxes = targets.boxes_xyxy[picture, objects[picture, cell]]
    reach = torch.maximum((boxes[:, 2:] - boxes[:, :2]) / 2, heads.strides[cell, None] / 2) + 1e-3
    off = (heads.points_xy[cell] - (boxes[:, :2] + boxes[:, 2:]) / 2).abs()
    assert (off <= reach).all(), "a cell answers only for what it lies in, or for what is smaller than it"


@pytest.mark.parametrize("objects", [0, 1, 3])
def test_an_empty_picture_is_all_background(objects: int):
    heads = random_heads(2)
    nothing = PaddedTargets(
        torch.zeros(2, objects, 4),
        torch.full((2, objects), -1),
        torch.zeros(2, objects, dtype=torch.bool),
    )
    assignment = assign(heads, nothing, 0.5)
    assert (assignment.objects == -1).all()
    assert not assignment.quality.any()


def test_the_order_of_the_objects_does_not_matter():
    heads, targets = random_heads(3), grid_of_objects(3)
    order = torch.randperm(9)
    mixed = PaddedTargets(*(part[:, order] for part in targets))
    straight, other = assign(heads, targets, 0.3), assign(heads, mixed, 0.3)
    back = torch.where(other.objects >= 0, order[other.objects.clamp(min=0)], -1)
    assert torch.equal(straight.objects, back)
    torch.testing.assert_close(straight.quality, other.quality)


def test_better_boxes_get_better_targets():
    heads, targets = random_heads(1), grid_of_objects(1)
    targets = targets._replace(present=torch.ones(1, 9, dtype=torch.bool))
    weak = assign(heads, targets, 0.0).quality.max()
    exact = heads._replace(boxes_xyxy=nearest_boxes(heads, targets))
    assert assign(exact, targets, 0.0).quality.max() == pytest.approx(1)
    assert weak < 1


def nearest_boxes(heads: HeadOutput, targets: PaddedTargets) -> Tensor:
    """(N, P, 4) the box of the object whose centre is nearest to each cell."""
    centres = (targets.boxes_xyxy[..., :2] + targets.boxes_xyxy[..., 2:]) / 2
    nearest = torch.cdist(heads.points_xy[None].expand(len(centres), -1, -1), centres).argmin(dim=2)
    return torch.gather(targets.boxes_xyxy, 1, nearest[..., None].expand(-1, -1, 4))


def test_overlap_is_torchvisions_iou_with_a_tail():
    first = torch.rand(1, 20, 4) * 20
    first[..., 2:] += first[..., :2] + 1
    second = torch.rand(1, 7, 4) * 20
    second[..., 2:] += second[..., :2] + 1
    iou, overlap = pairwise_overlap(first, second)
    torch.testing.assert_close(iou[0], box_iou(first[0], second[0]))
    assert (overlap > 0).all(), "boxes apart still say which way is better"
    same, full = pairwise_overlap(second, second)
    torch.testing.assert_close(same[0].diagonal(), torch.ones(7))
    torch.testing.assert_close(full[0].diagonal(), torch.ones(7), rtol=0, atol=1e-4)


def test_the_box_loss_is_generalised_iou():
    heads, targets = random_heads(4), grid_of_objects(4)
    truth = clip_truth(*targets)
    assignment: Assignment = assign(heads, targets, 0.0)
    picture, cell = torch.nonzero(assignment.objects >= 0, as_tuple=True)
    wanted = targets.boxes_xyxy[picture, assignment.objects[picture, cell]]
    loss = 1 - generalized_box_iou(heads.boxes_xyxy[picture, cell], wanted).diagonal()
    expected = (loss * assignment.quality[picture, cell]).sum() / assignment.quality.sum().clamp(min=1)
    torch.testing.assert_close(detection_losses(heads, truth, 0.0, 0.0)["box"], expected)


def perfect_heads(targets: PaddedTargets, motion: Tensor, shift_px: float = 0.0) -> HeadOutput:
    """What a detector that knows the truth says; boxes and scores moved to the right by ``shift_px``."""
    points, strides = cells()
    moved = targets._replace(boxes_xyxy=targets.boxes_xyxy + torch.tensor([shift_px, 0, shift_px, 0]))
    blank = HeadOutput(
        objectness=torch.full((len(moved.present), len(points)), -12.0),
        class_logits=torch.zeros(len(moved.present), len(points), CLASSES),
        boxes_xyxy=torch.cat([points - strides[:, None], points + strides[:, None]], 1).expand(
            len(moved.present), -1, -1
        ),
        motion=torch.zeros(len(moved.present), len(points), 2),
        points_xy=points,
        strides=strides,
    )
    heads = blank._replace(boxes_xyxy=nearest_boxes(blank, moved))
    assignment = assign(heads, moved, 0.0)
    positive, index = assignment.objects >= 0, assignment.objects.clamp(min=0)
    classes = torch.nn.functional.one_hot(moved.class_ids.clamp(min=0), CLASSES).float() * 20
    return heads._replace(
        objectness=torch.where(positive, torch.logit(assignment.quality.clamp(1e-6, 1 - 1e-6)), -12.0),
        class_logits=torch.gather(classes, 1, index[..., None].expand(-1, -1, CLASSES)),
        motion=torch.gather(motion, 1, index[..., None].expand(-1, -1, 2)),
    )


def test_the_truth_costs_nothing_and_a_shift_costs():
    targets = grid_of_objects(1)
    step = torch.tensor([3.0, -2.0])
    boxes = torch.stack([targets.boxes_xyxy[0] + torch.cat([step, step]) * t for t in range(4)])
    present = torch.ones(4, 9, dtype=torch.bool)
    frames = PaddedTargets(boxes, targets.class_ids.expand(4, -1), present)
    truth, motion = clip_truth(*frames), step.expand(4, 9, 2)
    exact = detection_losses(perfect_heads(frames, motion), truth, 0.0, 0.0)
    for name, term in exact.items():
        assert term < 0.02, name
    shifted = detection_losses(perfect_heads(frames, motion, shift_px=4.0), truth, 0.0, 0.0)
    assert shifted["box"] > exact["box"] + 0.1
    assert shifted["objectness"] > exact["objectness"] + 0.1
    still = detection_losses(perfect_heads(frames, torch.zeros(4, 9, 2)), truth, 0.0, 0.0)
    assert still["motion"] > exact["motion"] + 0.2


@pytest.mark.parametrize("objects", [0, 2])
def test_a_clip_without_boxes_has_a_finite_loss_and_gradient(objects: int):
    heads = random_heads(2)
    heads = HeadOutput(*(part.requires_grad_() for part in heads[:4]), *heads[4:])
    nothing = clip_truth(
        torch.zeros(2, objects, 4),
        torch.full((2, objects), -1),
        torch.zeros(2, objects, dtype=torch.bool),
    )
    losses = detection_losses(heads, nothing, 0.5, 0.05)
    assert all(torch.isfinite(term) for term in losses.values())
    assert losses["box"] == losses["class"] == losses["motion"] == 0
    sum(losses.values()).backward()
    assert torch.isfinite(heads.objectness.grad).all()
    assert heads.objectness.grad.abs().sum() > 0, "background is learned from"


@pytest.mark.parametrize("merged", [False, True])
def test_where_boxes_are_not_known_only_marked_objects_teach(merged: bool):
    """No cell learns "nothing is here" where only the class of the clip is known; pasted objects count."""
    heads, targets = random_heads(4), grid_of_objects(4)
    scores = heads.class_logits if merged else heads.objectness
    heads = heads._replace(**{"class_logits" if merged else "objectness": scores.requires_grad_()})
    scores = heads.class_logits if merged else heads.objectness

    def gradient(present: Tensor) -> Tensor:
        truth = clip_truth(targets.boxes_xyxy, targets.class_ids, present)
        truth = truth._replace(boxes_known=torch.zeros(1, dtype=torch.bool))
        loss = detection_losses(heads, truth, 0.0, 0.0, merged)["objectness"]
        return torch.autograd.grad(loss, scores)[0].reshape(4, len(heads.strides), -1).abs().sum(-1)

    assert gradient(torch.zeros_like(targets.present)).sum() == 0
    held = assign(heads, targets, 0.0).objects >= 0
    of_marked = gradient(targets.present)
    assert (of_marked[held] > 0).any()
    assert (of_marked[~held] == 0).all()


def test_an_object_of_unknown_class_teaches_its_box_only():
    heads, targets = random_heads(2), grid_of_objects(2)
    unknown = clip_truth(targets.boxes_xyxy, torch.full_like(targets.class_ids, -1), targets.present)
    losses = detection_losses(heads, unknown, 0.0, 0.05)
    assert losses["class"] == 0
    assert losses["box"] > 0


def test_class_losses_ramp_up_and_skip_what_is_unknown():
    logits = torch.zeros(2, 4, CLASSES)
    log_k = float(np.log(CLASSES))
    age = torch.arange(4).expand(2, -1)
    torch.testing.assert_close(float(clip_class_loss(logits, torch.tensor([0, 2]), age, 0.0)), log_k)
    assert clip_class_loss(logits, torch.tensor([-1, -1]), age, 0.0) == 0
    # An answer that is wrong at first costs less than one that is wrong at last.
    early, late = logits.clone(), logits.clone()
    early[:, 0, 1], late[:, -1, 1] = 9, 9
    labels = torch.tensor([0, 0])
    assert clip_class_loss(early, labels, age, 0.0) < clip_class_loss(late, labels, age, 0.0)

    present = torch.tensor([[[True], [False], [True], [True]]])
    tracks, classes = torch.zeros(1, 4, 1, CLASSES), torch.tensor([[[1], [1], [1], [-1]]])
    base = track_class_loss(tracks, classes, present, 0.0)
    torch.testing.assert_close(float(base), 3 / 8 * log_k)  # weights 1/8 and 2/8 over a total of at least 1
    hidden = tracks.clone()
    hidden[0, 1], hidden[0, 3] = 50.0 * torch.eye(CLASSES)[0], 50.0 * torch.eye(CLASSES)[0]
    assert track_class_loss(hidden, classes, present, 0.0) == base, "absent and unknown are not looked at"


def test_merged_scores_are_least_for_the_truth_and_know_no_class_term():
    heads, targets = random_heads(2), grid_of_objects(2)
    truth = clip_truth(*targets)
    assigned = assign(heads, targets, 0.0)
    wanted = torch.zeros_like(heads.class_logits)
    for picture, cell in (assigned.objects >= 0).nonzero().tolist():
        label = targets.class_ids[picture, assigned.objects[picture, cell]]
        wanted[picture, cell, label] = assigned.quality[picture, cell]

    def loss(scores: Tensor) -> Tensor:
        losses = detection_losses(
            heads._replace(class_logits=torch.logit(scores, 1e-6)), truth, 0.0, 0.0, True
        )
        assert "class" not in losses
        return losses["objectness"]

    assert loss(wanted) < 0.01
    assert loss(wanted.roll(1, dims=-1)) > loss(wanted) + 0.1, "the score of another class"
    assert loss(torch.zeros_like(wanted)) > loss(wanted) + 0.1, "no score at all"

    unknown = clip_truth(targets.boxes_xyxy, torch.full_like(targets.class_ids, -1), targets.present)
    one_class = torch.logit(wanted.roll(1, dims=-1), 1e-6)
    of_any = detection_losses(heads._replace(class_logits=one_class), unknown, 0.0, 0.0, True)
    assert of_any["objectness"] < 0.01, "of an object of unknown class any may have the score"
