"""A sequence classifier by whole commands: folders of labelled clips in, a model that names clips out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from moving_squares import write_folders
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.config import ClassifierConfig
from seqdet.config_file import load_any_config, load_config
from seqdet.errors import UsageError

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "sequence_classifier.yaml"
TINY = [
    "model.encoder=pixel_rows",
    "model.lstm_width=8",
    "model.dense_widths=[8]",
    "model.input_size_wh=[32, 32]",
    "train.epochs=2",
    "train.frames_per_clip=2",
    "train.threads=1",
]
SETTINGS = [word for text in TINY for word in ("--set", text)]


def run(*arguments: str | Path):
    return CliRunner().invoke(build(), [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with ``clips/{train,test}/{left,right}/*`` and a ``run`` on them."""
    folder = tmp_path_factory.mktemp("classifier")
    write_folders(folder / "clips", {"train": 2, "test": 1}, "moving")
    options = ["--config", CONFIG, "--out", folder / "run", "--device", "cpu", "--json"]
    done = run("train", folder / "clips", *options, *SETTINGS)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["epochs"], report["split"], report["clips"]) == (2, "test", 2)
    assert f"--model {folder / 'run'}" in done.stderr, "the end says how to go on"
    return folder


def clip(folder: Path) -> Path:
    return folder / "clips" / "test" / "left" / "left0"


def test_the_shipped_configuration_is_complete_and_the_article_s(tmp_path):
    config = load_any_config(CONFIG)
    assert isinstance(config, ClassifierConfig)
    text = CONFIG.read_text(encoding="utf-8")
    for name, section in (("model", config.model), ("data", config.data), ("train", config.train)):
        for key in type(section).model_fields:
            assert f"\n  {key}:" in text, f"{name}.{key}"
    model, train = config.model, config.train
    assert (model.lstm_width, model.dense_widths, model.dropout) == (128, (1024, 512), 0.5)
    assert (model.input_size_wh, train.batch_sequences, train.epochs) == ((224, 224), 32, 10)
    assert (train.rotation_degrees, train.shift, train.horizontal_flip) == (20, 0.2, True)


def test_detect_names_the_sequence_and_finds_no_box(trained, tmp_path):
    rows, video = tmp_path / "rows.jsonl", tmp_path / "out.mp4"
    done = run("detect", clip(trained), "--model", trained / "run", "--save", rows, "--out", video, "--json")
    assert done.exit_code == 0, done.stderr
    (one,) = json.loads(done.stdout)["sources"]
    assert one["label"] in ("left", "right")
    assert 0.5 <= one["score"] <= 1
    assert (one["frames"], one["detections"], one["tracks"]) == (5, 0, 0)
    (row,) = map(json.loads, rows.read_text().splitlines())
    assert (row["type"], row["frames"], row["tracks"]) == ("sequence", 5, [])
    assert (row["label"], round(row["score"], 4)) == (one["label"], one["score"])
    assert video.stat().st_size > 0


def test_eval_says_how_many_are_named_rightly(trained, tmp_path):
    out = tmp_path / "report"
    data = trained / "run-data"
    arguments = ["eval", data, "--model", trained / "run", "--split", "test", "--out", out]
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["clips"], figures["frames"]) == (2, 10)
    assert figures["sequence_accuracy"] in (0, 0.5, 1)
    assert sum(map(sum, figures["sequence_confusion"])) == 2
    assert set(figures["per_class"]) == {"left", "right"}
    assert set(figures["controls"]) == {"memory_off", "shuffled"}
    assert json.loads((out / "eval.json").read_text()) == figures
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    as_text = run(*arguments, "--force", "--no-controls")
    assert as_text.exit_code == 0, as_text.stderr
    assert "sequence_accuracy" in as_text.stdout
    assert run(*arguments).exit_code == 2, "what is there is not overwritten"


def test_a_run_goes_on(trained, tmp_path):
    done = run("train", "--resume", trained / "run", "--set", "train.epochs=3", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "--config", "{config}"], 2, "needs DATA"),
        (["train", "{clips}", "--config", "{config}", "--from", "airspace"], 2, "encoder_weights"),
        (["train", "{absent}", "--config", "{config}"], 3, "absent"),
        (["train", "{clips}", "--config", "{config}", "--set", "train.epoch=3"], 2, "did you mean 'epochs'"),
        (["train", "{clips}", "--config", "{config}", "--set", "model.lstm=3"], 2, "model.lstm"),
        (["live", "{clip}", "--model", "{run}"], 3, "a detector is needed"),
        (["train", "{data}", "--from", "{run}"], 3, "a detector is needed"),
    ],
)
def test_mistakes_are_one_line(trained, arguments, code, said):
    places = {name: trained / name for name in ("clips", "absent", "run")}
    places |= {"config": CONFIG, "data": trained / "run-data", "clip": clip(trained)}
    ran = run(*(argument.format(**places) for argument in arguments), "--quiet")
    assert (ran.exit_code, ran.stdout) == (code, ""), ran.stderr
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: sequence_clasifier", "run.yaml:1: kind: got 'sequence_clasifier'; did you mean 'sequence_cl"),
        ("kind: [7]", "run.yaml:1: kind: got [7]; it is one of detector, sequence_classifier"),
        ("kind: sequence_classifier\ntrain:\n  steps: 3", "run.yaml:3: train.steps: unknown key"),
        ("kind: sequence_classifier\nmodel:\n  dropout: 1", "run.yaml:3: model.dropout: got 1"),
        ("kind: sequence_classifier\nmodel:\n  encoder: pixel_rows\n  encoder_weights: a", "leave it null"),
        ("kind: sequence_classifier\nmodel:\n  input_size_wh: [30, 32]", "multiples of 32"),
        ("train:\n  epochs: 3", "run.yaml:2: train.epochs: unknown key"),
    ],
)
def test_a_typo_is_an_error_with_its_line(tmp_path, text, said):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_any_config(path)
    assert said in str(caught.value)


def test_what_needs_a_detector_s_configuration_says_so():
    with pytest.raises(UsageError, match=r"sequence_classifier\.yaml: this configures a sequence_classifier"):
        load_config(CONFIG)
