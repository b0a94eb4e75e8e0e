"""The LSTM cells: one family, two shapes, with the gates of the project's source article.

    i_t = sigmoid(W_xi x_t + W_hi h_{t-1} + W_ci * c_{t-1} + b_i)
    f_t = sigmoid(W_xf x_t + W_hf h_{t-1} + W_cf * c_{t-1} + b_f)
    o_t = sigmoid(W_xo x_t + W_ho h_{t-1} + W_co * c_{t-1} + b_o)      (c_{t-1}, also in the output gate)
    c_t = f_t * c_{t-1} + i_t * tanh(W_xc x_t + W_hc h_{t-1} + b_c)
    h_t = o_t * tanh(c_t)

Gates are stored in the order i, f, g, o of ``torch.nn.LSTM`` (g is the tanh term), peepholes in the order
i, f, o.

The source article's own network has relu in the place of both tanh; the vector cell can have it so
(``activation``), and is clipped as ever.

Legend: B sequences, T frames, I input width, S state width, C channels, H W cells of a map.
State is an argument and a result, never an attribute: cells are functions (x, state) -> (y, state).
The peepholes (Gers and Schmidhuber, 2000) multiply element by element; on maps they have a weight a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

FORGET_BIAS = 1.0
# A peephole of the forget gate can close a loop: the larger the cell, the less it forgets, and it grows for
# ever. The cell is clipped (Sak et al., Interspeech 2014): tanh is 1 to 1e-13 there already, and contrary
# evidence, at most 1 a step, is heard after at most this many steps.
CELL_LIMIT = 16.0


class CellState(NamedTuple):
    """What a cell remembers: ``hidden`` and ``cell``, both (B, S) for vectors, (B, C, H, W) for maps."""

    hidden: Tensor
    cell: Tensor


def _tanh(x: Tensor) -> Tensor:
    """tanh as 2 sigmoid(2x) - 1: the same to 1e-7, and four times faster on a CPU (docs/performance.md)."""
    return 2 * torch.sigmoid(2 * x) - 1


def gates(
    pre: Tensor | Sequence[Tensor],
    cell: Tensor,
    peephole: Tensor | None,
    squash: Callable[[Tensor], Tensor] = _tanh,
) -> CellState:
    """The five equations, given the sums of the x, h and b terms.

    Args:
        pre: (B, 4S, ...) sums in the order i, f, g, o, or the four (B, S, ...).
        cell: (B, S, ...) c_{t-1}.
        peephole: (3, S, ...) weights of c_{t-1} in i, f, o, or None.
        squash: what stands for tanh.

    Returns:
        The new state, float32 whatever the precision of ``pre``: the cell is a sum over the whole past.
    """
    i, f, g, o = gate_sums(pre, cell, peephole)
    i, f, g, o = (gate.to(cell.dtype) for gate in (i, f, g, o))
    new_cell = (torch.sigmoid(f) * cell + torch.sigmoid(i) * squash(g)).clamp(-CELL_LIMIT, CELL_LIMIT)
    return CellState(torch.sigmoid(o) * squash(new_cell), new_cell)


def gate_sums(
    pre: Tensor | Sequence[Tensor], cell: Tensor, peephole: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What goes into the sigmoids of i, f, o and the tanh of g, in the order i, f, g, o; as ``gates``."""
    i, f, g, o = pre.chunk(4, dim=1) if isinstance(pre, Tensor) else pre
    if peephole is not None:  # the sums are promoted to the precision of the cell
        i, f, o = i + peephole[0] * cell, f + peephole[1] * cell, o + peephole[2] * cell
    return i, f, g, o


