"""How soon a lost stream is back, how far a slow consumer is behind, and what fifty viewers cost.

Opt-in: uv run pytest tests/bench/test_live_faults.py -o addopts= -s
SEQDET_FAULT_CYCLES=20 makes the first shorter, SEQDET_SLOW_MINUTES=1 the third. Rows are of the fault plan.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from packaged_rtsp import PackagedRtspServer
from page_viewers import pictures_in, port_of, silent_viewer
from rtsp_server import NUMBERS, RtspServer, read_number
from scripted_source import until

from seqdet.runs.live import LiveSession, open_live
from seqdet.serve.server import serve
from seqdet.video.camera import Camera
from seqdet.video.live_source import live_source

CYCLES = int(os.environ.get("SEQDET_FAULT_CYCLES", "100"))
SLOW_MINUTES = float(os.environ.get("SEQDET_SLOW_MINUTES", "10"))
SOON_S = 60.0


def until_back(camera: Camera, times: int) -> float:
    """Seconds until pictures come again."""
    return until(lambda: camera.status().reconnects >= times, SOON_S)


def test_a_packaged_server_that_is_killed_again_and_again() -> None:
    """Row 28: SIGKILL, some time of nothing, and the server is started again."""
    waits_s, chance = [], np.random.default_rng(0)
    with PackagedRtspServer() as server, Camera(live_source(server.url)[1]) as camera:
        assert camera.take(SOON_S) is not None
        for cycle in range(CYCLES):
            server.kill()
            until(lambda: camera.status().state == "lost", SOON_S)
            time.sleep(chance.uniform(0, 3))
            server.start()
            waits_s.append(until_back(camera, cycle + 1))
    ninety_fifth = float(np.quantile(waits_s, 0.95))
    print(
        f"\n{CYCLES} times killed and started: first picture after {statistics.median(waits_s):.2f} s in the"
    )
    print(f"median, {ninety_fifth:.2f} s at 95 %, {max(waits_s):.2f} s at most")
    assert ninety_fifth <= 3


def test_a_minute_without_the_server() -> None:
    """Back without a restart of anything."""
    with PackagedRtspServer() as server, Camera(live_source(server.url)[1]) as camera:
        assert camera.take(SOON_S) is not None
        server.kill()
        time.sleep(60)
        status = camera.status()
        assert status.state == "lost"
        assert status.age_s >= 59
        server.start()
        waited_s = until_back(camera, 1)
    print(f"\nafter {status.age_s:.0f} s without pictures ({status.message}): back after {waited_s:.2f} s")
    assert waited_s <= 3


def test_a_slow_consumer_is_never_behind() -> None:
    """Row 30: five looks a second at 25 pictures a second."""
    lags_s = []
    with RtspServer() as server, Camera(live_source(server.url)[1]) as camera:
        assert camera.take(SOON_S) is not None
        end_s = time.monotonic() + 60 * SLOW_MINUTES
        while time.monotonic() < end_s:
            time.sleep(0.2)
            captured = camera.take(SOON_S)
            assert captured is not None
            lags_s.append((server.number_now() - read_number(captured.rgb)) % NUMBERS / server.fps)
        status = camera.status()
    print(f"\n{len(lags_s)} looks at {status.captured} pictures, {status.dropped} dropped:")
    print(f"lag {statistics.median(lags_s):.2f} s in the median, {max(lags_s):.2f} s at most")
    assert max(lags_s) <= 0.5


@contextmanager
def shown(session: LiveSession, folder: Path) -> Iterator[int]:
    """The page of a session; its port. It ends with the session."""
    ready, ports = threading.Event(), []

    def on_ready(address: str) -> None:
        ports.append(port_of(address))
        ready.set()

    def run() -> None:
        with pytest.raises(Exception, match="as asked for"):
            serve(session, port=0, folder=folder, on_ready=on_ready)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(SOON_S)
    yield ports[0]
    thread.join(SOON_S)


def test_fifty_viewers_that_read_nothing_change_nothing(tmp_path: Path, model_path: Path) -> None:
    """Row 34: the rate of detection, alone and beside them, by turns."""
    rates: dict[int, list[float]] = {0: [], 50: []}
    costs_s: dict[int, list[float]] = {0: [], 50: []}
    with (
        RtspServer() as server,
        open_live(server.url, model=model_path, device="cpu", max_seconds=110) as session,
        shown(session, tmp_path) as port,
    ):
        session.wait_newer(0, SOON_S)
        pictures_in(port, 2.0)
        for turn in range(8):
            one = threading.Thread(target=pictures_in, args=(port, 10.0))  # one that looks, there first
            one.start()
            time.sleep(0.5)
            viewers = [silent_viewer(port) for _ in range(50 * (turn % 2))]
            time.sleep(1)
            before, began_s, began_cpu_s = session.status().detected, time.monotonic(), time.process_time()
            time.sleep(7)
            looks = session.status().detected - before
            rates[len(viewers)].append(looks / (time.monotonic() - began_s))
            costs_s[len(viewers)].append((time.process_time() - began_cpu_s) / looks)
            one.join()
            for viewer in viewers:
                viewer.close()
    alone, beside = (statistics.median(rates[count]) for count in (0, 50))
    print(
        f"\nlooks a second alone {alone:.2f}, beside fifty {beside:.2f}: {100 * (beside / alone - 1):+.1f} %"
    )
    cost_ms = [1000 * statistics.median(costs_s[count]) for count in (0, 50)]
    print(f"processor time a look, camera server included: {cost_ms[0]:.1f} ms, {cost_ms[1]:.1f} ms")
    assert beside >= 0.95 * alone
