"""A hundred thousand frames through ``seqdet detect`` and the streaming API: nothing grows, nothing rots.

    SEQDET_LONG_FRAMES=100000 pytest tests/bench/test_long_runs.py -o addopts= -s

The video is a short one repeated, packet by packet, so that the same frames come again and again: what the
model says of them at the end must be what it said after its first turns. A small model with random weights
stands for the shipped one (SEQDET_LONG_MODEL=airspace takes that); memory, files and threads are looked at
from outside. SEQDET_LONG_PLOT=FILE.png draws it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import torch
from commands import Commands

import seqdet
from seqdet.runs.stream import with_score
from seqdet.types import Frame
from seqdet.video.reader import open_video

FRAMES = int(os.environ.get("SEQDET_LONG_FRAMES", "100000"))
MODEL = os.environ.get("SEQDET_LONG_MODEL")
SOURCE = Path(__file__).resolve().parents[2] / "sample_videos" / "airspace_thermal.mp4"
WARM = 0.1  # share of the run after which nothing may grow
TICK_HZ = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """One look at a process."""

    frame: int
    resident_mib: float
    files: int
    threads: int
    processor_s: float


def looked_at(pid: int, frame: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {line.split(":")[0]: line.split()[1] for line in status if len(line.split()) > 1}
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = (int(times[11]) + int(times[12])) / TICK_HZ
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(frame, int(fields["VmRSS"]) / 1024, files, int(fields["Threads"]), used)


def repeated(source: Path, target: Path, frames: int) -> int:
    """The packets of a video again and again until there are so many frames; returns those of one turn."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        stamps = [(packet.pts, packet.dts) for packet in packets]
        step = round(1 / (stream.average_rate * stream.time_base))
        turn = max(pts for pts, _ in stamps) + step - min(pts for pts, _ in stamps)
        with av.open(str(target), "w") as out:
            copy = out.add_stream_from_template(stream)
            for number in range(frames):
                packet, (pts, dts) = packets[number % len(packets)], stamps[number % len(packets)]
                shift = number // len(packets) * turn
                packet.pts, packet.dts, packet.stream = pts + shift, dts + shift, copy
                packet.time_base = stream.time_base
                out.mux(packet)
                packet.stream = stream
    return len(packets)


def assert_nothing_grew(samples: list[Sample], what: str) -> None:
    """After the warm-up: less than 2 % of memory, no file, no thread, and the same time for each frame."""
    kept = [s for s in samples if s.frame >= WARM * FRAMES]
    fifths = np.array_split(np.arange(len(kept)), 5)
    memory = [float(np.mean([kept[i].resident_mib for i in part])) for part in fifths]
    cost = [
        1000 * (kept[part[-1]].processor_s - kept[part[0]].processor_s)
        / max(kept[part[-1]].frame - kept[part[0]].frame, 1)
        for part in fifths
    ]  # fmt: skip
    print(
        f"\n{what}: {FRAMES} frames, {len(samples)} looks; resident MiB by fifths "
        f"{', '.join(f'{value:.1f}' for value in memory)}; processor ms a frame "
        f"{', '.join(f'{value:.2f}' for value in cost)}; open files {kept[0].files} to {kept[-1].files}, "
        f"threads {kept[0].threads} to {kept[-1].threads}",
        flush=True,
    )
    assert memory[-1] < 1.02 * memory[0]
    # The median: at its end a source is walked through once more, for which a file is open for a moment.
    for of in ("files", "threads"):
        first, last = (np.median([getattr(kept[i], of) for i in part]) for part in (fifths[0], fifths[-1]))
        assert last <= first, of
    assert cost[-1] < 1.25 * cost[0]


