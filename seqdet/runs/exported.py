"""The folder that ``seqdet export`` writes, and reading it back.

It holds the graph, the weights (for what happens once a track, and for PyTorch), and a sidecar in JSON that
says what goes in, what comes out and how it was checked (docs/export.md).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqdet.errors import InputError

FORMAT = "seqdet-step"
VERSION = 1
SIDECAR = "seqdet.json"
WEIGHTS = "model.safetensors"
FILES = {"openvino": "step.xml", "onnx": "step.onnx", "torch": "step.pt2"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What the sidecar says.

    Attributes:
        runtime: "openvino", "onnx" or "torch".
        precision: "fp32", "bf16" or "int8".
        classes: their names, in order.
        input_size_wh: width and height of the network's input in pixels.
        inputs: name, shape and type of every input, in order; -1 is the batch.
        outputs: of every output, in order.
        preprocessing: how a picture becomes the input.
        parity: figures of the comparison with PyTorch.
        gate: the table of the quantisation gate, where there was one.
        made_with: versions of what made it.
    """

    runtime: str
    precision: str
    classes: tuple[str, ...]
    input_size_wh: tuple[int, int]
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    made_with: dict[str, str] = field(default_factory=dict)


def is_exported(path: str | Path) -> bool:
    """Whether this is a folder of ``seqdet export``."""
    return (Path(path) / SIDECAR).is_file()


def write_sidecar(folder: Path, exported: Exported) -> None:
    """Write the sidecar into a folder that is not yet under its final name."""
    document = {"format": FORMAT, "version": VERSION, **asdict(exported)}
    (folder / SIDECAR).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_exported(folder: Path) -> Exported:
    """Read the sidecar of an exported folder.

    Raises:
        InputError: damaged, of another version, or a file of the folder is missing.
    """
    path = folder / SIDECAR
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); export the model again") from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not what `seqdet export` writes (no format {FORMAT!r})")
    version = document.pop("version", None)
    if version != VERSION:
        raise InputError(
            f"{path}: an export of format version {version}; this seqdet reads version {VERSION}. "
            "Export the model again with this seqdet"
        )
    try:
        exported = Exported(**document)
        width, height = (int(side) for side in exported.input_size_wh)
        classes = tuple(str(name) for name in exported.classes)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); export the model again") from error
    if exported.runtime not in FILES or exported.precision not in ("fp32", "bf16", "int8"):
        raise InputError(f"{path}: damaged (runtime {exported.runtime!r}, precision {exported.precision!r})")
    for name in (FILES[exported.runtime], WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: {name} is missing; export the model again")
    changes = {"classes": classes, "input_size_wh": (width, height)}
    return Exported(**{**document, **changes})
