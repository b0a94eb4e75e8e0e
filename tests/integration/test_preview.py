"""``seqdet preview``, whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from seqdet.cli import app as face
from seqdet.runs.synth import synth

SMALL = ["--set", "model.input_size_wh=[64, 64]", "--set", "data.cache_gib=0.1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth(
        tmp_path_factory.mktemp("preview") / "data", task="discs", sequences=4, frames=12, seed=1
    ).out


def run(*arguments: object):
    return CliRunner().invoke(face.build(), ["preview", *map(str, arguments)])


def test_a_sheet_of_clips_with_their_boxes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = run(data, "--out", out, "--clips", 3, "--columns", 2, "--json", "--quiet", *SMALL)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert len(report["clips"]) == 3
    sheet = np.asarray(Image.open(out))
    assert sheet.shape[0] == 3 * (64 + 14)
    assert sheet.shape[1] in (64, 128)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 50, "pictures, not a plain field"
    before = out.read_bytes()
    assert run(data, "--out", out, *SMALL).exit_code == 2
    assert out.read_bytes() == before
    assert run(data, "--out", out, "--force", "--seed", 5, *SMALL).exit_code == 0
    assert out.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--stage", "nothing"], 2, "stages of this configuration"),
        (["--out", "sheet.txt"], 2, ".png"),
        (["--set", "data.split=test"], 3, "test"),
    ],
)
def test_what_cannot_be_shown_is_said(data: Path, tmp_path: Path, arguments, code, said) -> None:
    result = run(data, "--out", tmp_path / "x.png", *SMALL, *arguments)
    assert result.exit_code == code
    assert said in result.output
    assert not (tmp_path / "x.png").exists()
