"""Coverage-guided fuzzing of what strangers write: label files, configurations, headers of weights.

    python tools/fuzz.py all -max_total_time=60
    python tools/fuzz.py labels -max_total_time=600 CORPUS_FOLDER

Every input must be read, or refused with an error of seqdet's own; whatever else is raised ends the run with
the input in a file. Options after the target are libFuzzer's. Needs Linux, and atheris of the dev group.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "data" / "formats")]

with atheris.instrument_imports(
    include=["seqdet.data.formats", "seqdet.config_file", "seqdet.model.checkpoint"]
):
    from seqdet.config_file import load_any_config
    from seqdet.data.formats import FORMATS
    from seqdet.data.formats.protocol import Problems
    from seqdet.errors import InputError, UsageError
    from seqdet.model.checkpoint import read_tensors

from small_sources import READERS, SOURCES, make  # noqa: E402 - of the tests of formats

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "airspace.yaml"
LABELS = [name for name in SOURCES if name != "class-folders"]


def label_target(name: str, folder: Path) -> tuple[bytes, Callable[[bytes], None]]:
    """A whole label file to begin with, and what reads one in its place."""
    source = make(folder / name.replace(" ", "-"), name)
    path, reader = source / SOURCES[name].labels, FORMATS[READERS.get(name, name)]

    def read(data: bytes) -> None:
        path.write_bytes(data)
        reader.read(source, Problems(strict=False))

    return path.read_bytes(), read


def file_target(
    whole: bytes, path: Path, load: Callable[[Path], object]
) -> tuple[bytes, Callable[[bytes], None]]:
    """The same for a single file."""

    def read(data: bytes) -> None:
        path.write_bytes(data)
        load(path)

    return whole, read


def targets(names: list[str], folder: Path) -> dict[str, tuple[bytes, Callable[[bytes], None]]]:
    """The targets of these names."""
    import torch
    from safetensors.torch import save

    weights = save({"a": torch.zeros(2)}, metadata={"seqdet": '{"format": "seqdet-model", "version": 1}'})
    files = {
        "config": lambda: file_target(CONFIG.read_bytes(), folder / "c.yaml", load_any_config),
        "weights": lambda: file_target(weights, folder / "w.safetensors", read_tensors),
    }
    return {name: files[name]() if name in files else label_target(name, folder) for name in names}


def main() -> None:
    """Fuzz one target, or several in turn: the first byte of an input says which."""
    known = [*LABELS, "config", "weights"]
    groups = {"all": known, "labels": LABELS} | {name: [name] for name in known}
    if len(sys.argv) < 2 or sys.argv[1] not in groups:
        sys.exit(f"usage: python tools/fuzz.py TARGET [libFuzzer options]; targets: {', '.join(groups)}")
    name, *options = sys.argv[1:]
    folder = Path(
        tempfile.mkdtemp(prefix="seqdet-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    )
    chosen = list(targets(groups[name], folder).values())
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, (whole, _) in enumerate(chosen):
        (seeds / str(number)).write_bytes(bytes([number]) + whole)

    def one_input(data: bytes) -> None:
        if not data:
            return
        with contextlib.suppress(InputError, UsageError):
            chosen[data[0] % len(chosen)][1](data[1:])

    # The fuzzer ends the process itself, so that nothing after it would be done.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atheris.Setup([sys.argv[0], "-max_len=20000", "-timeout=20", *options, str(seeds)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
