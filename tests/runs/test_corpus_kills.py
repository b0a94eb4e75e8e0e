"""Row 50 of the plan of faults: some files are bad and the job is killed again and again; the others finish.

A small one here; SEQDET_VIDEOS=100 SEQDET_KILLS=20 is the whole row. The job is a process that works on the
videos itself, forked from one that has imported everything, so that it can be killed often.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
from in_process_engine import InProcess

from seqdet.runs import corpus
from seqdet.runs.corpus import CorpusOptions, detect_corpus
from seqdet.runs.corpus_ledger import NAME, Ledger
from seqdet.runs.corpus_worker import output_name

VIDEOS = int(os.environ.get("SEQDET_VIDEOS", "20"))
KILLS = int(os.environ.get("SEQDET_KILLS", "4"))
BAD = 5  # every fifth
GOOD = sum(1 for number in range(VIDEOS) if number % BAD)


class Held(InProcess):
    """Waits at the last video of all for the kill that is to come."""

    def wait(self, timeout_s):
        done = len(list(Path(self.worker.job.folder).glob("rows/*/*.parquet")))
        while done >= GOOD - 1:
            time.sleep(1)
        return super().wait(timeout_s)


def job(manifest: Path, out: Path, model: Path, is_killed: bool) -> None:
    """One whole command."""
    corpus._engine = lambda job, options, units: Held(job) if is_killed else InProcess(job)
    options = CorpusOptions(runtime="torch", device="cpu", score=0.001)
    os._exit(detect_corpus(manifest, out, model, options).exit_code)


def finished(out: Path, folder: Path) -> dict[str, tuple]:
    """What the ledger holds as done: attempt and the times of its files."""
    if not (out / NAME).exists():
        return {}
    with Ledger(out) as ledger:
        records = list(ledger.records("done"))
    found = {}
    for record in records:
        base = output_name(str(folder / record.shown))
        stamps = [(out / f"{base}.{kind}").stat().st_mtime_ns for kind in ("jsonl", "parquet")]
        found[record.shown] = (record.attempts, *stamps)
    return found


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_some_bad_files_and_the_job_killed_again_and_again(make_video, model_path, tmp_path):
    kinds = [make_video(f"kind{n}.mp4", frames=n).read_bytes() for n in (5, 12, 25, 60)]
    names = [f"{number:03d}.mp4" for number in range(VIDEOS)]
    for number, name in enumerate(names):
        content = kinds[number % 4] + bytes(8) + number.to_bytes(4, "big")
        (tmp_path / name).write_bytes(content if number % BAD else b"no video")
    manifest, out = tmp_path / "list.txt", tmp_path / "out"
    manifest.write_text("\n".join(names))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["seqdet.runs.corpus", "pyarrow.parquet", "in_process_engine"])
    redone, held, kills = 0, {}, 0
    for kill in range(KILLS + 1):
        process = context.Process(target=job, args=(manifest, out, model_path, kill < KILLS))
        process.start()
        if kill == KILLS:
            process.join(600)
            break
        wanted = 2 * min(len(held) + random.randint(0, max(1, GOOD // KILLS)), GOOD - 1)
        while len(list(out.glob("rows/*/*"))) < wanted and process.is_alive():
            time.sleep(0.002)
        time.sleep(random.random() * 0.05)
        process.kill()
        process.join(10)
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        now = finished(out, tmp_path)
        redone += sum(now.get(name) != before for name, before in held.items())
        held = now
        print(f"kill {kill + 1}: {len(held)} done, {redone} redone", flush=True)
    now = finished(out, tmp_path)
    redone += sum(now.get(name) != before for name, before in held.items())
    print(f"{kills} kills: {len(now)}/{GOOD} outputs, {redone} redone, exit {process.exitcode}")
    assert (len(now), redone, process.exitcode) == (GOOD, 0, 4)
    assert len(list(out.glob("rows/*/*"))) == 2 * GOOD
    with Ledger(out) as ledger:
        failed = list(ledger.records("failed"))
    assert [record.shown for record in failed] == names[::BAD]
