"""Which runtime computes a model here, and the network of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from seqdet.errors import InputError, UsageError
from seqdet.model.checkpoint import ModelCard
from seqdet.model.detector import Detector
from seqdet.runs.exported import FILES, Exported
from seqdet.runs.glimpse_graph import use_glimpse_graph
from seqdet.runs.graph_cache import cached_graph, make_graph
from seqdet.runs.network import Network
from seqdet.runs.step_graph import installed, module, need
from seqdet.runs.step_network import onnx_network, openvino_network

RUNTIMES = ("auto", "torch", "openvino", "onnx")
# Making a graph takes some ten seconds of a core, and then saves about as many milliseconds a frame
# (docs/decisions/011): for fewer frames it is not made, only used where it is in the cache.
PAYS_FROM_FRAMES = 1500
_HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}


def choose_runtime(name: str, device: torch.device, weights: Path, frames: int | None) -> str:
    """The runtime for weights: a name is taken by its word, "auto" is the quickest to the result.

    Args:
        name: one of ``RUNTIMES``.
        device: where the arithmetic happens.
        weights: the checkpoint.
        frames: how many are expected; None for a stream without end.

    Raises:
        UsageError: no such runtime, or not on this device.
        MissingDependencyError: it is not installed.
    """
    if name not in RUNTIMES:
        raise UsageError(f"--runtime {name}: use {', '.join(RUNTIMES)}")
    if name == "auto":
        if device.type != "cpu" or not installed("openvino"):
            return "torch"
        pays = frames is None or frames >= PAYS_FROM_FRAMES or cached_graph(weights, "openvino").is_file()
        return "openvino" if pays else "torch"
    if name != "torch":
        need(name)
        if device.type != "cpu":
            raise UsageError(f"--runtime {name} computes on the CPU; use --device cpu, or --runtime torch")
    return name


def network_of_weights(
    name: str,
    detector: Detector,
    card: ModelCard,
    weights: Path,
    tell: Callable[[str], None] | None = None,
) -> Network | None:
    """The network of a checkpoint in a runtime that ``choose_runtime`` chose; None: the detector itself."""
    if name == "torch":
        return None
    path = make_graph(detector, card, weights, name, tell)
    return _open(name, path, detector, card, "f32")


def network_of_export(
    name: str | None, folder: Path, exported: Exported, detector: Detector, card: ModelCard
) -> Network | None:
    """The network of an exported folder; None: the detector itself.

    Raises:
        UsageError: the folder was exported for another runtime.
        InputError: its graph cannot be read, or is not that of its weights.
        MissingDependencyError: its runtime is not installed.
    """
    if name not in (None, "auto", "torch", exported.runtime):
        raise UsageError(
            f"{folder} was exported for {exported.runtime}, not for {name}; "
            f"use --runtime {exported.runtime}, or export it again with --to {name}"
        )
    if exported.classes != card.classes or exported.input_size_wh != tuple(card.config.input_size_wh):
        raise InputError(f"{folder}: the graph and the weights are of two models; export the model again")
    if name == "torch" or exported.runtime == "torch":
        return None
    need(exported.runtime)
    hint = _HINTS[exported.precision]
    return _open(exported.runtime, folder / FILES[exported.runtime], detector, card, hint)


def _open(name: str, path: Path, detector: Detector, card: ModelCard, hint: str) -> Network:
    try:
        if name == "onnx":
            return onnx_network(detector, str(path))
        use_glimpse_graph(detector, path.parent)
        graph = module("openvino").Core().read_model(str(path))
        return openvino_network(detector, graph, card.config.input_size_wh, hint)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path}: {name} cannot read this graph ({reason}); delete it, or export again"
        ) from error
