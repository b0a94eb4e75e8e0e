"""A clip at once equals frame by frame; a killed training equals the one that ran through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import seqdet
from seqdet.config import Config, DataConfig, ModelConfig, StageConfig, TrainConfig
from seqdet.errors import UsageError
from seqdet.model.checkpoint import read_tensors
from seqdet.runs.evaluate import evaluate
from seqdet.runs.stream import with_score
from seqdet.runs.synth import synth
from seqdet.runs.train_loop import fit
from seqdet.types import Frame

STAGE = StageConfig(name="clips", share=1.0, frames_per_clip=3, clips_per_batch=2, streamed_fraction=0.5)
CONTRACT = {
    "map50",
    "map50_95",
    "f1_50",
    "precision_50",
    "recall_50",
    "per_class",
    "track_accuracy",
    "sequence_accuracy",
    "hota",
    "idf1",
    "flicker_per_min",
    "centre_jitter",
    "delay_frames",
    "frames",
    "clips",
    "frames_per_s",
    "controls",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "data"
    synth(out, task="discs", sequences=8, frames=14, seed=3)
    return out


def config(workers: int = 0) -> Config:
    return Config(
        model=ModelConfig(
            levels=(8, 16),
            channels=8,
            clip_width=8,
            track_width=8,
            difference_rates=(1.0, 0.2),
            input_size_wh=(96, 96),
        ),
        data=DataConfig(workers=workers, cache_gib=0.1),
        train=TrainConfig(steps=6, amp=False, threads=1, log_every=2, warmup_steps=2, stages=(STAGE,)),
    )


class Killed(Exception):
    """Stands for SIGKILL after some steps; the state on disk is the last one saved."""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_equals_the_straight_one(
    data: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(data, config(workers), tmp_path / "straight")

    def stop(line: dict) -> None:
        if line["kind"] == "step" and line["step"] == 4:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("seqdet.runs.train_loop.time.monotonic", iter(range(0, 10**9, 1000)).__next__)
        with pytest.raises(Killed):  # the clock leaps, so that every step is saved
            fit(data, config(workers), tmp_path / "killed", tell=stop)
    fit(data, config(workers), tmp_path / "killed", resume=True)
    straight, _ = read_tensors(tmp_path / "straight" / "state.safetensors")
    killed, _ = read_tensors(tmp_path / "killed" / "state.safetensors")
    assert straight.keys() == killed.keys()
    different = [key for key in straight if not torch.equal(straight[key], killed[key])]
    assert not different


def test_a_used_folder_is_refused_and_there_must_be_something_to_resume(data: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        fit(data, config(), tmp_path / "used")
    with pytest.raises(UsageError, match="nothing to resume"):
        fit(data, config(), tmp_path / "nothing", resume=True)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 60, (256, 320, 3), np.uint8)
    shown = []
    for index in range(10):
        rgb = scene.copy()
        rgb[100:108, 40 + 6 * index : 56 + 6 * index] = 250
        shown.append(Frame(rgb, index, index / 30))
    return shown


def test_a_clip_at_once_equals_frame_by_frame(frames: list[Frame]) -> None:
    model = with_score(seqdet.load("airspace", device="cpu"), 0.02)
    state = model.initial_state()
    one_by_one, at_once = list(model.results(frames, 1)), list(model.results(frames, 7))
    assert sum(len(result.detections) for result in one_by_one) > 0
    for frame, single, joined in zip(frames, one_by_one, at_once, strict=True):
        stepped, state = model.step(frame.rgb, state, frame.time_s)
        for other in (joined.detections, stepped):
            np.testing.assert_allclose(single.scores, other.scores, atol=1e-4)
            np.testing.assert_allclose(single.boxes_xyxy_px, other.boxes_xyxy_px, atol=0.05)
            np.testing.assert_array_equal(single.track_ids, other.track_ids)


def test_embedding_ahead_changes_nothing(frames: list[Frame]) -> None:
    """The first half of the network in a thread of its own, with averages that it carries itself."""
    model = with_score(seqdet.load("airspace", device="cpu"), 0.02)
    plain = list(model.results_and_states(frames))
    ahead = list(model.results_and_states(frames, ahead=True))
    assert sum(len(result.detections) for result, _ in plain) > 0
    for (one, before), (other, after) in zip(plain, ahead, strict=True):
        np.testing.assert_array_equal(one.detections.boxes_xyxy_px, other.detections.boxes_xyxy_px)
        np.testing.assert_array_equal(one.detections.scores, other.detections.scores)
        assert before.frames == after.frames


def test_a_state_has_many_futures(frames: list[Frame]) -> None:
    model = with_score(seqdet.load("airspace", device="cpu"), 0.02)
    state = model.initial_state()
    for frame in frames[:4]:
        _, state = model.step(frame.rgb, state)
    first, _ = model.step(frames[4].rgb, state)
    model.step(np.zeros_like(frames[0].rgb), state)
    again, _ = model.step(frames[4].rgb, state)
    np.testing.assert_array_equal(first.scores, again.scores)
    np.testing.assert_array_equal(first.boxes_xyxy_px, again.boxes_xyxy_px)


def test_an_evaluation_has_the_figures_of_the_contract(data: Path, tmp_path: Path) -> None:
    report = fit(data, config(), tmp_path / "run")
    figures = evaluate(data, model=report.model, split="val", limit=2)
    assert figures.keys() >= CONTRACT
    assert figures["controls"].keys() == {"memory_off", "shuffled", "majority_vote"}
    assert all(control.keys() >= CONTRACT - {"controls"} for control in figures["controls"].values())
