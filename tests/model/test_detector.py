"""What holds for the whole detector, whatever its weights: state is a value, time the only axis it sees."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from seqdet.model.detector import DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.lstm import CellState
from seqdet.model.memory import DetectorState

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def video(batch: int, frames: int, height: int = 64, width: int = 96) -> Tensor:
    return torch.randint(0, 256, (batch, frames, 3, height, width), dtype=torch.uint8)


def flat(state: DetectorState) -> dict[str, Tensor]:
    cells = {f"maps.{n}": cell for n, cell in enumerate(state.maps)}
    cells |= {"clip": state.clip, "tracks": state.tracks}
    if state.frames is not None:
        cells["frames"] = state.frames
    return {f"{name}.{part}": getattr(cell, part) for name, cell in cells.items() for part in cell._fields}


def unflat(tensors: dict[str, Tensor]) -> DetectorState:
    def cell(name: str) -> CellState:
        return CellState(tensors[f"{name}.hidden"], tensors[f"{name}.cell"])

    levels = sum(key.startswith("maps.") for key in tensors) // 2
    averages = None
    if "frames.means" in tensors:
        averages = FrameAverages(tensors["frames.means"], tensors["frames.seen"])
    maps = tuple(cell(f"maps.{n}") for n in range(levels))
    return DetectorState(maps, cell("clip"), cell("tracks"), averages)


def assert_same(first: DetectorOutput, second: DetectorOutput, **tolerance: float) -> None:
    for name in ("objectness", "class_logits", "motion", "boxes_xyxy"):
        pair = getattr(first.heads, name), getattr(second.heads, name)
        # Boxes are pixels of up to 100: 1e-5 of a pixel is below float32 there.
        scale = 10 if name in ("boxes_xyxy", "motion") else 1
        torch.testing.assert_close(
            *pair,
            rtol=tolerance["rtol"],
            atol=tolerance["atol"] * scale,
            msg=lambda text, n=name: f"{n}: {text}",
        )
    torch.testing.assert_close(first.clip_logits, second.clip_logits, **tolerance)


def picked(output: DetectorOutput, batch: int, rows: list[int], frames: slice) -> DetectorOutput:
    """The output of some sequences and frames."""

    def pick(part: Tensor) -> Tensor:
        return part.unflatten(0, (batch, -1))[rows][:, frames].flatten(0, 1)

    heads = output.heads
    heads = heads._replace(
        objectness=pick(heads.objectness),
        class_logits=pick(heads.class_logits),
        boxes_xyxy=pick(heads.boxes_xyxy),
        motion=pick(heads.motion),
    )
    return DetectorOutput(heads, output.clip_logits[rows][:, frames], [pick(m) for m in output.maps])


@pytest.mark.parametrize("cut", [[1, 1, 1, 1, 1], [2, 3], [4, 1]])
@torch.inference_mode()
def test_a_clip_at_once_is_the_same_clip_in_pieces(make_detector, variant, cut):
    model, frames = make_detector(**variant), video(2, 5)
    whole, last = model(frames)
    state, start = None, 0
    for length in cut:
        part, state = model(frames[:, start : start + length], state)
        assert_same(part, picked(whole, 2, [0, 1], slice(start, start + length)), **CLOSE)
        start += length
    for name, value in flat(state).items():
        torch.testing.assert_close(value, flat(last)[name], **CLOSE)


@torch.inference_mode()
def test_sequences_of_a_batch_do_not_see_each_other(make_detector, variant):
    model, frames = make_detector(**variant), video(3, 3)
    _, state = model(video(3, 2))
    whole, last = model(frames, state)
    order = [2, 0, 1]
    mixed = unflat({name: value[order] for name, value in flat(state).items()})
    permuted, permuted_last = model(frames[order], mixed)
    assert_same(permuted, picked(whole, 3, order, slice(None)), **CLOSE)
    for row in range(3):
        one = unflat({name: value[row : row + 1] for name, value in flat(state).items()})
        alone, _ = model(frames[row : row + 1], one)
        assert_same(alone, picked(whole, 3, [row], slice(None)), **CLOSE)
    for name, value in flat(permuted_last).items():
        torch.testing.assert_close(value, flat(last)[name][order], **CLOSE)


@torch.inference_mode()
def test_nothing_leaks_across_a_reset(make_detector, variant):
    model, frames = make_detector(**variant), video(1, 3)
    before, _ = model(frames)
    buffers = {name: value.clone() for name, value in model.state_dict().items()}
    model(video(2, 4, 32, 32))  # another stream, of another size and batch
    after, _ = model(frames)
    zero, _ = model(frames, model.initial_state(1, (96, 64)))
    for part, again, from_zero in zip(before.heads, after.heads, zero.heads, strict=True):
        assert torch.equal(part, again)
        assert torch.equal(part, from_zero)
    assert all(torch.equal(value, buffers[name]) for name, value in model.state_dict().items())


@torch.inference_mode()
def test_the_state_is_not_written_to(make_detector, variant):
    model = make_detector(**variant)
    _, state = model(video(2, 2))
    kept = {name: value.clone() for name, value in flat(state).items()}
    model(video(2, 2), state)
    model.track_step(
        torch.randn(8, 16), torch.tensor([[0.0, 0, 9, 9]] * 8), torch.zeros(8, 2), torch.ones(8, dtype=bool),
        CellState(state.tracks.hidden.flatten(0, 1), state.tracks.cell.flatten(0, 1)),
    )  # fmt: skip
    assert all(torch.equal(value, kept[name]) for name, value in flat(state).items())


@torch.inference_mode()
def test_a_saved_state_continues_bit_for_bit(make_detector, variant):
    model, frames = make_detector(**variant), video(2, 2)
    _, state = model(video(2, 3))
    straight, straight_last = model(frames, state)
    restored, restored_last = model(
        frames,
        unflat(
            load(save({k: v.clone(memory_format=torch.contiguous_format) for k, v in flat(state).items()}))
        ),
    )
    for one, other in zip(straight.heads, restored.heads, strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(v, flat(restored_last)[k]) for k, v in flat(straight_last).items())


@pytest.mark.parametrize("levels", [(4, 8), (8,), (4, 16), (8, 32), (4, 8, 16, 32)])
@torch.inference_mode()
def test_any_size_and_batch_through_one_model(make_detector, variant, levels):
    model = make_detector(levels=levels, **variant)
    for batch, frames, height, width in ((1, 1, 32, 32), (2, 3, 64, 32), (1, 2, 96, 160)):
        output, state = model(video(batch, frames, height, width))
        cells = sum((height // s) * (width // s) for s in levels)
        assert output.heads.boxes_xyxy.shape == (batch * frames, cells, 4)
        assert output.clip_logits.shape == (batch, frames, 3)
        assert [tuple(cell.hidden.shape) for cell in state.maps] == [
            (batch, 8, height // s, width // s) for s in levels
        ]
        points, strides = output.heads.points_xy, output.heads.strides
        assert points.min() == min(levels) / 2
        assert (points[:, 0] == width - strides / 2).any()
        assert (points[:, 1] == height - strides / 2).any()


@torch.inference_mode()
def test_the_state_stays_as_large_as_it_was(make_detector, variant):
    model = make_detector(**variant)
    _, state = model(video(1, 1))
    after_one = {name: value.shape for name, value in flat(state).items()}
    for _ in range(5):
        _, state = model(video(1, 10), state)
    assert {name: value.shape for name, value in flat(state).items()} == after_one


@torch.inference_mode()
def test_memory_changes_what_is_seen(make_detector, variant):
    """The same picture five times: a detector that remembers does not say the same five times."""
    frames = video(1, 1).expand(1, 5, 3, 64, 96)
    output, _ = make_detector(**variant)(frames)
    assert (output.heads.class_logits[1] - output.heads.class_logits[0]).abs().max() > 1e-3


@torch.inference_mode()
def test_without_map_memory_a_frame_is_just_a_frame(make_detector):
    model, frames = make_detector(memory=False), video(1, 4)
    assert not any(name.startswith("memory.") for name, _ in model.named_parameters())
    output, state = model(frames)
    assert state.maps == ()
    for t in range(4):
        alone, _ = model(frames[:, t : t + 1])
        torch.testing.assert_close(alone.heads.class_logits[0], output.heads.class_logits[t], **CLOSE)


@torch.inference_mode()
def test_an_absent_track_keeps_its_state(make_detector):
    model = make_detector()
    state = CellState(torch.randn(3, 8), torch.randn(3, 8))
    present = torch.tensor([True, False, True])
    _, new = model.track_step(torch.randn(3, 16), torch.rand(3, 4), torch.zeros(3, 2), present, state)
    assert torch.equal(new.cell[1], state.cell[1])
    assert torch.equal(new.hidden[1], state.hidden[1])
    assert not torch.equal(new.cell[[0, 2]], state.cell[[0, 2]])
