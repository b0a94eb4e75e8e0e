"""``detect --every`` and ``--fps-target``: every frame has its boxes, whichever the network saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqdet.cli.app import build


def _run(*arguments: str | Path):
    return CliRunner().invoke(build(), ["detect", *(str(argument) for argument in arguments)])


def test_every_frame_is_there_and_the_report_says_which_were_seen(make_video, sure_model, tmp_path) -> None:
    video = make_video("sky.mp4", frames=11)
    ran = _run(video, "--model", sure_model, "--every", "3", "--save", tmp_path / "rows.jsonl", "--json")
    assert ran.exit_code == 0, ran.stderr
    (source,) = json.loads(ran.stdout)["sources"]
    assert (source["frames"], source["decoded"], source["every"]) == (11, 11, 3)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["frame"] for row in rows if row["type"] == "detection"} == set(range(11))
    for row in rows[:-1]:
        x1, y1, x2, y2 = row["box_xyxy_px"]
        assert 0 <= x1 < x2 <= 64
        assert 0 <= y1 < y2 <= 48
    assert rows[-1]["frames"] == 11


def test_a_target_out_of_reach_is_a_warning(make_video, sure_model) -> None:
    ran = _run(make_video("sky.mp4"), "--model", sure_model, "--runtime", "torch", "--fps-target", "9999")
    assert ran.exit_code == 0, ran.stderr
    assert "--fps-target chose --every 3" in ran.stderr
    assert "below the 9999 of --fps-target" in ran.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--every", "2", "--fps-target", "30"], "give one of the two"),
        (["--fps-target", "0"], "--fps-target 0: give frames a second"),
        (["--corpus", "list.txt", "--out-dir", "run", "--every", "2"], "--corpus takes no --every"),
    ],
)
def test_what_makes_no_sense_is_refused(make_video, options: list[str], message: str) -> None:
    sources = [] if "--corpus" in options else [str(make_video("sky.mp4"))]
    ran = _run(*sources, *options)
    assert ran.exit_code == 2
    assert message in " ".join(ran.stderr.split())
