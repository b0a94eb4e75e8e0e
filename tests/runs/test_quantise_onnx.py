"""int8 for onnxruntime: convolutions of the chosen groups only, close to float32, behind the same gate."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from seqdet.model.step import StepModel
from seqdet.runs.export import export
from seqdet.runs.graph_cache import write_graph
from seqdet.runs.quantise import GROUPS, calibration
from seqdet.runs.quantise_onnx import write_quantised_onnx
from seqdet.runs.step_network import onnx_step
from seqdet.runs.stream import Model, load
from seqdet.types import Frame
from seqdet.video.reader import open_video

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def model(sure_model: Path) -> Model:
    return load(sure_model, "cpu")


@pytest.fixture(scope="module")
def graph(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(model.detector, model.card, "onnx", tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def inputs(model: Model, graph: Path) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    clip = [Frame(rng.integers(0, 255, (48, 64, 3), np.uint8), t, t / 25) for t in range(8)]
    return calibration(onnx_step(str(graph)), StepModel(model.detector), [clip], (64, 64), 2)


def _convolutions(path: Path) -> tuple[int, int]:
    """How many there are, and how many of them take whole numbers."""
    nodes = onnx.load(str(path)).graph.node
    made_by = {output: node.op_type for node in nodes for output in node.output}
    inputs = [node.input[0] for node in nodes if node.op_type == "Conv"]
    return len(inputs), sum(made_by.get(name) == "DequantizeLinear" for name in inputs)


def test_calibration_streams(inputs) -> None:
    assert len(inputs) == 4
    assert not inputs[0]["hidden_8"].any()
    assert inputs[1]["hidden_8"].any()


def test_the_chosen_groups_are_quantised_and_the_result_is_close(model, graph, inputs, tmp_path) -> None:
    step = StepModel(model.detector)
    counts = []
    for groups in (GROUPS, GROUPS[:1]):
        smaller = tmp_path / f"{len(groups)}.onnx"
        write_quantised_onnx(graph, smaller, step, inputs, groups)
        counts.append(_convolutions(smaller))
        exact, close = (onnx_step(str(path))(inputs[-1]) for path in (graph, smaller))
        assert set(exact) == set(close)
        for name in ("objectness", "next_hidden_8", "next_cell_16"):
            spread = float(exact[name].std()) + 1e-3
            assert np.abs(exact[name] - close[name]).mean() < 0.25 * spread, name
            assert close[name].dtype == np.float32
    (total, of_all), (_, of_encoder) = counts
    assert of_all == total > of_encoder > 10


def test_an_export_with_int8_is_a_model(
    sure_model: Path, graph: Path, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Making the graph takes seconds, and there is one.
    monkeypatch.setattr("seqdet.runs.export.step_program", lambda step, size_wh: None)
    monkeypatch.setattr("seqdet.runs.export.write_onnx", lambda program, step, path: shutil.copy(graph, path))
    monkeypatch.setattr("seqdet.runs.export.LADDER", (GROUPS,))
    clip = make_video("sky.mp4", frames=8)
    report = export(sure_model, "onnx", out=tmp_path / "out", precision="int8", clips=[clip])
    assert [row.precision for row in report.gate][:2] == ["fp32", "int8"]
    assert report.precision == ("int8" if report.gate[-1].passed else "fp32")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model.safetensors",
        "seqdet.json",
        "step.onnx",
    ]
    assert (_convolutions(tmp_path / "out" / "step.onnx")[1] > 0) == (report.precision == "int8")
    with open_video(clip) as reader:
        assert len(list(load(tmp_path / "out").results(reader))) == 8
