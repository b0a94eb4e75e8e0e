"""How fast training reads clips, against bare OpenCV decoding of the same files, by processor time.

Opt-in: uv run pytest tests/bench/test_loader_speed.py -o addopts= -s
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from seqdet.data.cache import FrameCache
from seqdet.data.dataset import Sequence, load_dataset, save_dataset
from seqdet.data.labels import Labels
from seqdet.data.loader import BatchShape, ClipPlan, ClipRenderer
from seqdet.runs.device import keep_freed_memory
from seqdet.video.reader import read_info

SAMPLES = Path(__file__).resolve().parents[2] / "sample_videos"
INPUT_WH, FRAMES, ROUNDS = (320, 256), 16, 5


def cpu_s(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@pytest.mark.parametrize("name", ["airspace_thermal.mp4", "airspace_visible.mp4"])
def test_reading_clips_against_bare_decoding(name: str, tmp_path: Path) -> None:
    video = tmp_path / name
    shutil.copyfile(SAMPLES / name, video)
    info = read_info(video)
    frames = int(info.frames_promised or 0)
    ids = np.zeros(1, np.int64)
    labels = Labels(ids, ids, ids, np.array([[40, 40, 60, 60]], np.float32))
    sequence = Sequence("clip", video, frames, info.size_wh, float(info.fps or 30), 0)
    save_dataset(tmp_path / "data", ("thing",), [(sequence, None, labels)])
    dataset = load_dataset(tmp_path / "data")
    keep_freed_memory()  # as ``seqdet train`` does
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    plans = [ClipPlan(0, start, 1, 0, start) for start in range(0, frames - FRAMES, FRAMES)]
    shown = FRAMES * len(plans)

    def bare() -> None:
        capture = cv2.VideoCapture(str(video))
        while capture.read()[0]:
            pass
        capture.release()

    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        raw = cpu_s(bare) / frames
        for augment in (False, True):
            shape = BatchShape(1, FRAMES, 1, 0, augment, 0.0, 0.0, 0.0, 0.0, 0.0)
            renderer = ClipRenderer(dataset, dataset.sequences, INPUT_WH, 1 << 30, None)

            def read(shape: BatchShape = shape, renderer: ClipRenderer = renderer) -> None:
                for plan in plans:
                    renderer.batch((plan,), shape)

            for state in ("cold", "warm"):
                ratio = raw / (cpu_s(read) / shown)
                found.setdefault(f"{state}, {'augmented' if augment else 'plain'}", []).append(ratio)
        cache = FrameCache(1 << 30, INPUT_WH)
        cache.frames(dataset.sequences[0], np.arange(frames))
        warm = cpu_s(lambda cache=cache: cache.frames(dataset.sequences[0], np.arange(frames))) / frames
        found.setdefault("warm, frames alone", []).append(raw / warm)
    cv2.setNumThreads(threads)
    medians = {state: statistics.median(ratios) for state, ratios in found.items()}
    print(f"\n{name}: speed as a share of bare decoding ({1000 * raw:.2f} ms a frame)")
    for state, ratio in medians.items():
        print(f"  {state:20s} {ratio:.2f}")
    assert medians["warm, frames alone"] >= 0.5
