"""Training a sequence classifier: it learns, clips and pictures; killed and resumed it is the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving_squares import write_folders

from seqdet.config import (
    ClassifierConfig,
    ClassifierDataConfig,
    ClassifierModelConfig,
    ClassifierTrainConfig,
)
from seqdet.data.dataset import load_dataset
from seqdet.errors import DivergedError, InputError, UsageError
from seqdet.model.checkpoint import read_tensors
from seqdet.model.classifier_checkpoint import load_classifier
from seqdet.runs.classify import Classifier, name_sequences
from seqdet.runs.ingest import ingest
from seqdet.runs.train_classifier import fit_classifier


def config(model: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **train: Any):
    shape = {"lstm_width": 16, "dense_widths": (16,), "dropout": 0.1, "input_size_wh": (32, 32)}
    plain = {
        "batch_sequences": 16,
        "frames_per_clip": 1,
        "learning_rate": 0.003,
        "rotation_degrees": 0,
        "shift": 0,
        "horizontal_flip": False,
        "threads": 1,
    }
    return ClassifierConfig(
        kind="sequence_classifier",
        model=ClassifierModelConfig(**(shape | (model or {}))),
        data=ClassifierDataConfig(**(data or {})),
        train=ClassifierTrainConfig(**(plain | train)),
    )


def ingested(folder: Path, *arguments: Any, **options: Any):
    ingest(write_folders(folder / "source", *arguments, **options), folder / "data")
    return load_dataset(folder / "data")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Stripes and checks somewhere in a picture; each picture is a sequence of one."""
    return ingested(tmp_path_factory.mktemp("pictures"), {"train": 32, "test": 16}, "textured")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Squares that go left or right: only order in time tells the classes."""
    return ingested(tmp_path_factory.mktemp("clips"), {"train": 4, "val": 2}, "moving")


def test_two_classes_of_moving_squares_are_overfitted(clips, tmp_path):
    # On an encoder that stays as it is: in so few steps the statistics of its BatchNorm would not arrive.
    learned = config(
        {"encoder": "resnet10", "dropout": 0},
        {"validation_split": "test", "test_split": "train"},
        epochs=20,
        frames_per_clip=4,
        learning_rate=0.01,
        freeze_encoder=True,
    )
    report = fit_classifier(clips, learned, tmp_path / "run")
    assert report.accuracy == 1
    assert (report.split, report.confusion) == ("train", [[4, 0], [0, 4]])
    network, card = load_classifier(report.model)
    # One picture of a moving square does not tell where it goes: what was learned is in the memory.
    forgetful = Classifier(network, card, torch.device("cpu"), memory=False)
    assert name_sequences(forgetful, clips.split("train")).accuracy < 1


def test_pictures_are_learned_by_an_encoder_and_not_by_the_literal_variant(pictures, tmp_path):
    """Where a pattern lies says nothing: a CNN finds it anywhere, an LSTM over rows learns pictures.

    What each gets right among held-out pictures, over more seeds: docs/sequence-classifier.md.
    """
    encoder = fit_classifier(pictures, config({"encoder": "resnet10"}, epochs=8), tmp_path / "encoder")
    literal_shape = {"encoder": "pixel_rows", "activation": "relu", "lstm_width": 32}
    literal = fit_classifier(pictures, config(literal_shape, epochs=16), tmp_path / "literal")
    assert encoder.accuracy > 0.9
    assert literal.accuracy < encoder.accuracy - 0.2
    lines = (tmp_path / "literal" / "log.jsonl").read_text().splitlines()
    losses = [line["loss"] for line in map(json.loads, lines) if line["kind"] == "step"]
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.02, "it does train"


def test_the_run_keeps_what_was_measured(pictures, tmp_path):
    report = fit_classifier(pictures, config({"encoder": "pixel_rows"}, epochs=2), tmp_path / "run")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["accuracy"] == report.accuracy
    assert np.sum(written["confusion"]) == report.clips == 32
    assert [one["epoch"] for one in written["curve"]] == [1, 2]
    for name in ("accuracy.png", "confusion.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")
    # Without a validation split nothing is chosen by the test split: the last epoch it is.
    assert report.model.name == "last.safetensors"
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_with_a_validation_split_the_best_epoch_is_kept(clips, tmp_path):
    report = fit_classifier(clips, config({"encoder": "pixel_rows"}, epochs=2), tmp_path / "run")
    assert (report.model.name, report.split, report.clips) == ("best.safetensors", "val", 4)
    curve = json.loads((tmp_path / "run" / "metrics.json").read_text())["curve"]
    assert report.accuracy == max(one["accuracy"] for one in curve)


class Killed(Exception):
    """Stands for SIGKILL."""


def test_killed_and_resumed_is_the_straight_run(clips, tmp_path):
    settings = config({"encoder": "pixel_rows"}, epochs=3, batch_sequences=4, frames_per_clip=2)
    fit_classifier(clips, settings, tmp_path / "straight")

    def stop(line: dict[str, Any]) -> None:
        if line["kind"] == "step" and line["step"] == 4:  # in the middle of the second epoch
            raise Killed

    with pytest.raises(Killed):
        fit_classifier(clips, settings, tmp_path / "killed", tell=stop)
    load_classifier(tmp_path / "killed" / "last.safetensors")
    report = fit_classifier(clips, settings, tmp_path / "killed", resume=True)
    assert report.epochs == 3
    straight, resumed = (
        read_tensors(tmp_path / name / "state.safetensors")[0] for name in ("straight", "killed")
    )
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name


def test_a_time_budget_ends_the_training(clips, tmp_path):
    report = fit_classifier(
        clips, config({"encoder": "pixel_rows"}, epochs=1000, max_minutes=1e-6), tmp_path / "run"
    )
    assert report.epochs == 1


def test_mistakes_are_said(clips, tmp_path):
    tiny = config({"encoder": "pixel_rows"}, epochs=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises(UsageError, match="is not empty"):
        fit_classifier(clips, tiny, tmp_path / "full")
    with pytest.raises(UsageError, match="nothing to resume"):
        fit_classifier(clips, tiny, tmp_path / "full", resume=True)
    with pytest.raises(InputError, match="no sequence of known class in the split 'test'"):
        fit_classifier(clips, config(data={"split": "test"}), tmp_path / "run")
    with pytest.raises(DivergedError, match="--resume"):
        fit_classifier(clips, config(epochs=8, learning_rate=1e30), tmp_path / "wild")
