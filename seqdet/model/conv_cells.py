"""Map cells of full 3x3 convolutions: what the bottleneck cell is measured against (docs/ablations.md).

``ConvLSTM`` (Shi et al., NeurIPS 2015) has the gates of ``lstm.py``; ``ConvGRU`` (Ballas et al., ICLR 2016)
has those of ``torch.nn.GRUCell``, in its order r, z, n:

    r_t = sigmoid(W_xr x_t + b_xr + W_hr h_{t-1} + b_hr)
    z_t = sigmoid(W_xz x_t + b_xz + W_hz h_{t-1} + b_hz)
    n_t = tanh(W_xn x_t + b_xn + r_t * (W_hn h_{t-1} + b_hn))
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Both are used like the bottleneck cell, refine the frame like it, y = x + W h with a 1x1 convolution W, and
compute the x path for all T at once.

Legend: B sequences, T frames, C channels, H W cells of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqdet.model.lstm import FORGET_BIAS, CellState, gates, keeping_variance


class ConvLSTM(nn.Module):
    """The LSTM with 3x3 convolutions for its products: (B, T, C, H, W) -> (B, T, C, H, W), any H and W."""

    def __init__(self, channels: int, peepholes: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.input_path = keeping_variance(nn.Conv2d(channels, 4 * channels, 3, padding=1))
        self.hidden_path = keeping_variance(nn.Conv2d(channels, 4 * channels, 3, padding=1, bias=False))
        self.output = keeping_variance(nn.Conv2d(channels, channels, 1))
        self.peephole = nn.Parameter(torch.zeros(3, channels, 1, 1)) if peepholes else None
        with torch.no_grad():
            self.input_path.get_parameter("bias")[channels : 2 * channels] = FORGET_BIAS

    def initial_state(self, batch: int, height: int, width: int) -> CellState:
        """A state of zeros for ``batch`` maps of height x width cells."""
        zeros = self.output.weight.new_zeros(batch, self.channels, height, width)
        return CellState(zeros, zeros)

    def forward(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """x (B, T, C, H, W), state (B, C, H, W) -> y (B, T, C, H, W), last state."""
        from_input = _of_every_frame(self.input_path, x)
        state = CellState(_one_layout(state.hidden), _one_layout(state.cell))
        refined = []
        for t in range(x.shape[1]):
            state = gates(from_input[:, t] + self.hidden_path(state.hidden), state.cell, self.peephole)
            refined.append(x[:, t] + self.output(state.hidden))
        return torch.stack(refined, dim=1), state


class ConvGRU(nn.Module):
    """The GRU with 3x3 convolutions for its products: (B, T, C, H, W) -> (B, T, C, H, W), any H and W.

    It has no cell: that part of its state has no channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.input_path = keeping_variance(nn.Conv2d(channels, 3 * channels, 3, padding=1))
        self.hidden_path = keeping_variance(nn.Conv2d(channels, 3 * channels, 3, padding=1))
        self.output = keeping_variance(nn.Conv2d(channels, channels, 1))
        with torch.no_grad():  # z keeps the past, as the forget gate does
            self.input_path.get_parameter("bias")[channels : 2 * channels] = FORGET_BIAS

    def initial_state(self, batch: int, height: int, width: int) -> CellState:
        """A state of zeros for ``batch`` maps of height x width cells."""
        zeros = self.output.weight.new_zeros(batch, self.channels, height, width)
        return CellState(zeros, zeros[:, :0])

    def forward(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """x (B, T, C, H, W), state (B, C, H, W) -> y (B, T, C, H, W), last state."""
        from_input = _of_every_frame(self.input_path, x)
        hidden = _one_layout(state.hidden)
        refined = []
        for t in range(x.shape[1]):
            hidden = gru_gates(from_input[:, t], self.hidden_path(hidden), hidden)
            refined.append(x[:, t] + self.output(hidden))
        return torch.stack(refined, dim=1), CellState(hidden, state.cell)


def gru_gates(from_input: Tensor, from_hidden: Tensor, hidden: Tensor) -> Tensor:
    """The four equations.

    Args:
        from_input: (B, 3C, ...) sums of the x and b_x terms in the order r, z, n.
        from_hidden: (B, 3C, ...) sums of the h and b_h terms.
        hidden: (B, C, ...) h_{t-1}.

    Returns:
        (B, C, ...) h_t, in the precision of ``hidden`` whatever that of the sums.
    """
    xr, xz, xn = from_input.to(hidden.dtype).chunk(3, dim=1)
    hr, hz, hn = from_hidden.to(hidden.dtype).chunk(3, dim=1)
    new = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return torch.lerp(new, hidden, torch.sigmoid(xz + hz))


def _of_every_frame(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """(B, T, C, H, W) -> (B, T, O, H, W)."""
    return torch.unflatten(convolution(x.flatten(0, 1)), 0, x.shape[:2])


def _one_layout(part: Tensor) -> Tensor:
    """The same numbers as in every frame: a convolution rounds differently in another layout of memory."""
    return part.contiguous(memory_format=torch.channels_last)
