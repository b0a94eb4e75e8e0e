"""Masks: prototypes of the finest map, mixed for each box; nothing changes for a model without them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqdet.config import ModelConfig
from seqdet.config_file import load_config
from seqdet.defaults import MASK_SIDE, MASK_TRUTH_SIDE, MASK_TRUTH_WINDOW, MASK_WINDOW
from seqdet.errors import UsageError
from seqdet.model.checkpoint import ModelCard, load_model, save_model
from seqdet.model.detector import build_detector
from seqdet.model.losses import ClipTruth
from seqdet.model.masks import MaskHead, grown, mask_loss, truth_in_windows
from seqdet.model.objective import objective

SHAPE = ModelConfig(
    encoder="resnet10", levels=(8, 16), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64)
)
WITH = SHAPE.model_copy(update={"mask_prototypes": 4})
WEIGHTS = {"objectness": 1.0, "class": 1.0, "box": 2.0, "motion": 0.2, "track": 0.5, "clip": 0.5, "mask": 1.0}


def test_what_else_a_model_says_is_the_same_to_the_bit(tmp_path: Path):
    """With masks there are weights more; those of a model without load, and give what they gave."""
    torch.manual_seed(0)
    plain, masked = build_detector(SHAPE, 2), build_detector(WITH, 2)
    added = masked.state_dict().keys() - plain.state_dict().keys()
    assert added
    assert all(name.startswith("masks.") for name in added)
    masked.load_state_dict(plain.state_dict(), strict=False)
    frames = torch.randint(0, 256, (1, 3, 3, 64, 64), dtype=torch.uint8)
    (one, _), (other, _) = plain.eval()(frames), masked.eval()(frames)
    for wanted, got in zip((*one.heads, *one.maps), (*other.heads, *other.maps), strict=True):
        assert torch.equal(wanted, got)
    save_model(tmp_path / "plain.safetensors", plain, ModelCard(SHAPE, ("a", "b")))
    assert load_model(tmp_path / "plain.safetensors")[0].masks is None
    save_model(tmp_path / "masked.safetensors", masked, ModelCard(WITH, ("a", "b")))
    loaded, card = load_model(tmp_path / "masked.safetensors")
    assert (card.config.mask_prototypes, loaded.masks is None) == (4, False)


def test_one_by_one_equals_all_together():
    head = MaskHead(8, 16, 4, 8).eval()
    finest, features = torch.randn(2, 8, 8, 8), torch.randn(3, 16)
    boxes = torch.tensor([[4.0, 4, 30, 20], [10, 30, 60, 62], [0, 0, 64, 64]])
    pictures = torch.tensor([0, 1, 1])
    whole = head(finest, pictures, boxes, features)
    assert whole.shape == (3, MASK_SIDE, MASK_SIDE)
    for row in range(3):
        part = slice(row, row + 1)
        alone = head(finest[pictures[row]][None], pictures[part] * 0, boxes[part], features[part])
        torch.testing.assert_close(alone, whole[part], rtol=1e-5, atol=1e-5)
    assert head(finest, pictures[:0], boxes[:0], features[:0]).shape == (0, MASK_SIDE, MASK_SIDE)


def disc_windows(boxes: torch.Tensor) -> torch.Tensor:
    """Truth over the windows of boxes that each hold an ellipse, exactly."""
    along = ((torch.arange(MASK_TRUTH_SIDE) + 0.5) / MASK_TRUTH_SIDE * 2 - 1) * MASK_TRUTH_WINDOW
    return (along[:, None] ** 2 + along**2 <= 1).to(torch.uint8).expand(len(boxes), -1, -1)


def test_the_truth_moves_with_a_box_that_is_off():
    true_boxes = torch.tensor([[10.0, 10, 50, 30]]).repeat(3, 1)
    boxes = true_boxes + torch.tensor([[0.0, 0, 0, 0], [4, 0, 4, 0], [-2, -1, 2, 1]])
    shown = truth_in_windows(disc_windows(boxes), true_boxes, boxes)
    window = grown(boxes, MASK_WINDOW)
    cells = (torch.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    for row in range(3):
        x = (window[row, 0] + cells * (window[row, 2] - window[row, 0]) - 30) / 20
        y = (window[row, 1] + cells * (window[row, 3] - window[row, 1]) - 20) / 10
        wanted = (y[:, None] ** 2 + x**2 <= 1).float()
        assert (shown[row] != wanted).float().mean() < 0.04, "but for cells that the outline runs through"


def test_the_loss_is_least_where_the_mask_is_right():
    wanted = (torch.rand(2, MASK_SIDE, MASK_SIDE) < 0.3).float()
    right, wrong = mask_loss(20 * (2 * wanted - 1), wanted), mask_loss(-20 * (2 * wanted - 1), wanted)
    assert (right < 1e-3).all()
    assert (wrong > 5).all()
    nothing = mask_loss(torch.full((1, MASK_SIDE, MASK_SIDE), -20.0), torch.zeros(1, MASK_SIDE, MASK_SIDE))
    assert nothing.item() < 1e-3


def clip_truth(known: bool) -> ClipTruth:
    boxes = torch.tensor([[8.0, 8, 40, 40], [30, 36, 60, 56]]).expand(1, 2, 2, 4)
    present = torch.ones(1, 2, 2, dtype=torch.bool)
    masks = disc_windows(boxes.flatten(0, 2)).reshape(1, 2, 2, MASK_TRUTH_SIDE, MASK_TRUTH_SIDE)
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    every = torch.ones(1, dtype=torch.bool)
    return ClipTruth(
        boxes, labels, present, torch.zeros(1, dtype=torch.int64), every, masks if known else masks * 0 + 2
    )


@pytest.mark.parametrize("known", [True, False])
def test_masks_learn_and_unknown_ones_teach_nothing(known: bool):
    torch.manual_seed(0)
    detector = build_detector(WITH, 2).train()
    frames = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    output, _ = detector(frames)
    time_s, age = torch.arange(2)[None] / 30, torch.zeros(1, dtype=torch.int64)
    total, terms = objective(detector, output, clip_truth(known), time_s, age, 1.0, 0.0, WEIGHTS)
    total.backward()
    moved = [p.grad.abs().sum() > 0 for p in detector.masks.parameters()]
    assert all(moved) == known
    assert (terms["mask"] > 0) == known
    assert all(parameter.grad is not None for parameter in detector.masks.parameters()), "for many processes"


def test_two_masks_can_be_learned_by_heart():
    """The outline of one is an ellipse, of the other a ring: a conic alone cannot tell the hole."""
    torch.manual_seed(0)
    head = MaskHead(8, 16, 4, 4)
    finest = torch.randn(1, 8, 16, 16)
    finest[0, :, 4:7, 4:7] += 3
    boxes = torch.tensor([[8.0, 8, 36, 36], [36, 36, 60, 60]])
    truth = disc_windows(boxes).clone()
    truth[0, 19:29, 19:29] = 0
    wanted = truth_in_windows(truth, boxes, boxes)
    features = torch.eye(2, 16)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.03)
    for _ in range(150):
        logits = head(finest, torch.zeros(2, dtype=torch.int64), boxes, features)
        loss = mask_loss(logits, wanted).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = logits > 0
    overlap = (found & (wanted > 0)).sum((1, 2)) / (found | (wanted > 0)).sum((1, 2))
    assert (overlap > 0.9).all(), overlap


def test_a_model_with_masks_needs_a_weight_for_their_loss():
    with pytest.raises(UsageError, match="loss_weights needs one for mask"):
        load_config(None, ["model.mask_prototypes=4", "train.loss_weights={objectness: 1}"])
