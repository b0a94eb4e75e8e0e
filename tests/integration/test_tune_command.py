"""``seqdet tune`` with real trainings, as a user would run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.config_file import load_config
from seqdet.runs.synth import synth

TINY = [
    "model.levels=[16]",
    "model.channels=8",
    "model.clip_width=8",
    "model.track_width=8",
    "model.input_size_wh=[64, 64]",
    "train.steps=2",
    "train.threads=1",
    "train.evaluate_clips=1",
    "train.evaluate_frames=2",
    "train.evaluate_every_share=1",
    "train.stages=[{name: clips, share: 1, frames_per_clip: 2, clips_per_batch: 2, augment: false}]",
    "data.workers=0",
]


def run(*arguments: str | Path):
    return CliRunner().invoke(build(), [str(argument) for argument in arguments])


def test_a_search_finds_a_configuration_that_train_takes(tmp_path: Path):
    pytest.importorskip("optuna")
    synth(tmp_path / "data", task="discs", sequences=4, frames=4, val_fraction=0.5, size_wh=(64, 64))
    settings = [word for text in TINY for word in ("--set", text)]
    command = ["tune", tmp_path / "data", *settings, "--device", "cpu", "--out", tmp_path / "search"]
    done = run(*command, "--trials", "2", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [trial["state"] for trial in report["trials"]] == ["complete", "complete"]
    assert (tmp_path / "search" / "trial-0001" / "best.safetensors").is_file()
    best = load_config(Path(report["best"]))
    assert best.train.steps == 2
    assert "measure on test" in done.stderr
    again = run(*command, "--trials", "2", "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    assert len(again.stdout.splitlines()) == 3, "a header and two trials: nothing is done twice"
    refused = run("tune", tmp_path / "data", "--over", "momentum", "--out", tmp_path / "other")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert len(refused.stderr.splitlines()) == 1
