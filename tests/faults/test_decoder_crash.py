"""A decoder that ends its process, hangs, or is ended for want of memory: exit code 3 for that file alone."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.video import rehearsal

# The other process with a decoder that fails on files by their names, as real ones do by their content.
FRAGILE = """
import os, signal, time
import seqdet.video.reader as reader
whole = reader.open_video
def fragile(name, **options):
    if "abort" in name: os.abort()
    if "memory" in name: os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in name: time.sleep(600)
    return whole(name, **options)
reader.open_video = fragile
import seqdet.video.rehearsal as rehearsal
rehearsal.LIMIT_S = 1
rehearsal.main()
"""


@pytest.fixture(autouse=True)
def _a_fragile_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "command", lambda: [sys.executable, "-P", "-c", FRAGILE])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("abort.mp4", "crashes the decoder .SIGABRT."),
        ("memory.mp4", "memory is short"),
        ("hang.mp4", "not decoded within"),
    ],
)
def test_it_is_one_line_and_3(
    name: str, words: str, make_video: Callable[..., Path], model_path: Path
) -> None:
    path = make_video(name, frames=2)
    ran = CliRunner().invoke(build(), ["detect", str(path), "--model", str(model_path)])
    assert ran.exit_code == 3, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert re.search(words, line)


def test_of_several_files_the_others_are_done(
    make_video: Callable[..., Path], model_path: Path, tmp_path: Path
) -> None:
    names = [
        str(make_video(name, frames=3)) for name in ("a.mp4", "abort1.mp4", "b.mp4", "abort2.mp4", "c.mp4")
    ]
    rows = tmp_path / "rows.jsonl"
    ran = CliRunner().invoke(
        build(), ["detect", *names, "--save", str(rows), "--model", str(model_path), "--json"]
    )
    assert ran.exit_code == 4, ran.stderr
    assert [source["frames"] for source in json.loads(ran.stdout)["sources"]] == [3, 0, 3, 0, 3]
    assert len([line for line in ran.stderr.splitlines() if "crashes the decoder" in line]) == 2
    told = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["source"] for row in told if row["type"] == "sequence"] == names[::2]


def test_no_process_is_left_behind_whoever_leaves(make_video: Callable[..., Path]) -> None:
    with rehearsal.Rehearsal([str(make_video("hang.mp4", frames=2))]) as begun:
        pid = begun._process.pid
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
