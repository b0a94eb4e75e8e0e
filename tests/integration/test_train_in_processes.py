"""``seqdet train`` in two processes: the curve of one, the same after kills; nobody waits for the lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_in
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
TERMS = ("loss", "objectness", "class", "box", "motion", "track", "clip")
# Signs of life come and are missed sooner than in earnest.
HASTE = "import seqdet.runs.processes as p; p.BEAT_S, p.SILENCE_S, p.BROKEN_SILENCE_S = 0.2, 6.0, 1.5"
# All arithmetic of the network with 16 digits instead of 7.
EXACT = """
import torch
torch.set_default_dtype(torch.float64)
torch.Tensor.float, taken = torch.Tensor.double, torch.from_numpy
torch.from_numpy = lambda array: taken(array.astype("float64") if array.dtype == "float32" else array)
"""
# The second process is killed before its fourth step, once.
KILLED = """
import os, signal
from pathlib import Path
from seqdet.runs.train_run import Run
step, mark = Run.step, Path(os.environ["SEQDET_SAID"] + ".killed")
def killed(self, *arguments):
    if self.together.rank == 1 and self.position.step == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments)
Run.step = killed
"""


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

    def __init__(self, commands: Commands, said: Path, *arguments: str | Path, patch: str = "") -> None:
        self.commands, self.said = commands, [said.with_name(f"{said.name}.{rank}") for rank in (0, 1)]
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        self.pids = [
            commands.start(
                "train",
                *arguments,
                "--device",
                "cpu",
                output=self.said[rank],
                patch=patch,
                RANK=str(rank),
                **shared,
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


def steps(run: Path) -> list[dict[str, float]]:
    """The loss terms of each step."""
    return [{term: line[term] for term in TERMS} for line in lines(run) if line["kind"] == "step"]


@pytest.mark.parametrize(
    ("settings", "patch"),
    [(["model.norm=batch"], EXACT), (["model.norm=group"], EXACT), (["model.encoder=resnet10"], "")],
    ids=["batch norm", "group norm", "32 bits"],
)
def test_two_processes_give_the_curve_of_one(
    commands: Commands, data: Path, tmp_path: Path, settings: list[str], patch: str
):
    """Five clips a batch, three and two of them.

    With 64 bits all losses of all steps are those of one process in every digit of the log, weights to one
    millionth. With 32 bits the first step is, and the others drift as one process does from itself with
    another number of threads (docs/decisions/015-rounding-grows.md).
    """
    settings = options(*settings, "train.evaluate_clips=0", "train.checkpoint_minutes=100")
    pair = Pair(commands, tmp_path / "said", data, *settings, "--out", tmp_path / "two", patch=patch)
    one = [*settings, "--set", "data.shards=2", "--out", tmp_path / "one", "--device", "cpu"]
    pid = commands.start("train", data, *one, output=tmp_path / "said.one", patch=patch)
    assert commands.wait(pid) == 0, (tmp_path / "said.one").read_text()
    assert pair.wait() == [0, 0], pair.words()
    ours, theirs = steps(tmp_path / "two"), steps(tmp_path / "one")
    assert len(ours) == len(theirs) == 8
    for number, (of_two, alone) in enumerate(zip(ours, theirs, strict=True)):
        exact = patch or number == 0
        assert of_two["loss"] == pytest.approx(alone["loss"], rel=1e-6 if exact else 0.1, abs=2e-5)
        if exact or number == 1:
            assert of_two == pytest.approx(alone, rel=1e-6 if exact else 1e-3, abs=2e-5)
    if patch:
        wanted, _ = read_tensors(tmp_path / "one" / "state.safetensors")
        got, _ = read_tensors(tmp_path / "two" / "state.safetensors")
        for name in wanted:
            if name.startswith(("model.", "average.")):
                torch.testing.assert_close(got[name], wanted[name], rtol=1e-6, atol=1e-6)


def test_one_process_evaluates_the_weights_of_two_to_the_same_figures(
    commands: Commands, two: Path, tmp_path: Path
):
    """Each of two processes detects in its part of the clips, and was to do so after this state."""
    run, said = tmp_path / "run", tmp_path / "said"
    shutil.copytree(two, run)
    (run / "state.1.safetensors").replace(run / "state.safetensors")
    pid = commands.start("train", "--resume", run, "--device", "cpu", output=said)
    assert commands.wait(pid) == 0, said.read_text()
    by_two, by_one = ({**line, "frames_per_s": 0} for line in lines(run) if line["kind"] == "evaluation")
    assert by_one == by_two


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


def test_a_lost_process_is_named_and_nobody_waits(commands: Commands, data: Path, tmp_path: Path):
    cases = ((1, signal.SIGSTOP), (0, signal.SIGKILL), (1, signal.SIGKILL))
    pairs = []
    for number, (rank, sent) in enumerate(cases):
        run, said = tmp_path / str(number), tmp_path / f"said{number}"
        pairs.append(Pair(commands, said, data, *options("train.steps=100000"), "--out", run))
        wait_for_lines(run, 2)
        os.kill(pairs[-1].pids[rank], sent)
    for (rank, sent), pair in zip(cases, pairs, strict=True):
        assert commands.wait(pair.pids[1 - rank], limit_s=60) == 4, pair.words()
        words = pair.said[1 - rank].read_text()
        assert f"process {rank}" in words, sent
        assert "--resume" in words
        assert "Traceback" not in words
        os.kill(pair.pids[rank], signal.SIGKILL)


@pytest.mark.parametrize("shares", [(7, 5), (4, 0)])
def test_uneven_shares_and_none_at_all_do_the_same_steps(
    commands: Commands, tmp_path: Path, shares: tuple[int, int]
):
    """Clips of one recording go to one process; one without any draws from all there are."""
    data = synth(tmp_path / "data", task="discs", sequences=sum(shares), frames=10, val_fraction=0).out
    document = json.loads((data / "dataset.json").read_text())
    for number, sequence in enumerate(document["sequences"]):
        sequence["recording"] = "first" if number < shares[0] else "second"
    (data / "dataset.json").write_text(json.dumps(document))
    pair = Pair(commands, tmp_path / "said", data, *options(), "--out", tmp_path / "run")
    assert pair.wait() == [0, 0], pair.words()
    assert [line["step"] for line in lines(tmp_path / "run") if line["kind"] == "step"] == list(range(1, 9))


def test_a_clip_that_one_process_cannot_read_ends_both_and_is_named(commands: Commands, tmp_path: Path):
    data = synth(tmp_path / "data", task="discs", sequences=2, frames=10, val_fraction=0).out
    broken = sorted((data / "videos").iterdir())[0]
    broken.write_bytes(b"no video")
    pair = Pair(commands, tmp_path / "said", data, *options(), "--out", tmp_path / "run")
    assert pair.wait() == [3, 3], pair.words()
    assert all(broken.name in said.read_text() for said in pair.said)
    assert "Traceback" not in pair.words()


def test_what_cannot_be_shared_out_is_said(commands: Commands, data: Path, tmp_path: Path):
    stages = "train.stages=[{name: all, share: 1, clips_per_batch: 1}]"
    few = Pair(commands, tmp_path / "said", data, *options(stages), "--out", tmp_path / "run")
    none = Pair(commands, tmp_path / "none", *options())
    assert few.wait() == [2, 2], few.words()
    assert "stage 'all' has clips_per_batch 1" in few.said[0].read_text()
    assert none.wait() == [2, 2], none.words()
    assert "needs DATA and --out" in none.said[0].read_text()


@pytest.mark.parametrize("machines", [1, 2])
def test_torchrun_starts_again_what_a_killed_worker_has_ended(
    commands: Commands, data: Path, two: Path, tmp_path: Path, machines: int
):
    """One launcher of two processes, or two launchers, which count restarts each for itself, of one each.

    They start ``stand_in.py``, which is quicker than a program that imports PyTorch.
    """
    run = tmp_path / "run"
    each = ["--nproc-per-node", str(2 // machines), "--max-restarts", "1"]
    one = ["--master-port", str(free_port())]
    more = ["--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}"]
    worker = ["--no-python", sys.executable, "-S", stand_in.__file__]
    train = ["train", data, *options(), "--out", run, "--device", "cpu"]
    shared = {
        "SEQDET_COMMANDS": str(commands.socket),
        "SEQDET_SAID": str(tmp_path / "said"),
        "SEQDET_PATCH": KILLED,
    }
    launchers = [
        commands.start(
            *[*each, *(more if machines > 1 else one), *worker, *train],
            output=tmp_path / f"said.launcher{number}",
            program="torch.distributed.run",
            **shared,
        )
        for number in range(machines)
    ]
    codes = [commands.wait(pid) for pid in launchers]
    words = "".join(path.read_text() for path in sorted(tmp_path.glob("said.*")))
    assert codes == [0] * machines, words
    assert "exitcode: -9" in words
    wanted, _ = read_tensors(two / "state.safetensors")
    got, _ = read_tensors(run / "state.safetensors")
    assert [key for key in wanted if not torch.equal(got[key], wanted[key])] == []
