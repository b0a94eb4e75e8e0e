"""``seqdet train``: a model from annotated video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqdet.cli.common import Device, Force, Json, Quiet, say, show, show_json
from seqdet.cli.progress import Progress


def train(
    data: Annotated[
        Path | None,
        typer.Argument(help="Data set folder (see ingest). Without it: the small built-in synthetic task."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A complete YAML file.", metavar="FILE")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; made up when not given.", metavar="RUN")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="One field: train.max_minutes=30. May be repeated.", metavar="A.B=C"),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue this run where it was stopped.", metavar="RUN")
    ] = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a detector on annotated video.

    It may be killed at any time: --resume continues it.
    """
    from seqdet.config import load_config
    from seqdet.runs.train import train as run

    settings = (
        None
        if resume is not None and config is None and not override
        else load_config(config, override or [])
    )
    with Progress("steps", quiet=quiet) as progress:
        report = run(
            data, config=settings, out=out, resume=resume, device=device, force=force, progress=progress
        )
    if json:
        show_json(report)
    else:
        show(str(report.run))
    say(f"next: seqdet detect VIDEO --model {report.run} --out annotated.mp4", quiet=quiet)
