"""``seqdet train`` killed anywhere and resumed is the straight run to the last bit; what else ends a run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import Commands

from seqdet.model.checkpoint import read_tensors
from seqdet.runs.synth import synth

SETTINGS = [
    "model.encoder=regnet_plain",
    "model.levels=[16]",
    "model.channels=8",
    "model.clip_width=8",
    "model.track_width=8",
    "model.input_size_wh=[32, 32]",
    "model.difference_rates=[1.0]",
    "train.steps=24",
    "train.log_every=1",
    "train.warmup_steps=1",
    "train.threads=1",
    "train.evaluate_clips=0",
    "train.checkpoint_minutes=1e-6",
    "train.stages=[{name: frames, share: 0.3, clips_per_batch: 2, paste_probability: 0.5},"
    " {name: clips, share: 0.7, frames_per_clip: 2, clips_per_batch: 2, streamed_fraction: 0.5}]",
]


def options(*more: str) -> list[str]:
    return [word for text in [*SETTINGS, *more] for word in ("--set", text)]


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as started:
        yield started


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(tmp_path_factory.mktemp("kill") / "data", task="discs", sequences=4, frames=10).out


@pytest.fixture(scope="module")
def straight(commands: Commands, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kill") / "straight"
    said = out.with_name("said.txt")
    pid = commands.start(
        "train", data, *options("data.workers=0"), "--out", out, "--device", "cpu", output=said
    )
    assert commands.wait(pid) == 0, said.read_text()
    return out


def lines(run: Path) -> list[dict]:
    log = run / "log.jsonl"
    text = log.read_text().splitlines() if log.is_file() else []
    return [json.loads(line) for line in text]


def wait_for_lines(run: Path, count: int) -> None:
    end = time.monotonic() + 60
    while len(lines(run)) < count:
        assert time.monotonic() < end, f"{run} has no {count} lines after a minute"
        time.sleep(0.002)


def assert_equal_runs(one: Path, other: Path) -> None:
    for name in ("state", "last"):
        wanted, _ = read_tensors(one / f"{name}.safetensors")
        got, _ = read_tensors(other / f"{name}.safetensors")
        assert got.keys() == wanted.keys()
        assert [key for key in wanted if not torch.equal(got[key], wanted[key])] == [], name
    losses = [{line["step"]: line["loss"] for line in lines(run) if "loss" in line} for run in (one, other)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_ten_times_it_is_the_straight_run(
    commands: Commands, data: Path, straight: Path, tmp_path: Path, workers: int
):
    """Ten SIGKILLs each, without and with a thread that prepares batches, in steps and while saving."""
    rng, run, said = random.Random(workers), tmp_path / "run", tmp_path / "said.txt"
    start = ["train", data, *options(f"data.workers={workers}"), "--out", run, "--device", "cpu"]
    kills = 0
    while kills < 10:
        known = len(lines(run))
        pid = commands.start(*start, output=said)
        wait_for_lines(run, known + rng.randint(1, 2))
        time.sleep(rng.random() * 0.05)
        os.kill(pid, signal.SIGKILL)
        assert commands.wait(pid) == -signal.SIGKILL, said.read_text()
        kills += 1
        start = ["train", "--resume", run, "--device", "cpu"]
    assert commands.wait(commands.start(*start, output=said)) == 0, said.read_text()
    assert_equal_runs(straight, run)
    assert not list(run.glob(".*.partial"))


def test_a_damaged_state_is_said_and_the_one_before_goes_on(
    commands: Commands, straight: Path, tmp_path: Path
):
    run, said = tmp_path / "run", tmp_path / "said.txt"
    shutil.copytree(straight, run)
    newest = run / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    pid = commands.start("train", "--resume", run, "--device", "cpu", output=said)
    assert commands.wait(pid) == 0, said.read_text()
    warning = next(line for line in said.read_text().splitlines() if line.startswith("warning: "))
    assert "went on from an older state" in warning
    assert "state.safetensors: cut or damaged" in warning
    assert_equal_runs(straight, run)


def test_a_full_disk_ends_the_run_with_its_last_state_whole(data: Path, straight: Path, tmp_path: Path):
    run, said = tmp_path / "run", tmp_path / "said.txt"
    whole = (straight / "state.safetensors").stat().st_size
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, resource.RLIM_INFINITY))"
    start = ["train", data, *options("data.workers=0"), "--out", run, "--device", "cpu"]
    # The state of the first step has no moments of the optimizer yet: it fits, the next one does not.
    with Commands(patch=limit.format(whole * 2 // 3)) as full:
        assert full.wait(full.start(*start, output=said)) == 6, said.read_text()
    error = [line for line in said.read_text().splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert "could not be written: File too large" in error[0]
    assert "Traceback" not in said.read_text()
    with Commands() as roomy:
        assert roomy.wait(roomy.start("train", "--resume", run, "--device", "cpu", output=said)) == 0
    assert_equal_runs(straight, run)


def test_a_clip_that_cannot_be_read_is_named(commands: Commands, data: Path, tmp_path: Path):
    """Threads of the process itself read clips: there is no worker to be killed, and no shared memory."""
    broken, said = tmp_path / "data", tmp_path / "said.txt"
    shutil.copytree(data, broken)
    for video in (broken / "videos").iterdir():
        video.write_bytes(b"no video")
    start = ["train", broken, *options("data.workers=2"), "--out", tmp_path / "run", "--device", "cpu"]
    assert commands.wait(commands.start(*start, output=said)) == 3, said.read_text()
    error = said.read_text().splitlines()[-1]
    assert any(video.name in error for video in (broken / "videos").iterdir()), error
