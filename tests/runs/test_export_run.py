"""An export is whole, says what it is, works as a model, and replaces nothing that it should not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet.config import ModelConfig
from seqdet.errors import InputError, MissingDependencyError, UsageError
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import build_detector
from seqdet.runs import step_graph
from seqdet.runs.export import export
from seqdet.runs.exported import SIDECAR, read_exported
from seqdet.runs.gate import Gate, GateData
from seqdet.runs.stream import load, with_score
from seqdet.types import Frame
from seqdet.video.writer import VideoWriter

needs_openvino = pytest.mark.skipif(
    not step_graph.installed("int8") and not os.environ.get("CI"),
    reason="not installed: pip install 'seqdet[openvino]'",
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny model that takes about everything for an object."""
    path = tmp_path_factory.mktemp("exported") / "tiny.safetensors"
    config = ModelConfig(
        encoder="resnet10", levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64)
    )
    torch.manual_seed(2)
    detector = build_detector(config, 2)
    with torch.no_grad():
        detector.heads.geometry.weight.normal_(std=0.3)
        detector.heads.geometry.bias[0] = 0.0
    save_model(path, detector, ModelCard(config, ("drone", "bird")))
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    with VideoWriter(path, size_wh=(64, 48), fps_hint=25) as writer:
        for t in range(10):
            picture = np.full((48, 64, 3), 90, np.uint8)
            picture[16:26, 3 * t : 3 * t + 12] = 240
            writer.write(picture, t / 25)
    return path


@pytest.fixture(scope="session")
def int8(tiny: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory):
    """An int8 export and its report; whether its gate let it pass is for random weights to say."""
    out = tmp_path_factory.mktemp("int8") / "tiny_int8"
    return out, export(tiny, "openvino", out=out, precision="int8", clips=[clip])


@needs_openvino
def test_an_export_agrees_with_pytorch_and_says_so(int8) -> None:
    out, report = int8
    assert report.parity.frames == 10
    assert report.parity.score_difference <= 1e-4
    assert report.parity.box_difference_px <= 1e-2
    assert report.parity.same_tracks
    assert report.parity.detections[0] == report.parity.detections[1] > 0
    written = json.loads((out / SIDECAR).read_text())
    assert written["parity"]["of fp32"]["score_difference"] == report.parity.score_difference
    assert [entry["name"] for entry in written["inputs"]][:2] == ["frame", "hidden_16"]
    assert written["inputs"][0]["shape"] == [-1, 64, 64, 3]


@needs_openvino
def test_the_table_of_the_gate_is_kept_and_what_fails_falls_back(int8) -> None:
    out, report = int8
    first, *others = report.gate
    assert (first.precision, first.passed) == ("fp32", True)
    assert first.map50 == pytest.approx(1.0)  # its own findings are the truth
    assert others
    assert all(row.passed == (row.map50 >= first.map50 - 0.01) for row in others)
    assert [row.passed for row in others[:-1]] == [False] * (len(others) - 1)
    assert report.precision == ("int8" if others[-1].passed else "fp32")
    assert bool(report.warnings) != others[-1].passed
    assert len(json.loads((out / SIDECAR).read_text())["gate"]["rows"]) == len(report.gate)


@needs_openvino
def test_an_exported_folder_is_a_model(int8) -> None:
    out, _ = int8
    frame = Frame(np.full((48, 64, 3), 90, np.uint8), 0, 0.0)
    for runtime in (None, "auto", "openvino", "torch"):
        model = with_score(load(out, "auto", runtime), 0.05)
        assert model.classes == ("drone", "bird")
        (result,) = model.results([frame])
        assert len(result.detections) > 0
    with pytest.raises(UsageError, match="exported for openvino, not for onnx"):
        load(out, "cpu", "onnx")


@needs_openvino
def test_nothing_is_replaced_unasked_and_no_folder_that_is_no_export(
    int8, tiny: Path, tmp_path: Path
) -> None:
    out, _ = int8
    with pytest.raises(UsageError, match="--force"):
        export(tiny, "torch", out=out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not an export"):
        export(tiny, "torch", out=tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2.*Export the model again"),
        ({"format": "other"}, "not what `seqdet export` writes"),
        ({"runtime": "tensorrt"}, "damaged"),
        ({"surprise": 1}, "damaged"),
        ({}, "step.xml is missing"),
    ],
)
def test_a_sidecar_that_is_not_ours_is_said(tmp_path: Path, changes: dict, message: str) -> None:
    document = {
        "format": "seqdet-step",
        "version": 1,
        "runtime": "openvino",
        "precision": "fp32",
        "classes": ["drone"],
        "input_size_wh": [64, 64],
    }
    (tmp_path / SIDECAR).write_text(json.dumps(document | changes))
    with pytest.raises(InputError, match=message):
        read_exported(tmp_path)


def test_a_runtime_that_is_missing_is_said_before_anything_is_written(
    tiny: Path, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(step_graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'seqdet\[openvino\]'"):
        export(tiny, "openvino", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_only_openvino_has_smaller_precisions(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--int8"):
        export(tiny, "torch", out=tmp_path / "out", precision="int8")


def test_the_gate_stops_a_candidate_that_finds_something_else(tiny: Path) -> None:
    """The same weights pass; a model that finds nothing does not."""
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 255, (48, 64, 3), np.uint8), t, t / 25) for t in range(4)]
    model = with_score(load(tiny, "cpu", "torch"), 0.05)
    gate = Gate(GateData(None, [frames]), model)
    assert gate.lets_pass(model, "int8")
    assert not gate.lets_pass(with_score(model, 0.999), "int8")
    assert [row.passed for row in gate.rows] == [True, True, False]
