"""Networks that other runtimes compute, one frame and one sequence at a time, behind ``Network``.

Legend: B sequences, T frames, L levels. Tensors cross the border as NumPy arrays with the names of
``model/step.py``; the state keeps its value and its shape, so that it may come from any runtime.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqdet.model.detector import Detector, DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.memory import DetectorState
from seqdet.model.step import NEXT, StepModel
from seqdet.runs.step_graph import halves, module, set_batch

Arrays = Mapping[str, np.ndarray]
StepFunction = Callable[[Arrays], Arrays]


class StepNetwork:
    """A whole step in one function; ``embed`` leaves everything to ``remember``."""

    def __init__(self, detector: Detector, run: StepFunction) -> None:
        self.step = StepModel(detector)
        self.run = run

    def embed(
        self, frames: Tensor, averages: FrameAverages | None
    ) -> tuple[list[Tensor], FrameAverages | None]:
        """The frames as they are."""
        return [frames], averages

    def remember(
        self, maps: list[Tensor], averages: FrameAverages | None, batch: int, state: DetectorState | None
    ) -> tuple[DetectorOutput, DetectorState]:
        """Both halves."""
        (frames,) = maps
        pictures = frames.permute(0, 1, 3, 4, 2)  # (B, T, H, W, 3)
        if state is None:
            state = self.step.detector.initial_state(batch, (frames.shape[-1], frames.shape[-2]))
        given = [[{"frame": picture} for picture in sequence] for sequence in _arrays(pictures)]
        return _remembered(self.step, self.run, given, self.step.state_names, state)


class HalvedNetwork:
    """Two functions, so that frames are embedded in a thread of their own while others are remembered."""

    def __init__(self, detector: Detector, embed: StepFunction, remember: StepFunction) -> None:
        self.step = StepModel(detector)
        self.run_embed = embed
        self.run_remember = remember

    def embed(
        self, frames: Tensor, averages: FrameAverages | None
    ) -> tuple[list[Tensor], FrameAverages | None]:
        """L maps of the first frame, then those of the next, sequence by sequence; and the averages after."""
        batch, size_wh = frames.shape[0], (frames.shape[-1], frames.shape[-2])
        difference = self.step.detector.difference
        if averages is None and difference is not None:
            averages = difference.initial_state(batch, size_wh)
        maps: list[Tensor] = []
        ends = []
        for number, sequence in enumerate(_arrays(frames.permute(0, 1, 3, 4, 2))):
            parts = () if averages is None else (averages.means, averages.seen)
            carried = {name: _one(part, number) for name, part in zip(_AVERAGES, parts, strict=False)}
            for picture in sequence:
                out = self.run_embed({"frame": picture, **carried})
                carried = {name: out[NEXT + name] for name in carried}
                maps += [torch.from_numpy(out[name]) for name in self.step.pyramid_names]
            ends.append(carried)
        if averages is not None:
            averages = FrameAverages(*(_joined([end[name] for end in ends]) for name in _AVERAGES))
        return maps, averages

    def remember(
        self, maps: list[Tensor], averages: FrameAverages | None, batch: int, state: DetectorState | None
    ) -> tuple[DetectorOutput, DetectorState]:
        """The second half."""
        names = self.step.pyramid_names
        finest, stride = maps[0], self.step.detector.levels[0]
        if state is None:
            size_wh = (finest.shape[2] * stride, finest.shape[1] * stride)
            state = self.step.detector.initial_state(batch, size_wh)
        frames = [
            {name: part.numpy() for name, part in zip(names, maps[start:], strict=False)}
            for start in range(0, len(maps), len(names))
        ]
        each = len(frames) // batch
        given = [frames[start : start + each] for start in range(0, len(frames), each)]
        carried = tuple(name for name in self.step.state_names if name not in _AVERAGES)
        output, after = _remembered(self.step, self.run_remember, given, carried, state)
        return output, after._replace(frames=averages)


_AVERAGES = ("frame_means", "frames_seen")


def _remembered(
    step: StepModel,
    run: StepFunction,
    given: list[list[dict[str, np.ndarray]]],
    carried: tuple[str, ...],
    state: DetectorState,
) -> tuple[DetectorOutput, DetectorState]:
    """Run B sequences of T frames through ``run``, which carries the parts ``carried`` of the state."""
    before = dict(zip(step.state_names, step.pack_state(state), strict=True))
    spoken = step.output_names[: -len(step.state_names)]
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in spoken}
    ends: dict[str, list[np.ndarray]] = {name: [] for name in carried}
    for number, sequence in enumerate(given):
        parts = {name: _one(before[name], number) for name in carried}
        for inputs in sequence:
            out = run({**inputs, **parts})
            parts = {name: out[NEXT + name] for name in carried}
            for name in spoken:
                outputs[name].append(out[name])
        for name in carried:
            ends[name].append(parts[name])
    after = {name: _joined(ends[name]) if name in ends else before[name] for name in step.state_names}
    output = step.unpack_output([_joined(outputs[name]) for name in spoken])
    logits = output.clip_logits.flatten(0, 1).unflatten(0, (len(given), -1))
    return output._replace(clip_logits=logits), step.unpack_state(list(after.values()), state.tracks)


def _arrays(pictures: Tensor) -> list[list[np.ndarray]]:
    """(B, T, H, W, 3) -> for each sequence its frames (1, H, W, 3); views where memory allows."""
    return [[_one(sequence, t) for t in range(len(sequence))] for sequence in pictures]


def _one(part: Tensor, number: int) -> np.ndarray:
    return np.ascontiguousarray(part[number : number + 1].numpy())


def _joined(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))


class OpenVinoStep:
    """An ``openvino.Model`` on the CPU as a step function; compiled when it is first called.

    It takes as many threads as PyTorch does at that moment: see ``threads_shared_by``.
    """

    def __init__(self, graph: Any, precision: str) -> None:
        self.graph = graph
        self.precision = precision
        self._request: Any = None
        self._one_at_a_time = threading.Lock()

    def __call__(self, inputs: Arrays) -> Arrays:
        """Named arrays in, named arrays out; those that come out are the caller's own."""
        with self._one_at_a_time:
            if self._request is None:
                self._request = self._compiled().create_infer_request()
            results = self._request.infer(dict(inputs), share_inputs=True)
            return {port.any_name: value for port, value in results.items()}

    def _compiled(self) -> Any:
        openvino = module("openvino")
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": self.precision,
            # Two halves on two cores: pinned, both might get the same one.
            "ENABLE_CPU_PINNING": False,
        }
        return openvino.Core().compile_model(self.graph, "CPU", settings)


def openvino_network(
    detector: Detector, graph: Any, size_wh: tuple[int, int], precision: str = "f32"
) -> HalvedNetwork:
    """A network of an ``openvino.Model`` of the step, which is used up.

    Args:
        detector: the model that the graph was made of.
        graph: of ``to_openvino``, of a step with ``pyramid``.
        size_wh: size of the network's input in pixels.
        precision: "f32", or "bf16" where the processor has it.
    """
    step = StepModel(detector, pyramid=True)
    set_batch(graph, step, size_wh, 1)
    embed, remember = halves(graph, step)
    return HalvedNetwork(detector, OpenVinoStep(embed, precision), OpenVinoStep(remember, precision))


def onnx_network(detector: Detector, path: str) -> StepNetwork:
    """A network of an .onnx file of the step, computed by onnxruntime on the CPU."""
    return StepNetwork(detector, onnx_step(path))


def onnx_step(path: str) -> StepFunction:
    """An .onnx file as a step function."""
    onnxruntime = module("onnxruntime")
    onnxruntime.disable_telemetry_events()  # its wheels for Windows report to its makers otherwise
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run
