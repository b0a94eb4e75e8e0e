"""Folding changes the speed of a model, not its answers."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from seqdet.config import EncoderName, ModelConfig
from seqdet.model.detector import build_detector
from seqdet.model.fold import fold_batchnorm


@pytest.mark.parametrize("encoder", get_args(EncoderName))
@torch.inference_mode()
def test_a_folded_model_says_the_same(encoder: str) -> None:
    model = build_detector(ModelConfig(encoder=encoder, channels=16, input_size_wh=(96, 64)), 3).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh statistics are an identity, which hides mistakes
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.5, 0.5)
    frames = torch.randint(0, 256, (1, 3, 3, 64, 96), dtype=torch.uint8)
    before, _ = model(frames)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    fold_batchnorm(model)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) < norms
    after, _ = model(frames)
    for one, other in zip(before.heads[:3], after.heads[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_a_model_in_training_is_not_folded() -> None:
    with pytest.raises(ValueError, match="evaluation"):
        fold_batchnorm(build_detector(ModelConfig(channels=16), 3).train())
