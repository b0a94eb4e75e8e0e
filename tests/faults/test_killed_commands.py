"""SIGKILL and SIGTERM at random moments of detect, ingest and export; training has tests of its own.

What has its final name is whole, what was found so far can be read, and the same command again gives what an
undisturbed one gives. SEQDET_KILLS=200 kills detect so often; docs/reliability.md has the figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from commands import Commands

from seqdet.video.writer import VideoWriter

KILLS = int(os.environ.get("SEQDET_KILLS", "2"))
FRAMES, FPS = 50, 25
GROWING = ["rows.jsonl", "rows.jsonl", ""]  # two of three moments are amid frames, one may be in the start


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands(patch="import seqdet.runs.detect, seqdet.runs.ingest, torchvision") as started:
        yield started


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "sky.mp4"
    with VideoWriter(path, size_wh=(64, 48), fps_hint=FPS) as writer:
        for index in range(FRAMES):
            picture = np.full((48, 64, 3), 90, np.uint8)
            picture[20:28, index % 56 : index % 56 + 8] = (250, 240, 20)
            writer.write(picture, index / FPS)
    return path


class Job:
    """A command that writes into a folder, and what it writes when nobody disturbs it."""

    def __init__(
        self, commands: Commands, folder: Path, arguments: Callable[[Path], list[str | Path]]
    ) -> None:
        self._commands, self._arguments, self._folder = commands, arguments, folder
        folder.mkdir()
        started = time.monotonic()
        assert self.run("straight") == 0, self.said("straight")
        self.seconds = time.monotonic() - started
        self.straight = visible(folder / "straight")

    def run(self, name: str, *more: str) -> int:
        return self._commands.wait(self._start(name, *more))

    def _start(self, name: str, *more: str) -> int:
        (self._folder / name).mkdir(exist_ok=True)
        output = self._folder / f"{name}.txt"
        return self._commands.start(*self._arguments(self._folder / name), *more, output=output)

    def said(self, name: str) -> str:
        return (self._folder / f"{name}.txt").read_text()

    def disturbed(
        self, name: str, number: signal.Signals, rng: random.Random, growing: str = ""
    ) -> tuple[int, Path]:
        """Its exit code when a signal comes at a random moment (0: it was done), and its folder.

        ``growing``: the moment is when this file has a random part of its length, not any from start to end.
        """
        pid, part = self._start(name), rng.random()
        if growing:
            file, length = self._folder / name / f"{growing}.part", part * len(self.straight[growing])
            while self._commands.poll(pid) is None and not (file.exists() and file.stat().st_size >= length):
                time.sleep(0.001)
        else:
            time.sleep(part * 1.1 * self.seconds)
        if self._commands.poll(pid) is None:
            os.kill(pid, number)
        return self._commands.wait(pid), self._folder / name

    def assert_again_is_straight(self, name: str) -> None:
        more = ["--force"] if set(visible(self._folder / name)) & set(self.straight) else []
        assert self.run(name, *more) == 0, self.said(name)
        assert visible(self._folder / name) == self.straight


def tree(folder: Path) -> dict[str, bytes]:
    """All files by their relative names; where a folder has no file, itself."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def visible(folder: Path) -> dict[str, bytes | int]:
    """Without hidden files, and without rows that carry the name of unfinished ones.

    Of a video that was encoded the number of frames: x264 with threads need not give the same bytes twice.
    """
    return {
        name: decoded(folder / name) if name == "out.mp4" else data
        for name, data in tree(folder).items()
        if not name.startswith(".") and ".part" not in name
    }


def decoded(path: Path) -> int:
    """Frames that can be decoded, up to the first error."""
    count = 0
    with contextlib.suppress(av.error.FFmpegError, IndexError), av.open(str(path)) as container:
        for _ in container.decode(video=0):
            count += 1
    return count


