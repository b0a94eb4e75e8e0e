"""Trainings killed 200 times in one process, and after each of 20 steps in two (rows 43 and 44 of the plan).

Opt-in, some ten minutes: uv run pytest tests/bench/test_training_killed_at_length.py -o addopts= -s
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from commands import Commands

from seqdet.model.checkpoint import read_tensors
from seqdet.runs.synth import synth

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
import test_killed_training as alone
import test_train_in_processes as together

RUNS, KILLS_A_RUN = 20, 10
STEPS = 24


def test_two_hundred_kills_of_one_process(tmp_path: Path) -> None:
    """At random moments, some of them inside a save; with and without a thread that prepares batches."""
    data = synth(tmp_path / "data", task="discs", sequences=4, frames=10).out
    lost, kills = [], 0
    with Commands() as commands:

        def train(said: Path, *arguments: str | Path) -> int:
            return commands.start("train", *arguments, "--device", "cpu", output=said)

        said = tmp_path / "said.straight"
        pid = train(said, data, *alone.options("data.workers=0"), "--out", tmp_path / "straight")
        assert commands.wait(pid) == 0, said.read_text()
        for number in range(RUNS):
            rng, run, said = random.Random(number), tmp_path / f"run{number}", tmp_path / f"said{number}"
            start = [data, *alone.options(f"data.workers={2 * (number % 2)}"), "--out", run]
            for _ in range(KILLS_A_RUN):
                known = len(alone.lines(run))
                pid = train(said, *start)
                alone.wait_for_lines(run, known + rng.randint(1, 2))
                time.sleep(rng.random() * 0.05)
                os.kill(pid, signal.SIGKILL)
                assert commands.wait(pid) == -signal.SIGKILL, said.read_text()
                kills += 1
                reached = max(line["step"] for line in alone.lines(run) if line["kind"] == "step")
                start = ["--resume", run]
                if (run / "state.safetensors").is_file():
                    lost.append(reached - read_tensors(run / "state.safetensors")[1]["position"]["step"])
            assert commands.wait(train(said, *start)) == 0, said.read_text()
            alone.assert_equal_runs(tmp_path / "straight", run)
            assert not list(run.glob(".*.partial"))
    print(
        f"\n{kills} kills in {RUNS} runs, all equal to the straight run to the last bit; steps lost: ", end=""
    )
    print(f"{sum(lost) / len(lost):.1f} in the mean, {max(lost)} at most")


def test_two_processes_killed_after_each_of_twenty_steps(tmp_path: Path) -> None:
    data = synth(tmp_path / "data", task="discs", sequences=9, frames=10).out
    settings = together.options(f"train.steps={STEPS}", "train.evaluate_clips=0")
    with Commands(together.HASTE) as commands:
        straight = together.Pair(commands, tmp_path / "s", data, *settings, "--out", tmp_path / "straight")
        assert straight.wait() == [0, 0], straight.words()
        run, start = tmp_path / "run", [data, *settings, "--out", tmp_path / "run"]
        for step in range(1, 21):
            pair = together.Pair(commands, tmp_path / f"k{step}", *start)
            end = time.monotonic() + 100
            while not any(line.get("step", 0) >= step for line in together.lines(run)):
                assert time.monotonic() < end, pair.words()
                time.sleep(0.005)
            for pid in pair.pids if step % 2 else pair.pids[::-1]:
                os.kill(pid, signal.SIGKILL)
            assert pair.wait() == [-9, -9], pair.words()
            start = ["--resume", run]
        pair = together.Pair(commands, tmp_path / "last", *start)
        assert pair.wait() == [0, 0], pair.words()
    wanted, _ = read_tensors(tmp_path / "straight" / "state.safetensors")
    got, _ = read_tensors(run / "state.safetensors")
    assert got.keys() == wanted.keys()
    assert [key for key in wanted if not torch.equal(got[key], wanted[key])] == []
    print(f"\ntwo processes, killed after each of 20 steps: all {len(wanted)} tensors equal")
