"""Graphs of models, kept in the user's cache folder: making one takes many seconds, reading it does not.

A graph lies there under a key of the weights' checksum and of everything that made it, so that it is never
that of another model or version; it appears under its name only when whole. Deleting the
folder costs time only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from seqdet import __version__
from seqdet.model.checkpoint import ModelCard
from seqdet.model.detector import Detector
from seqdet.model.step import STEP_VERSION, StepModel
from seqdet.runs.glimpse_graph import write_glimpse
from seqdet.runs.step_graph import module, step_program, to_openvino, write_onnx

GRAPH = {"openvino": "step.xml", "onnx": "step.onnx"}
_BRING = {"openvino": ("torch", "openvino"), "onnx": ("torch", "onnx", "onnxscript")}


def cache_folder() -> Path:
    """``seqdet`` in the user's cache folder (XDG_CACHE_HOME, or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqdet"


def cached_graph(weights: Path, kind: str) -> Path:
    """Where the "openvino" or "onnx" graph of a checkpoint lies, or would lie."""
    made_by = [f"{name} {metadata.version(name)}" for name in _BRING[kind]]
    text = "\n".join([f"seqdet {__version__}", f"step {STEP_VERSION}", *made_by])
    key = hashlib.sha256(weights.read_bytes() + text.encode()).hexdigest()[:32]
    return cache_folder() / f"{kind}-{key}" / GRAPH[kind]


def make_graph(
    detector: Detector,
    card: ModelCard,
    weights: Path,
    kind: str,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """The graph of a model, from the cache or made now.

    Args:
        detector: with its BatchNorm folded.
        card: of the model.
        weights: its checkpoint.
        kind: "openvino" or "onnx".
        tell: is told when there is something to wait for.

    Returns:
        The file. Where the cache folder cannot be written, a file in a folder that the system clears.
    """
    path = cached_graph(weights, kind)
    if path.is_file():
        return path
    if tell is not None:
        tell(f"preparing the model for {kind}, once")
    try:
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent.parent))
    except OSError:
        partial = Path(tempfile.mkdtemp(prefix="seqdet-"))
        path = partial / GRAPH[kind]
    write_graph(detector, card, kind, partial)
    if path.parent != partial:
        try:
            partial.rename(path.parent)
        except OSError:  # another process was quicker: its graph is the same
            shutil.rmtree(partial, ignore_errors=True)
    return path


def write_graph(detector: Detector, card: ModelCard, kind: str, folder: Path) -> Path:
    """Write the "openvino" or "onnx" graph of a model into a folder, and return its file."""
    size_wh = card.config.input_size_wh
    step = StepModel(detector, pyramid=kind == "openvino")
    program = step_program(step, size_wh)
    path = folder / GRAPH[kind]
    if kind == "openvino":
        save_openvino(to_openvino(program, step, size_wh), path)
        write_glimpse(detector, folder)
    else:
        write_onnx(program, step, path)
    return path


def save_openvino(graph: Any, path: Path) -> None:
    """Write an ``openvino.Model`` as .xml and .bin, weights in full precision."""
    module("openvino").save_model(graph, str(path), compress_to_fp16=False)
