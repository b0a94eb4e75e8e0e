"""Every video that other projects test with goes through ``seqdet detect`` itself, one command a file.

    pytest tests/bench/test_peer_videos.py -o addopts= -s

prints the table of docs/reliability.md. The truth is PyAV's, and that of the table beside the files.
"""

from __future__ import annotations

import csv
import json
import os
import time
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import pytest
from commands import Commands

from seqdet.video.probe import open_container

ROOT = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("SEQDET_VECTORS", ROOT / ".." / "shared" / "vectors")).resolve()
LIMIT_S = 240
TURNED = {"90": 270, "-90": 90, "180": 180, "-180": 180}


class Truth(NamedTuple):
    """What PyAV decodes: presentation times in seconds and the shape of pixels."""

    times_s: list[float]
    aspect: Fraction


class Outcome(NamedTuple):
    """How one command ended."""

    code: int
    seconds: float
    peak_mib: float
    said: str
    frames: int
    wrong: list[str]


def rows() -> list[dict[str, str]]:
    table = VECTORS / "videos.tsv"
    if not table.is_file():
        return []
    with table.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def decoded_times(path: Path) -> Truth:
    """Times of all frames that PyAV decodes past errors."""
    times: list[float] = []
    with open_container(str(path)) as container:
        stream = next(s for s in container.streams.video if not s.disposition & 1024)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
                times += [float(f.pts * f.time_base) if f.pts is not None else -1.0 for f in packet.decode()]
            except StopIteration:
                return Truth(times, stream.sample_aspect_ratio or Fraction(1))
            except av.error.FFmpegError:
                if packet.dts is None and packet.size == 0:
                    return Truth(times, stream.sample_aspect_ratio or Fraction(1))


def outcome(commands: Commands, row: dict[str, str], model: Path, folder: Path) -> Outcome:
    folder.mkdir()
    path = VECTORS / "videos" / row["file"]
    said, out, saved = folder / "said.txt", folder / "out.mp4", folder / "rows.jsonl"
    options = ["--model", model, "--score", "0.001", "--out", out, "--save", saved, "--json", "--quiet"]
    started = time.monotonic()
    pid = commands.start("detect", path, *options, output=said)
    code = commands.wait(pid, LIMIT_S)
    seconds, peak = time.monotonic() - started, commands.peak_mib[pid]
    text = said.read_text()
    errors = [line for line in text.splitlines() if not line.startswith("{")]
    wrong = ["a traceback"] if "Traceback" in text else []
    left = {entry.name for entry in folder.iterdir()} - {"said.txt"}
    true_frames = int(row["av_true_frames"] or 0)
    if true_frames == 0:
        wrong += [] if code == 3 else [f"exit {code} where nothing can be decoded"]
        wrong += [] if left <= {"rows.jsonl"} else [f"left {left}"]
        wrong += [] if len(errors) == 1 and row["file"] in errors[0] else [f"not one line: {errors}"]
        return Outcome(code, seconds, peak, " ".join(errors), 0, wrong)
    if left != {"out.mp4", "rows.jsonl"}:
        return Outcome(code, seconds, peak, " ".join(errors), 0, [*wrong, f"left {left}"])
    (report,) = json.loads(next(line for line in text.splitlines() if line.startswith("{")))["sources"]
    sequence = json.loads(saved.read_text().splitlines()[-1])
    truth, written = decoded_times(path), decoded_times(out)
    with av.open(str(out)) as container:
        size_wh = container.streams.video[0].width, container.streams.video[0].height
    counts = {
        "decoded": report["decoded"],
        "frames": report["frames"],
        "rows": sequence["frames"],
        "written": len(written.times_s),
        "PyAV": len(truth.times_s),
    }
    wrong += [f"{counts}, not {true_frames}"] if set(counts.values()) != {true_frames} else []
    turn = TURNED.get(row["rotation"], 0)
    stored = tuple(map(int, row["WxH"].split("x")))
    shown = stored if turn % 180 == 0 else stored[::-1]
    even = tuple(side + side % 2 for side in shown)
    wrong += [] if size_wh == even else [f"{size_wh}, not {even}"]
    aspect = truth.aspect if turn % 180 == 0 else 1 / truth.aspect
    wrong += [] if written.aspect == aspect else [f"pixels of {written.aspect}, not {aspect}"]
    known = [time_s for time_s in truth.times_s if time_s >= 0]
    if len(known) == true_frames == len(written.times_s) and known == sorted(known):
        shift = known[0] if known[0] > 30 else 0.0
        worst = max(abs(a - shift - b) for a, b in zip(known, written.times_s, strict=True))
        wrong += [] if worst < 1e-3 else [f"times differ by {worst:.4f} s"]
    allowed = {0, 4}
    wrong += [] if code in allowed else [f"exit {code}"]
    wrong += [] if code == 0 or any(map(str.isdigit, " ".join(errors))) else ["4 without counts"]
    return Outcome(code, seconds, peak, " ".join(errors), report["frames"], wrong)


@pytest.mark.skipif(not rows(), reason="the shared test vectors are not there")
def test_every_peer_video_ends_as_it_should(model_path: Path, tmp_path: Path) -> None:
    failed = []
    print(
        "\n| file | PyAV | ours | exit | s | MiB | says |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    )
    with Commands() as commands:
        for number, row in enumerate(rows()):
            ended = outcome(commands, row, model_path, tmp_path / str(number))
            said = ended.said.replace(str(VECTORS / "videos") + "/", "").removeprefix("error: ")
            print(
                f"| {row['file']} | {row['av_true_frames'] or 0} | {ended.frames} | {ended.code} "
                f"| {ended.seconds:.1f} | {ended.peak_mib:.0f} | {said} |",
                flush=True,
            )
            failed += [f"{row['file']}: {problem}" for problem in ended.wrong]
    assert failed == [], "\n".join(failed)
