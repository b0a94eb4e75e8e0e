"""Other normalisations: the same names and shapes where they should be; groups know no batch."""

from __future__ import annotations

import torch
from torch import nn

from seqdet.config import ModelConfig
from seqdet.model.detector import build_detector
from seqdet.model.norms import share_statistics

CONFIG = ModelConfig(levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64))


def test_group_norm_gives_each_clip_the_same_whatever_is_beside_it():
    model = build_detector(CONFIG.model_copy(update={"norm": "group"}), 2).train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    frames = torch.randint(0, 256, (2, 2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        together, alone = model(frames)[0].clip_logits[0], model(frames[:1])[0].clip_logits[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_shared_statistics_change_no_weight_and_no_name():
    model = build_detector(CONFIG, 2)
    before = {name: id(weight) for name, weight in model.named_parameters()}
    names = list(model.state_dict())
    share_statistics(model)
    assert {name: id(weight) for name, weight in model.named_parameters()} == before
    assert list(model.state_dict()) == names


def test_shared_statistics_are_those_of_batchnorm(monkeypatch):
    """With one process that has all pictures: values, gradients and running statistics of nn.BatchNorm2d."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda values: None)
    plain, shared = nn.Sequential(nn.BatchNorm2d(5)), nn.Sequential(nn.BatchNorm2d(5))
    share_statistics(shared)
    pictures = torch.randn(3, 5, 4, 6) * 3 + 7
    for _ in range(3):
        results = []
        for model in (plain, shared):
            model.zero_grad()
            given = pictures.clone().requires_grad_()
            out = model(given)
            (out * torch.linspace(0, 1, 6)).square().sum().backward()
            results.append((out.detach(), given.grad, *(p.grad.clone() for p in model.parameters())))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    for one, other in zip(plain.buffers(), shared.buffers(), strict=True):
        torch.testing.assert_close(one, other)
