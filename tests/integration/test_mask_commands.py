"""Masks through whole commands: a training on rendered shapes, then detect, its video and rows, and eval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as oracle
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.config import ModelConfig
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import build_detector
from seqdet.results.draw import Annotator
from seqdet.rle import decoded, encoded
from seqdet.runs.synth import synth
from seqdet.types import Detections, Frame, FrameResult
from seqdet.video.reader import open_video

CLASSES = ("blob", "ring", "star")
SHAPE = {"levels": (8, 16), "channels": 8, "clip_width": 8, "track_width": 8, "input_size_wh": (64, 64)}


def run(*arguments: str | Path):
    return CliRunner().invoke(build(), [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks") / "data"
    return synth(folder, task="shapes", sequences=6, frames=4, size_wh=(80, 64), val_fraction=0.5).out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, sure of objects everywhere."""
    config = ModelConfig(mask_prototypes=4, **SHAPE)
    torch.manual_seed(0)
    detector = build_detector(config, 3)
    with torch.no_grad():
        detector.heads.geometry.weight.normal_(std=0.05)
        detector.heads.geometry.bias[0] = 1.0
    path = tmp_path_factory.mktemp("model") / "masks.safetensors"
    save_model(path, detector, ModelCard(config, CLASSES))
    return path


def test_a_training_learns_masks_and_says_how_well(data: Path, tmp_path: Path):
    settings = {
        f"model.{name}": list(value) if isinstance(value, tuple) else value for name, value in SHAPE.items()
    }
    settings |= {"model.mask_prototypes": 4, "train.steps": 2, "train.threads": 1, "train.evaluate_clips": 1}
    settings |= {"train.evaluate_frames": 2, "train.log_every": 1, "train.evaluate_every_share": 1}
    stage = "[{name: clips, share: 1, frames_per_clip: 2, clips_per_batch: 2}]"
    words = [f"{name}={value}" for name, value in settings.items()] + [f"train.stages={stage}"]
    options = [word for text in words for word in ("--set", text)]
    done = run("train", data, *options, "--out", tmp_path / "run", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(line["mask"] > 0 for line in lines if line["kind"] == "step")
    bare = synth(tmp_path / "bare", task="discs", sequences=3, frames=2, size_wh=(64, 64), val_fraction=0).out
    refused = run("train", bare, *options, "--out", tmp_path / "other", "--quiet")
    assert refused.exit_code == 3
    assert "ingest --masks" in refused.stderr


def test_detect_draws_masks_and_saves_them_in_rows(data: Path, model: Path, tmp_path: Path):
    video = sorted((data / "videos").glob("*.mp4"))[0]
    options = ["--model", model, "--score", "0.05", "--runtime", "torch", "--out", tmp_path / "seen.mp4"]
    rows, coco, table = (tmp_path / f"rows{suffix}" for suffix in (".jsonl", ".coco.json", ".csv"))
    done = run("detect", video, *options, "--save", rows, "--save", coco, "--save", table, "--json")
    assert done.exit_code == 0, done.stderr
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    masks = [row["mask"] for row in found if row["type"] == "detection"]
    assert masks
    assert all(mask["size"] == [64, 80] for mask in masks)
    assert oracle.area([{**mask, "counts": mask["counts"].encode()} for mask in masks]).max() > 0
    annotations = json.loads(coco.read_text())["annotations"]
    assert [one["segmentation"] for one in annotations] == masks
    assert "mask" not in table.read_text().splitlines()[0]
    with open_video(tmp_path / "seen.mp4") as reader:
        assert next(iter(reader)).rgb.shape == (64, 80, 3)


def test_eval_gives_the_precision_of_masks(data: Path, model: Path):
    done = run("eval", data, "--model", model, "--limit", "2", "--no-controls", "--json", "--quiet")
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert 0 <= figures["mask_map50_95"] <= figures["mask_map50"] <= 1


def test_an_object_is_tinted_where_its_mask_is_and_nowhere_else():
    mask = np.zeros((48, 64), bool)
    mask[16:30, 20:40] = True
    rgb = np.full((48, 64, 3), 90, np.uint8)
    one = Detections.empty(1)
    fields = {name: np.zeros(1, np.int64) for name in Detections.__slots__}
    fields |= {"boxes_xyxy_px": np.array([[18, 14, 42, 32]], np.float32), "scores": np.ones(1, np.float32)}
    fields |= {"class_scores": np.ones((1, 1)), "features": one.features, "motion_px": np.zeros((1, 2))}
    fields |= {"features": np.zeros((1, 0)), "masks": np.array([encoded(mask)], object)}
    found = Detections(**fields)
    drawn = Annotator(("thing",), 0).draw(FrameResult(Frame(rgb, 0, 0.0), found, ("thing",)))
    without = Annotator(("thing",), 0).draw(
        FrameResult(Frame(rgb, 0, 0.0), Detections(**fields | {"masks": np.zeros(0, object)}), ("thing",))
    )
    changed = (drawn != without).any(axis=2)
    assert np.array_equal(changed, decoded(found.masks[0], (64, 48)))
