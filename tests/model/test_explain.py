"""Explanations against what can be computed otherwise: closed forms, finite differences, the stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqdet.model.explain_boxes import Cell, Question, answers, find_cell, map_chain, picture_maps, score_at
from seqdet.model.explain_gates import gate_activity
from seqdet.model.explain_memory import (
    Chain,
    attribute,
    begun_before,
    each_left_out,
    scores_without,
    whole,
)
from seqdet.model.lstm import CellState, PeepholeLSTM

FRAMES = 5


def clip(frames: int = FRAMES) -> torch.Tensor:
    return torch.randint(0, 256, (1, frames, 3, 64, 64), dtype=torch.uint8)


def linear_chain() -> Chain:
    """s_t = s_{t-1} / 2 + x_t, and the sum of the last state as the score."""

    def step(x, state):
        new = state.hidden / 2 + x
        return new, CellState(new, state.cell)

    return Chain(step, lambda shown: shown.flatten(1).sum(1))


def test_in_a_linear_memory_gradients_are_what_frames_are_worth():
    """The closed form of both attributions, and no difference between gradient x presence and leaving out."""
    inputs = [torch.randn(1, 3, 2, 2) for _ in range(FRAMES)]
    state = CellState(torch.randn(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    chain = linear_chain()
    said = attribute(chain, inputs, state)
    faded = [float(x.sum()) * 0.5 ** (FRAMES - 1 - t) for t, x in enumerate(inputs)]
    assert whole(said.of_input) == pytest.approx(faded, abs=1e-5)
    assert said.older == pytest.approx(float(state.hidden.sum()) * 0.5**FRAMES, abs=1e-5)
    assert said.score == pytest.approx(sum(faded) + said.older, abs=1e-5)
    drop = said.score - scores_without(chain, inputs, state, each_left_out(FRAMES))
    assert whole(said.of_update) == pytest.approx(drop, abs=1e-5)


def test_a_memory_that_counts_only_the_last_frame_is_found_out():
    chain = Chain(lambda x, state: (x, CellState(x, state.cell)), lambda shown: shown.flatten(1).sum(1))
    inputs = [torch.randn(1, 2) for _ in range(FRAMES)]
    state = CellState(torch.randn(1, 2), torch.zeros(1, 2))
    said = attribute(chain, inputs, state)
    assert whole(said.of_input)[:-1].tolist() == whole(said.of_update).tolist() == [0.0] * (FRAMES - 1)
    assert said.older == 0.0


@pytest.mark.parametrize("why", ["object", "class"])
def test_the_chain_of_a_box_is_the_stream(make_detector, variant, why):
    """Its score is what the heads say in the stream; a variant is the stream without those frames."""
    detector = make_detector(**variant)
    with torch.no_grad():
        maps, averages = detector.embed(clip(), None)
        output, _ = detector.remember(maps, averages, 1, None)
        heads = type(output.heads)(*(p[-1:] if n < 4 else p for n, p in enumerate(output.heads)))
        cell = find_cell(heads, [tuple(m.shape[-2:]) for m in output.maps], heads.boxes_xyxy[0, 100])
        question = Question(cell, 1, why)
        chain = map_chain(detector, question)
        inputs = list(maps[cell.level].split(1))
        state = detector.initial_state(1, (64, 64)).maps[cell.level]
        shown = np.array([[True] * 5, [True, False, True, True, True], [False, False, True, False, True]])
        got = scores_without(chain, inputs, state, shown)
        said = answers(heads, question)
        expected = np.log(said.class_probability)
        if why == "object":
            expected = -np.log(1 / said.objectness - 1)
        assert got[0] == pytest.approx(expected, abs=1e-4)
        for row, score in zip(shown, got, strict=True):
            kept = [m[torch.from_numpy(row)] for m in maps]
            refined, _ = detector.memory(kept, detector.initial_state(1, (64, 64)).maps, 1)
            last = refined[cell.level][-1:]
            assert float(score_at(detector.heads, question)(last)) == pytest.approx(score, abs=1e-4)
    assert attribute(chain, inputs, state).score == pytest.approx(got[0], abs=1e-4)


def test_gradient_x_presence_is_the_derivative_of_being_shown(make_detector):
    """Against finite differences: the memory gets a little less than the whole step of one frame."""
    detector = make_detector().double().requires_grad_(False)
    step = map_chain(detector, Question(Cell(0, 3, 4, 0), 0, "object")).step
    chain = Chain(step, lambda refined: refined[:, :, 3, 4].sum(dim=1))
    height = 8
    inputs = [torch.randn(1, 8, height, height, dtype=torch.float64) for _ in range(FRAMES)]
    nothing = torch.zeros(1, 8, height, height, dtype=torch.float64)
    said = attribute(chain, inputs, CellState(nothing, nothing))
    for left in range(FRAMES - 1):
        state = CellState(nothing, nothing)
        for t, x in enumerate(inputs):
            shown, after = chain.step(x, state)
            share = 1 - 1e-6 if t == left else 1.0
            state = CellState(*(a * share + b * (1 - share) for a, b in zip(after, state, strict=True)))
        slope = (said.score - float(chain.score(shown))) / 1e-6
        assert whole(said.of_update)[left] == pytest.approx(slope, rel=1e-3, abs=1e-7)


def find_cell_of(detector):
    with torch.no_grad():
        frames = clip(1)
        output, _ = detector(frames)
        shapes = [tuple(m.shape[-2:]) for m in output.maps]
        return find_cell(output.heads, shapes, output.heads.boxes_xyxy[0, 100])


def test_the_cell_of_a_box_is_found_again(make_detector):
    """With no other box on it, it is the very cell; its level, row and column are where its point is."""
    detector = make_detector()
    with torch.no_grad():
        output, _ = detector(clip(1))
    heads = output.heads
    best = heads.objectness[0].topk(20).indices.tolist()
    for number in best:
        cell = find_cell(heads, [tuple(m.shape[-2:]) for m in output.maps], heads.boxes_xyxy[0, number])
        assert heads.objectness[0, cell.number] >= heads.objectness[0, number]
        stride = detector.levels[cell.level]
        point = ((cell.column + 0.5) * stride, (cell.row + 0.5) * stride)
        assert heads.points_xy[cell.number].tolist() == list(point)


@pytest.mark.parametrize("peepholes", [False, True])
def test_gates_are_those_of_the_cell(peepholes):
    """h = o tanh(c), c - f c_before = i g with |g| <= 1, and without peepholes f is the derivative of c."""
    cell = PeepholeLSTM(4, 6, peepholes)
    if cell.peephole is not None:
        cell.peephole.data.normal_()
    x, state = torch.randn(3, 4), CellState(torch.randn(3, 6), torch.randn(3, 6).requires_grad_())
    gates = gate_activity(cell, x, state)
    after = cell.step(x, state)
    torch.testing.assert_close(after.hidden, gates["output"] * torch.tanh(after.cell), rtol=1e-5, atol=1e-6)
    assert ((after.cell - gates["forget"] * state.cell).abs() <= gates["input"] + 1e-6).all()
    if not peepholes:
        (slope,) = torch.autograd.grad(after.cell.sum(), state.cell)
        torch.testing.assert_close(slope, gates["forget"].detach())


def test_gates_of_maps_are_those_of_the_cell(make_detector, variant):
    detector = make_detector(**variant)
    cell = detector.memory.cells[0]
    x, state = torch.randn(1, 8, 4, 4), CellState(torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4))
    if variant.get("cell") == "convgru":
        state = state._replace(cell=state.cell[:, :0])
    with torch.no_grad():
        gates = gate_activity(cell, x, state)
        _, after = cell(x.unsqueeze(1), state)
    assert all(((gate >= 0) & (gate <= 1)).all() for gate in gates.values())
    if variant.get("cell") == "convgru":  # h moves from the old one by what the update gate lets go, at most
        moved = (after.hidden - gates["update"] * state.hidden).abs()
        assert (moved <= 1 - gates["update"] + 1e-6).all()
    else:
        torch.testing.assert_close(
            after.hidden, gates["output"] * torch.tanh(after.cell), rtol=1e-4, atol=1e-5
        )


def test_every_level_of_the_encoder_has_its_maps(make_detector, variant):
    """All four of the encoder's maps reach a box, and none of them has heat below 0."""
    detector = make_detector(**variant).requires_grad_(False)
    before = detector.initial_state(1, (64, 64))
    pictures, _ = detector.pictures(clip(1), before.frames)
    question = Question(find_cell_of(detector), 0, "object")
    maps = picture_maps(detector, pictures, before.maps, question)
    assert maps.strides == (4, 8, 16, 32)
    for stride, local, wide in zip(maps.strides, maps.local, maps.grad_cam, strict=True):
        assert local.shape == wide.shape == (64 // stride, 64 // stride)
        assert (local >= 0).all()
        assert (wide >= 0).all()
    assert sum(float(local.sum()) for local in maps.local) > 0


def test_variants_of_a_window():
    assert each_left_out(3).tolist() == [[False, True, True], [True, False, True]]
    assert begun_before(5).sum(axis=1).tolist() == [1, 2, 4, 5]
    assert begun_before(1).tolist() == [[True]]
    with pytest.raises(ValueError, match="last frame"):
        scores_without(
            linear_chain(),
            [torch.zeros(1, 1)],
            CellState(torch.zeros(1, 1), torch.zeros(1, 1)),
            np.array([[False]]),
        )
