"""Five hundred seeded mutants of each kind of file, and cuts at every fiftieth of seven containers.

    pytest tests/bench/test_damaged_files_at_length.py -o addopts= -s

prints how many were refused, read with words on what is wrong, read in full, and what was silent:
docs/reliability.md has the table. A file that fails is named by its seed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from mutants import MEDIA, PICTURES, cuts, fates, flipped, whole_picture, whole_video

from seqdet.config_file import load_any_config
from seqdet.errors import InputError, UsageError
from seqdet.model.checkpoint import load_model
from seqdet.runs.ingest import ingest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "data" / "formats"))
from small_sources import READERS, SOURCES, make  # noqa: E402 - of the tests of formats

MUTANTS = int(os.environ.get("SEQDET_MUTANTS", "500"))
# Name, codec, options: what cameras and recorders write.
CONTAINERS = [
    ("faststart.mp4", "libx264", {"movflags": "faststart"}),
    ("fragmented.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    ("plain.mov", "mpeg4", {}),
    ("plain.mkv", "libx264", {}),
    ("plain.webm", "libvpx-vp9", {}),
    ("plain.avi", "mjpeg", {}),
    ("plain.ts", "libx264", {}),
    ("plain.flv", "libx264", {}),
]


@pytest.mark.parametrize("suffix", [*MEDIA, ".jpg"])
def test_mutants_of_media(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    data = whole_picture(whole) if suffix == ".jpg" else whole_video(whole)
    path, frames = tmp_path / f"mutant{suffix}", 1 if suffix == ".jpg" else PICTURES

    def files():
        for seed in range(MUTANTS):
            path.write_bytes(flipped(data, seed))
            yield path, frames

    ended = [fate for _, fate in fates(files())]
    kinds = Counter(fate.kind for fate in ended)
    silent = [(seed, fate.frames) for seed, fate in enumerate(ended) if fate.kind == "silent"]
    slowest = max(fate.seconds for fate in ended)
    print(f"\n{suffix}: {len(ended)} mutants: {dict(kinds)}, slowest {slowest:.2f} s; {silent=}")
    assert kinds["crash"] == 0, [seed for seed, fate in enumerate(ended) if fate.kind == "crash"]
    assert all("\n" not in fate.words for fate in ended)


def test_cuts_at_every_fiftieth(tmp_path: Path) -> None:
    files = []
    for name, codec, options in CONTAINERS:
        whole = tmp_path / name
        with av.open(str(whole), "w", options=options) as container:
            stream = container.add_stream(codec, rate=25, options={"g": "10"})
            pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
            noise = np.random.default_rng(0).integers(0, 60, (64, 96, 3), np.uint8)
            for index in range(100):
                picture = np.roll(noise, 3 * index, 1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode(None))
        for part, data in enumerate(cuts(whole.read_bytes())):
            path = tmp_path / f"{part}-{name}"
            path.write_bytes(data)
            files.append((path, 100))
    kinds: dict[str, Counter[str]] = {}
    silent = []
    for path, fate in fates(files):
        kinds.setdefault(path.name.partition("-")[2], Counter())[fate.kind] += 1
        silent += [(path.name, fate.frames)] if fate.kind == "silent" else []
    print()
    for name, counts in kinds.items():
        print(f"cuts of {name}: {dict(counts)}")
    assert all(counts["crash"] == 0 for counts in kinds.values())
    # A transport stream declares nothing: cut between two frames, it is a whole shorter one.
    assert [name for name, _ in silent if not name.endswith(".ts")] == []


@pytest.mark.parametrize(
    "name", ["coco", "datumaro", "label-studio", "cvat video", "voc", "mot", "yolo", "csv"]
)
def test_mutants_of_labels(tmp_path: Path, name: str) -> None:
    source = make(tmp_path / "source", name)
    labels = source / SOURCES[name].labels
    data, outcomes = labels.read_bytes(), Counter()
    for seed in range(MUTANTS):
        labels.write_bytes(flipped(data, seed, least=1 + seed % 5))
        try:
            shutil.rmtree(ingest(source, tmp_path / "out", format=READERS.get(name, name)).out)
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused" if len(str(error)) < 20_000 else "refused at length"] += 1
        assert sorted(os.listdir(tmp_path)) == ["source"], f"seed {seed} left something"
    print(f"\n{name}: {dict(outcomes)}")
    assert outcomes.keys() <= {"read", "refused"}


def test_mutants_of_yaml(tmp_path: Path) -> None:
    data, outcomes = (ROOT / "configs" / "airspace.yaml").read_bytes(), Counter()
    path = tmp_path / "c.yaml"
    for seed in range(MUTANTS):
        path.write_bytes(flipped(data, seed, least=1 + seed % 5))
        try:
            load_any_config(path)
            outcomes["read"] += 1
        except UsageError as error:
            outcomes["refused" if str(path) in str(error) else "refused without a name"] += 1
    print(f"\nconfiguration: {dict(outcomes)}")
    assert outcomes.keys() <= {"read", "refused"}


def test_mutants_of_a_header_of_weights(model_path: Path, tmp_path: Path) -> None:
    data = model_path.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    path, outcomes, loaded = tmp_path / "m.safetensors", Counter(), []
    for seed in range(MUTANTS):
        path.write_bytes(flipped(data[:length], seed) + data[length:])
        try:
            load_model(path)
            loaded.append(seed)
        except InputError as error:
            outcomes["refused" if "\n" not in str(error) else "refused in lines"] += 1
    print(f"\nheader of weights: {dict(outcomes)}, {loaded=}")
    assert outcomes.keys() <= {"refused"}
