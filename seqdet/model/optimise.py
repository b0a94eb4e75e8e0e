"""What moves the weights: parameter groups, learning rate over the training, averaged weights."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Groups for AdamW, each with a ``role``, encoder or rest; norms, biases and peepholes do not decay."""
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        role = "encoder" if name.startswith("encoder.") else "rest"
        decays = parameter.ndim > 1 and "peephole" not in name
        groups.setdefault((role, decays), []).append(parameter)
    return [
        {"params": parameters, "role": role, "weight_decay": weight_decay if decays else 0.0}
        for (role, decays), parameters in groups.items()
    ]


def learning_rate_at(progress: float, step: int, peak: float, warmup_steps: int, final: float) -> float:
    """Linear warm-up, then a cosine to ``final * peak`` at progress 1 (SGDR, Loshchilov and Hutter, 2017)."""
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    cosine = final + (1 - final) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return peak * warm * cosine


class WeightAverage(Generic[_Network]):
    """Exponential moving average of weights and buffers, with a short memory at the start."""

    def __init__(self, model: _Network, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: _Network, step: int) -> None:
        """Take in the weights after optimizer step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = self.model.state_dict(), model.state_dict()
        for key, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[key], 1 - decay)
            else:
                value.copy_(current[key])
