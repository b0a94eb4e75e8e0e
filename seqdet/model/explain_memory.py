"""What a memory made of each past frame: by gradients, and by leaving frames out.

One chain for all memories: a cell is shown one input a frame, and its last output is turned into a score.

    of_input_t  = sum over the channels of (d score / d x_t) * x_t               (gradient x input)
    of_update_t = sum over the channels of (d score / d s_t) * (s_t - s_{t-1})   (gradient x presence)

The first asks what the score loses where the input of a frame is 0, which is a frame all the same: the memory
goes on forgetting. The second asks what it loses where the frame is not shown at all. It is the derivative by
m_t of s_t = m_t * step(x_t, s_{t-1}) + (1 - m_t) * s_{t-1} at m_t = 1, so gradient x input with the presence
of the frame as the input. Both are first-order: they know of a redundant frame only that it is one of many.

A frame is left out by not showing it: the state before it is the state after it. What the score then loses is
what the frame was worth.

Legend: T frames of the window, V variants of it, B sequences, H W cells of a map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seqdet.model.lstm import CellState

# Variants that go through the cell together: memory for so many states, not for all of them.
VARIANTS_AT_ONCE = 8


class Chain(NamedTuple):
    """A memory and the question that is put to it.

    Attributes:
        step: x (B, ...) of one frame and the state before -> what is shown of it, and the state after.
        score: what is shown of the last frame -> (B,) the higher, the more of what is asked for.
    """

    step: Callable[[Tensor, CellState], tuple[Tensor, CellState]]
    score: Callable[[Tensor], Tensor]


class Attribution(NamedTuple):
    """What gradients say of a window; maps are (H, W), of vectors they are single numbers, ().

    Attributes:
        score: of the last frame.
        of_input: (T, ...) gradient x input, summed over the channels.
        of_update: (T - 1, ...) gradient x presence of the frames before the last.
        older: gradient x state at the beginning of the window: what came before it.
    """

    score: float
    of_input: Tensor
    of_update: Tensor
    older: float


def attribute(chain: Chain, inputs: Sequence[Tensor], state: CellState) -> Attribution:
    """What every frame of a window was worth by gradients, backwards through the memory.

    Args:
        chain: the memory and the score.
        inputs: T tensors (1, C, ...).
        state: at the beginning of the window, for a batch of one.
    """

    def shown_in_part(x: Tensor, presence: Tensor, before: CellState) -> tuple[Tensor, CellState]:
        output, after = chain.step(x, before)
        # (m - 1) * change: at m = 1 exactly the state that the stream has.
        parts = (new + (presence - 1) * (new - old) for new, old in zip(after, before, strict=True))
        return output, CellState(*parts)

    with torch.enable_grad():
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        present = [torch.ones_like(x[:, :1]).requires_grad_() for x in inputs]
        start = CellState(*(part.detach().clone().requires_grad_() for part in state))
        now, output = start, leaves[0]
        for x, presence in zip(leaves, present, strict=True):
            # Only states are kept on the way; what lies between is computed again on the way back.
            output, now = checkpoint(shown_in_part, x, presence, now, use_reentrant=False)
        score = chain.score(output)
        wanted = [*leaves, *present[:-1], *start]
        gradients = torch.autograd.grad(score.sum(), wanted, allow_unused=True)
    products = [
        torch.zeros_like(value) if gradient is None else gradient * value.detach()
        for gradient, value in zip(gradients, wanted, strict=True)
    ]
    count = len(leaves)
    summed = [product.sum(dim=1)[0].detach() for product in products[: 2 * count - 1]]
    of_update = torch.stack(summed[count:]) if count > 1 else summed[0].new_zeros(0, *summed[0].shape)
    older = sum(float(product.sum()) for product in products[2 * count - 1 :])
    return Attribution(float(score.detach()), torch.stack(summed[:count]), of_update, older)


def whole(maps: Tensor) -> np.ndarray:
    """(T, ...) -> (T,) float64: summed over the places of each frame."""
    # Not -1: of the first frame of a source there are none before, and of nothing -1 could be anything.
    return maps.reshape(len(maps), math.prod(maps.shape[1:])).double().sum(dim=1).cpu().numpy()


@torch.no_grad()
def scores_without(chain: Chain, inputs: Sequence[Tensor], state: CellState, shown: np.ndarray) -> np.ndarray:
    """Scores of variants of a window, in each of which the memory is shown some of the frames only.

    Variants that agree so far are computed once.

    Args:
        chain: the memory and the score.
        inputs: T tensors (1, C, ...).
        state: at the beginning of the window, for a batch of one.
        shown: (V, T) bool; the last frame, which is asked for, is in all of them.

    Returns:
        (V,) float64.

    Raises:
        ValueError: a variant lacks the last frame.
    """
    if not shown[:, -1].all():
        raise ValueError("the last frame of a window cannot be left out: its score is asked for")
    states = state
    outputs = inputs[0]
    of_variant = np.zeros(len(shown), np.int64)  # which of the states a variant has reached
    for t, x in enumerate(inputs):
        pairs, of_variant = np.unique(
            np.stack([of_variant, shown[:, t]], axis=1), axis=0, return_inverse=True
        )
        of_variant = of_variant.reshape(-1)
        parents = torch.from_numpy(pairs[:, 0])
        states = CellState(*(part[parents] for part in states))
        seen = torch.from_numpy(np.flatnonzero(pairs[:, 1]))
        stepped = [
            chain.step(x.expand(len(part), *x.shape[1:]), CellState(*(whole[part] for whole in states)))
            for part in seen.split(VARIANTS_AT_ONCE)
        ]
        if stepped:
            outputs = torch.cat([output for output, _ in stepped])
            for position, whole in enumerate(states):
                whole[seen] = torch.cat([after[position] for _, after in stepped])
    scores = torch.cat([chain.score(part) for part in outputs.split(VARIANTS_AT_ONCE)])
    return scores.double().numpy()[of_variant]


def each_left_out(frames: int) -> np.ndarray:
    """(T - 1, T) bool: in each row one of the frames before the last is left out."""
    return ~np.eye(frames, dtype=bool)[:-1]


def begun_before(frames: int) -> np.ndarray:
    """(V, T) bool: the memory is shown the last frame, the last 2, 4, 8, ... and all of them.

    For a state of nothing at the beginning: how far back a memory must reach.
    """
    counts = [2**power for power in range(frames.bit_length()) if 2**power < frames] + [frames]
    return np.stack([np.arange(frames) >= frames - count for count in counts])
