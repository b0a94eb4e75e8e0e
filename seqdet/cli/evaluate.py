"""``seqdet eval``: the metrics of a model on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seqdet.cli.common import Device, Force, Json, Model, Quiet, show, show_json, table
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
    out: Annotated[Path | None, typer.Option(help="Folder for the figures as files.", metavar="DIR")] = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on a data set.

    Precision, tracks, stability and speed; and the same with its memory off.
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
            out=out,
            device=device,
            force=force,
            progress=progress,
        )
    if json:
        show_json(figures)
    else:
        show(as_text(figures))


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageError(f"--where {text}: write attribute=value, such as sensor=thermal")
    return name, value


def as_text(figures: dict[str, Any]) -> str:
    """The figures as tables: overall beside the controls, then the classes."""
    controls: dict[str, dict[str, Any]] = figures.get("controls") or {}
    names = [name for name, value in figures.items() if not isinstance(value, (dict, list, tuple))]
    rows = [[name, figures[name], *(control.get(name) for control in controls.values())] for name in names]
    parts = [table(["figure", "value", *controls], rows)]
    for key, title in (("per_class", "class"), ("by_size", "size")):
        groups: dict[str, dict[str, Any]] = figures.get(key) or {}
        if groups:
            columns = list(next(iter(groups.values())))
            rows = [[name, *(values.get(column) for column in columns)] for name, values in groups.items()]
            parts.append(table([title, *columns], rows))
    return "\n\n".join(parts)
