"""``seqdet export``: a deployable step of a model, with what it was checked by."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seqdet.cli.common import Force, Json, Quiet, say, say_warnings, show, show_json, table
from seqdet.cli.progress import Progress
from seqdet.errors import UsageError

if TYPE_CHECKING:
    from seqdet.runs.export import ExportReport


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model, a run folder or a .safetensors file.")
    ],
    to: Annotated[Literal["openvino", "onnx", "torch"], typer.Option(help="What will compute it.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; named after model and runtime.", metavar="DIR")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Whole numbers of eight bits (openvino, onnx), if the gate allows.")
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Shorter numbers (openvino), if the gate allows.")
    ] = False,
    clip: Annotated[
        list[Path] | None,
        typer.Option(help="Video for parity and calibration; may be repeated. Else made up.", metavar="FILE"),
    ] = None,
    gate: Annotated[
        Path | None, typer.Option(help="Data set whose val split decides on --int8, --bf16.", metavar="DATA")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many clips of it.", metavar="CLIPS")
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Only the first frames of each.", metavar="FRAMES")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Export a model for OpenVINO, ONNX or torch.

    What is exported is one step: a picture and the state in, predictions and the next state out. The folder
    works as --model everywhere. Parity with PyTorch is measured and printed.
    """
    if int8 and bf16:
        raise UsageError("--int8 and --bf16: choose one")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in detect
    from seqdet.runs.export import export as run

    with Progress("frames", quiet=quiet) as progress:
        report = run(
            model,
            to,
            out=out,
            precision="int8" if int8 else "bf16" if bf16 else "fp32",
            clips=clip or [],
            gate=gate,
            limit=limit,
            max_frames=max_frames,
            force=force,
            tell=lambda text: say(text, quiet=quiet),
            progress=progress,
        )
    say_warnings(report.warnings, quiet=quiet)
    if json:
        show_json(report)
    else:
        show(as_text(report))


def as_text(report: ExportReport) -> str:
    """The table of the gate, the parity, and where it is."""
    parts = []
    if report.gate:
        rows = [
            [row.precision, ", ".join(row.groups) or "all", row.map50, row.flicker_per_min, _word(row.passed)]
            for row in report.gate
        ]
        parts.append(table(["precision", "layers", "map50", "flicker_per_min", "gate"], rows))
    for name, parity in (("fp32", report.parity), (report.precision, report.parity_of_result)):
        if parity is not None:
            one, other = parity.detections
            tracks = "the same tracks" if parity.same_tracks else "other tracks"
            parts.append(
                f"{name} against PyTorch, {parity.frames} frames streamed: scores within "
                f"{parity.score_difference:.1e}, classes {parity.class_difference:.1e}, boxes "
                f"{parity.box_difference_px:.1e} px; {one} and {other} detections, {tracks}"
            )
    parts.append(f"{report.out}: {report.runtime}, {report.precision}")
    return "\n".join(parts)


def _word(passed: bool) -> str:
    return "passed" if passed else "failed"
