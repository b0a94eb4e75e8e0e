"""Stochastic depth (Huang et al., ECCV 2016): residual branches left out at random.

What is left out and how it is scaled is torchvision's ``StochasticDepth``, picture by picture. It has no
weights, and acts in training mode only: checkpoints, exported graphs and figures do not know of it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.mobilenetv3 import InvertedResidual as InvertedResidualV3
from torchvision.models.regnet import ResBottleneckBlock
from torchvision.models.resnet import BasicBlock
from torchvision.ops import StochasticDepth, stochastic_depth


class DroppableBlock(BasicBlock):
    """torchvision's block of a ResNet, whose branch may be left out: it adds it in ``forward`` itself."""

    leave_out: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        branch = stochastic_depth(branch, self.leave_out, "row", self.training)
        return self.relu(branch + (x if self.downsample is None else self.downsample(x)))


_BRANCH = {ResBottleneckBlock: "f", InvertedResidual: "conv", InvertedResidualV3: "block"}


def add_stochastic_depth(encoder: nn.Module, probability: float) -> int:
    """Let the residual branches of an encoder be left out in training, in place.

    The probability rises linearly with depth, from ``probability / n`` of the first of n branches to
    ``probability`` of the last, as in the paper: what early branches find, all later ones build on.

    Args:
        encoder: of ``build_encoder``; the names of its weights stay as they are.
        probability: 0..1.

    Returns:
        n; 0 for an encoder that is not residual, which stays as it is.
    """
    blocks = [module for module in encoder.modules() if _is_residual(module)]
    for number, block in enumerate(blocks, 1):
        chance = probability * number / len(blocks)
        if isinstance(block, DroppableBlock):
            block.leave_out = chance
        else:  # the branch is a chain; without weights, its new end changes no name
            chain = block.get_submodule(_BRANCH[type(block)])
            chain.add_module("left_out", StochasticDepth(chance, "row").train(block.training))
    return len(blocks)


def _is_residual(module: nn.Module) -> bool:
    if isinstance(module, (InvertedResidual, InvertedResidualV3)):
        return bool(module.use_res_connect)
    return isinstance(module, (DroppableBlock, ResBottleneckBlock))
