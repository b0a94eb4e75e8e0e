"""``seqdet live`` for an hour on a stream that keeps failing: memory, threads and open files stay flat.

Opt-in: uv run pytest tests/bench/test_live_soak.py -o addopts= -s
SEQDET_SOAK_MINUTES=5 makes it shorter, SEQDET_SOAK_CYCLES=100 the reconnections fewer.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import httpx2
import numpy as np
import pytest
import torch
from page_viewers import pictures_in, port_of
from rtsp_server import RtspServer, encode
from scripted_source import until
from torch import nn

from seqdet.config import ModelConfig
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import build_detector
from seqdet.video.camera import Camera
from seqdet.video.live_source import live_source

ROOT = Path(__file__).resolve().parents[2]
MINUTES = float(os.environ.get("SEQDET_SOAK_MINUTES", "60"))
CYCLES = int(os.environ.get("SEQDET_SOAK_CYCLES", "1000"))
SAMPLE_S = 2.0
FAULT_EVERY_S = 20.0
FPS = 50.0


def film() -> list[list[bytes]]:
    """Some seconds of the thermal sample, forwards and backwards, so that it goes on without a cut."""
    with av.open(str(ROOT / "sample_videos" / "airspace_thermal.mp4")) as container:
        frames = [
            frame.to_ndarray(format="rgb24") for frame in itertools.islice(container.decode(video=0), 200)
        ]
    return encode(frames + frames[::-1])


class Sample(NamedTuple):
    """What a process holds, ``at_s`` seconds after it began."""

    at_s: float
    resident_mib: float
    threads: int
    files: int


def sample(process_id: int, at_s: float) -> Sample:
    status = Path(f"/proc/{process_id}/status").read_text()
    resident_kib, threads = (
        int(re.search(rf"{name}:\s*(\d+)", status).group(1)) for name in ("VmRSS", "Threads")
    )
    return Sample(at_s, resident_kib / 1024, threads, len(os.listdir(f"/proc/{process_id}/fd")))


def slope_mib_per_h(samples: list[Sample]) -> float:
    """Of the straight line through all samples, by least squares."""
    hours = np.array([one.at_s for one in samples]) / 3600
    return float(np.polyfit(hours, [one.resident_mib for one in samples], 1)[0])


@pytest.fixture
def busy_model(tmp_path: Path) -> Path:
    """A quick model that has learned nothing and is sure of itself: many boxes, many tracks."""
    config = ModelConfig(
        encoder="resnet10", levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64)
    )
    torch.manual_seed(0)
    detector = build_detector(config, 2)
    with torch.no_grad():
        nn.init.normal_(detector.heads.geometry.weight[0], std=6.0)
        nn.init.constant_(detector.heads.geometry.bias[:1], -2.0)
    path = tmp_path / "busy.safetensors"
    save_model(path, detector, ModelCard(config, ("drone", "bird")))
    return path


@contextmanager
def command_on(url: str, model: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The whole command with a page, rows, and events that go to a port where nobody is; and its port."""
    command = [sys.executable, "-m", "seqdet", "live", url, "--port", "0", "--folder", str(folder)]
    command += ["--model", str(model), "--device", "cpu", "--score", "0.3", "--json"]
    command += ["--save", str(folder / "rows.jsonl"), "--webhook", "http://127.0.0.1:9/nobody"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if line.startswith("open "))
            yield process, port_of(said.split()[1])
        finally:
            process.kill()


def draw_zone(port: int) -> None:
    address = f"http://127.0.0.1:{port}"
    zone = {"name": "left", "polygon_px": [[0, 0], [160, 0], [160, 256], [0, 256]]}
    assert httpx2.post(f"{address}/api/zones", json=zone, headers={"origin": address}).status_code == 200


