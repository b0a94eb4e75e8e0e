"""Row 50 of the plan of faults, and the proof of the Ray engine. Opt-in, minutes:

    pytest tests/bench/test_corpus_commands_killed.py -o addopts= -s

SEQDET_KILLS, SEQDET_VIDEOS and SEQDET_RAY_VIDEOS make them smaller.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqdet.runs.corpus_ledger import Ledger

SEQDET = [sys.executable, "-m", "seqdet"]
KILLS = int(os.environ.get("SEQDET_KILLS", "20"))
VIDEOS = int(os.environ.get("SEQDET_VIDEOS", "100"))
RAY_VIDEOS = int(os.environ.get("SEQDET_RAY_VIDEOS", "200"))
RAY_KILLS = 6


@pytest.fixture
def corpus(make_video, tmp_path):
    """Write a manifest of so many videos, every ``bad``-th of them none."""

    def make(count: int, bad: int = 0) -> Path:
        lines = []
        kinds = [make_video(f"kind{n}.mp4", frames=n).read_bytes() for n in (5, 12, 25, 60)]
        for number in range(count):
            name = f"{number:03d}.mp4"
            lines.append(name)
            is_bad = bad and number % bad == 0
            # Something of its own in each, so that no two are the same file.
            content = b"no video" if is_bad else kinds[number % 4] + number.to_bytes(4, "big") * 2
            (tmp_path / name).write_bytes(content)
        (tmp_path / "list.txt").write_text("\n".join(lines))
        return tmp_path / "list.txt"

    return make


def command(manifest: Path, out: Path, model: Path, *more: str) -> list[str]:
    options = ["--model", str(model), "--runtime", "torch", "--device", "cpu", "--score", "0.001"]
    return [*SEQDET, "detect", "--corpus", str(manifest), "--out-dir", str(out), "--json", *options, *more]


def rows_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("rows/*/*")}


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("rows/*/*")}


def done_of(out: Path) -> dict[str, int]:
    """What the ledger holds as done, and in which attempt."""
    with Ledger(out) as ledger:
        return {record.shown: record.attempts for record in ledger.records("done")}


def test_row_50_some_bad_files_and_the_whole_job_killed(corpus, model_path, tmp_path):
    manifest, out = corpus(VIDEOS, bad=5), tmp_path / "out"
    good = VIDEOS - len(range(0, VIDEOS, 5))
    kills = redone = 0
    done: dict[str, int] = {}
    written: dict[str, int] = {}
    while kills < KILLS:
        with subprocess.Popen(
            command(manifest, out, model_path, "--workers", "2"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as job:
            # By progress, so that something is left for every kill: each may have its share of what is left.
            before = len(stamps(out))
            wanted = random.randint(0, max(0, 2 * good - before) // (KILLS - kills + 1))
            deadline_s = time.monotonic() + 300
            while job.poll() is None and len(stamps(out)) < before + wanted and time.monotonic() < deadline_s:
                time.sleep(0.005)
            time.sleep(random.random() * 0.1)
            ended = job.poll() is not None
            job.send_signal(signal.SIGKILL)
        if ended:
            break
        kills += 1
        if not (out / "ledger.sqlite").exists():
            continue
        now = done_of(out)
        redone += sum(now.get(name) != attempt for name, attempt in done.items())
        after = stamps(out)
        redone += sum(after[name] != stamp for name, stamp in written.items())
        done = now
        keys = set(done)
        written = {
            name: stamp for name, stamp in after.items() if f"{name.split('-')[1].split('.')[0]}.mp4" in keys
        }
        print(f"kill {kills}: {len(done)} done, {redone} redone", flush=True)
    last = subprocess.run(
        command(manifest, out, model_path, "--workers", "2"), capture_output=True, text=True, check=False
    )
    report = json.loads(last.stdout)["corpus"]
    print(f"{kills} kills: {report['done']}/{good} outputs, {redone} redone, exit {last.returncode}")
    assert (report["done"], report["failed"], redone, last.returncode) == (good, VIDEOS - good, 0, 4)
    assert kills == KILLS, "the job was done before the last kill; give it more videos"
    assert len(rows_of(out)) == 2 * good
    assert not (out / "work").exists()


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                below = [int(each) for each in children.read_text().split()]
            except OSError:
                continue
            found += below
            waiting += below
    return found


def actors(pid: int) -> list[int]:
    """Processes of Ray actors below one that are at work."""
    found = []
    for each in descendants(pid):
        try:
            name = Path(f"/proc/{each}/cmdline").read_text()
        except OSError:
            continue
        if name.startswith("ray::RemoteWorker"):
            found.append(each)
    return found


def test_ray_workers_killed_at_random(corpus, model_path, tmp_path):
    pytest.importorskip("ray")
    manifest = corpus(RAY_VIDEOS)
    straight, out = tmp_path / "local", tmp_path / "ray"
    subprocess.run(
        command(manifest, straight, model_path, "--workers", "2"), check=True, stdout=subprocess.DEVNULL
    )
    kills = 0
    with subprocess.Popen(
        command(manifest, out, model_path, "--engine", "ray", "--workers", "3", "--attempts", "9"),
        stdout=subprocess.PIPE,
        text=True,
    ) as job:
        next_kill = random.randint(0, 2 * RAY_VIDEOS // (RAY_KILLS + 1))
        while job.poll() is None:
            if (now := len(stamps(out))) >= next_kill and kills < RAY_KILLS and (alive := actors(job.pid)):
                os.kill(random.choice(alive), signal.SIGKILL)
                kills += 1
                next_kill = now + random.randint(1, (2 * RAY_VIDEOS - now) // (RAY_KILLS + 1 - kills))
                print(f"kill {kills}: {now} files are there", flush=True)
            time.sleep(0.02)
        report = json.loads(job.stdout.read())["corpus"]
    again = sum(record.attempts > 1 for record in _records(out))
    equal = rows_of(out) == rows_of(straight)
    print(
        f"Ray, 3 workers, {kills} killed: {report['done']}/{RAY_VIDEOS} videos, {again} begun again, "
        f"equal to the local run: {equal}, exit {job.returncode}"
    )
    assert kills == RAY_KILLS
    assert (report["done"], report["failed"], job.returncode) == (RAY_VIDEOS, 0, 0)
    assert equal
    assert len(rows_of(out)) == 2 * RAY_VIDEOS
    shutil.rmtree(straight)


def _records(out: Path):
    with Ledger(out) as ledger:
        return list(ledger.records("done"))
