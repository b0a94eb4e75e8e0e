"""Whole numbers of eight bits in an .onnx file, by onnxruntime: static, as pairs of QuantizeLinear and
DequantizeLinear around convolutions (QDQ), group by group as in ``quantise``; all else stays float32."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.model.step import NEXT, StepModel
from seqdet.runs.quantise import GROUPS
from seqdet.runs.step_graph import module


def write_quantised_onnx(
    source: Path,
    target: Path,
    step: StepModel,
    inputs: Sequence[dict[str, np.ndarray]],
    groups: Sequence[str],
) -> None:
    """Write a copy of an .onnx file of the step with int8 convolutions in ``groups``.

    Args:
        source: of ``write_onnx``, float32.
        target: the file to write.
        step: what it was made of.
        inputs: of ``calibration``.
        groups: some of ``GROUPS``.
    """
    quantization = module("onnxruntime.quantization")
    graph = module("onnx").load(str(source)).graph
    group_of = _groups(graph, step)
    left = [node.name for node in graph.node if node.op_type == "Conv" and group_of[node.name] not in groups]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends a preparation that dynamic batches do not survive
    try:
        quantization.quantize_static(
            str(source),
            str(target),
            _reader(quantization, inputs),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=left,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        logging.disable(before)


def _reader(quantization: Any, inputs: Sequence[dict[str, np.ndarray]]) -> Any:
    """The inputs in the way in which onnxruntime asks for them."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._left, None)

    return Reader()


def _groups(graph: Any, step: StepModel) -> dict[str, str]:
    """Which of ``GROUPS`` each node belongs to.

    What does not depend on the memory's state is the encoder's, its neck's, or the path from there into the
    memory; what the next state or the refined maps are made of is the memory's; the rest is the heads'.
    """
    made_by = {output: node for node in graph.node for output in node.output}
    state = {name for name in step.state_names if name.startswith(("hidden", "cell"))}
    tainted = set(state)
    for node in graph.node:  # in the order of computation
        if tainted & set(node.input):
            tainted |= set(node.output)
    ends = [*(NEXT + name for name in state), *(f"map_{stride}" for stride in step.detector.levels)]
    waiting, of_memory = list(ends), set()
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.name not in of_memory:
            of_memory.add(node.name)
            waiting += node.input
    first, memory, heads = GROUPS
    return {
        node.name: first if not tainted & set(node.input) else memory if node.name in of_memory else heads
        for node in graph.node
    }
