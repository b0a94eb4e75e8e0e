"""Speed and memory of ``detect``, as ratios in one run. Opt-in: uv run pytest tests/bench -o addopts= -s.

Run it on a quiet machine; every figure is the median of several runs, whose passes take turns. Processor
times are printed beside wall times: they say how much work there is, whatever else the machine does.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import seqdet
from seqdet.results.draw import Annotator
from seqdet.runs.bench_case import in_turn
from seqdet.runs.detect import detect_files
from seqdet.runs.device import keep_freed_memory
from seqdet.runs.stream import Model
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter

SAMPLES = Path(__file__).resolve().parents[2] / "sample_videos"
RUNS = 5


@pytest.fixture(scope="module")
def model() -> Model:
    return seqdet.load("airspace", device="cpu")


def test_a_step_takes_at_most_25_ms(model: Model) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    frame = np.random.default_rng(0).integers(0, 255, (256, 320, 3), np.uint8)
    state = model.initial_state()
    seconds = []
    for _ in range(60):
        start = time.perf_counter()
        _, state = model.step(frame, state)
        seconds.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    steady = sorted(seconds[10:])
    print(
        f"\nstep 320x256: median {1000 * statistics.median(steady):.1f} ms, 90 % {1000 * steady[44]:.1f} ms"
    )
    assert statistics.median(steady) <= 0.025


def test_the_whole_costs_at_most_a_quarter_more_than_its_slowest_stage(model: Model, tmp_path: Path) -> None:
    """Decode, model and encode overlap."""
    clip = SAMPLES / "airspace_visible.mp4"
    with open_video(clip) as reader:
        frames = list(reader)
    results = list(model.results(frames))
    annotator = Annotator(model.classes)
    drawn = [annotator.draw(result) for result in results]

    def decode() -> None:
        with open_video(clip) as reader:
            for _ in reader:
                pass

    def encode() -> None:
        with VideoWriter(tmp_path / "alone.mp4", size_wh=frames[0].size_wh, overwrite=True) as writer:
            for frame, picture in zip(frames, drawn, strict=True):
                writer.write(picture, frame.time_s)

    def draw() -> None:
        fresh = Annotator(model.classes)
        for result in results:
            fresh.draw(result)

    passes = {
        "decode": decode,
        "model": lambda: list(model.results(frames)),
        "draw": draw,
        "encode": encode,
        "whole": lambda: detect_files([str(clip)], out=tmp_path / "whole.mp4", force=True),
    }
    keep_freed_memory()  # as the command does
    runs = in_turn(passes, RUNS, len(frames))
    wall, cpu = ({k: statistics.median(run[n] for run in v) for k, v in runs.items()} for n in (0, 1))
    slowest = max(set(wall) - {"whole"}, key=lambda name: wall[name])
    ratios = sorted(a[0] / b[0] for a, b in zip(runs["whole"], runs[slowest], strict=True))
    print(f"\n{len(frames)} frames of 640x512; load average {os.getloadavg()[0]:.1f}")
    for name in passes:
        print(f"{name:<7} {wall[name]:6.2f} ms a frame, {cpu[name]:6.2f} ms of processor time")
    print(f"whole over {slowest}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"by processor time: {cpu['whole'] / cpu[slowest]:.2f}")
    assert wall["whole"] <= 1.25 * wall[slowest]


CHILD = """
import itertools, json, resource, sys
from pathlib import Path
import seqdet
from seqdet.types import Frame
from seqdet.video.reader import open_video
model = seqdet.load("airspace", device="cpu")
with open_video(Path(sys.argv[1])) as reader:
    pictures = [frame.rgb for frame in itertools.islice(reader, 100)]
def endless(count):
    for index in range(count):
        yield Frame(pictures[index % len(pictures)], index, index / 30)
for _ in model.results(endless(int(sys.argv[2]))):
    pass
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def test_memory_does_not_grow_with_length() -> None:
    def peak(frames: int) -> int:
        command = [sys.executable, "-c", CHILD, str(SAMPLES / "airspace_thermal.mp4"), str(frames)]
        return int(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    short, long = peak(1_000), peak(10_000)
    print(f"\npeak MiB {short / 1024:.0f} for 1,000 frames, {long / 1024:.0f} for 10,000: {long / short:.3f}")
    assert long <= 1.05 * short
