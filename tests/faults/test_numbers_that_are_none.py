"""NaN and infinity: refused as frames; in the memory they last no longer than what brought them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet.model.lstm import PeepholeLSTM
from seqdet.runs.stream import Model, load, with_score
from seqdet.types import Frame

FRAMES = 12


@pytest.fixture(scope="module")
def model(sure_model: Path) -> Model:
    return with_score(load(sure_model, "cpu", "torch"), 0.2)


def pictures() -> list[Frame]:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    return [Frame(np.roll(noise, 2 * t, axis=1), t, t / 30) for t in range(FRAMES)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny tensors on a busy machine: threads would wait for each other. conftest restores the number."""
    torch.set_num_threads(1)


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, np.float32), (np.inf, np.float16)])
def test_a_frame_that_is_not_of_bytes_is_refused_and_the_state_is_as_before(model, value, dtype):
    state = model.initial_state()
    for frame in pictures()[:3]:
        _, state = model.step(frame.rgb, state)
    with pytest.raises(ValueError, match="uint8"):
        model.step(np.full((48, 64, 3), value, dtype), state)
    found, _ = model.step(pictures()[3].rgb, state)
    assert len(found) > 0
    assert np.isfinite(found.scores).all()


class Broken:
    """The network, with one number in the features of some frames overflowed."""

    def __init__(self, network, frames: range, value: float) -> None:
        self._network, self._frames, self._value, self._next = network, frames, value, 0

    def embed(self, pictures, averages):
        maps, averages = self._network.embed(pictures, averages)
        for index in range(len(maps[0])):
            if self._next + index in self._frames:
                for of_level in maps:
                    of_level[index, 0, 0, 0] = self._value
        self._next += len(maps[0])
        return maps, averages

    def remember(self, *arguments):
        return self._network.remember(*arguments)


@pytest.mark.parametrize(("value", "at_once"), [(float("nan"), 1), (float("nan"), 4), (float("-inf"), 4)])
def test_the_memory_begins_anew_behind_an_overflow(model, value, at_once):
    """Without that, one such number makes the network blind until the end, in silence."""
    broken = Model(
        model.detector, model.card, model.device, model.options, Broken(model.network, range(4, 6), value)
    )
    results = [result for result, _ in broken.results_and_states(pictures(), at_once)]
    assert len(results) == FRAMES
    for result in results:
        assert np.isfinite(result.detections.scores).all()
        assert np.isfinite(result.detections.boxes_xyxy_px).all()
        assert np.isfinite(result.sequence_score)
    assert all(len(result.detections) > 0 for result in results[8:]), "it sees again"


def test_cells_stay_finite_on_whatever_is_finite():
    torch.manual_seed(0)
    cell = PeepholeLSTM(4, 8, True)
    huge = torch.tensor([1e30, -1e30, 1e38, -1e38]) * torch.ones(1, 5, 4)
    with torch.inference_mode():
        output, state = cell(huge, cell.initial_state(1))
        after, _ = cell(torch.zeros(1, 50, 4), state)
    assert output.isfinite().all()
    assert after.isfinite().all()
    assert state.cell.abs().max() <= 16
