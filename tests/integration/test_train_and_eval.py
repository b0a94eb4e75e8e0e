"""``seqdet synth``, ``train``, ``eval`` and ``detect`` one after the other, as a newcomer would run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.config_file import load_config

TINY = [
    "model.encoder=resnet10",
    "model.levels=[16]",
    "model.channels=8",
    "model.clip_width=8",
    "model.track_width=8",
    "model.input_size_wh=[64, 64]",
    "train.steps=3",
    "train.warmup_steps=1",
    "train.threads=1",
    "train.evaluate_clips=1",
    "train.evaluate_frames=4",
    "train.stages=[{name: clips, share: 1, frames_per_clip: 2, clips_per_batch: 2, augment: false}]",
    "data.workers=0",
]


def run(*arguments: str | Path):
    return CliRunner().invoke(build(), [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a data set ``data`` and a run ``run`` that has had three steps."""
    folder = tmp_path_factory.mktemp("newcomer")
    options = ["--task", "discs", "--sequences", "4", "--frames", "8", "--json"]
    made = run("synth", folder / "data", *options)
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["sequences"] == 4
    settings = [word for text in TINY for word in ("--set", text)]
    done = run("train", folder / "data", *settings, "--out", folder / "run", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["run"], report["steps"]) == (str(folder / "run"), 3)
    assert f"--model {folder / 'run'}" in done.stderr, "the end says how to go on"
    return folder


def test_the_run_keeps_its_complete_configuration(trained):
    kept = load_config(trained / "run" / "config.yaml")
    assert (kept.train.steps, kept.model.channels) == (3, 8)
    assert kept == load_config(None, TINY)


def test_a_run_is_not_overwritten(trained):
    before = {path: path.read_bytes() for path in (trained / "run").iterdir() if path.is_file()}
    refused = run("train", trained / "data", "--set", "train.steps=1", "--out", trained / "run")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--resume" in refused.stderr
    assert before == {path: path.read_bytes() for path in (trained / "run").iterdir() if path.is_file()}


def test_eval_prints_the_contract(trained):
    done = run(
        "eval", trained / "data", "--model", trained / "run", "--split", "train", "--limit", "1", "--json"
    )
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    wanted = (
        "map50 map50_95 f1_50 precision_50 recall_50 per_class track_accuracy sequence_accuracy hota idf1"
    )
    wanted += " flicker_per_min centre_jitter delay_frames frames clips frames_per_s"
    assert set(wanted.split()) <= set(figures)
    assert (figures["clips"], figures["frames"]) == (1, 8)
    for control in ("memory_off", "shuffled", "majority_vote"):
        assert set(wanted.split()) <= set(figures["controls"][control])


def test_eval_leaves_a_report_once(trained, tmp_path):
    out = tmp_path / "report"
    options = ["--split", "train", "--limit", "1", "--max-frames", "3", "--no-controls", "--out", out]
    done = run("eval", trained / "data", "--model", trained / "run", *options, "--json")
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["frames"], figures["controls"]) == (3, {})
    assert json.loads((out / "eval.json").read_text()) == figures
    assert str(out / "report.html") in done.stderr
    assert (out / "report.html").is_file()
    again = run("eval", trained / "data", "--model", trained / "run", *options, "--quiet")
    assert (again.exit_code, again.stdout, len(again.stderr.splitlines())) == (2, "", 1)


def test_detect_takes_the_run_as_its_model(trained):
    video = next((trained / "data" / "videos").glob("*.mp4"))
    done = run("detect", video, "--model", trained / "run", "--json", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["sources"][0]["frames"] == 8


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["eval", "{data}", "--model", "{run}", "--split", "moon"], 2, "moon"),
        (["eval", "{data}", "--model", "{run}", "--where", "sensor=radar"], 2, "sensor"),
        (["eval", "{absent}", "--model", "{run}"], 3, "absent"),
        (["train", "{absent}"], 3, "absent"),
        (["train", "--resume", "{absent}"], 2, "absent"),
        (["ingest", "{data}", "{run}"], 2, "data set already"),
        (["synth", "{data}"], 2, "--force"),
    ],
)
def test_mistakes_are_one_line(trained, arguments, code, said):
    places = {name: trained / name for name in ("data", "run", "absent")}
    ran = run(*(argument.format(**places) for argument in arguments), "--quiet")
    assert (ran.exit_code, ran.stdout) == (code, ""), ran.stderr
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
