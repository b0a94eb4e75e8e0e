"""What named a box: the second look is found again, its crop too, and the class is taken apart rightly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.config import GlimpseConfig, ModelConfig
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import build_detector
from seqdet.runs.explain_box import ask
from seqdet.runs.explain_names import Looks, named, row_of
from seqdet.runs.explain_stream import moments
from seqdet.runs.explain_survey import found_in
from seqdet.runs.stream import load
from seqdet.video.reader import open_video

CLASSES = ("drone", "bird")


@pytest.fixture(scope="module")
def two_minds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights; cells and the memory of tracks say drone, looks from near say bird."""
    config = ModelConfig(
        encoder="resnet10",
        levels=(8, 16),
        channels=8,
        clip_width=8,
        track_width=8,
        input_size_wh=(64, 64),
        glimpse=GlimpseConfig(encoder="resnet10", crop_px=32, stride=8),
    )
    torch.manual_seed(0)
    detector = build_detector(config, 2)
    with torch.no_grad():
        detector.heads.geometry.weight.normal_(std=0.05)
        detector.heads.geometry.bias[0] = 1.0
        detector.heads.classes.bias[0] = 3.0
        detector.tracks.classes.bias[0] = 3.0
        detector.glimpse.classes.bias[1] = 5.0
    path = tmp_path_factory.mktemp("two") / "minds.safetensors"
    save_model(path, detector, ModelCard(config, CLASSES))
    return path


def test_a_look_is_found_again_with_what_it_saw_and_said(two_minds: Path, make_video: Callable[..., Path]):
    model = load(two_minds, "cpu", "torch")
    looks, checked = Looks(model), 0
    with open_video(make_video("sky.mp4", 8)) as reader:
        for moment in moments(model, reader):
            looks.see(moment)
            tracks = moment.after.tracks
            for one in found_in(moment, CLASSES):
                row = row_of(tracks, one.track_id)
                of_track = looks.at(moment, one.track_id)
                if row is None:
                    assert of_track == []
                    continue
                summed = np.sum([look.probabilities for look in of_track], axis=0)
                assert summed == pytest.approx(tracks.glimpse_evidence[row], abs=1e-6)
                for look in of_track:
                    crop = torch.from_numpy(look.crop[None]).permute(0, 3, 1, 2)
                    with torch.no_grad():
                        said = model.detector.glimpse(crop).softmax(-1)[0].numpy()
                    assert said == pytest.approx(np.array(look.probabilities), abs=1e-3)
                    checked += 1
    assert checked


def test_a_class_that_came_from_the_second_look_is_said(two_minds: Path, make_video: Callable[..., Path]):
    model = load(two_minds, "cpu", "torch")
    with open_video(make_video("sky.mp4", 8)) as reader:
        last = list(moments(model, reader))[-1]
    compared = 0
    for one in found_in(last, CLASSES):
        how = named(model, last, one, ask(last, one, "object").cell.number)
        assert how.label == one.label
        assert how.rival != how.label
        assert how.lead == pytest.approx(how.shown[how.label] - how.shown[how.rival])
        assert max(how.cell, key=how.cell.get) == "drone"
        if how.looks is None:
            assert (how.looked, how.by_looks, how.without_looks) == (0, False, one.label)
            continue
        assert (how.label, how.without_looks, how.by_looks) == ("bird", "drone", True)
        assert max(how.memory, key=how.memory.get) == "drone"
        assert how.looks["bird"] > 0.9
        assert how.score_factor == pytest.approx((1 - how.looks["nothing"]) ** model.options.realness_power)
        compared += 1
    assert compared


def test_the_command_writes_it(two_minds: Path, make_video: Callable[..., Path], tmp_path: Path):
    video = make_video("sky.mp4", 6)
    with open_video(video) as reader:
        last = list(moments(load(two_minds, "cpu", "torch"), reader))[-1]
    tracks = last.after.tracks
    looked = tracks.active & (tracks.track_ids > 0) & (tracks.glimpse_evidence.sum(axis=1) > 0.5)
    wanted = int(tracks.track_ids[looked][0])
    arguments = ["explain", two_minds, video, "--out", tmp_path / "why", "--track", wanted, "--score", 0.01]
    words = [str(word) for word in (*arguments, "--window", 2, "--json", "--quiet")]
    ran = CliRunner().invoke(build(), words)
    assert ran.exit_code == 0, ran.output
    boxes = json.loads(ran.stdout)["boxes"]
    assert any(box["looks"] for box in boxes)
    for box in boxes:
        assert {box["named"]["rival"], box["named"]["label"]} == set(CLASSES)
        assert box["named"]["by_looks"] == (box["named"]["without_looks"] != box["label"])
        assert [set(look) for look in box["looks"]] == [{"frame", *CLASSES, "nothing"}] * len(box["looks"])
        assert all(look["frame"] <= box["frame"] for look in box["looks"])
    page = (tmp_path / "why" / "explain.html").read_text()
    assert page.count("data:image/jpeg") >= sum(len(box["looks"]) for box in boxes)
