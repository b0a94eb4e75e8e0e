"""A live session for half an hour on a stream that keeps failing: memory, threads and open files stay flat.

Opt-in: uv run pytest tests/bench/test_live_soak.py -o addopts= -s
SEQDET_SOAK_MINUTES=3 makes it shorter, SEQDET_SOAK_CYCLES=100 the reconnections fewer.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from pathlib import Path

import pytest
from rtsp_server import RtspServer
from scripted_source import until

from seqdet.results import outlet as outlet_module
from seqdet.runs.live import open_live
from seqdet.video.camera import Camera
from seqdet.video.live_source import live_source

MINUTES = float(os.environ.get("SEQDET_SOAK_MINUTES", "30"))
CYCLES = int(os.environ.get("SEQDET_SOAK_CYCLES", "1000"))
SAMPLE_S = 2.0
FAULT_EVERY_S = 20.0


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_memory_threads_and_files_stay_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the faults end the connection, half only the pictures; events go to a port where nobody is."""
    monkeypatch.setattr(outlet_module, "LONGEST_PAUSE_S", 1.0)
    samples: list[tuple[float, float, int, int]] = []
    began_s, threads_before = time.monotonic(), threading.active_count()
    with (
        RtspServer() as server,
        open_live(
            server.url,
            device="cpu",
            score=0.05,
            save=[tmp_path / "rows.jsonl"],
            webhook="http://127.0.0.1:9/nobody",
        ) as session,
    ):
        session.wait_newer(0, 60)
        faults, next_fault_s = 0, FAULT_EVERY_S
        while (passed_s := time.monotonic() - began_s) < 60 * MINUTES:
            if passed_s > next_fault_s:
                server.stalled.set() if faults % 2 else server.hang_up()
                faults, next_fault_s = faults + 1, passed_s + FAULT_EVERY_S
            elif passed_s > next_fault_s - FAULT_EVERY_S + 5:
                server.stalled.clear()
            time.sleep(SAMPLE_S)
            # The server's threads come and go with its readers; the product's do not.
            own = sum(t.name.startswith("seqdet") for t in threading.enumerate())
            samples.append((passed_s, resident_mib(), own, open_files()))
        server.stalled.clear()
        number = session.status().detected
        until(lambda: session.status().detected > number + 5, 60)
        status = session.status()
    report = session.report()
    warm = [sample for sample in samples if sample[0] > samples[-1][0] / 4]
    thirds = [warm[i * len(warm) // 3 : (i + 1) * len(warm) // 3] for i in range(3)]
    memory = [statistics.median(sample[1] for sample in third) for third in thirds]
    hours = (statistics.median(s[0] for s in thirds[2]) - statistics.median(s[0] for s in thirds[0])) / 3600
    print(f"\n{MINUTES:g} minutes, {faults} faults: {report}")
    print(f"MiB after a quarter, by thirds: {[round(m, 1) for m in memory]}")
    print(f"slope {(memory[2] - memory[0]) / hours:.1f} MiB/h; threads {sorted({s[2] for s in warm})}")
    print(f"open files {min(s[3] for s in warm)} to {max(s[3] for s in warm)}")
    assert status.state == "live"
    assert report.reconnects >= faults - 2
    assert memory[2] - memory[0] < 2 + 4 * hours
    assert {sample[2] for sample in warm} == {3}, "camera, session, webhook"
    assert max(sample[3] for sample in thirds[2]) <= max(sample[3] for sample in thirds[0]) + 2
    until(lambda: threading.active_count() <= threads_before, 20)


def test_reconnections_of_a_real_stream_leave_nothing_behind() -> None:
    """And how long it takes from the server's return to the first picture."""
    waits_s: list[float] = []
    with RtspServer() as server, Camera(live_source(server.url)[1]) as camera:
        assert camera.take(60) is not None
        for cycle in range(CYCLES):
            server.hang_up()
            before = camera.status().captured
            began_s = time.monotonic()
            until(lambda: camera.status().reconnects > cycle, 60)  # noqa: B023
            waits_s.append(time.monotonic() - began_s)
            until(lambda: camera.status().captured > before, 60)  # noqa: B023
            if cycle == CYCLES // 10:
                first = (resident_mib(), open_files(), threading.active_count())
        last = (resident_mib(), open_files(), threading.active_count())
    ninety_fifth = sorted(waits_s)[int(0.95 * len(waits_s))]
    print(f"\n{CYCLES} reconnections: median {statistics.median(waits_s):.2f} s, 95 % {ninety_fifth:.2f} s")
    print(f"MiB, open files, threads: {first} -> {last}")
    assert last[1] <= first[1] + 2
    assert last[2] <= first[2] + 2
    assert last[0] - first[0] < 10
