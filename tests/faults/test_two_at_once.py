"""Two processes on one output: the second is told and harms nothing; what a kill left is no obstacle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from seqdet.claim import Claim, alone_in
from seqdet.errors import OutputError, UsageError
from seqdet.results.sinks import open_sink
from seqdet.runs.synth import synth
from seqdet.runs.train import built_in_config, train
from seqdet.video.writer import VideoWriter

PICTURE = np.zeros((32, 32, 3), np.uint8)


def test_rows_and_video_have_one_writer(tmp_path: Path) -> None:
    rows, video = tmp_path / "rows.jsonl", tmp_path / "out.mp4"
    with open_sink(rows, ("a",)) as sink, VideoWriter(video, size_wh=(32, 32)) as writer:
        writer.write(PICTURE, 0.0)
        part = sink.part_path.read_bytes()
        for overwrite in (False, True):
            with pytest.raises(UsageError, match="another process is writing it"):
                open_sink(rows, ("a",), overwrite=overwrite)
            with pytest.raises(UsageError, match="another process is writing it"):
                VideoWriter(video, size_wh=(32, 32), overwrite=overwrite)
        assert sink.part_path.read_bytes() == part
        writer.write(PICTURE, 0.1)
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "rows.jsonl"]
    with (
        open_sink(rows, ("a",), overwrite=True),
        VideoWriter(video, size_wh=(32, 32), overwrite=True) as again,
    ):
        again.write(PICTURE, 0.0)


def test_what_a_killed_writer_left_is_written_anew(tmp_path: Path) -> None:
    code = """
import os, signal, sys, numpy as np
from seqdet.results.sinks import open_sink
from seqdet.video.writer import VideoWriter
open_sink(sys.argv[1] + "/rows.jsonl", ("a",))
writer = VideoWriter(sys.argv[1] + "/out.mp4", size_wh=(32, 32))
for index in range(100): writer.write(np.zeros((32, 32, 3), np.uint8), index / 25)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == [".out.mp4.partial.mp4", "rows.jsonl.part"]
    with open_sink(tmp_path / "rows.jsonl", ("a",)), VideoWriter(tmp_path / "out.mp4", size_wh=(32, 32)) as w:
        w.write(PICTURE, 0.0)
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "rows.jsonl"]


def test_an_unfinished_file_is_no_way_to_another_one(tmp_path: Path) -> None:
    """Who may write in the folder may put a link there; what it points to is not overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "rows.jsonl.part").symlink_to(precious)
    (tmp_path / ".out.mp4.partial.mp4").symlink_to(precious)
    with pytest.raises(UsageError, match="cannot"):
        open_sink(tmp_path / "rows.jsonl", ("a",))
    with pytest.raises(UsageError, match="cannot"):
        VideoWriter(tmp_path / "out.mp4", size_wh=(32, 32))
    assert precious.read_text() == "kept"


def test_many_that_want_one_name_take_turns(tmp_path: Path) -> None:
    """Each makes the file, gives it its final name and lets go; nobody ever holds a name that is gone."""
    part, final, held, refused = tmp_path / "part", tmp_path / "final", [], []

    def work(number: int) -> None:
        for _ in range(200):
            try:
                claim = Claim(part, final)
            except UsageError:
                refused.append(number)
                continue
            held.append(number)
            assert held == [number], "alone"
            part.write_text(str(number))
            assert part.read_text() == str(number)
            held.remove(number)
            part.replace(final)  # from here on the name is free
            claim.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert final.exists()
    assert not part.exists()


def test_a_run_has_one_trainer(tmp_path: Path) -> None:
    data = synth(tmp_path / "data", task="discs", sequences=2, frames=4).out
    run = tmp_path / "run"
    for held in (True, False):  # a folder that is there, and one that is made for the training
        with alone_in(run):
            for options in ({"out": run}, {"resume": run}, {"out": run, "force": True}):
                with pytest.raises(UsageError, match="another process"):
                    train(data, config=built_in_config(), device="cpu", **options)
        assert run.exists() == (not held)
        run.mkdir(exist_ok=True)
        (run / "config.yaml").write_text("kept")
    with pytest.raises(OutputError, match="cannot be written"), alone_in(run / "config.yaml" / "deeper"):
        pass
