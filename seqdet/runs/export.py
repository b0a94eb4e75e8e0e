"""Export in time order: a graph of the step, its parity, the gate of a smaller precision, a whole folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqdet import __version__
from seqdet.errors import OutputError, UsageError
from seqdet.model.step import NEXT, STEP_VERSION, StepModel
from seqdet.runs.exported import FILES, SIDECAR, WEIGHTS, Exported, write_sidecar
from seqdet.runs.gate import Gate, GateData, GateRow
from seqdet.runs.glimpse_graph import write_glimpse
from seqdet.runs.graph_cache import save_openvino
from seqdet.runs.measure import Progress
from seqdet.runs.network import Network
from seqdet.runs.parity import Parity, compare
from seqdet.runs.quantise import LADDER, calibration, quantised
from seqdet.runs.quantise_onnx import write_quantised_onnx
from seqdet.runs.shipped import find_model
from seqdet.runs.step_graph import need, set_batch, step_program, to_openvino, write_onnx
from seqdet.runs.step_network import (
    Arrays,
    OpenVinoStep,
    StepNetwork,
    onnx_network,
    onnx_step,
    openvino_network,
)
from seqdet.runs.stream import Model, load
from seqdet.runs.synth import synth
from seqdet.runs.whole_folder import partial_folder, put_in_place
from seqdet.types import Frame
from seqdet.video.reader import open_video

Tell = Callable[[str], None]
Inputs = Sequence[dict[str, np.ndarray]]
# A network with whole numbers, and what puts its graph into the folder.
Candidate = tuple[Network, Callable[[], object]]
PARITY_FRAMES = 200
CALIBRATION_INPUTS = 100
_PRECISIONS = {"fp32": ("openvino", "onnx", "torch"), "bf16": ("openvino",), "int8": ("openvino", "onnx")}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported.

    Attributes:
        out: the folder.
        runtime: what it is for.
        precision: "fp32", "bf16" or "int8": what was asked for, or fp32 where that did not pass its gate.
        parity: of the float32 graph against PyTorch.
        parity_of_result: of what was exported, where that is not float32.
        gate: a row for the float32 model and every candidate; empty without a gate.
        warnings: sentences for the user.
    """

    out: Path
    runtime: str
    precision: str
    parity: Parity
    parity_of_result: Parity | None
    gate: tuple[GateRow, ...]
    warnings: tuple[str, ...]


