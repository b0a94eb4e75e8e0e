"""Normalisation beyond one process: GroupNorm, or BatchNorm whose statistics are those of all processes.

Legend: N pictures, C channels, H W.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the pictures of all processes, however many each has; by itself it is nn.BatchNorm2d.

    torch.nn.SyncBatchNorm does the same on GPUs only; this runs on any device that processes can talk from.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        # Sums of distances to a value near the mean, the same in all processes: squares stay small.
        moved = input.float() - self.running_mean.clone()[:, None, None]
        count = moved.new_full((1,), moved.numel() / self.num_features)
        sums = torch.cat([moved.sum((0, 2, 3)), moved.square().sum((0, 2, 3)), count])
        sums = _Sum.apply(sums)
        number = sums[-1].detach()
        mean, square = sums[:-1].div(number).chunk(2)
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            momentum = self.momentum or 0.0
            self.running_mean.lerp_(mean + self.running_mean, momentum)
            self.running_var.lerp_(variance * number / (number - 1).clamp(min=1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (moved * scale[:, None, None] + shift[:, None, None]).to(input.dtype)


class _Sum(torch.autograd.Function):
    """Sum over processes, whose gradient is the sum over processes too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


def share_statistics(model: nn.Module) -> None:
    """Let every BatchNorm of a model take its statistics from all processes, in place; names stay."""

    def shared(norm: nn.BatchNorm2d) -> nn.Module:
        new = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum).train(norm.training)
        new.weight, new.bias = norm.weight, norm.bias
        new.running_mean, new.running_var = norm.running_mean, norm.running_var
        new.num_batches_tracked = norm.num_batches_tracked
        return new

    _replace(model, shared)


def use_group_norm(model: nn.Module) -> None:
    """Put GroupNorm (Wu and He, ECCV 2018) in the place of every BatchNorm: it knows no batch at all."""
    _replace(
        model,
        # Groups of at least four channels, at most eight groups.
        lambda norm: nn.GroupNorm(math.gcd(8, max(1, norm.num_features // 4)), norm.num_features, norm.eps),
    )


def _replace(model: nn.Module, make: Callable[[nn.BatchNorm2d], nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, make(child))
