"""Faster inference: BatchNorm folded into the convolutions before it."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batchnorm(model: nn.Module) -> None:
    """Fold every BatchNorm that follows a convolution in a chain into its weights, in place.

    In evaluation mode both are linear, so that one layer does (Jacob et al., CVPR 2018, section 3.2). The
    model cannot be trained on from there.

    Args:
        model: in evaluation mode.

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("BatchNorm can be folded in evaluation mode only")
    for module in list(model.modules()):
        if isinstance(module, nn.Sequential):
            for first, second in pairwise(list(module._modules)):
                convolution, norm = module._modules[first], module._modules[second]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module._modules[first] = fuse_conv_bn_eval(convolution, norm)
                    module._modules[second] = nn.Identity()
