"""Another runtime finds the same objects, and the state stays a value. Tiny networks of every shape."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import seqdet
from seqdet.config import ModelConfig
from seqdet.errors import InputError, MissingDependencyError, UsageError
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import build_detector
from seqdet.runs import runtimes, step_graph
from seqdet.runs.graph_cache import cached_graph
from seqdet.runs.stream import Model, StreamOptions, load, with_score
from seqdet.types import Frame


def needed(*names: str) -> pytest.MarkDecorator:
    """A skip where an extra is not installed; on CI its absence fails."""
    missing = [name for name in names if not step_graph.installed(name) and not os.environ.get("CI")]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: pip install 'seqdet[{','.join(missing)}]'"
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny model with random weights; making its graph takes seconds, so there is one."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    config = ModelConfig(
        encoder="resnet10",
        levels=(8, 16),
        difference_rates=(1.0, 0.2),
        channels=8,
        clip_width=8,
        track_width=8,
        input_size_wh=(64, 64),
    )
    torch.manual_seed(1)
    detector = build_detector(config, 2)
    with torch.no_grad():
        detector.heads.geometry.weight.normal_(std=0.3)  # nearly 0 otherwise: the same box everywhere
        detector.heads.geometry.bias[0] = 0.0  # otherwise next to nothing is an object
    save_model(path, detector, ModelCard(config, ("drone", "bird")))
    return path


def frames(count: int = 12) -> list[Frame]:
    """A square that moves over noise."""
    random = np.random.default_rng(0)
    pictures = random.integers(60, 120, (count, 48, 64, 3), np.uint8)
    for t, picture in enumerate(pictures):
        picture[16:26, 3 * t : 3 * t + 12] = 240
    return [Frame(picture, t, t / 25) for t, picture in enumerate(pictures)]


def assert_same_results(one: Model, other: Model) -> None:
    found = 0
    for first, second in zip(one.results(frames()), other.results(frames()), strict=True):
        first, second = first.detections, second.detections
        np.testing.assert_array_equal(first.track_ids, second.track_ids)
        np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)
        np.testing.assert_allclose(first.boxes_xyxy_px, second.boxes_xyxy_px, atol=1e-2)
        np.testing.assert_allclose(first.class_scores, second.class_scores, atol=1e-4)
        found += len(first)
    assert found > 12


@pytest.mark.parametrize("runtime", [pytest.param(name, marks=needed(name)) for name in ("openvino", "onnx")])
def test_a_runtime_finds_what_pytorch_finds(tiny: Path, runtime: str) -> None:
    assert_same_results(*(with_score(load(tiny, "cpu", name), 0.05) for name in ("torch", runtime)))


@needed("openvino")
def test_without_memory_every_frame_is_a_sequence_of_its_own(tiny: Path) -> None:
    options = StreamOptions(memory=False)
    models = [load(tiny, "cpu", name).with_options(options) for name in ("torch", "openvino")]
    assert_same_results(*(with_score(model, 0.05) for model in models))


@needed("openvino")
def test_the_state_is_a_value_that_runtimes_share(tiny: Path) -> None:
    """Two futures of one state are the same; a state of one runtime goes on in another."""
    model = with_score(load(tiny, "cpu", "openvino"), 0.05)
    eager = with_score(load(tiny, "cpu", "torch"), 0.05)
    first, second, third = (frame.rgb for frame in frames(3))
    _, state = model.step(first, model.initial_state())
    kept = [part.clone() for cell in state.detector.maps for part in cell]
    one, after = model.step(second, state)
    other, again = model.step(second, state)
    np.testing.assert_array_equal(one.scores, other.scores)
    for cell, same in zip(after.detector.maps, again.detector.maps, strict=True):
        assert torch.equal(cell.hidden, same.hidden)
    assert all(
        torch.equal(a, b) for a, b in zip(kept, [p for c in state.detector.maps for p in c], strict=True)
    )
    with_eager, _ = eager.step(third, after)
    without, _ = model.step(third, after)
    np.testing.assert_allclose(with_eager.scores, without.scores, atol=1e-4)


@needed("openvino")
def test_auto_uses_a_graph_that_is_there_or_that_pays(tiny: Path, tmp_path, monkeypatch) -> None:
    def choice(expected: int | None, device: str = "cpu") -> str:
        return runtimes.choose_runtime("auto", torch.device(device), tiny, expected)

    load(tiny, "cpu", "openvino")
    said: list[str] = []
    load(tiny, "cpu", "openvino", tell=said.append)
    assert said == []  # it was there
    assert choice(10) == "openvino"
    assert choice(None, "cuda") == "torch"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert choice(10) == "torch"
    assert choice(runtimes.PAYS_FROM_FRAMES) == choice(None) == "openvino"


@needed("openvino")
def test_a_damaged_graph_in_the_cache_is_said(tiny: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cached_graph(tiny, "openvino")
    path.parent.mkdir(parents=True)
    path.write_text("<net>")
    with pytest.raises(InputError, match="delete it"):
        load(tiny, "cpu", "openvino")


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_a_runtime_that_is_missing_ends_with_the_line_that_installs_it(
    tiny, monkeypatch, runtime: str
) -> None:
    monkeypatch.setattr(step_graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'seqdet\[{runtime}\]'") as caught:
        load(tiny, "cpu", runtime)
    assert caught.value.exit_code == 5
    assert runtimes.choose_runtime("auto", torch.device("cpu"), tiny, None) == "torch"


def test_a_runtime_that_there_is_not_is_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match="auto, torch, openvino, onnx"):
        seqdet.load(tiny, "cpu", "tensorrt")
