"""Whole numbers of eight bits in an OpenVINO graph, by nncf: convolutions only, group by group.

The gates of the memory, its cells and the state stay in float32 whatever is chosen: they are sums over the
whole past, and as fake-quantised arithmetic they were also slower (docs/decisions/011).
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from seqdet.data.transforms.geometry import preprocess
from seqdet.model.step import HEADS, NEXT, StepModel
from seqdet.runs.step_graph import module, nodes_above
from seqdet.runs.step_network import StepFunction
from seqdet.types import Frame

GROUPS = ("encoder and neck", "memory", "heads")
# What is tried, in this order, until the gate lets it pass.
LADDER = (GROUPS, ("encoder and neck", "heads"), ("encoder and neck",))
_QUANTISED = {"Convolution", "GroupConvolution"}
_NEVER = {"Constant", "Parameter", "Result"}


def calibration(
    run: StepFunction,
    step: StepModel,
    clips: Sequence[Sequence[Frame]],
    size_wh: tuple[int, int],
    every: int,
) -> list[dict[str, np.ndarray]]:
    """Inputs of the step as they come in a stream, so that the state is in range: every so many frames."""
    inputs = []
    for clip in clips:
        state = {
            name: part.numpy()
            for name, part in zip(step.state_names, step.example(1, size_wh)[1:], strict=True)
        }
        for number, frame in enumerate(clip):
            picture, _ = preprocess(frame.rgb, size_wh)
            given = {"frame": picture[None], **state}
            if number % every == 0:
                inputs.append(given)
            out = run(given)
            state = {name: out[NEXT + name] for name in step.state_names}
    return inputs


def quantised(
    graph: Any, step: StepModel, inputs: Sequence[dict[str, np.ndarray]], groups: Sequence[str]
) -> Any:
    """A copy of an ``openvino.Model`` of the step, its batch fixed, with int8 convolutions in ``groups``.

    Args:
        graph: of a step with ``pyramid``, float32; it stays as it is.
        step: what it was made of.
        inputs: of ``calibration``.
        groups: some of ``GROUPS``.
    """
    graph = graph.clone()
    nodes = graph.get_ordered_ops()
    types = {node.get_type_name() for node in nodes} - _QUANTISED - _NEVER
    group_of = _groups(graph, step)
    left = [
        node.get_friendly_name()
        for node in nodes
        if node.get_type_name() in _QUANTISED and group_of.get(node.get_friendly_name()) not in groups
    ]
    # nncf draws its progress on stdout, which is for results.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        nncf = module("nncf")
        logging.getLogger("nncf").setLevel(logging.ERROR)
        return nncf.quantize(
            graph,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=left, types=sorted(types), validate=False),
        )


def _groups(graph: Any, step: StepModel) -> dict[str, str]:
    """Which of ``GROUPS`` each node belongs to, by what is computed from it."""
    ports = {name: port for node in graph.get_ordered_ops() for port in node.outputs() for name in port.names}
    cells = [NEXT + name for name in step.state_names if name.startswith(("hidden", "cell"))]
    maps = [f"map_{stride}" for stride in step.detector.levels]
    found: dict[str, str] = {}
    for group, ends in zip(GROUPS, (step.pyramid_names, [*maps, *cells], HEADS), strict=True):
        for node in nodes_above([ports[name].get_node() for name in ends]):
            found.setdefault(node, group)
    return found
