"""How far the gates of a cell are open: what it takes in, what it keeps and what it shows.

Legend: B sequences, S state width or channels, H W cells of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqdet.model.conv_cells import ConvGRU, ConvLSTM
from seqdet.model.lstm import BottleneckConvLSTM, CellState, PeepholeLSTM, gate_sums


def gate_activity(cell: nn.Module, x: Tensor, state: CellState) -> dict[str, Tensor]:
    """The gates at one frame, 0 closed to 1 open.

    Args:
        cell: a vector or map cell.
        x: (B, I) or (B, C, H, W): what the cell gets of the frame.
        state: what it remembers of the frames before.

    Returns:
        "input", "forget" and "output", each (B, S) or (B, C, H, W); of a GRU "reset" and "update".

    Raises:
        TypeError: a cell of another kind.
    """
    if isinstance(cell, ConvGRU):
        from_input, from_hidden = cell.input_path(x), cell.hidden_path(state.hidden)
        r, z, _ = (from_input + from_hidden).chunk(3, dim=1)
        return {"reset": torch.sigmoid(r), "update": torch.sigmoid(z)}
    if isinstance(cell, BottleneckConvLSTM):
        bottleneck = nn.functional.hardswish(cell.input_path(x) + cell.hidden_path(state.hidden))
        pre = cell.gate_path(bottleneck)
    elif isinstance(cell, ConvLSTM):
        pre = cell.input_path(x) + cell.hidden_path(state.hidden)
    elif isinstance(cell, PeepholeLSTM):
        pre = nn.functional.linear(x, cell.weight_input, cell.bias)
        pre = pre + nn.functional.linear(state.hidden, cell.weight_hidden)
    else:
        raise TypeError(f"{type(cell).__name__} is no cell with gates")
    i, f, _, o = gate_sums(pre, state.cell, cell.peephole)
    return {"input": torch.sigmoid(i), "forget": torch.sigmoid(f), "output": torch.sigmoid(o)}
