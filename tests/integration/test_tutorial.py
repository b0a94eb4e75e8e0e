"""Every command of docs/tutorial-cvat.md runs, in its order, on a CVAT export; the training is shorter."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqdet.cli import app as face
from seqdet.runs.convert import convert
from seqdet.runs.synth import synth

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial-cvat.md"
# What the page takes minutes for.
QUICK = {
    "train": ["--set", "train.steps=2", "--set", "model.channels=8", "--set", "train.evaluate_clips=1"],
    "eval": ["--no-controls"],
}


def commands() -> list[list[str]]:
    """The words of every line of the page that begins with ``$ seqdet``."""
    lines = re.findall(r"^\$ seqdet (.*?)(?:\s+#.*)?$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = synth(tmp_path / "made", task="discs-appearance", sequences=6, frames=14, seed=3).out
    convert(data, tmp_path / "export", to="cvat", videos="copy")
    shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "export")
    shutil.copyfile(next((tmp_path / "export" / "videos").iterdir()), tmp_path / "new.mp4")
    (tmp_path / "configs").mkdir()
    shutil.copyfile(ROOT / "configs" / "small.yaml", tmp_path / "configs" / "small.yaml")
    shutil.rmtree(tmp_path / "made")
    shutil.rmtree(tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    found = commands()
    steps = ("ingest", "check", "preview", "train", "eval", "detect", "convert")
    assert tuple(words[0] for words in found) == steps, "the way from an export to a model and back"
    for words in found:
        words = [*words, *QUICK.get(words[0], []), "--quiet"]
        result = CliRunner().invoke(face.build(), words)
        if words[0] == "convert" and "there is no detection in it" in result.output:
            continue  # after two steps of training a model may find nothing
        assert result.exit_code == 0, f"seqdet {shlex.join(words)}\n{result.output}"
    for made in (
        "mine-check/check.html",
        "preview.png",
        "runs/mine/last.safetensors",
        "mine-eval/report.html",
        "found.mp4",
        "rows.jsonl",
    ):
        assert (tmp_path / made).stat().st_size > 0
