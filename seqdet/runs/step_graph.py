"""The step of a detector as a graph of another runtime: torch.export, and from there OpenVINO or ONNX.

What a runtime lacks is imported when it is asked for; without it the error holds the line that installs it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from seqdet.errors import MissingDependencyError
from seqdet.model.step import NEXT, StepModel

# Modules that a runtime needs, and the extra of seqdet that brings them.
_NEEDS = {
    "openvino": (("openvino",), "openvino"),
    "onnx": (("onnx", "onnxscript", "onnxruntime"), "onnx"),
    "int8": (("nncf", "openvino"), "openvino"),
}
MAX_BATCH = 1024
# OpenVINO and nncf report their use to their makers through this package, and tell no one; where it cannot be
# imported they do without.
_REPORTER = "openvino_telemetry"


def installed(what: str) -> bool:
    """Whether everything is there that "openvino", "onnx" or "int8" needs."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDS[what][0])


def need(what: str) -> None:
    """Refuse in one line what cannot be computed here.

    Raises:
        MissingDependencyError: a package that "openvino", "onnx" or "int8" needs is not installed.
    """
    modules, extra = _NEEDS[what]
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{what} needs {' and '.join(missing)}, not installed here: pip install 'seqdet[{extra}]'"
        )


def module(name: str) -> ModuleType:
    """An optional package, imported now; ``need`` has seen that it is there. It tells its makers nothing."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault(_REPORTER, None)  # for good: OpenVINO imports parts of itself later
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages, about themselves
        return importlib.import_module(name)


def step_program(step: StepModel, size_wh: tuple[int, int]) -> ExportedProgram:
    """The step by torch.export, for any batch of pictures of ``size_wh`` input pixels."""
    arguments = step.example(2, size_wh)  # a batch of one would be taken for a constant
    batch = Dim("batch", min=1, max=MAX_BATCH)
    shapes = {"frame": {0: batch}, "state": tuple({0: batch} for _ in arguments[1:])}
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(step.eval(), arguments, dynamic_shapes=shapes, strict=False)


def to_openvino(program: ExportedProgram, step: StepModel, size_wh: tuple[int, int]) -> Any:
    """The step as an ``openvino.Model`` with the names of ``step``, the batch still open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = module("openvino").convert_model(program)
    for ports, names in ((graph.inputs, step.input_names), (graph.outputs, step.output_names)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    for name in step.pyramid_names if step.pyramid else ():
        result = graph.output(name).get_node()
        channels_last = result.input_value(0)
        channels_last.get_tensor().set_names(set())
        # Where ``halves`` cuts: before the channels went last for the sake of an output.
        channels_last.get_node().input_value(0).get_tensor().set_names({name})
        graph.remove_result(result)
    set_batch(graph, step, size_wh, -1)
    return graph


def set_batch(graph: Any, step: StepModel, size_wh: tuple[int, int], batch: int) -> None:
    """Fix the batch of an ``openvino.Model`` in place; -1 leaves it open."""
    shapes = [tuple(part.shape) for part in step.example(1, size_wh)]
    shape = module("openvino").PartialShape
    graph.reshape(
        {port: shape([batch, *of_one[1:]]) for port, of_one in zip(graph.inputs, shapes, strict=True)}
    )


def halves(graph: Any, step: StepModel) -> tuple[Any, Any]:
    """An ``openvino.Model`` of a step with ``pyramid``, cut in two: frame -> maps, and maps -> all else.

    The first half takes and gives the frame averages, the second all other parts of the state. ``graph``
    cannot be used afterwards.
    """
    openvino = module("openvino")
    ops = openvino.opset13
    ports = {name: port for node in graph.get_ordered_ops() for port in node.outputs() for name in port.names}
    inputs = {port.any_name: port.get_node() for port in graph.inputs}
    results = {port.any_name: port.get_node() for port in graph.outputs}
    of_frames = {"frame", "frame_means", "frames_seen"}
    first = {name: node for name, node in results.items() if name.removeprefix(NEXT) in of_frames}
    above = nodes_above([ports[name].get_node() for name in step.pyramid_names])
    between, ends = [], []
    for name in step.pyramid_names:
        port = ports[name]
        # A finer map also goes into coarser ones.
        consumers = [
            one for one in port.get_target_inputs() if one.get_node().get_friendly_name() not in above
        ]
        batch, channels, height, width = port.partial_shape
        shape = openvino.PartialShape([batch, height, width, channels])
        start = ops.parameter(shape, port.element_type, name=name)
        channels_first = ops.transpose(start, np.array([0, 3, 1, 2]))
        for consumer in consumers:
            consumer.replace_source_output(channels_first.output(0))
        _carry_over_quantiser(port, channels_first, above, ops)
        end = ops.result(ops.transpose(port, np.array([0, 2, 3, 1])))
        for tensor in (start.output(0).get_tensor(), end.output(0).get_tensor()):
            tensor.set_names({name})
        between.append(start)
        ends.append(end)
    embed = openvino.Model(
        [*ends, *first.values()], [node for name, node in inputs.items() if name in of_frames], "embed"
    )
    remember = openvino.Model(
        [node for name, node in results.items() if name not in first],
        [*between, *(node for name, node in inputs.items() if name not in of_frames)],
        "remember",
    )
    return embed, remember


def _carry_over_quantiser(port: Any, start: Any, above: set[str], ops: Any) -> None:
    """Where int8 rounds a map once for both halves, the second half gets a rounding of its own."""
    for shared in [one.get_node() for one in port.get_target_inputs()]:
        if shared.get_type_name() != "FakeQuantize":
            continue
        later = [
            one
            for one in shared.output(0).get_target_inputs()
            if one.get_node().get_friendly_name() not in above
        ]
        if later:
            own = ops.fake_quantize(start, *shared.input_values()[1:], shared.get_attributes()["levels"])
            for consumer in later:
                consumer.replace_source_output(own.output(0))


def nodes_above(nodes: list[Any]) -> set[str]:
    """Names of these nodes and of all that they are computed from."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            waiting += [port.get_node() for port in node.input_values()]
    return found


def write_onnx(program: ExportedProgram, step: StepModel, path: Path) -> None:
    """The step as one .onnx file with the names of ``step``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            program,
            input_names=list(step.input_names),
            output_names=list(step.output_names),
            dynamo=True,
            verbose=False,
        )
        assert exported is not None
        exported.save(str(path), external_data=False)
