"""What must learn learns, what is frozen does not, and what can only be known from the past is remembered."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from seqdet.model.detector import Detector
from seqdet.model.losses import ClipTruth
from seqdet.model.objective import BOX_JITTER, jittered, objective, true_velocity
from seqdet.model.optimise import WeightAverage, learning_rate_at, parameter_groups

WEIGHTS = {"objectness": 1.0, "class": 1.0, "box": 2.0, "motion": 0.2, "track": 0.5, "clip": 0.5}
FRAMES = 5


def there_and_back() -> tuple[Tensor, ClipTruth]:
    """Two clips of the same five pictures: to the right (class 0), and in reverse order (class 1)."""
    frames = torch.full((2, FRAMES, 3, 64, 64), 60, dtype=torch.uint8)
    boxes = torch.zeros(2, FRAMES, 1, 4)
    for t in range(FRAMES):
        left = 6 + 10 * t
        for clip, at in ((0, t), (1, FRAMES - 1 - t)):
            frames[clip, at, :, 26:38, left : left + 12] = 220
            boxes[clip, at, 0] = torch.tensor([left, 26, left + 12, 38])
    classes = torch.tensor([0, 1])
    present = torch.ones(2, FRAMES, 1, dtype=torch.bool)
    class_ids = classes[:, None, None].expand(2, FRAMES, 1)
    return frames, ClipTruth(boxes, class_ids, present, classes, torch.ones(2, dtype=torch.bool))


def loss_of(model: Detector, frames: Tensor, truth: ClipTruth, prior: float = 0.0) -> tuple[Tensor, dict]:
    output, _ = model(frames)
    time_s = (torch.arange(frames.shape[1]) / 30.0).expand(2, -1)
    return objective(model, output, truth, time_s, torch.zeros(2, dtype=torch.int64), prior, 0.0, WEIGHTS)


def trained(model: Detector, steps: int, rate: float = 8e-3) -> list[dict[str, float]]:
    frames, truth = there_and_back()
    optimizer = torch.optim.AdamW(parameter_groups(model.train(), 0.05), lr=rate)
    history = []
    for step in range(steps):
        loss, terms = loss_of(model, frames, truth, max(0.0, 1 - step / 20))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append({"loss": float(loss.detach()), **{k: float(v.detach()) for k, v in terms.items()}})
    return history


def test_two_clips_that_differ_in_order_alone_are_learned_with_memory_only(make_detector):
    """Each picture is in both clips: without the past the class at a box is a coin toss, ln 2 = 0.69."""
    remembers = make_detector(classes=2, levels=(8,), channels=12)
    with_memory = trained(remembers, 140)
    assert with_memory[-1]["class"] < 0.2
    assert with_memory[-1]["loss"] < 0.4 * with_memory[0]["loss"]
    without_memory = trained(make_detector(classes=2, levels=(8,), channels=12, memory=False), 80)
    # The loss is weighted by a quality that is at most 1 and a total of at least 1.
    assert without_memory[-1]["class"] > 0.5

    # The control of every evaluation, the same weights without their past, knows no more than chance.
    frames, _ = there_and_back()
    with torch.inference_mode():
        remembers.eval()
        last = remembers(frames)[0].heads
        forgetful = remembers(frames[:, -1:])[0].heads
    cell = last.objectness.unflatten(0, (2, FRAMES))[:, -1].argmax(dim=1)
    remembered = last.class_logits.unflatten(0, (2, FRAMES))[[0, 1], -1, cell]
    assert remembered.argmax(dim=1).tolist() == [0, 1]
    gap = (remembered - forgetful.class_logits[[0, 1], cell]).abs().max()
    assert gap > 0.5, "the network has learned to ignore its memory"


def test_every_weight_gets_a_gradient_and_moves(make_detector, variant):
    """Peepholes among them, which multiply a state of zeros in the first frame."""
    model = make_detector(classes=2, **variant).train()
    before = {name: value.clone() for name, value in model.named_parameters()}
    loss_of(model, *there_and_back())[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    peepholes = sum("peephole" in name for name in before)  # of two maps, the clip, the tracks
    assert peepholes == (0 if "peepholes" in variant else 2 if variant.get("cell") == "convgru" else 4)
    trained(model, 1)
    assert [name for name, value in model.named_parameters() if torch.equal(value, before[name])] == []


def test_what_is_frozen_does_not_move(make_detector):
    model = make_detector(classes=2)
    model.encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trained(model, 3)
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_every_parameter_is_in_one_group_and_decays_where_it_should(make_detector):
    model = make_detector()
    names = {parameter: name for name, parameter in model.named_parameters()}
    seen = []
    for group in parameter_groups(model, 0.05):
        for parameter in group["params"]:
            name = names[parameter]
            seen.append(name)
            assert group["role"] == ("encoder" if name.startswith("encoder.") else "rest")
            plain = parameter.ndim == 1 or "peephole" in name  # norms, biases, scales, peepholes
            assert group["weight_decay"] == (0.0 if plain else 0.05), name
    assert sorted(seen) == sorted(names.values())


def test_a_clip_without_objects_moves_nothing_to_infinity(make_detector):
    model = make_detector(classes=2).train()
    frames, _ = there_and_back()
    nothing = ClipTruth(
        torch.zeros(2, FRAMES, 1, 4),
        torch.full((2, FRAMES, 1), -1),
        torch.zeros(2, FRAMES, 1, dtype=torch.bool),
        torch.tensor([-1, -1]),
        torch.ones(2, dtype=torch.bool),
    )
    loss, _ = loss_of(model, frames, nothing)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_learning_rate_rises_then_falls_to_its_share():
    rates = [learning_rate_at(step / 100, step, 1.0, 10, 0.01) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert np.argmax(rates) in (9, 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(0.01)
    assert learning_rate_at(1.5, 200, 1.0, 10, 0.01) == pytest.approx(0.01), "past the end it stays"


def test_averaged_weights_follow_at_their_pace(make_detector):
    model = make_detector()
    average = WeightAverage(model, decay=0.9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    start = average.model.heads.geometry.weight.clone()
    average.update(model, step=0)  # a short memory at first: nine tenths of the way
    torch.testing.assert_close(average.model.heads.geometry.weight, start + 0.9)
    for step in range(1, 200):
        average.update(model, step)
    torch.testing.assert_close(average.model.heads.geometry.weight, model.heads.geometry.weight)
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert model.heads.geometry.weight.requires_grad


def test_velocity_is_in_box_sizes_a_second():
    boxes = torch.zeros(1, 3, 1, 4)
    for t, left in enumerate((0.0, 4.0, 20.0)):
        boxes[0, t, 0] = torch.tensor([left, 0, left + 8, 8])
    time_s = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)
    present = torch.ones(1, 3, 1, dtype=torch.bool)
    speed = true_velocity(boxes, present, time_s)[0, :, 0]
    assert speed.tolist() == [[0, 0], [1, 0], [4, 0]]
    present[0, 1] = False
    assert not true_velocity(boxes, present, time_s).any(), "no speed from or to a frame where it is not"


def test_jitter_is_a_part_of_the_side():
    boxes = torch.tensor([[0.0, 0, 100, 10]]).expand(4000, 4)
    spread = (jittered(boxes) - boxes).std(dim=0)
    torch.testing.assert_close(spread, torch.tensor([100.0, 10, 100, 10]) * BOX_JITTER / 2, rtol=0.1, atol=0)