def export(
    model: str | Path,
    to: str,
    *,
    out: Path | None = None,
    precision: str = "fp32",
    clips: Sequence[Path] = (),
    gate: Path | None = None,
    limit: int | None = None,
    max_frames: int | None = None,
    force: bool = False,
    tell: Tell = lambda text: None,
    progress: Progress | None = None,
) -> ExportReport:
    """Export the one-frame step of a model.

    Args:
        model: shipped name, run folder or file.
        to: "openvino", "onnx" or "torch".
        out: folder to write; beside the working directory's other files without it.
        precision: "fp32", for OpenVINO and ONNX "int8", for OpenVINO "bf16".
        clips: videos for parity and calibration, 200 frames of each; without any, scenes are made up.
        gate: data set whose val split decides on a smaller precision; the clips do without one.
        limit: at most so many clips of it.
        max_frames: only the first frames of each.
        force: replace an export that is there.
        tell: is told what is being done.
        progress: is told the frames of the gate.

    Raises:
        UsageError: ``out`` exists, or a precision that the runtime does not have.
        InputError: the model, a clip or the data set cannot be read.
        MissingDependencyError: what the runtime needs is not installed.
        OutputError: the folder cannot be written.
    """
    if to not in _PRECISIONS[precision]:
        others = " and ".join(f"--to {name}" for name in _PRECISIONS[precision])
        raise UsageError(f"--{precision} is there for {others} only; {to} is exported as fp32")
    for what in ("int8",) if (precision, to) == ("int8", "openvino") else (to,) if to != "torch" else ():
        need(what)
    weights = find_model(model)
    target = out or Path(f"{weights.stem}_{to}{'' if precision == 'fp32' else '_' + precision}")
    _refuse_what_exists(target, force)
    eager = load(weights, "cpu", "torch")
    partial = partial_folder(target)
    try:
        tell("reading clips")
        recordings = _recordings(clips)
        made = _Made(eager, to, precision, partial, tell)
        data = GateData(gate, recordings, limit, max_frames)
        report = made.decide(data, recordings, target, progress)
        _write_rest(partial, weights, eager, report)
        put_in_place(partial, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


class _Made:
    """The graph of one export, and the decision on its precision."""

    def __init__(self, eager: Model, to: str, precision: str, folder: Path, tell: Tell) -> None:
        self.eager, self.to, self.precision, self.tell = eager, to, precision, tell
        self.size_wh = eager.card.config.input_size_wh
        self.path = folder / FILES[to]
        self.step = StepModel(eager.detector, pyramid=to == "openvino")
        tell("torch.export of the step")
        self.program = step_program(self.step, self.size_wh)

    def decide(
        self, data: GateData, recordings: list[list[Frame]], target: Path, progress: Progress | None
    ) -> ExportReport:
        """Write the graph, compare it with PyTorch, and put a smaller precision to the gate."""
        parity_frames = recordings[0][:PARITY_FRAMES]
        graph = None
        self.tell(f"conversion to {self.to}")
        if self.to == "openvino":
            graph = to_openvino(self.program, self.step, self.size_wh)
            save_openvino(graph, self.path)
            write_glimpse(self.eager.detector, self.path.parent)
        elif self.to == "onnx":
            write_onnx(self.program, self.step, self.path)
        else:
            torch.export.save(self.program, self.path)
        fp32 = self._model(self._network(graph))
        self.tell(f"parity with PyTorch on {len(parity_frames)} frames")
        parity = compare(self.eager, fp32, parity_frames)
        if self.precision == "fp32":
            return ExportReport(target, self.to, "fp32", parity, None, (), ())
        self.tell("the gate: fp32")
        gate = Gate(data, fp32, progress)
        chosen = self._bf16(graph, gate) if self.precision == "bf16" else self._int8(graph, gate, recordings)
        rows = tuple(gate.rows)
        if chosen is None:
            warning = f"no {self.precision} candidate passed the gate: the folder holds fp32"
            return ExportReport(target, self.to, "fp32", parity, None, rows, (warning,))
        again = compare(self.eager, chosen, parity_frames)
        return ExportReport(target, self.to, self.precision, parity, again, rows, ())

    def _bf16(self, graph: Any, gate: Gate) -> Model | None:
        self.tell("the gate: bf16")
        candidate = self._model(openvino_network(self.eager.detector, graph.clone(), self.size_wh, "bf16"))
        return candidate if gate.lets_pass(candidate, "bf16") else None

    def _int8(self, graph: Any, gate: Gate, recordings: list[list[Frame]]) -> Model | None:
        count = sum(len(clip) for clip in recordings)
        every = max(1, count // CALIBRATION_INPUTS)
        self.tell(f"calibration on {count} streamed frames")
        if self.to == "openvino":
            set_batch(graph, self.step, self.size_wh, 1)
        run = OpenVinoStep(graph.clone(), "f32") if self.to == "openvino" else onnx_step(str(self.path))
        inputs = calibration(run, StepModel(self.eager.detector), recordings, self.size_wh, every)
        for groups in LADDER:
            self.tell(f"int8 of {', '.join(groups)}")
            network, keep = (
                self._openvino_int8(graph, inputs, groups)
                if self.to == "openvino"
                else self._onnx_int8(inputs, groups)
            )
            candidate = self._model(network)
            if gate.lets_pass(candidate, "int8", groups):
                keep()
                return candidate
        return None

    def _openvino_int8(self, graph: Any, inputs: Inputs, groups: Sequence[str]) -> Candidate:
        smaller = quantised(graph, self.step, inputs, groups)
        kept = smaller.clone()  # a network uses its graph up
        network = openvino_network(self.eager.detector, smaller, self.size_wh)
        return network, partial(save_openvino, kept, self.path)

    def _onnx_int8(self, inputs: Inputs, groups: Sequence[str]) -> Candidate:
        smaller = self.path.with_name("int8.onnx")
        write_quantised_onnx(self.path, smaller, self.step, inputs, groups)
        network = onnx_network(self.eager.detector, str(smaller))
        kept = smaller.read_bytes()
        smaller.unlink()
        return network, partial(self.path.write_bytes, kept)

    def _network(self, graph: Any) -> Network:
        detector = self.eager.detector
        if self.to == "openvino":
            return openvino_network(detector, graph.clone(), self.size_wh)
        if self.to == "onnx":
            return onnx_network(detector, str(self.path))
        program = torch.export.load(self.path).module()
        names = self.step.output_names

        def run(inputs: Arrays) -> Arrays:
            given = [torch.from_numpy(np.array(inputs[name])) for name in self.step.input_names]
            with torch.no_grad():
                return {name: part.numpy() for name, part in zip(names, program(*given), strict=True)}

        return StepNetwork(detector, run)

    def _model(self, network: Network) -> Model:
        eager = self.eager
        return Model(eager.detector, eager.card, eager.device, eager.options, network)


def _refuse_what_exists(target: Path, force: bool) -> None:
    if not target.exists():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    if not force:
        raise UsageError(f"{target} exists; choose another --out, or replace it with --force")
    if not (target / SIDECAR).is_file():
        raise UsageError(f"{target} is not an export, so --force does not replace it; choose another --out")


def _recordings(clips: Sequence[Path]) -> list[list[Frame]]:
    """The first frames of each clip; of made-up scenes without any."""
    if clips:
        return [_first_frames(clip) for clip in clips]
    with tempfile.TemporaryDirectory(prefix="seqdet-export-") as folder:
        synth(Path(folder) / "scenes", sequences=4, frames=PARITY_FRAMES // 2, val_fraction=0.25)
        return [_first_frames(clip) for clip in sorted((Path(folder) / "scenes").rglob("*.mp4"))]


def _first_frames(clip: Path) -> list[Frame]:
    with open_video(clip) as reader:
        return list(islice(reader, PARITY_FRAMES))


def _write_rest(folder: Path, weights: Path, model: Model, report: ExportReport) -> None:
    """The weights and the sidecar beside the graph."""
    shutil.copyfile(weights, folder / WEIGHTS)
    step, size_wh = StepModel(model.detector), model.card.config.input_size_wh
    inputs = dict(zip(step.input_names, step.example(1, size_wh), strict=True))
    with torch.no_grad():
        outputs = dict(zip(step.output_names, step(*inputs.values()), strict=True))
    brought = {"openvino": ("openvino", "nncf"), "onnx": ("onnx", "onnxscript"), "torch": ()}[report.runtime]
    versions = {"seqdet": __version__, "step": str(STEP_VERSION), "torch": torch.__version__}
    for name in brought:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    parity = {"of fp32": asdict(report.parity)}
    if report.parity_of_result is not None:
        parity[f"of {report.precision}"] = asdict(report.parity_of_result)
    write_sidecar(
        folder,
        Exported(
            runtime=report.runtime,
            precision=report.precision,
            classes=model.classes,
            input_size_wh=size_wh,
            inputs=_described(inputs.items()),
            outputs=_described(outputs.items()),
            preprocessing={
                "colour": "RGB",
                "layout": "NHWC",
                "type": "uint8",
                "fit": "letterbox, border 114; mean and deviation are in the graph",
                "state": f"zeros at first; then each {NEXT}NAME goes in as NAME",
            },
            parity=parity,
            gate={"rows": [asdict(row) for row in report.gate]} if report.gate else {},
            made_with=versions,
        ),
    )


def _described(tensors: Iterable[tuple[str, torch.Tensor]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": [-1, *part.shape[1:]], "type": str(part.dtype).removeprefix("torch.")}
        for name, part in tensors
    ]
