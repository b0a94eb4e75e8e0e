"""A million boxes in each label format, and a million wrong lines: processor time and memory of ingestion.

Opt-in, some minutes: uv run pytest tests/bench/test_ingest_size.py -o addopts= -s
Each runs in a process of its own, of which memory is the largest resident set (Linux).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

FORMATS = Path(__file__).resolve().parents[1] / "data" / "formats"
sys.path.insert(0, str(FORMATS))
from small_sources import READERS, SOURCES, make  # noqa: E402

TRACKS, FRAMES = 10_000, 100
MOST_CPU_S, MOST_BYTES = 20.0, 1 << 30
CHILD = """
import json, re, sys, time
from pathlib import Path
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest
source, out, form = sys.argv[1:]
def peak():  # not ru_maxrss, which begins with that of the parent
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
idle, start = peak(), time.process_time()
boxes, words = 0, ""
try:
    boxes = ingest(source, out, format=form, link=True).boxes
except InputError as error:
    words = str(error)
print(json.dumps([boxes, time.process_time() - start, peak(), idle, words]))
"""


def ingest_alone(source: Path, out: Path, form: str) -> tuple[int, float, int, int, str]:
    """Boxes, processor seconds, peak and idle bytes, and what was said."""
    command = [sys.executable, "-c", CHILD, str(source), str(out), form]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    boxes, cpu_s, peak, idle, words = json.loads(done.stdout)
    return boxes, cpu_s, peak, idle, words


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "class-folders"])
def test_a_million_boxes(name: str, tmp_path: Path) -> None:
    frames = 1 if SOURCES[name].frames == 1 else FRAMES
    expected = TRACKS * FRAMES
    source = make(tmp_path / "source", name, tracks=expected // frames, frames=frames)
    size = (source / SOURCES[name].labels).stat().st_size
    form = READERS.get(name, name)
    boxes, cpu_s, peak, idle, words = ingest_alone(source, tmp_path / "out", form)
    print(
        f"\n{name:14s} {size >> 20:4d} MiB of labels: {cpu_s:5.1f} s, {peak >> 20} MiB (idle {idle >> 20})",
        end="",
    )
    assert not words
    assert boxes == expected
    assert peak < MOST_BYTES
    assert cpu_s < MOST_CPU_S


def test_a_million_boxes_in_ten_thousand_files(tmp_path: Path) -> None:
    """The usual form of Pascal VOC: a file and a picture of its own for every hundred boxes."""
    boxes_a_file, files = 100, TRACKS * FRAMES // 100
    source = make(tmp_path / "source", "voc", tracks=boxes_a_file, frames=1)
    first, picture = source / SOURCES["voc"].labels, source / "JPEGImages/clip.png"
    text, drawn = first.read_text(), cv2.imread(str(picture))
    first.unlink()
    picture.unlink()
    for number in range(files):
        name = f"{2007 + number % 5}_{7 * number:06d}"
        drawn[0, :3] = number % 251, number // 251, 7
        (source / f"Annotations/{name}.xml").write_text(text.replace("clip.png", f"{name}.png"))
        cv2.imwrite(str(source / f"JPEGImages/{name}.png"), drawn)
    boxes, cpu_s, peak, idle, words = ingest_alone(source, tmp_path / "out", "voc")
    print(f"\n{files} files of voc: {cpu_s:5.1f} s, {peak >> 20} MiB (idle {idle >> 20})", end="")
    assert not words
    assert boxes == TRACKS * FRAMES
    assert peak < MOST_BYTES
    assert cpu_s < MOST_CPU_S


@pytest.mark.parametrize("name", ["mot", "csv", "kitti", "yolo"])
def test_a_million_wrong_lines(name: str, tmp_path: Path) -> None:
    frames = 1 if name == "yolo" else FRAMES
    source = make(tmp_path / "source", name, frames=frames)
    path = source / SOURCES[name].labels
    header, _, line = path.read_text().partition("\n") if name == "csv" else ("", "", path.read_text())
    wrong = line.split("\n")[0].replace("10.5", "x").replace("0.3203125", "x") + "\n"
    path.write_text((header + "\n" if header else "") + wrong * 1_000_000)
    form = READERS.get(name, name)
    _, cpu_s, peak, idle, words = ingest_alone(source, tmp_path / "out", form)
    print(f"\n{name:14s} a million wrong lines: {cpu_s:5.1f} s, {peak >> 20} MiB (idle {idle >> 20})", end="")
    assert len(words) < 10_000
    assert "(1000000 problems)" in words
    assert peak < MOST_BYTES
    assert cpu_s < MOST_CPU_S
