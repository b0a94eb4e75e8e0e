"""``seqdet preview``: a contact sheet of what a training will see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqdet.cli.common import Force, Json, Quiet, Seed, say, show, show_json, table


def preview(
    data: Annotated[Path, typer.Argument(help="Data set folder (see ingest).")],
    out: Annotated[Path, typer.Option(metavar="PNG", help="The picture to write.")] = Path("preview.png"),
    config: Annotated[Path | None, typer.Option(help="Of the training: a YAML file.", metavar="FILE")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="One field: data.split=val. May be repeated.", metavar="A.B=C"),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="NAME", help="Stage of the training; the first one with clips.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, max=64, help="Rows.")] = 8,
    columns: Annotated[int, typer.Option(min=1, max=32, help="Frames shown of each clip.")] = 6,
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw what a training will see, as one picture.

    Clips as they are sampled, pasted and augmented, with their boxes. Look at it before you train: a box that
    does not sit right here teaches the wrong thing.
    """
    from seqdet.config_file import load_config
    from seqdet.runs.preview import preview as run

    settings = load_config(config, override or []) if config is not None or override else None
    report = run(
        data,
        out,
        config=settings,
        stage=stage,
        clips=clips,
        columns=columns,
        seed=seed,
        force=force,
    )
    if json:
        show_json(report)
        return
    show(table(["preview", str(report.out)], [("stage", report.stage), ("clips", len(report.clips))]))
    shown = f"--config {config}" if config is not None else ""
    say(f"next: look at {report.out}, then: seqdet train {data} {shown}".rstrip(), quiet=quiet)
