"""The cells against their equations, written out again in NumPy, and against ``torch.nn.LSTM``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from seqdet.model.lstm import CELL_LIMIT, BottleneckConvLSTM, CellState, PeepholeLSTM


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def five_equations(i, f, g, o, c, w_ci, w_cf, w_co) -> tuple[np.ndarray, np.ndarray]:
    """h_t and c_t from the four sums without peepholes; as printed, c_{t-1} in every gate."""
    i_t = sigmoid(i + w_ci * c)
    f_t = sigmoid(f + w_cf * c)
    o_t = sigmoid(o + w_co * c)
    c_t = f_t * c + i_t * np.tanh(g)
    return o_t * np.tanh(c_t), c_t


def randomised(cell: nn.Module) -> nn.Module:
    """The cell in float64, every parameter a normal number: none left at a value that hides a mistake."""
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.4)
    return cell


def numbers(module: nn.Module, name: str) -> np.ndarray:
    return module.get_parameter(name).detach().numpy()


@pytest.mark.parametrize("frames", [1, 7])
def test_without_peepholes_the_vector_cell_is_torchs_lstm(frames: int):
    cell = randomised(PeepholeLSTM(5, 4, peepholes=False))
    oracle = nn.LSTM(5, 4, batch_first=True).double()
    with torch.no_grad():
        oracle.weight_ih_l0.copy_(cell.weight_input)
        oracle.weight_hh_l0.copy_(cell.weight_hidden)
        oracle.bias_ih_l0.copy_(cell.bias * 0.3)  # torch has two biases that are added
        oracle.bias_hh_l0.copy_(cell.bias * 0.7)
    x, h, c = torch.randn(3, frames, 5), torch.randn(3, 4), torch.randn(3, 4)
    x, h, c = x.double(), h.double(), c.double()
    expected, (last_h, last_c) = oracle(x, (h[None], c[None]))
    hidden, state = cell(x, CellState(h, c))
    for got, wanted in ((hidden, expected), (state.hidden, last_h[0]), (state.cell, last_c[0])):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


def test_the_vector_cell_is_the_five_equations():
    cell = randomised(PeepholeLSTM(5, 4))
    x, h, c = np.random.randn(3, 6, 5), np.random.randn(3, 4), np.random.randn(3, 4)  # noqa: NPY002
    hidden, last = cell(torch.from_numpy(x), CellState(torch.from_numpy(h), torch.from_numpy(c)))
    w_x, w_h = np.split(numbers(cell, "weight_input"), 4), np.split(numbers(cell, "weight_hidden"), 4)
    biases, peepholes = np.split(numbers(cell, "bias"), 4), numbers(cell, "peephole")
    for t in range(6):
        sums = [x[:, t] @ w_x[n].T + h @ w_h[n].T + biases[n] for n in range(4)]
        h, c = five_equations(*sums, c, *peepholes)
        np.testing.assert_allclose(hidden[:, t].detach().numpy(), h, rtol=0, atol=1e-12)
    np.testing.assert_allclose(last.cell.detach().numpy(), c, rtol=0, atol=1e-12)


def depthwise(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(C, H, W) with (C, 1, 3, 3): a cross-correlation with a border of zeros, sum by sum."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    return sum(
        weight[:, 0, dy, dx, None, None] * padded[:, dy : dy + height, dx : dx + width]
        for dy in range(3)
        for dx in range(3)
    )


def pointwise(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    y = np.einsum("oc,chw->ohw", weight[:, :, 0, 0], x)
    return y if bias is None else y + bias[:, None, None]


def hardswish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x + 3, 0, 6) / 6


def test_the_map_cell_is_its_equations():
    channels, frames = 3, 4
    cell = randomised(BottleneckConvLSTM(channels))
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = np.random.randn(frames, channels, 4, 5)  # noqa: NPY002
    h, c = np.random.randn(2, channels, 4, 5)  # noqa: NPY002
    state = CellState(torch.from_numpy(h)[None], torch.from_numpy(c)[None])
    y, last = cell(torch.from_numpy(x)[None], state)
    for t in range(frames):
        b = hardswish(
            pointwise(
                depthwise(x[t], p["input_path.0.weight"]), p["input_path.1.weight"], p["input_path.1.bias"]
            )
            + pointwise(depthwise(h, p["hidden_path.0.weight"]), p["hidden_path.1.weight"])
        )
        sums = pointwise(
            depthwise(b, p["gate_path.0.weight"]), p["gate_path.1.weight"], p["gate_path.1.bias"]
        )
        h, c = five_equations(*np.split(sums, 4), c, *p["peephole"])
        expected = x[t] + pointwise(np.concatenate([h, b]), p["output.weight"], p["output.bias"])
        np.testing.assert_allclose(y[0, t].detach().numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(last.hidden[0].detach().numpy(), h, rtol=0, atol=1e-12)
    np.testing.assert_allclose(last.cell[0].detach().numpy(), c, rtol=0, atol=1e-12)


def test_cells_begin_by_remembering():
    """Forget biases start at +1, all other biases of the vector cell at 0, peepholes at 0."""
    vector, maps = PeepholeLSTM(5, 4), BottleneckConvLSTM(4)
    assert vector.bias.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    assert maps.gate_path[1].bias[4:8].tolist() == [1] * 4
    assert not vector.peephole.any()
    assert not maps.peephole.any()
    assert maps.peephole.shape == (3, 4, 1, 1), "a weight a channel, whatever the size of the map"
    assert PeepholeLSTM(5, 4, peepholes=False).peephole is None


def test_a_step_is_a_clip_of_one_frame():
    cell = randomised(PeepholeLSTM(5, 4))
    x, state = torch.randn(2, 1, 5).double(), cell.initial_state(2)
    assert torch.equal(cell.step(x[:, 0], state).cell, cell(x, state)[1].cell)


def test_peepholes_change_the_answer():
    cell = randomised(PeepholeLSTM(5, 4))
    x = torch.randn(2, 3, 5).double()
    with_them = cell(x, cell.initial_state(2))[0]
    cell.peephole.data.zero_()
    assert (cell(x, cell.initial_state(2))[0] - with_them).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["vector", "map"])
@torch.inference_mode()
def test_ten_thousand_frames_keep_the_cell_bounded(kind: str):
    """Five minutes of video: what is remembered settles, it does not grow with the length of the stream."""
    if kind == "vector":
        cell = PeepholeLSTM(4, 4)
        state, frames = cell.initial_state(2), torch.randn(2, 1000, 4)
    else:
        cell = BottleneckConvLSTM(4).double()
        state, frames = cell.initial_state(1, 2, 2), torch.randn(1, 1000, 4, 2, 2).double()
    cell.peephole.normal_(std=0.1)
    largest = []
    for _ in range(10):
        _, state = cell(frames, state)
        largest.append(float(state.cell.abs().max()))
        assert torch.isfinite(state.cell).all()
        assert state.hidden.abs().max() <= 1
    assert max(largest) < CELL_LIMIT
    assert largest[-1] <= 1.01 * max(largest[:5]), "still growing"


@torch.inference_mode()
def test_trained_weights_keep_their_cells_bounded_and_able_to_turn():
    """A peephole that training made positive lets a cell grow for ever; the shipped weights must not."""
    from seqdet.model.checkpoint import load_model
    from seqdet.runs.shipped import find_model

    model, _ = load_model(find_model("airspace"))
    for cell in (model.clip.lstm, model.tracks.lstm):
        width = cell.weight_input.shape[1]
        one, other = torch.randn(2, 8, 1, width).repeat(1, 1, 3000, 1)
        _, state = cell(one, cell.initial_state(8))
        assert state.cell.abs().max() <= CELL_LIMIT
        fresh, _ = cell(other, cell.initial_state(8))
        after, _ = cell(other, state)
        late = slice(-200, None)
        gap = (after[:, late].mean(1) - fresh[:, late].mean(1)).abs().mean()
        assert gap < 0.15 * fresh[:, late].abs().mean(), "what was seen long ago outlives what is seen now"


def test_half_precision_sums_meet_a_float32_cell():
    cell = PeepholeLSTM(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        _, state = cell(torch.randn(2, 3, 5), cell.initial_state(2))
    assert state.cell.dtype == state.hidden.dtype == torch.float32
