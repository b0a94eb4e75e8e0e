"""Seconds and memory that hostile checkpoints and configurations cost: at most one, and at most 64 MiB.

    pytest tests/bench/test_hostile_limits.py -o addopts= -s

Seconds are of the processor, so that a busy machine does not count.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from seqdet.config import ModelConfig

CHILD = """
import json, resource, sys, time
from pathlib import Path
import torch, torchvision
from seqdet.config_file import load_config
from seqdet.errors import SeqdetError
from seqdet.model import detector
from seqdet.model.checkpoint import load_model

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, began, said = used(), time.process_time(), "read"
try:
    (load_config if sys.argv[1].endswith(".yaml") else load_model)(Path(sys.argv[1]))
except SeqdetError as error:
    said = str(error)
print(json.dumps([time.process_time() - began, used() - before, said]))
"""


class Touch:
    """What a pickle does when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch owned",)


def header(entries: object, size: int | None = None, data: bytes = b"") -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def model(**config: object) -> bytes:
    """The description of a model without a tensor of it."""
    document = {"format": "seqdet-model", "version": 1, "config": ModelConfig().model_dump() | config}
    document["classes"] = [f"class {number}" for number in range(10_000)]
    entries = {"__metadata__": {"seqdet": json.dumps(document)}}
    return header(entries | {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, data=b"\0" * 4)


def tensor(shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


HOSTILE = {
    "length of 2**63.safetensors": header({}, 2**63),
    "length of 4 GiB.safetensors": header({}, 2**32),
    "overlap.safetensors": header({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, data=b"\0" * 12),
    "overflow.safetensors": header({"a": tensor([2**40, 2**40], 0, 8)}, data=b"\0" * 8),
    "negative.safetensors": header({"a": tensor([-1], 0, 8)}, data=b"\0" * 8),
    "100000 entries.safetensors": header({f"t{n}": tensor([0], 0, 0) for n in range(100_000)}),
    "trailing bytes.safetensors": header({"a": tensor([1], 0, 4)}, data=b"\0" * 1000),
    "deep.safetensors": header(b"[" * 1_000_000),
    "pickle.safetensors": pickle.dumps(Touch()),
    "pickle.pt": pickle.dumps(Touch()),
    "widest model.safetensors": model(channels=512, clip_width=1024, track_width=512, max_tracks=512),
    "largest input.safetensors": model(input_size_wh=[4096, 4096]),
    "laughs.yaml": b"a: &a [lol, lol]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "deep.yaml": b"[" * 60_000,
    "object.yaml": b"a: !!python/object/apply:os.system ['touch owned']\n",
    "many unknown keys.yaml": b"".join(b"learning_rte%d: 1\n" % n for n in range(3_000)),
    "many equal keys.yaml": b"train: {}\n" * 6_000,
    "one long key.yaml": b"a" * 60_000 + b": 1\n",
    "long number.yaml": b"train:\n  steps: " + b"9" * 60_000 + b"\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_second_and_64_mebibytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, mebibytes, said = json.loads(ran.stdout)
    print(f"\n{name}: {seconds:.2f} s, {mebibytes:.0f} MiB: {said.replace(str(tmp_path), '')[:110]}")
    assert [entry.name for entry in tmp_path.iterdir()] == [name], "nothing ran"
    assert said != "read"
    assert seconds <= 1
    # The widest model that a configuration allows is built before its weights are compared with the file's.
    assert mebibytes <= (320 if name.startswith("widest") else 64)
