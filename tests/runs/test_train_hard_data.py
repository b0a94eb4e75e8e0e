"""Data sets that leave something out: training goes on with finite losses, or says what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from seqdet.cli import app as face
from seqdet.config import Config, DataConfig, ModelConfig, StageConfig, TrainConfig
from seqdet.errors import DivergedError
from seqdet.model.checkpoint import load_model
from seqdet.runs.evaluate import evaluate
from seqdet.runs.ingest import ingest
from seqdet.runs.kept_states import Writer
from seqdet.runs.train import train
from seqdet.runs.train_loop import Run, TrainReport, fit

FRAMES = StageConfig(name="frames", share=0.5, clips_per_batch=3, paste_probability=1.0)
CLIPS = StageConfig(
    name="clips",
    share=0.5,
    frames_per_clip=3,
    clips_per_batch=2,
    streamed_fraction=0.5,
    paste_probability=1.0,
    clutter_probability=1.0,
    corrupt_probability=0.5,
)
SMALL = Config(
    model=ModelConfig(
        levels=(8, 16),
        channels=8,
        clip_width=8,
        track_width=8,
        input_size_wh=(64, 64),
        difference_rates=(1.0, 0.25),
    ),
    data=DataConfig(workers=0, cache_gib=0.1),
    train=TrainConfig(steps=6, threads=1, log_every=1, evaluate_clips=2, stages=(FRAMES, CLIPS)),
)
MakeData = Callable[..., Path]


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """make_data({clip: (size_wh, frames, boxes a frame)}, classes): MOT folders, ingested; half is val."""

    def make(clips: dict[str, tuple[tuple[int, int], int, int]], classes: list[str]) -> Path:
        source = tmp_path / "source"
        (source / "videos").mkdir(parents=True)
        (source / "gt").mkdir()
        (source / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
        rng = np.random.default_rng(0)
        for name, (size_wh, frames, boxes) in clips.items():
            writer = cv2.VideoWriter(
                str(source / "videos" / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, size_wh
            )
            lines = []
            for index in range(frames):
                picture = rng.integers(90, 110, (size_wh[1], size_wh[0], 3), np.uint8)
                for track in range(boxes):
                    x, y = 4 + 2 * index + 14 * track, 6 + 9 * track
                    picture[y : y + 8, x : x + 8] = 240
                    lines.append(
                        f"{index + 1},{track + 1},{x + 1},{y + 1},8,8,1,{track % len(classes) + 1},1"
                    )
                writer.write(picture)
            writer.release()
            (source / "gt" / f"{name}.txt").write_text("\n".join(lines) + "\n" if lines else "")
        return ingest(source, tmp_path / "data", val_fraction=0.34, seed=1).out

    return make


def finite(report: TrainReport) -> TrainReport:
    """The report, after a look at every loss that was logged and every weight that was saved."""
    lines = [json.loads(line) for line in (report.run / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert len(steps) == report.steps > 0
    for line in steps:
        for name in ("loss", "objectness", "class", "box", "motion", "track", "clip", "gradient"):
            assert line[name] is not None, f"step {line['step']}: {name} is not finite"
            assert math.isfinite(line[name])
    for tensor in load_model(report.model)[0].state_dict().values():
        assert bool(torch.isfinite(tensor.float()).all())
    return report


@pytest.mark.parametrize(
    ("clips", "classes"),
    [
        pytest.param({f"c{n}": ((64, 48), 8, 1) for n in range(4)}, ["thing"], id="one class"),
        pytest.param({f"c{n}": ((64, 48), 8, n % 2) for n in range(6)}, ["a", "b"], id="clips without boxes"),
        pytest.param({f"c{n}": ((64, 48), 8, 0) for n in range(4)}, ["a", "b"], id="no box at all"),
        pytest.param({f"c{n}": ((64, 48), 1, 2) for n in range(4)}, ["a", "b"], id="one frame a clip"),
        pytest.param(
            {f"c{n}": ((64 + 16 * n, 96 - 16 * n), 4 + n, 1) for n in range(4)}, ["a", "b"], id="sizes"
        ),
    ],
)
def test_it_trains_and_stays_finite(make_data: MakeData, tmp_path: Path, clips: dict, classes: list[str]):
    data = make_data(clips, classes)
    finite(train(data, config=SMALL, out=tmp_path / "run"))


def test_clips_of_which_only_the_class_is_known_teach_the_class_and_no_emptiness(tmp_path: Path):
    for name, grey in (("dark", 40), ("light", 200)):
        for clip in range(3):
            path = tmp_path / "source" / name / f"{clip}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
            for _ in range(8):
                writer.write(np.full((48, 64, 3), grey, np.uint8))
            writer.release()
    data = ingest(tmp_path / "source", tmp_path / "data", val_fraction=0.34).out
    report = finite(train(data, config=SMALL, out=tmp_path / "run"))
    lines = [json.loads(line) for line in (report.run / "log.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "step":
            assert line["objectness"] == line["box"] == line["motion"] == 0
            assert line["clip"] > 0
    figures = evaluate(data, model=report.model, limit=2)
    assert figures["map50"] is None, "there is no box to find"
    assert figures["sequence_accuracy"] is not None
    assert report.map50 is None


def test_a_loss_that_is_no_number_stops_and_names_the_batch(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data, out = make_data({f"c{n}": ((64, 48), 8, 1) for n in range(4)}, ["a"]), tmp_path / "run"
    whole = Run.step

    def poisoned(run: Run, stage, plans, batch):
        if run.position.step == 4:
            with torch.no_grad():
                run.model.tracks.classes.bias.fill_(float("nan"))
        return whole(run, stage, plans, batch)

    good = {}

    def remember(line: dict) -> None:
        if line["kind"] == "step" and line["step"] == 3:
            good["weights"] = load_model(out / "last.safetensors")[0].state_dict()

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", poisoned)
        # The clock leaps and nobody waits for the thread that writes, so that every step is saved.
        patch.setattr(Writer, "start", lambda writer, job: job())
        patch.setattr("seqdet.runs.train_loop.time.monotonic", iter(range(0, 10**9, 1000)).__next__)
        with pytest.raises(DivergedError) as caught:
            fit(data, SMALL, out, tell=remember)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    for part in ("step 5", "track: infinite or NaN", " frames ", "c", str(out), "--resume"):
        assert part in message
    kept = load_model(out / "last.safetensors")[0].state_dict()
    assert all(bool(torch.isfinite(tensor.float()).all()) for tensor in kept.values())
    assert good["weights"].keys() == kept.keys()
    # What the message says can be done, and goes on from the step before.
    finite_again = fit(data, SMALL, out, resume=True)
    assert finite_again.steps == SMALL.train.steps


def test_an_empty_split_is_said(make_data: MakeData):
    data = make_data({f"c{n}": ((64, 48), 4, 1) for n in range(4)}, ["a"])
    result = CliRunner().invoke(face.build(), ["train", str(data), "--set", "data.split=trian", "--quiet"])
    assert result.exit_code in (2, 3)
    assert "trian" in result.output
