"""Mistakes in names are told before seconds go into loading the libraries of a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "sample_videos" / "airspace_thermal.mp4"


def make(folder: Path) -> None:
    (folder / "empty.mp4").touch()
    (folder / "garbage.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for name in ("there.mp4", "there.csv"):
        (folder / name).write_bytes(b"mine")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["empty.mp4"], 3, "empty.mp4: the file is empty"),
        (["garbage.mp4"], 3, "garbage.mp4: not a video"),
        (["folder"], 3, "folder: no pictures"),
        (["pipe"], 3, "pipe: not a regular file"),
        (["missing.mp4"], 3, "missing.mp4: no such file"),
        ([SAMPLE, "--out", "there.mp4"], 2, "there.mp4: exists already"),
        ([SAMPLE, "--out", "a.bogus"], 2, "a.bogus: a video is written as"),
        ([SAMPLE, "--out", "nowhere/a.mp4"], 2, "does not exist"),
        ([SAMPLE, "--save", "there.csv"], 2, "there.csv exists"),
        ([SAMPLE, "--save", "rows.xls"], 2, "its name must end in"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
def test_one_line_without_pytorch(tmp_path: Path, arguments: list[str | Path], code: int, words: str):
    make(tmp_path)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "seqdet", "detect", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SAMPLE.parents[1])},
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == code, said
    assert len(said) == 1
    assert words in said[0]
    assert "| torch\n" not in done.stderr
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"
