"""``seqdet detect`` as a whole: what it writes, what it refuses, and what is left when it is stopped."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from seqdet.cli.app import build

SEQDET = [sys.executable, "-c", "from seqdet.cli.app import main; main()"]


@pytest.fixture
def detect(model_path, tmp_path, monkeypatch):
    """Run ``seqdet detect`` with the tiny model in the folder of the test."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, score: str = "0.001"):
        given = [str(argument) for argument in arguments]
        return CliRunner().invoke(build(), ["detect", *given, "--model", str(model_path), "--score", score])

    return run


def frames_and_times(path: Path) -> tuple[int, list[float]]:
    with av.open(str(path)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    return len(times), times


def rows_of(path: Path) -> tuple[list[dict], list[dict]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [r for r in rows if r["type"] == "detection"], [r for r in rows if r["type"] == "sequence"]


def left_over(folder: Path, known: Sequence[str]) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} - set(known))


def test_the_contract_of_video_rows_and_json(detect, make_video, tmp_path):
    make_video("sky.mp4", frames=12)
    ran = detect("sky.mp4", "--out", "out.mp4", "--save", "rows.jsonl", "--json")
    assert ran.exit_code == 0, ran.stderr
    (source,) = json.loads(ran.stdout)["sources"]
    keys = "source frames decoded detections tracks fps seconds out label score"
    assert set(keys.split()) <= set(source)
    assert [source[key] for key in ("source", "frames", "decoded", "out")] == ["sky.mp4", 12, 12, "out.mp4"]

    detections, (sequence,) = rows_of(tmp_path / "rows.jsonl")
    assert len(detections) == source["detections"] > 0, "the tiny model reports something at this score"
    assert (sequence["frames"], sequence["label"]) == (12, source["label"])
    assert len(sequence["tracks"]) == source["tracks"]
    for row in detections:
        assert row["source"] == "sky.mp4"
        assert row["time_s"] == pytest.approx(row["frame"] / 25, abs=1e-3)
        x1, y1, x2, y2 = row["box_xyxy_px"]
        assert 0 <= x1 < x2 <= 64
        assert 0 <= y1 < y2 <= 48
        assert row["track_id"] >= 1 or (row["track_id"], row["track_label"]) == (-1, ""), "no track yet"
        assert 0 <= row["score"] <= 1
        assert {row["label"], row["track_label"]} <= {"drone", "bird", ""}
    count, times = frames_and_times(tmp_path / "out.mp4")
    assert count == 12
    assert np.allclose(times, np.arange(12) / 25, atol=1e-3)
    assert left_over(tmp_path, ["sky.mp4", "out.mp4", "rows.jsonl"]) == []


def test_without_outputs_it_prints_a_table_and_writes_nothing(detect, make_video, tmp_path):
    make_video("sky.mp4")
    ran = detect("sky.mp4", "--max-frames", "3")
    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[1].split()[:2] == ["sky.mp4", "3"]
    assert left_over(tmp_path, ["sky.mp4"]) == []


@pytest.mark.parametrize("option", ["--out", "--save"])
def test_what_exists_is_replaced_only_with_force(detect, make_video, tmp_path, option):
    make_video("sky.mp4", frames=4)
    target = tmp_path / ("old.mp4" if option == "--out" else "old.jsonl")
    target.write_bytes(b"precious")
    refused = detect("sky.mp4", option, target)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--force" in refused.stderr
    assert target.read_bytes() == b"precious"
    assert detect("sky.mp4", option, target, "--force").exit_code == 0
    assert target.read_bytes() != b"precious"


def test_the_input_is_never_the_output(detect, make_video, tmp_path):
    video = make_video("sky.mp4", frames=4)
    before = video.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video)
    (tmp_path / "hard.mp4").hardlink_to(video)
    for out in ["sky.mp4", "link.mp4", "hard.mp4"]:
        assert detect("sky.mp4", "--out", out, "--force").exit_code == 2
    assert video.read_bytes() == before


def make_bad(path: Path, kind: str) -> None:
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is not a video\n" * 50)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sound":
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(b"\0\0" * 8000)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "folder", "sound"])
def test_an_input_that_cannot_be_read_is_one_line_and_3(detect, tmp_path, kind):
    path = tmp_path / ("bad.wav" if kind == "sound" else "bad.mp4")
    make_bad(path, kind)
    ran = detect(path.name, "--out", "out.mp4", "--save", "rows.jsonl")
    assert ran.exit_code == 3, ran.stderr
    assert ran.stderr.startswith("error: ")
    assert path.name in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stdout == ""
    assert "out.mp4" not in left_over(tmp_path, [])


