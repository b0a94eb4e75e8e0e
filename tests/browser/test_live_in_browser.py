"""`seqdet live` itself, with the shipped model on a video that goes round, seen in a real browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from packaged_rtsp import PackagedRtspServer
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def live(folder: Path, source: str, *options: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The command, and the address that it says."""
    command = [sys.executable, "-m", "seqdet", "live", source, *options, "--port", "0", "--folder", "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
        # What a shell starts in the background ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            for line in process.stderr:
                if found := re.match(r"open (http://127\.0\.0\.1:\d+/)", line):
                    break
            yield process, found.group(1)
        finally:
            process.kill()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """On a sample that is played again and again."""
    with live(tmp_path, str(ROOT / "sample_videos" / "airspace_thermal.mp4"), "--loop") as command:
        yield command


def test_the_command_shows_finds_counts_and_records(browser, open_page, running, tmp_path: Path):
    process, address = running
    page = open_page(address)
    page.context.set_default_timeout(40_000)
    expect(page.locator("#state")).to_have_text("Live", timeout=40_000)
    expect(page.locator("#tracks li").first).to_contain_text(
        re.compile(r"(airplane|bird|drone|helicopter) #\d+"), timeout=40_000
    )
    page.get_by_text("By numbers").click()
    for side, value in (("Left", "0"), ("Top", "0"), ("Right", "100"), ("Bottom", "100")):
        page.get_by_label(f"{side} %").fill(value)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#zones li")).to_contain_text(re.compile(r"[1-9]\d* entered"), timeout=40_000)
    expect(page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"), timeout=40_000)
    page.locator("#record").click()
    expect(page.locator("#record")).to_have_text(re.compile("Stop 0:0[1-9]"), timeout=40_000)
    process.send_signal(signal.SIGINT)
    expect(page.locator("#state")).to_have_text("Offline", timeout=40_000)
    assert process.wait(40) == 130
    (recording,) = tmp_path.glob("*.mp4")
    with av.open(str(recording)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 2
    assert list(tmp_path.iterdir()) == [recording]


def test_a_camera_that_is_killed_is_said_with_the_pictures_age_and_comes_back(
    browser, open_page, model_path: Path, tmp_path: Path
):
    with (
        PackagedRtspServer() as server,
        live(tmp_path, server.url, "--model", str(model_path), "--device", "cpu") as (_, address),
    ):
        page = open_page(address)
        page.context.set_default_timeout(40_000)
        expect(page.locator("#state")).to_have_text("Live", timeout=40_000)
        server.kill()
        expect(page.locator("#state")).to_have_text("Lost", timeout=40_000)
        expect(page.locator("#banner")).to_contain_text("trying again")
        expect(page.locator("#banner-age")).to_have_text(re.compile(r"The picture is \d+(\.\d)? s old"))
        expect(page.locator("#events")).to_contain_text("connection")
        server.start()
        expect(page.locator("#state")).to_have_text("Live", timeout=40_000)
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#events")).to_contain_text("pictures come again")
