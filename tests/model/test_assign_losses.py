"""Who answers for what, and what is minimised: no object goes unanswered, no empty clip ends in NaN."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqdet.boxes import iou
from seqdet.config import TrainConfig
from seqdet.model.assign import TOP_K, PaddedTargets, assign, pairwise_overlap
from seqdet.model.detector import Detector
from seqdet.model.heads import HeadOutput, cell_centres
from seqdet.model.losses import (
    RAMP_FRAMES,
    ClipTruth,
    clip_class_loss,
    detection_losses,
    quality_focal_loss,
    track_class_loss,
)
from seqdet.model.objective import objective

CLASSES = 3
SIZE = 64
LEVELS = (4, 8)
POINTS = torch.cat([cell_centres(SIZE // s, SIZE // s, s, torch.device("cpu")) for s in LEVELS])
STRIDES = torch.cat([torch.full(((SIZE // s) ** 2,), float(s)) for s in LEVELS])


def heads_of(boxes_xyxy: Tensor, objectness: Tensor | None = None) -> HeadOutput:
    """Predictions (N, P, 4) with random objectness, classes and motion."""
    shape = boxes_xyxy.shape[:2]
    return HeadOutput(
        objectness=torch.randn(shape) if objectness is None else objectness,
        class_logits=torch.randn(*shape, CLASSES),
        boxes_xyxy=boxes_xyxy,
        motion=torch.randn(*shape, 2),
        points_xy=POINTS,
        strides=STRIDES,
    )


def random_heads(pictures: int) -> HeadOutput:
    reach = torch.rand(pictures, len(POINTS), 4) * 12 + 1
    return heads_of(torch.cat([POINTS - reach[..., :2], POINTS + reach[..., 2:]], dim=-1))


def random_targets(pictures: int, objects: int) -> PaddedTargets:
    """Objects that do not overlap: one in each of the squares of a chessboard, 3 to 14 pixels large."""
    column, row = torch.arange(objects) % 4, torch.arange(objects) // 4
    corner = torch.stack([column, row], -1) * 16 + torch.rand(pictures, objects, 2)
    sides = torch.rand(pictures, objects, 2) * 11 + 3
    present = torch.rand(pictures, objects) < 0.7
    class_ids = torch.randint(0, CLASSES, (pictures, objects))
    return PaddedTargets(torch.cat([corner, corner + sides], -1), class_ids, present)


@pytest.mark.parametrize("centre_prior", [0.0, 0.4, 1.0])
def test_every_object_gets_cells_and_every_cell_one_object_that_is_there(centre_prior: float) -> None:
    targets = random_targets(6, 9)
    heads = random_heads(6)
    assignment = assign(heads, targets, centre_prior)
    assert assignment.objects.shape == assignment.quality.shape == heads.objectness.shape
    for picture, objects in enumerate(assignment.objects):
        answered, cells = objects[objects >= 0].unique(return_counts=True)
        assert answered.tolist() == targets.present[picture].nonzero().flatten().tolist()
        assert int(cells.max()) <= TOP_K
    background = assignment.objects < 0
    assert torch.all(assignment.quality[background] == 0)
    assert torch.all((assignment.quality[~background] > 0) & (assignment.quality[~background] <= 1))


def test_a_cell_answers_only_for_what_is_around_it() -> None:
    targets = random_targets(6, 9)
    assignment = assign(random_heads(6), targets, 0.5)
    picture, cell = (assignment.objects >= 0).nonzero(as_tuple=True)
    boxes = targets.boxes_xyxy[picture, assignment.objects[picture, cell]]
    reach = torch.maximum((boxes[:, 2:] - boxes[:, :2]) / 2, STRIDES[cell, None] / 2)
    assert torch.all((POINTS[cell] - (boxes[:, :2] + boxes[:, 2:]) / 2).abs() <= reach)


def test_an_object_smaller_than_a_cell_is_answered_for() -> None:
    corner = torch.tensor([33.9, 20.1])  # no cell centre of either level lies in it
    boxes = torch.cat([corner, corner + 1.5])[None, None]
    inside = ((boxes[0, 0, :2] < POINTS) & (boxes[0, 0, 2:] > POINTS)).all(-1)
    assert not inside.any()
    targets = PaddedTargets(boxes, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
    assert (assign(random_heads(1), targets, 0.0).objects == 0).any()


def test_the_overlap_is_the_iou_of_boxes_and_kind_to_near_misses() -> None:
    boxes, targets = random_heads(1).boxes_xyxy[:, :50], random_targets(1, 9).boxes_xyxy
    overlap, kind = pairwise_overlap(boxes, targets)
    np.testing.assert_allclose(overlap[0], iou(boxes[0].numpy(), targets[0].numpy()), atol=1e-5)
    near, far = torch.tensor([[[20.0, 0, 30, 10], [50.0, 0, 60, 10]]]).split(1, dim=1)
    target = torch.tensor([[[5.0, 0, 15, 10]]])
    assert float(pairwise_overlap(near, target)[0]) == float(pairwise_overlap(far, target)[0]) == 0
    assert float(pairwise_overlap(near, target)[1]) > float(pairwise_overlap(far, target)[1]) > 0
    _, same = pairwise_overlap(target, target)
    assert float(same) == pytest.approx(1, abs=1e-4)
    assert torch.all((kind >= 0) & (kind <= 1))


@pytest.mark.parametrize("objects", [0, 3])
def test_without_objects_all_is_background_and_every_loss_finite(objects: int) -> None:
    heads = random_heads(4)
    for part in (heads.objectness, heads.boxes_xyxy, heads.class_logits, heads.motion):
        part.requires_grad_()
    truth = ClipTruth(
        torch.zeros(2, 2, objects, 4),
        torch.full((2, 2, objects), -1),
        torch.zeros(2, 2, objects, dtype=torch.bool),
        torch.full((2,), -1),
    )
    assert torch.all(assign(heads, truth.pictures(), 0.0).objects == -1)
    losses = detection_losses(heads, truth, 0.5, 0.05)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert float(losses["box"]) == float(losses["class"]) == float(losses["motion"]) == 0
    torch.stack(list(losses.values())).sum().backward()
    assert torch.isfinite(heads.objectness.grad).all()
    assert (heads.objectness.grad > 0).all(), "what shows nothing is pushed towards background"


def one_object(class_id: int = 1) -> ClipTruth:
    """Two frames; an object of 12 x 10 pixels that moves by (4, 2)."""
    first = torch.tensor([20.0, 24.0, 32.0, 34.0])
    boxes = torch.stack([first, first + torch.tensor([4.0, 2.0, 4.0, 2.0])])[None, :, None]
    return ClipTruth(
        boxes, torch.full((1, 2, 1), class_id), torch.ones(1, 2, 1, dtype=torch.bool), torch.tensor([1])
    )


def perfect(truth: ClipTruth, shift_px: float = 0.0) -> HeadOutput:
    """Says at every cell of the object what is there, ``shift_px`` to the right of it."""
    boxes = (truth.boxes_xyxy[0, :, 0] + torch.tensor([shift_px, 0, shift_px, 0]))[:, None]
    inside = ((boxes[..., :2] <= POINTS) & (boxes[..., 2:] >= POINTS)).all(-1)
    return heads_of(boxes.expand(2, len(POINTS), 4), torch.where(inside, 6.0, -6.0))._replace(
        class_logits=8 * functional.one_hot(torch.ones(2, len(POINTS), dtype=torch.int64), CLASSES).float(),
        motion=torch.tensor([4.0, 2.0]).expand(2, len(POINTS), 2),
    )


def test_a_perfect_prediction_costs_less_than_any_worse_one() -> None:
    truth = one_object()
    best = perfect(truth)
    losses = detection_losses(best, truth, 0.0, 0.0)
    assert float(losses["box"]) < 1e-4
    assert float(losses["motion"]) < 1e-6
    assert float(losses["class"]) < 2e-3
    previous = float(losses["box"])
    for shift_px in (1.0, 2.0, 4.0):
        shifted = float(detection_losses(perfect(truth, shift_px), truth, 0.0, 0.0)["box"])
        assert shifted > previous
        previous = shifted
    worse = {
        "objectness": best._replace(objectness=-best.objectness),
        "class": best._replace(class_logits=-best.class_logits),
        "motion": best._replace(motion=-best.motion),
    }
    for name, heads in worse.items():
        assert float(detection_losses(heads, truth, 0.0, 0.0)[name]) > float(losses[name]) + 0.01, name


def test_the_motion_of_the_last_frame_is_not_asked() -> None:
    truth = one_object()
    best = perfect(truth)
    astray = best.motion.clone()
    astray[1] = 50
    assert float(detection_losses(best._replace(motion=astray), truth, 0.0, 0.0)["motion"]) < 1e-6
    astray[0] = 50
    assert float(detection_losses(best._replace(motion=astray), truth, 0.0, 0.0)["motion"]) > 1


def test_an_unknown_class_teaches_the_box_but_no_class() -> None:
    heads = perfect(one_object())
    heads.class_logits.requires_grad_()
    losses = detection_losses(heads, one_object(class_id=-1), 0.0, 0.05)
    assert float(losses["class"].detach()) == 0
    losses["class"].backward()
    assert not heads.class_logits.grad.any()
    known = detection_losses(heads, one_object(), 0.0, 0.05)
    assert float(losses["box"]) == float(known["box"])
    assert float(losses["objectness"]) == float(known["objectness"])


def test_the_focal_loss_is_smallest_where_the_score_is_the_quality() -> None:
    quality = torch.tensor([0.0, 0.3, 0.9])
    grid = torch.linspace(-8, 8, 1601)[:, None]
    best = grid[quality_focal_loss(grid.expand(-1, 3), quality.expand(1601, 3)).argmin(dim=0), 0]
    torch.testing.assert_close(best.sigmoid(), quality, atol=0.01, rtol=0)


def test_memories_answer_more_the_longer_they_have_looked() -> None:
    logits = torch.zeros(1, RAMP_FRAMES, CLASSES)
    logits[0, 0, 1] = 9  # wrong in the first frame only
    late = logits.flip(1)  # wrong in the last frame only
    label, age = torch.tensor([0]), torch.arange(RAMP_FRAMES)[None]
    assert clip_class_loss(late, label, age, 0.0) > 2 * clip_class_loss(logits, label, age, 0.0)
    carried = clip_class_loss(logits, label, age + RAMP_FRAMES, 0.0)
    assert carried > clip_class_loss(logits, label, age, 0.0), "a stream that goes on knows from its start"
    assert float(clip_class_loss(logits, torch.tensor([-1]), age, 0.0)) == 0


def test_tracks_are_asked_only_where_they_are_seen() -> None:
    logits = torch.randn(1, 4, 2, CLASSES)
    classes = torch.tensor([[[0, 2]] * 4])
    present = torch.tensor([[[True, False], [False, False], [True, True], [True, False]]])
    loss = track_class_loss(logits, classes, present, 0.0)
    torch.testing.assert_close(
        track_class_loss(torch.where(present[..., None], logits, 99 * torch.randn(3)), classes, present, 0.0),
        loss,
    )
    assert float(track_class_loss(logits, classes, torch.zeros_like(present), 0.0)) == 0


def crossing(frames: int = 6) -> tuple[Tensor, ClipTruth]:
    """Two clips of the same pictures in opposite order: only the direction tells their classes apart."""
    scene = torch.randint(60, 90, (1, 3, SIZE, SIZE), dtype=torch.uint8).repeat(frames, 1, 1, 1)
    boxes = torch.zeros(frames, 1, 4)
    for t in range(frames):
        x = 8 + 6 * t
        scene[t, :, 26:38, x : x + 12] = 240
        boxes[t, 0] = torch.tensor([x, 26.0, x + 12, 38.0])
    classes = torch.tensor([0, 2])
    truth = ClipTruth(
        torch.stack([boxes, boxes.flip(0)]),
        classes[:, None, None].expand(2, frames, 1),
        torch.ones(2, frames, 1, dtype=torch.bool),
        classes,
    )
    return torch.stack([scene, scene.flip(0)]), truth


def test_two_clips_are_learned_that_only_a_memory_can_tell_apart(
    make_detector: Callable[..., Detector],
) -> None:
    pictures, truth = crossing()
    batch, frames = pictures.shape[:2]
    time_s = torch.arange(frames).expand(batch, -1) / 30
    age = torch.zeros(batch, dtype=torch.int64)
    weights = {str(name): weight for name, weight in TrainConfig().loss_weights.items()}
    model = make_detector().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first: dict[str, float] = {}
    for step in range(120):
        output, _ = model(pictures)
        loss, terms = objective(model, output, truth, time_s, age, max(0.0, 1 - step / 20), 0.0, weights)
        first = first or {name: float(term.detach()) for name, term in terms.items()}
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    last = {name: float(term.detach()) for name, term in terms.items()}
    assert last["box"] < 0.3 * first["box"]
    # The mean of both answers costs ln 2: below it, the order of the frames has been used.
    assert last["clip"] < 0.2
    assert last["track"] < 0.2
    assert output.clip_logits[:, -1].argmax(-1).tolist() == truth.sequence_class_ids.tolist()