def test_memory_threads_and_files_stay_flat(tmp_path: Path, busy_model: Path) -> None:
    """Row 33. Half of the faults end the connection, half only the pictures; viewers come and go."""
    samples: list[Sample] = []
    over, shown = threading.Event(), []

    def watch(port: int) -> None:
        while not over.is_set():
            shown.append(len(pictures_in(port, 15.0)))

    with (
        RtspServer(fps=FPS, film=film()) as server,
        command_on(server.url, busy_model, tmp_path) as (process, port),
    ):
        draw_zone(port)
        viewers = [threading.Thread(target=watch, args=(port,), daemon=True) for _ in range(2)]
        for viewer in viewers:
            viewer.start()
        began_s, faults, next_fault_s = time.monotonic(), 0, FAULT_EVERY_S
        while (passed_s := time.monotonic() - began_s) < 60 * MINUTES:
            assert process.poll() is None, "it ended by itself"
            if passed_s > next_fault_s:
                server.stalled.set() if faults % 2 else server.hang_up()
                faults, next_fault_s = faults + 1, passed_s + FAULT_EVERY_S
            elif passed_s > next_fault_s - FAULT_EVERY_S + 5:
                server.stalled.clear()
            samples.append(sample(process.pid, passed_s))
            time.sleep(SAMPLE_S)
        over.set()
        for viewer in viewers:
            viewer.join(30)
        process.terminate()
        report = json.loads(process.communicate(timeout=300)[0])
    warm = [one for one in samples if one.at_s > samples[-1].at_s / 4]
    sixths = [warm[i * len(warm) // 6 : (i + 1) * len(warm) // 6] for i in range(6)]
    print(f"\n{MINUTES:g} minutes, {faults} faults: {report}")
    print(f"pictures shown to viewers {sum(shown)}, in {len(shown)} visits")
    for name in ("resident_mib", "threads", "files"):
        print(f"{name} after a quarter, by sixths: {[_middle(sixth, name) for sixth in sixths]}")
    slope = slope_mib_per_h(warm)
    print(
        f"slope of resident memory {slope:.2f} MiB/h over {(warm[-1].at_s - warm[0].at_s) / 60:.0f} minutes"
    )
    assert report["reconnects"] >= faults - 2
    early, late = (warm[i * len(warm) // 2 : (i + 1) * len(warm) // 2] for i in range(2))
    assert max(one.threads for one in late) <= max(one.threads for one in early)
    # One more for a moment, while an event is tried.
    assert statistics.median(one.files for one in late) <= statistics.median(one.files for one in early)
    # An hour shows a megabyte; a short run is told from a leak only.
    assert slope <= max(1.0, 60 / MINUTES - 1)


def _middle(samples: list[Sample], name: str) -> float:
    return round(statistics.median(getattr(one, name) for one in samples), 2)


def test_reconnections_of_a_real_stream_leave_nothing_behind() -> None:
    """Row 33; and how long it takes from the end of a connection to the next picture."""
    waits_s: list[float] = []
    with RtspServer() as server, Camera(live_source(server.url)[1]) as camera:
        assert camera.take(60) is not None
        held: list[tuple[float, int, int]] = []
        for cycle in range(CYCLES):
            server.hang_up()
            before = camera.status().captured
            began_s = time.monotonic()
            until(lambda: camera.status().reconnects > cycle, 60)  # noqa: B023
            waits_s.append(time.monotonic() - began_s)
            until(lambda: camera.status().captured > before, 60)  # noqa: B023
            now = sample(os.getpid(), 0.0)
            held.append((now.resident_mib, now.files, threading.active_count()))
    ninety_fifth = sorted(waits_s)[int(0.95 * len(waits_s))]
    first, last = ([statistics.median(column) for column in zip(*part, strict=True)]
                   for part in (held[CYCLES // 10 : CYCLES // 5], held[-CYCLES // 10 :]))  # fmt: skip
    print(f"\n{CYCLES} reconnections: median {statistics.median(waits_s):.2f} s, 95 % {ninety_fifth:.2f} s")
    print(f"MiB, open files, threads: {first} -> {last}")
    assert last[1:] == first[1:]
    assert last[0] - first[0] < 1
