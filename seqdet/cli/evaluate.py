"""``seqdet eval``: the metrics of a model on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seqdet.cli.common import Device, Every, Force, Json, Model, Quiet, Runtime, say, show, show_json, table
from seqdet.cli.progress import Progress
from seqdet.errors import UsageError


def evaluate(
    data: Annotated[Path, typer.Argument(help="Data set folder (see ingest).")],
    model: Model = "airspace",
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "val",
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only sequences that have sensor=thermal, say. May be repeated.", metavar="A=B"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many clips.", metavar="CLIPS")] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Only the first frames of each clip.", metavar="FRAMES")
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help="Also with the memory off, with frames shuffled, and by majority vote: four times the work.",
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for eval.json, report.html and the worst clips as videos.", metavar="DIR"),
    ] = None,
    device: Device = "auto",
    runtime: Runtime = "torch",
    every: Every = 1,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on a data set.

    Precision, tracks, stability and speed, with intervals; and the same for controls, such as its memory off.
    """
    attributes = dict(_attribute(text) for text in where or [])
    from seqdet.runs.evaluate import evaluate as run

    with Progress("frames", quiet=quiet) as progress:
        figures = run(
            data,
            model=model,
            split=split,
            where=attributes,
            limit=limit,
            max_frames=max_frames,
            controls=controls,
            out=out,
            device=device,
            runtime=runtime,
            every=every,
            force=force,
            progress=progress,
        )
    if json:
        show_json(figures)
    else:
        show(as_text(figures))
    if out is not None:
        page = out / "report.html"  # a sequence classifier has none
        say(f"report: {page if page.is_file() else out}", quiet=quiet)


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageError(f"--where {text}: write attribute=value, such as sensor=thermal")
    return name, value


def as_text(figures: dict[str, Any]) -> str:
    """The figures as tables: overall beside the controls, then the classes."""
    controls: dict[str, dict[str, Any]] = figures.get("controls") or {}
    intervals: dict[str, list[float] | None] = figures.get("intervals_95") or {}
    names = [name for name, value in figures.items() if not isinstance(value, (dict, list, tuple))]
    header = ["figure", "value", *(["95 %"] if intervals else []), *controls]
    rows = []
    for name in names:
        ends = intervals.get(name)
        between = [f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else ""] if intervals else []
        rows.append([name, figures[name], *between, *(control.get(name) for control in controls.values())])
    parts = [table(header, rows)]
    for key, title in (("per_class", "class"), ("by_size", "size"), ("by_speed", "speed")):
        groups: dict[str, dict[str, Any]] = figures.get(key) or {}
        if groups:
            columns = list(next(iter(groups.values())))
            rows = [[name, *(values.get(column) for column in columns)] for name, values in groups.items()]
            parts.append(table([title, *columns], rows))
    return "\n\n".join(parts)
