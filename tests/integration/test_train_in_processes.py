"""``seqdet train`` in two processes: the curve of one, the same after kills; nobody waits for the lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import Commands

from seqdet.model.checkpoint import read_tensors
from seqdet.runs.synth import synth

SETTINGS = [
    "model.encoder=resnet10",
    "model.levels=[16]",
    "model.channels=8",
    "model.clip_width=8",
    "model.track_width=8",
    "model.input_size_wh=[32, 32]",
    "data.workers=0",
    "train.amp=false",
    "train.steps=8",
    "train.log_every=1",
    "train.warmup_steps=1",
    "train.threads=1",
    "train.evaluate_clips=3",
    "train.evaluate_frames=4",
    "train.evaluate_every_share=1",
    "train.checkpoint_minutes=1e-6",
    "train.stages=[{name: frames, share: 0.4, clips_per_batch: 5, paste_probability: 0.5},"
    " {name: clips, share: 0.6, frames_per_clip: 2, clips_per_batch: 5, streamed_fraction: 0.5}]",
]
# Signs of life come and are missed sooner than in earnest.
TERMS = ("loss", "objectness", "class", "box", "motion", "track", "clip")
HASTE = "import seqdet.runs.processes as p; p.BEAT_S, p.SILENCE_S, p.BROKEN_SILENCE_S = 0.2, 6.0, 3.0"


def options(*more: str) -> list[str]:
    return [word for text in [*SETTINGS, *more] for word in ("--set", text)]


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands(HASTE) as started:
        yield started


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(tmp_path_factory.mktemp("two") / "data", task="discs", sequences=9, frames=10).out


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Pair:
    """Two processes of one training, as a launcher starts them."""

    def __init__(self, commands: Commands, said: Path, *arguments: str | Path) -> None:
        self.commands, self.said = commands, [said.with_name(f"{said.name}.{rank}") for rank in (0, 1)]
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        self.pids = [
            commands.start(
                "train", *arguments, "--device", "cpu", output=self.said[rank], RANK=str(rank), **shared
            )
            for rank in (0, 1)
        ]

    def wait(self) -> list[int]:
        return [self.commands.wait(pid) for pid in self.pids]

    def words(self) -> str:
        return "".join(path.read_text() for path in self.said)


def lines(run: Path) -> list[dict]:
    log = run / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def wait_for_lines(run: Path, count: int) -> None:
    end = time.monotonic() + 100
    while len(lines(run)) < count:
        assert time.monotonic() < end, f"{run} has no {count} lines"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def two(commands: Commands, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("two")
    pair = Pair(commands, folder / "said", data, *options(), "--out", folder / "run")
    assert pair.wait() == [0, 0], pair.words()
    assert pair.said[1].read_text() == "", "one speaks"
    return folder / "run"


def test_two_processes_give_the_curve_of_one(commands: Commands, data: Path, two: Path, tmp_path: Path):
    """Five clips a batch, three and two of them: two steps to 1 part in 10,000, all losses to 5 %.

    Adam makes full steps of gradients that are only rounding, and objects change their cells by it: two
    runs whose sums differ in order drift apart.
    """
    run, said = tmp_path / "one", tmp_path / "said"
    pid = commands.start(
        "train", data, *options("data.shards=2"), "--out", run, "--device", "cpu", output=said
    )
    assert commands.wait(pid) == 0, said.read_text()
    curves = [lines(folder) for folder in (run, two)]
    for curve in curves:
        assert [line["kind"] for line in curve] == ["step"] * 8 + ["evaluation"]
    steps = [[line for line in curve if line["kind"] == "step"] for curve in curves]
    for ours, theirs in zip(*steps, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.05)
        if ours["step"] <= 2:
            assert {term: ours[term] for term in TERMS} == pytest.approx(
                {term: theirs[term] for term in TERMS}, rel=1e-4, abs=2e-5
            )


def test_two_processes_killed_and_resumed_are_the_undisturbed_two(
    commands: Commands, data: Path, two: Path, tmp_path: Path
):
    run = tmp_path / "run"
    pair = Pair(commands, tmp_path / "killed", data, *options(), "--out", run)
    wait_for_lines(run, 5)
    for pid in pair.pids:
        os.kill(pid, signal.SIGKILL)
    assert pair.wait() == [-9, -9]
    pair = Pair(commands, tmp_path / "resumed", data, "--resume", run)
    assert pair.wait() == [0, 0], pair.words()
    wanted, _ = read_tensors(two / "state.safetensors")
    got, _ = read_tensors(run / "state.safetensors")
    assert got.keys() == wanted.keys()
    assert [key for key in wanted if not torch.equal(got[key], wanted[key])] == []


@pytest.mark.parametrize(("rank", "sent"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_lost_process_is_named_and_nobody_waits(
    commands: Commands, data: Path, tmp_path: Path, rank: int, sent: signal.Signals
):
    run = tmp_path / "run"
    pair = Pair(commands, tmp_path / "said", data, *options("train.steps=100000"), "--out", run)
    wait_for_lines(run, 2)
    os.kill(pair.pids[rank], sent)
    assert commands.wait(pair.pids[1 - rank], limit_s=40) == 4, pair.words()
    words = pair.said[1 - rank].read_text()
    assert f"process {rank}" in words
    assert "--resume" in words
    assert "Traceback" not in words
    os.kill(pair.pids[rank], signal.SIGKILL)


def test_one_training_sequence_leaves_a_process_without_a_recording_of_its_own(
    commands: Commands, tmp_path: Path
):
    """Its clips come from all there are then, and both do the same number of steps."""
    data = synth(tmp_path / "data", task="discs", sequences=1, frames=10, val_fraction=0).out
    pair = Pair(commands, tmp_path / "said", data, *options(), "--out", tmp_path / "run")
    assert pair.wait() == [0, 0], pair.words()
    assert [line["step"] for line in lines(tmp_path / "run") if line["kind"] == "step"] == list(range(1, 9))


def test_a_clip_that_one_process_cannot_read_ends_both_and_is_named(commands: Commands, tmp_path: Path):
    data = synth(tmp_path / "data", task="discs", sequences=2, frames=10, val_fraction=0).out
    broken = sorted((data / "videos").iterdir())[0]
    broken.write_bytes(b"no video")
    pair = Pair(commands, tmp_path / "said", data, *options(), "--out", tmp_path / "run")
    assert sorted(pair.wait()) == [3, 4], pair.words()
    # Who met it names it; the other names it too, or the process that it lost, whichever it hears of first.
    assert broken.name in pair.words()
    assert all(broken.name in said.read_text() or "process " in said.read_text() for said in pair.said)
    assert "Traceback" not in pair.words()


def test_what_cannot_be_shared_out_is_said(commands: Commands, data: Path, tmp_path: Path):
    few = "train.stages=[{name: all, share: 1, clips_per_batch: 1}]"
    pair = Pair(commands, tmp_path / "said", data, *options(few), "--out", tmp_path / "run")
    assert pair.wait() == [2, 2], pair.words()
    assert "stage 'all' has clips_per_batch 1" in pair.said[0].read_text()
    pair = Pair(commands, tmp_path / "none", *options())
    assert pair.wait() == [2, 2], pair.words()
    assert "needs DATA and --out" in pair.said[0].read_text()


def test_torchrun_starts_again_what_a_killed_worker_has_ended(data: Path, two: Path, tmp_path: Path):
    run = tmp_path / "run"
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    train = ["-m", "seqdet", "train", data, *options(), "--out", run, "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, *torchrun, "--master-port", str(free_port()), *map(str, train)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as launcher:
        wait_for_lines(run, 3)
        workers = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        os.kill(int(workers[-1]), signal.SIGKILL)
        _, said = launcher.communicate(timeout=180)
    assert launcher.returncode == 0, said
    wanted, _ = read_tensors(two / "state.safetensors")
    got, _ = read_tensors(run / "state.safetensors")
    assert [key for key in wanted if not torch.equal(got[key], wanted[key])] == []
