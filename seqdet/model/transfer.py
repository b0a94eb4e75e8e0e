"""Fine-tuning: the trained weights that fit another model are carried over, the rest stays fresh."""

from __future__ import annotations

import torch
from torch import Tensor

from seqdet.model.detector import Detector


@torch.no_grad()
def carry_over(source: Detector, target: Detector) -> list[str]:
    """Copy the weights of ``source`` into ``target`` wherever they fit.

    A tensor of the same name and shape is copied. A convolution that sees more input channels than it did
    (frame differences beside colours) keeps what it knew, its new channels stay as they are. Anything else,
    such as the outputs of another number of classes, stays fresh.

    Args:
        source: a trained model.
        target: changed in place.

    Returns:
        Names of the tensors of ``target`` that stayed fresh, in whole.
    """
    known, fresh = source.state_dict(), []
    for name, tensor in target.state_dict().items():
        old = known.get(name)
        if old is not None and old.shape == tensor.shape:
            tensor.copy_(old)
        elif old is not None and _is_widened(old, tensor):
            tensor[:, : old.shape[1]] = old
        else:
            fresh.append(name)
    return fresh


def _is_widened(old: Tensor, new: Tensor) -> bool:
    """True for convolution weights (C, I, h, w) of which only I has grown."""
    return (
        new.ndim == 4
        and old.ndim == 4
        and old.shape[1] < new.shape[1]
        and old.shape[0] == new.shape[0]
        and old.shape[2:] == new.shape[2:]
    )
