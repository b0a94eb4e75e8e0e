"""``seqdet bench``: how fast a model is on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqdet.cli.common import Device, Force, Json, Quiet, say, show, show_json, table
from seqdet.cli.progress import Progress
from seqdet.errors import UsageError

if TYPE_CHECKING:
    from seqdet.runs.bench import BenchReport
    from seqdet.runs.bench_case import CaseFigures, Timed


def bench(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model, a run folder or a .safetensors file.")
    ] = "airspace",
    source: Annotated[
        str | None, typer.Option(metavar="FILE", help="Video to detect in; else one is made up.")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="torch, openvino or onnx; may be repeated; else all that are installed.", metavar="NAME"
        ),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(help="Inputs of the network: 320x256,640x512; the model's own.", metavar="WxH,..."),
    ] = None,
    frames: Annotated[int, typer.Option(min=8, help="The first so many of the video.")] = 150,
    runs: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json.", metavar="DIR")] = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how fast a model is here.

    One step, the whole of detect, each stage alone, and where each millisecond of processor time goes.
    """
    sizes_wh = [_size_wh(text) for text in sizes.split(",")] if sizes else []
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in detect
    from seqdet.runs.bench import bench as run

    with Progress("cases", quiet=quiet) as progress:
        report = run(
            model,
            source=source,
            runtimes=runtime or [],
            sizes_wh=sizes_wh,
            frames=frames,
            runs=runs,
            device=device,
            out=out,
            force=force,
            progress=progress,
        )
    if json:
        show_json(report)
    else:
        show(as_text(report))
    if out is not None:
        say(f"figures: {out / 'bench.json'}", quiet=quiet)


def _size_wh(text: str) -> tuple[int, int]:
    width, _, height = text.strip().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--sizes {text.strip()}: write width x height, such as 320x256,640x512")
    return int(width), int(height)


def as_text(report: BenchReport) -> str:
    """The figures as tables, then what they are worth."""
    machine = report.machine
    parts = [
        f"{report.model} on {report.source} ({report.frames} frames of {_by(report.size_wh)}), "
        f"median of {report.runs} runs (10 to 90 %)\n"
        f"{machine.processor}, {machine.cores} cores, torch {machine.torch}"
    ]
    header = [
        "runtime",
        "input",
        "device",
        "step ms",
        "step cpu ms",
        "detect ms",
        "cpu ms",
        "frames/s",
        "MiB",
    ]
    rows = [
        [
            case.runtime,
            _by(case.input_wh),
            case.device,
            _spread(case.step),
            case.step.cpu_ms,
            _spread(case.whole),
            case.whole.cpu_ms,
            f"{1000 / case.whole.wall_ms.median:.1f}",
            f"{case.peak_mib:.0f}" if case.peak_mib is not None else None,
        ]
        for case in report.cases
    ]
    parts.append(table(header, rows))
    parts += [_stages(case) for case in report.cases]
    return "\n\n".join([*parts, "\n".join(report.notes)]).rstrip()


def _stages(case: CaseFigures) -> str:
    whole = sum(case.profile_cpu_ms.values())
    rows = [[name, value, f"{100 * value / whole:.0f} %"] for name, value in case.profile_cpu_ms.items()]
    alone = [[name, _spread(timed), timed.cpu_ms] for name, timed in case.stages.items()]
    ratio = case.ratio
    return "\n\n".join(
        [
            table(
                [f"{case.runtime} {_by(case.input_wh)}", "cpu ms a frame", "share"],
                [*rows, ["sum", whole, ""]],
            ),
            table(["stage alone", "ms a frame", "cpu ms"], alone),
            f"detect takes {ratio.median:.2f} times ({ratio.low:.2f} to {ratio.high:.2f}) its slowest stage "
            f"alone ({case.slowest}), by processor time {case.cpu_ratio:.2f} times\n"
            f"opening the model took {case.load_s:.2f} s",
        ]
    )


def _by(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"


def _spread(timed: Timed) -> str:
    of = timed.wall_ms
    return f"{of.median:.1f} ({of.low:.1f} to {of.high:.1f})"
