"""Commands in hostile surroundings: no room, no permission, no home, odd names, files that change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import Commands
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.errors import InputError
from seqdet.runs.synth import synth
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter

NOWHERE = Path("/proc/seqdet")  # where not even the superuser may write
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands(patch="import seqdet.runs.detect, seqdet.runs.ingest, seqdet.runs.export") as started:
        yield started


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(tmp_path_factory.mktemp("faults") / "data", task="discs", sequences=3, frames=8).out


@pytest.fixture
def labels(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """A source to ingest."""
    source = tmp_path / "source"
    source.mkdir()
    make_video("clip.mp4", frames=40).rename(source / "clip.mp4")
    lines = [f"clip.mp4,{frame},0,bird,10,10,8,8\n" for frame in range(40)]
    (source / "rows.csv").write_text("video,frame,track_id,label,left,top,width,height\n" + "".join(lines))
    return source


def said_in_one_line(output: Path) -> str:
    errors = [line for line in output.read_text().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output.read_text()
    assert "Traceback" not in output.read_text()
    return errors[0]


@needs_proc
@pytest.mark.parametrize("command", ["detect --out", "detect --save", "train", "ingest", "export", "synth"])
def test_a_place_that_cannot_be_written(
    command: str, commands: Commands, data: Path, labels: Path, model_path: Path, tmp_path: Path
) -> None:
    """Code 2 where that is known before anything is done, 6 where it shows when the output is made."""
    detect = ["detect", labels / "clip.mp4", "--model", model_path, "--runtime", "torch"]
    arguments = {
        "detect --out": [*detect, "--out", NOWHERE.with_suffix(".mp4")],
        "detect --save": [*detect, "--save", NOWHERE.with_suffix(".jsonl")],
        "train": ["train", data, "--out", NOWHERE, "--device", "cpu"],
        "ingest": ["ingest", labels, NOWHERE],
        "export": ["export", model_path, "--to", "torch", "--out", NOWHERE],
        "synth": ["synth", NOWHERE, "--sequences", "1"],
    }[command]
    said = tmp_path / "said.txt"
    code = commands.wait(commands.start(*arguments, output=said))
    assert code == (2 if command.startswith("detect") else 6), said.read_text()
    assert str(NOWHERE) in said_in_one_line(said)


FULL = {
    "video": ("out.mp4", 12_000, 6),
    "rows": ("rows.jsonl", 3000, 6),
    "data set": ("data", 600, 6),
    "run": ("run", 3000, 6),
}


@pytest.mark.parametrize("what", FULL)
def test_a_disk_that_is_full(
    what: str, commands: Commands, data: Path, labels: Path, model_path: Path, tmp_path: Path
) -> None:
    name, room, expected = FULL[what]
    out, said = tmp_path / "there" / name, tmp_path / "said.txt"
    out.parent.mkdir()
    detect = ["detect", labels / "clip.mp4", "--model", model_path, "--score", "0.001", "--runtime", "torch"]
    small = ["--set", "train.steps=2", "--set", "model.encoder=resnet10", "--set", "model.levels=[16]"]
    arguments = {
        "video": [*detect, "--out", out],
        "rows": [*detect, "--save", out],
        "data set": ["ingest", labels, out],
        "run": ["train", data, "--out", out, "--device", "cpu", *small],
    }[what]
    code = commands.wait(commands.start(*arguments, output=said, largest_file=room))
    assert code == expected, said.read_text()
    assert str(out) in said_in_one_line(said)
    assert not out.is_file(), "what is not whole has no final name"
    if what == "data set":
        assert list(out.parent.iterdir()) == [], "nor a folder"
    if what == "rows":
        kept = out.with_name(out.name + ".part").read_text()
        assert [json.loads(line)["type"] for line in kept.splitlines()[:-1]], "what it held is kept"
    if what == "video":
        with open_video(out.with_name(f".{out.name}.partial.mp4")) as reader:
            assert sum(1 for _ in reader) > 0, "it plays up to where the disk ended"


def test_names_home_and_locale(make_video: Callable[..., Path], model_path: Path, tmp_path: Path) -> None:
    """A locale without letters, no HOME, and names that shells and terminals stumble over."""
    make_video("a.mp4", frames=3).rename(tmp_path / "-ü\n雪 'x'\".mp4")
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LC_", "LANG", "XDG")) and key != "HOME"
    }
    command = ["detect", "--save", "-ö\n.jsonl", "--out=-ä.mp4", "--json", "--model", str(model_path), "--"]
    ran = subprocess.run(
        [sys.executable, "-c", "from seqdet.cli.app import main; main()", *command, "-ü\n雪 'x'\".mp4"],
        cwd=tmp_path,
        env=environment | {"LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (source,) = json.loads(ran.stdout.decode())["sources"]
    assert (source["source"], source["out"]) == ("-ü\n雪 'x'\".mp4", "-ä.mp4")
    rows = (tmp_path / "-ö\n.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rows[-1])["source"] == "-ü\n雪 'x'\".mp4"
    assert (tmp_path / "-ä.mp4").stat().st_size > 0


@needs_proc
def test_a_home_that_cannot_be_written(
    commands: Commands, labels: Path, model_path: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said.txt"
    nowhere = {"HOME": str(NOWHERE), "XDG_CACHE_HOME": str(NOWHERE / "cache"), "TMPDIR": str(tmp_path)}
    video, rows = labels / "clip.mp4", tmp_path / "rows.jsonl"
    pid = commands.start(
        "detect", video, "--model", model_path, "--save", rows, "--runtime", "torch", output=said, **nowhere
    )
    assert commands.wait(pid) == 0, said.read_text()
    assert rows.exists()


def test_a_clock_that_is_set_back(
    make_video: Callable[..., Path], model_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every look at the clock is an hour before the last; what is measured is measured by another one."""
    video, rows = make_video("sky.mp4", frames=6), tmp_path / "rows.jsonl"
    now = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    options = ["--save", str(rows), "--model", str(model_path), "--json"]
    ran = CliRunner().invoke(build(), ["detect", str(video), *options])
    assert ran.exit_code == 0, ran.stderr
    (source,) = json.loads(ran.stdout)["sources"]
    assert source["frames"] == 6
    assert source["seconds"] > 0


def change(path: Path, how: str, other: Path) -> None:
    if how == "truncated":
        os.truncate(path, path.stat().st_size // 3)
    elif how == "emptied":
        os.truncate(path, 0)
    elif how == "appended":
        with path.open("ab") as file:
            file.write(os.urandom(50_000))
    elif how == "replaced":
        os.replace(other, path)
    elif how == "removed":
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "emptied", "appended", "replaced", "removed"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, make_video: Callable[..., Path], how: str, suffix: str
) -> None:
    """All frames, or an error, or what is missing is said: never short in silence."""
    path, other = tmp_path / f"a{suffix}", make_video("b.mp4", frames=3)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    with VideoWriter(path, size_wh=(160, 120), fps_hint=25) as writer:
        for index in range(60):
            writer.write(np.roll(noise, 7 * index, axis=(0, 1)), index / 25)
    assert path.stat().st_size > 100_000, "more than a decoder reads ahead"
    frames = 0
    try:
        with open_video(path) as reader:
            for frame in reader:
                frames += 1
                if frame.index == 3:
                    change(path, how, other)
        assert frames == 60 or reader.report.short, reader.report
        assert (not reader.report.short) or str(path) in reader.report.message
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - either end is right