@pytest.fixture(scope="module")
def detection(
    commands: Commands, video: Path, sure_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Job:
    def arguments(folder: Path) -> list[str | Path]:
        outputs = ["--out", folder / "out.mp4", "--save", folder / "rows.jsonl"]
        return ["detect", video, *outputs, "--model", sure_model, "--runtime", "torch", "--quiet"]

    return Job(commands, tmp_path_factory.mktemp("detect") / "jobs", arguments)


def test_detect_killed(detection: Job) -> None:
    rng, lost, killed = random.Random(0), [], 0
    for number in range(KILLS):
        code, folder = detection.disturbed(str(number), signal.SIGKILL, rng, GROWING[number % 3])
        assert code in (0, -signal.SIGKILL)
        for name, data in visible(folder).items():
            assert data == detection.straight[name], "what has its final name is whole"
        rows = folder / "rows.jsonl.part"
        if rows.exists():
            known = rows.read_bytes()
            assert detection.straight["rows.jsonl"].startswith(known[: known.rfind(b"\n") + 1])
            found = [json.loads(line) for line in known.split(b"\n")[:-1]]
            seen = max((row["frame"] + 1 for row in found if row["type"] == "detection"), default=0)
            partial = folder / ".out.mp4.partial.mp4"
            if seen and partial.exists():
                lost.append(seen - decoded(partial))
                killed += 1
        detection.assert_again_is_straight(str(number))
        assert [name for name in tree(folder) if name not in detection.straight] == []
    print(f"\n{KILLS} kills, {killed} amid frames; of frames with rows lost: {max(lost, default=0)} at most")
    assert max(lost, default=0) <= FPS, "a second"


def test_detect_terminated(detection: Job) -> None:
    rng, ends = random.Random(1), []
    for number in range(KILLS):
        code, folder = detection.disturbed(f"term{number}", signal.SIGTERM, rng, GROWING[number % 3])
        assert code in (0, 143, -signal.SIGTERM), detection.said(f"term{number}")
        ends.append(code)
        assert "Traceback" not in detection.said(f"term{number}")
        if code == -signal.SIGTERM:  # before the command listened to signals
            continue
        files = tree(folder)
        assert files.keys() <= {"out.mp4", "rows.jsonl"}, "nothing is left unfinished"
        rows = [json.loads(line) for line in files.get("rows.jsonl", b"").splitlines()]
        if "out.mp4" in files:
            assert 0 <= rows[-1]["frames"] - decoded(folder / "out.mp4") <= 1
    print(f"\n{KILLS} times SIGTERM: {ends.count(143)} ended with 143, {ends.count(0)} were done")


@pytest.fixture(scope="module")
def ingestion(commands: Commands, video: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("ingest")
    source = folder / "source"
    source.mkdir()
    lines = ["video,frame,track_id,label,left,top,width,height"]
    for number in range(12):
        (source / f"clip{number}.mp4").write_bytes(video.read_bytes())
        lines += [f"clip{number}.mp4,{frame},0,bird,10,10,8,8" for frame in range(FRAMES)]
    (source / "rows.csv").write_text("\n".join(lines) + "\n")
    return Job(commands, folder / "jobs", lambda out: ["ingest", source, out / "data", "--quiet"])


@pytest.fixture(scope="module")
def exportation(commands: Commands, sure_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    def arguments(folder: Path) -> list[str | Path]:
        return ["export", sure_model, "--to", "torch", "--out", folder / "made", "--quiet"]

    return Job(commands, tmp_path_factory.mktemp("export") / "jobs", arguments)


# An export takes half a minute of processor time, so that it is killed only when many kills are asked for.
@pytest.mark.parametrize("name", ["ingestion", "exportation"][: 1 + (KILLS > 2)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_folder_is_whole_or_not_there(request, name: str, number: signal.Signals) -> None:
    job, rng, stopped = request.getfixturevalue(name), random.Random(number), 0
    times = max(KILLS // (4 if name == "ingestion" else 10), 1)
    for turn in range(times):
        label = f"{number.name}{turn}"
        code, folder = job.disturbed(label, number, rng)
        assert code in (0, -number, 128 + number), job.said(label)
        stopped += code != 0
        assert visible(folder).keys() in (set(), job.straight.keys())
        if number == signal.SIGTERM and code == 143:
            assert tree(folder).keys() in (set(), job.straight.keys()), "nothing unfinished is left"
        more = ["--force"] if visible(folder) else []
        assert job.run(label, *more) == 0, job.said(label)
        assert visible(folder).keys() == job.straight.keys()
        if name == "ingestion":
            assert visible(folder) == job.straight
    print(f"\n{name}: {stopped} of {times} stopped by {number.name}")