@pytest.mark.parametrize("out", ["absent/out.mp4", "sky.mp4/out.mp4", "out.xyz", "out"])
def test_an_unwritable_output_is_refused_before_the_first_frame(detect, make_video, tmp_path, out):
    make_video("sky.mp4", frames=4)
    ran = detect("sky.mp4", "--out", out)
    assert (ran.exit_code, ran.stdout) == (2, ""), ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert left_over(tmp_path, ["sky.mp4"]) == []


def test_a_truncated_video_gives_what_it_holds_and_says_what_is_missing(detect, make_video, tmp_path):
    whole = make_video("sky.mkv", frames=100, size_wh=(96, 64)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    ran = detect("cut.mkv", "--out", "out.mp4", "--save", "rows.jsonl", "--json")
    assert ran.exit_code == 4, ran.stderr
    (source,) = json.loads(ran.stdout)["sources"]
    assert 10 < source["frames"] < 100
    assert frames_and_times(tmp_path / "out.mp4")[0] == source["frames"]
    assert rows_of(tmp_path / "rows.jsonl")[1][0]["frames"] == source["frames"]
    assert "cut.mkv" in ran.stderr


def test_of_several_sources_the_bad_one_does_not_stop_the_others(detect, make_video, tmp_path):
    make_video("a.mp4", frames=4)
    make_video("c.mp4", frames=5)
    (tmp_path / "b.mp4").write_text("no video")
    ran = detect("a.mp4", "b.mp4", "c.mp4", "--out", "outs", "--save", "rows.jsonl", "--json")
    assert ran.exit_code == 4
    assert [source["frames"] for source in json.loads(ran.stdout)["sources"]] == [4, 0, 5]
    assert "b.mp4" in ran.stderr
    assert [frames_and_times(tmp_path / "outs" / name)[0] for name in ("a.mp4", "c.mp4")] == [4, 5]
    assert [row["source"] for row in rows_of(tmp_path / "rows.jsonl")[1]] == ["a.mp4", "c.mp4"]


@pytest.mark.parametrize("kind", ["missing", "cut", "pickle", "text", "empty run"])
def test_a_model_that_is_none_is_refused_and_runs_no_code(make_video, model_path, tmp_path, kind):
    make_video("sky.mp4", frames=2)
    bad = tmp_path / "bad.safetensors"
    if kind == "cut":
        bad.write_bytes(model_path.read_bytes()[:-1000])
    elif kind == "pickle":
        bad.write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    elif kind == "text":
        bad.write_text("weights" * 100)
    elif kind == "empty run":
        bad.mkdir()
    ran = CliRunner().invoke(build(), ["detect", str(tmp_path / "sky.mp4"), "--model", str(bad)])
    assert ran.exit_code == (2 if kind in ("missing", "empty run") else 3), ran.stderr
    assert "bad.safetensors" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert left_over(tmp_path, ["sky.mp4", "bad.safetensors"]) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle_it_leaves_a_playable_file_and_a_valid_report(
    make_video, model_path, tmp_path, number, code
):
    make_video("sky.mp4", frames=1000, size_wh=(32, 32))
    options = ["--model", str(model_path), "--score", "0.001", "--out", "out.mp4", "--save", "rows.jsonl"]
    with subprocess.Popen(
        [*SEQDET, "detect", "sky.mp4", *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests may have been told to ignore it (nohup, a job in the background).
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        try:
            deadline = time.monotonic() + 60
            partial = tmp_path / ".out.mp4.partial.mp4"
            while not (partial.exists() and partial.stat().st_size > 4000):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err
    count, _ = frames_and_times(tmp_path / "out.mp4")
    _, (sequence,) = rows_of(tmp_path / "rows.jsonl")
    assert 0 < count < 1000
    assert abs(sequence["frames"] - count) <= 1
    assert left_over(tmp_path, ["sky.mp4", "out.mp4", "rows.jsonl"]) == []


def test_a_disk_that_fills_up_is_6_and_what_was_there_stays(make_video, model_path, tmp_path):
    make_video("sky.mp4", frames=60, size_wh=(128, 96))
    (tmp_path / "out.mp4").write_bytes(b"precious")

    def allow_little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    command = [*SEQDET, "detect", "sky.mp4", "--model", str(model_path), "--out", "out.mp4", "--force"]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=allow_little, check=False
    )
    assert ran.returncode == 6, ran.stderr
    assert (ran.stdout, "Traceback" in ran.stderr) == ("", False)
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"