class PeepholeLSTM(nn.Module):
    """The vector cell: (B, T, I) -> (B, T, S).

    Without peepholes it equals ``torch.nn.LSTM`` with the same weights and one bias.
    """

    def __init__(
        self,
        input_width: int,
        state_width: int,
        peepholes: bool = True,
        activation: Literal["tanh", "relu"] = "tanh",
    ) -> None:
        super().__init__()
        self.state_width = state_width
        self.squash = {"tanh": _tanh, "relu": torch.relu}[activation]
        self.weight_input = nn.Parameter(torch.empty(4 * state_width, input_width))
        self.weight_hidden = nn.Parameter(torch.empty(4 * state_width, state_width))
        self.bias = nn.Parameter(torch.zeros(4 * state_width))
        self.peephole = nn.Parameter(torch.zeros(3, state_width)) if peepholes else None
        for gate in self.weight_input.data.chunk(4):  # each gate is a layer of its own width
            nn.init.xavier_uniform_(gate)
        for gate in self.weight_hidden.data.chunk(4):
            nn.init.orthogonal_(gate)
        self.bias.data[state_width : 2 * state_width] = FORGET_BIAS

    def initial_state(self, batch: int) -> CellState:
        """A state of zeros for ``batch`` sequences."""
        zeros = self.bias.new_zeros(batch, self.state_width)
        return CellState(zeros, zeros)

    def step(self, x: Tensor, state: CellState) -> CellState:
        """One frame: x (B, I), state (B, S) -> state (B, S)."""
        pre = nn.functional.linear(x, self.weight_input, self.bias)
        return gates(
            pre + nn.functional.linear(state.hidden, self.weight_hidden),
            state.cell,
            self.peephole,
            self.squash,
        )

    def forward(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """All frames: x (B, T, I), state (B, S) -> hidden (B, T, S), last state."""
        outputs = []
        pre = nn.functional.linear(x, self.weight_input, self.bias)
        for t in range(x.shape[1]):
            recurrent = nn.functional.linear(state.hidden, self.weight_hidden)
            state = gates(pre[:, t] + recurrent, state.cell, self.peephole, self.squash)
            outputs.append(state.hidden)
        return torch.stack(outputs, dim=1), state


class BottleneckConvLSTM(nn.Module):
    """The map cell after Liu and Zhu (CVPR 2018): (B, T, C, H, W) -> (B, T, C, H, W), any H and W.

        b = hardswish(PW DW x + PW DW h),  [i f g o] = PW DW b,  y = x + W [h; b]

    DW is a 3x3 depthwise, PW and W are 1x1 convolutions. The memory refines the frame, it never replaces it.
    The x path is computed for all T at once; only the h path loops. No normalisation inside the cell.
    """

    def __init__(self, channels: int, peepholes: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.input_path = _depthwise_separable(channels, channels, bias=True)
        self.hidden_path = _depthwise_separable(channels, channels, bias=False)
        self.gate_path = _depthwise_separable(channels, 4 * channels, bias=True)
        self.output = keeping_variance(nn.Conv2d(2 * channels, channels, 1))
        self.peephole = nn.Parameter(torch.zeros(3, channels, 1, 1)) if peepholes else None
        with torch.no_grad():
            self.gate_path[1].get_parameter("bias")[channels : 2 * channels] = FORGET_BIAS

    def initial_state(self, batch: int, height: int, width: int) -> CellState:
        """A state of zeros for ``batch`` maps of height x width cells."""
        zeros = self.output.weight.new_zeros(batch, self.channels, height, width)
        return CellState(zeros, zeros)

    def forward(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """x (B, T, C, H, W), state (B, C, H, W) -> y (B, T, C, H, W), last state."""
        batch, frames = x.shape[:2]
        from_input = self.input_path(x.flatten(0, 1)).unflatten(0, (batch, frames))
        # One layout, wherever the state comes from: a convolution rounds differently in another one, and a
        # saved state has to go on bit for bit.
        state = CellState(*(part.contiguous(memory_format=torch.channels_last) for part in state))
        from_hidden, from_bottleneck = self.output.weight.split(self.channels, dim=1)
        refined = []
        for t in range(frames):
            b = nn.functional.hardswish(from_input[:, t] + self.hidden_path(state.hidden))
            # Other runtimes copy maps to split them (docs/decisions/016); PyTorch does not.
            pre = self._gates_apart(b) if torch.compiler.is_exporting() else self.gate_path(b)
            state = gates(pre, state.cell, self.peephole)
            # W [h; b] in two parts, which saves joining the maps.
            memory = nn.functional.conv2d(state.hidden, from_hidden, self.output.bias)
            refined.append(x[:, t] + memory + nn.functional.conv2d(b, from_bottleneck))
        return torch.stack(refined, dim=1), state

    def _gates_apart(self, b: Tensor) -> list[Tensor]:
        """``gate_path`` as a convolution for each gate."""
        depthwise, pointwise = self.gate_path
        spread, weight, bias = (
            depthwise(b),
            pointwise.get_parameter("weight"),
            pointwise.get_parameter("bias"),
        )
        return [
            nn.functional.conv2d(spread, of_gate, bias_of_gate)
            for of_gate, bias_of_gate in zip(weight.chunk(4), bias.chunk(4), strict=True)
        ]


def _depthwise_separable(inputs: int, outputs: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        keeping_variance(nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)),
        keeping_variance(nn.Conv2d(inputs, outputs, 1, bias=bias)),
    )


def keeping_variance(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights that keep the variance (LeCun et al., Efficient BackProp, 1998).

    PyTorch's own shrink it to a third in every layer. Behind four of them next to nothing of the past reaches
    the gates, and a memory that is not heard is not learned (docs/ablations.md).
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return layer
