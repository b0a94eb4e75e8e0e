"""The whole of ``seqdet live``: rows on stdout, exit codes, Ctrl-C, and no password anywhere."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rtsp_server import RtspServer
from typer.testing import CliRunner

from seqdet.cli import app as face


def live(*arguments: object):
    return CliRunner().invoke(face.build(), ["live", *map(str, arguments)], prog_name="seqdet")


def test_a_file_gives_rows_and_an_account(model_path: Path, make_video, tmp_path: Path) -> None:
    saved = tmp_path / "rows.jsonl"
    path = make_video("sky.mp4", frames=12)
    ran = live(
        path, "--view", "none", "--model", model_path, "--device", "cpu", "--score", 0.001, "--save", saved
    )
    assert ran.exit_code == 0, ran.stderr
    shown = [json.loads(line) for line in ran.stdout.splitlines()]
    written = [json.loads(line) for line in saved.read_text("utf-8").splitlines()]
    assert [row for row in shown if row["type"] == "detection"] == written[:-1] != []
    assert written[-1]["type"] == "sequence"
    assert "12 pictures came" in ran.stderr


def test_json_is_one_object(model_path: Path, make_video) -> None:
    path = make_video("sky.mp4", frames=5)
    ran = live(path, "--loop", "--view", "none", "--model", model_path, "--max-frames", 8, "--json", "-q")
    assert (ran.exit_code, ran.stderr) == (0, "")
    report = json.loads(ran.stdout)
    assert report["detected"] == 8
    assert report["captured"] >= report["detected"] + report["dropped"]
    assert report["outlets"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["97"], 3, "camera 97: no such camera"),
        (["absent.mp4"], 3, "absent.mp4: no such file"),
        (["rtsp://me:secret@nowhere.invalid/1"], 3, "no computer named nowhere.invalid"),
        (["rtsp://me:secret@127.0.0.1:1/1", "--max-seconds", "1"], 3, "connection refused"),
        (["0", "--loop"], 2, "--loop repeats a file"),
        (["0", "--webhook", "file:///etc/passwd"], 2, "--webhook"),
        (["0", "--save", "rows.xyz"], 2, "rows.xyz"),
        (["0", "--score", "0"], 2, "--score"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], code: int, words: str, model_path: Path) -> None:
    ran = live(*arguments, "--view", "none", "--model", model_path, "-q")
    assert (ran.exit_code, ran.stdout) == (code, "")
    assert words in ran.stderr
    assert ran.stderr.count("error: ") == 1
    assert "secret" not in ran.stderr


def test_a_wrong_password_ends_it_and_is_not_shown(model_path: Path) -> None:
    with RtspServer(login="guard:open-sesame") as server:
        ran = live(server.url_with("guard:wrong-words"), "--view", "none", "--model", model_path)
        assert server.connections == 1
    assert ran.exit_code == 3
    assert "wrong user name or password" in ran.stderr
    assert "wrong-words" not in ran.stderr + ran.stdout


def test_a_window_without_a_display_is_an_error_and_no_abort(
    model_path: Path, make_video, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    ran = live(make_video("sky.mp4"), "--view", "window", "--model", model_path)
    assert ran.exit_code == 2
    assert "--view browser" in ran.stderr


def test_the_page_says_how_to_install_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ran = live("0")
    assert ran.exit_code == 5
    assert "pip install" in ran.stderr


def test_others_see_the_page_only_with_a_token(
    model_path: Path, make_video, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 36: refused without one, and what to type is said; with one it runs, and warns."""
    video = ["--model", model_path, "--device", "cpu", "--port", 0, "--max-frames", 2, "--host", "0.0.0.0"]
    monkeypatch.delenv("SEQDET_TOKEN", raising=False)
    sky = make_video("sky.mp4")
    refused = live(sky, *video)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "error: --host 0.0.0.0" in refused.stderr
    assert "type --host 0.0.0.0 --token new" in refused.stderr
    assert "open http" not in refused.stderr
    made = live(sky, *video, "--token", "new")
    monkeypatch.setenv("SEQDET_TOKEN", "out-of-the-environment")
    known = live(sky, *video)
    for ran in (made, known):
        assert ran.exit_code == 0, ran.stderr
        assert ran.stderr.count("?token=") == 1
        assert "plain HTTP" in ran.stderr
    assert re.search(r"open http://\S+:\d+/\?token=[\w-]{32} ", made.stderr)
    assert "?token=out-of-the-environment " in known.stderr


def lying_clock(path: Path) -> dict[str, str]:
    """The environment of a program whose wall clock is off by what the file says; the steady clock is not."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        told = "no libfaketime on this machine; apt-get install faketime"
        pytest.fail(told) if os.environ.get("CI") == "true" else pytest.skip(told)
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(path),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_a_clock_that_is_set_changes_no_time_of_a_picture(model_path: Path, tmp_path: Path) -> None:
    """Row 31: an hour forth, two back, while a stream with jitter and losses is watched."""
    step = tmp_path / "step"
    step.write_text("+0")
    environment = {**os.environ, **lying_clock(step)}
    with RtspServer() as server:
        server.loses, server.jitter_s = 0.02, 0.08
        command = [sys.executable, "-m", "seqdet", "live", server.url, "--view", "none", "--device", "cpu"]
        command += ["--model", str(model_path), "--score", "0.001"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            times_s, walls_s = [], []
            for offset in ("+0", "+3600", "-3600"):
                step.write_text(offset)
                frames: set[int] = set()
                while len(frames) < 15:
                    row = json.loads(process.stdout.readline())
                    if row["type"] == "detection":
                        frames.add(row["frame"])
                        times_s.append(row["time_s"])
                    elif row["type"] == "event":
                        walls_s.append(row["wall_time_s"])
            assert process.poll() is None
            process.kill()
            _, err = process.communicate()
    assert "Traceback" not in err
    assert times_s == sorted(times_s)
    assert max(after - before for before, after in itertools.pairwise(times_s)) < 60, "no hour passed"
    assert max(walls_s) - min(walls_s) > 3000, "the clock was set indeed"


def heed_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_whole_rows(model_path: Path, make_video: Callable[..., Path], tmp_path: Path) -> None:
    saved = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "seqdet", "live", str(make_video("sky.mp4")), "--loop", "--view", "none"]
    command += ["--model", str(model_path), "--score", "0.001", "--save", str(saved)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
        preexec_fn=heed_ctrl_c,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "detection"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "pictures came" in err
    rows = [json.loads(line) for line in saved.read_text("utf-8").splitlines()]
    assert rows[-1]["type"] == "sequence"
