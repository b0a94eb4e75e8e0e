"""``seqdet bench``, whole. Nothing here says how fast anything must be (that is ``tests/bench``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqdet.cli import app as face
from seqdet.runs import bench as bench_module
from seqdet.runs import bench_case


def run(*arguments: object):
    return CliRunner().invoke(face.build(), ["bench", *map(str, arguments)])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured in this process, which saves starting another; and it stays as it is."""
    monkeypatch.setattr(bench_module, "_in_a_process_of_its_own", bench_case.measure_case)
    monkeypatch.setattr(bench_case, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(bench_case, "_STEPS", 3)
    monkeypatch.setattr(bench_case, "_STEPS_TO_WARM_UP", 1)


@pytest.mark.usefixtures("here")
def test_every_size_is_measured_and_the_profile_adds_up(
    model_path: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    sky, out = make_video("sky.mp4", frames=10), tmp_path / "figures"
    options = ["--source", sky, "--frames", 9, "--runs", 2, "--sizes", "64x64,96x64"]
    result = run(model_path, *options, "--out", out, "--json", "-q")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert json.loads((out / "bench.json").read_text()) == report
    assert [file.name for file in out.iterdir()] == ["bench.json"]
    assert [case["input_wh"] for case in report["cases"]] == [[64, 64], [96, 64]]
    assert (report["frames"], report["runs"], report["size_wh"]) == (9, 2, [64, 48])
    for case in report["cases"]:
        assert set(case["stages"]) == {"decode", "model", "draw", "encode"}
        for timed in (case["step"], case["whole"], *case["stages"].values()):
            wall = timed["wall_ms"]
            assert 0 < wall["low"] <= wall["median"] <= wall["high"]
        profile = case["profile_cpu_ms"]
        assert list(profile) == [
            *("decode", "preprocess", "encoder", "neck", "memory", "heads", "rest of the network"),
            *("postprocess", "tracks", "draw", "encode"),
        ]
        assert min(profile.values()) >= 0
        model_ms = sum(list(profile.values())[1:-2])
        assert profile["encoder"] < model_ms < sum(profile.values())
    assert report["notes"], "what the figures are worth is said"

    before = (out / "bench.json").read_bytes()
    assert run(model_path, *options, "--out", out).exit_code == 2
    assert (out / "bench.json").read_bytes() == before


@pytest.mark.usefixtures("here")
def test_without_a_source_a_clip_is_made_up_and_the_tables_are_for_people(model_path: Path) -> None:
    result = run(model_path, "--runtime", "torch", "--frames", 8, "--runs", 1, "-q")
    assert result.exit_code == 0, result.output
    assert "a made-up clip (8 frames of 640x512)" in result.stdout
    assert "its slowest stage alone (" in result.stdout
    assert "nan" not in result.stdout


def test_a_case_is_measured_in_a_process_of_its_own_and_its_error_comes_back(
    model_path: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(model_path.read_bytes()[:1000])
    result = run(cut, "--source", make_video("sky.mp4"), "--runs", 1)
    assert result.exit_code == 3
    assert str(cut) in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sizes", "320"], "320x256,640x512"),
        (["--sizes", "100x64"], "multiples of 32"),
        (["--runtime", "abacus"], "torch"),
        (["--source", "no-such.mp4"], "no-such.mp4"),
        (["--runtime", "auto"], "torch, openvino, onnx"),
    ],
)
def test_what_cannot_be_measured_is_said_before_any_work(
    options: list[str], said: str, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "_in_a_process_of_its_own", None)
    result = run(model_path, *options)
    assert result.exit_code in (2, 3)
    assert said in result.stderr