def drawn(samples: dict[str, list[Sample]]) -> None:
    if not (target := os.environ.get("SEQDET_LONG_PLOT")):
        return
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    memory, cost = figure.subplots(1, 2)
    for name, looks in samples.items():
        every = looks[:: max(len(looks) // 200, 1)]
        memory.plot([s.frame for s in every], [s.resident_mib for s in every], label=name)
        spans = list(
            zip(
                looks[:: max(len(looks) // 40, 1)],
                looks[max(len(looks) // 40, 1) :: max(len(looks) // 40, 1)],
                strict=False,
            )
        )
        cost.plot(
            [b.frame for _, b in spans],
            [1000 * (b.processor_s - a.processor_s) / max(b.frame - a.frame, 1) for a, b in spans],
            label=name,
        )
    for axes, title in ((memory, "resident memory, MiB"), (cost, "processor time of a frame, ms")):
        axes.set(title=title, xlabel="frame", ylim=(0, 1.2 * axes.get_ylim()[1]))
        axes.legend(loc="lower left")
    figure.savefig(target, dpi=80)


def last_frame(part: Path) -> int:
    """The frame of the last whole row in a file that grows."""
    if not part.exists():
        return 0
    with part.open("rb") as file:
        file.seek(max(part.stat().st_size - 4096, 0))
        rows = [line for line in file.read().split(b"\n")[1:-1] if line.startswith(b'{"type": "detection"')]
    return json.loads(rows[-1])["frame"] if rows else 0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    target = tmp_path_factory.mktemp("long") / "long.mp4"
    return target, repeated(SOURCE, target, FRAMES)


@pytest.fixture(scope="module")
def all_samples() -> dict[str, list[Sample]]:
    return {}


def test_detect(video, sure_model: Path, tmp_path: Path, all_samples) -> None:
    path, turn = video
    rows, said = tmp_path / "rows.jsonl", tmp_path / "said.txt"
    model, samples = MODEL or sure_model, []
    options = ["--model", model, "--save", rows, "--runtime", "torch", "--json", "--quiet"]
    with Commands() as commands:
        pid = commands.start("detect", path, *options, output=said)
        while commands.poll(pid) is None:
            frame = last_frame(rows.with_name("rows.jsonl.part"))
            if frame:
                samples.append(looked_at(pid, frame))
            time.sleep(0.5)
        assert commands.wait(pid) == 0, said.read_text()
    all_samples["detect"] = samples
    drawn(all_samples)
    scores: dict[int, list[float]] = {}
    with rows.open() as lines:
        for line in lines:
            row = json.loads(line)
            if row["type"] == "detection":
                scores.setdefault(row["frame"], []).append(row["score"])
    assert row["frames"] == FRAMES
    early, late = turn, (FRAMES // turn - 1) * turn
    half = range(turn // 2, turn)
    pairs = [(sorted(scores.get(early + k, [])), sorted(scores.get(late + k, []))) for k in half]
    assert [k for k, (a, b) in zip(half, pairs, strict=True) if len(a) != len(b)] == []
    worst = max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))
    seen = sum(len(one) for one, _ in pairs)
    print(f"{seen} scores of the second half of the last turn, against the second turn: {worst:.4f} at most")
    assert_nothing_grew(samples, "detect")
    assert worst < 0.01


def test_streaming(video, sure_model: Path, all_samples) -> None:
    """``model.step`` with the state in our hands; a fresh start at the end says the same."""
    torch.set_num_threads(1)  # two wait for each other on a busy machine: ten times the processor time
    path, turn = video
    model = with_score(seqdet.load(MODEL or sure_model, runtime="torch"), 0.2)
    samples, fresh = [], model.initial_state()
    begin = FRAMES - 2 * turn
    state, worst, seen = model.initial_state(), 0.0, 0
    with open_video(path) as reader:
        frame: Frame
        for frame in reader:
            found, state = model.step(frame.rgb, state, frame.time_s)
            if frame.index % max(FRAMES // 400, 1) == 0:
                samples.append(looked_at(os.getpid(), frame.index))
            if frame.index >= begin:
                again, fresh = model.step(frame.rgb, fresh, frame.time_s)
                if frame.index >= begin + turn + turn // 2:
                    assert len(found) == len(again)
                    difference = np.abs(np.sort(found.scores) - np.sort(again.scores)).max(initial=0)
                    worst, seen = max(worst, float(difference)), seen + len(found)
    all_samples["streaming API"] = samples
    drawn(all_samples)
    print(
        f"\n{seen} scores of the last half turn, against a fresh start a turn and a half before: {worst:.6f}"
    )
    assert_nothing_grew(samples, "streaming API")
    assert worst < 0.01
