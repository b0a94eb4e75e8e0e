"""``seqdet tune``: a search for a better configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seqdet.cli.common import Device, Json, Quiet, Seed, say, show, show_json, table
from seqdet.cli.progress import Progress


def tune(
    data: Annotated[Path, typer.Argument(help="Data set folder (see ingest), with a val split.")],
    config: Annotated[
        Path | None, typer.Option(help="A complete YAML file to start from.", metavar="FILE")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the search; runs/tune-DATA when not given.", metavar="DIR")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all.", metavar="N")] = 20,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Time of all trials together; each has its share, or train.max_minutes.",
            metavar="MINUTES",
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(help="Search this range only, such as learning_rate. May be repeated.", metavar="NAME"),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Stop trials that are below the median half-way.")
    ] = False,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="One field: train.max_minutes=5. May be repeated.", metavar="A.B=C"),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Start every trial from this model.", metavar="NAME or PATH"),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for a better configuration to train with.

    Every trial is an ordinary training, compared on val. Stopped at any moment, the same command goes on.
    """
    from seqdet.cli.train import settings_of
    from seqdet.runs.device import keep_freed_memory
    from seqdet.runs.tune import TrialReport
    from seqdet.runs.tune import tune as run

    keep_freed_memory()

    def ended(trial: TrialReport) -> None:
        value = "" if trial.value is None else f" {trial.value:.3f}"
        tried = ", ".join(f"{name} {number:.3g}" for name, number in trial.values.items())
        say(f"trial {trial.number}: {trial.state}{value} ({tried}), {trial.minutes:.1f} min", quiet=quiet)

    with Progress("steps", quiet=quiet) as progress:
        report = run(
            data,
            config=settings_of(data, config, override or [], None, start),
            out=out,
            trials=trials,
            minutes=minutes,
            over=over or (),
            prune=prune,
            seed=seed,
            start=start,
            device=device,
            progress=progress,
            ended=ended,
        )
    if json:
        show_json(report)
    else:
        show(_table(report))
    if report.best is None:
        say("no trial is complete yet; the same command goes on", quiet=quiet)
    else:
        say(
            f"chosen on val, which flatters it: measure on test.\n"
            f"next: seqdet train {data} --config {report.best} --out RUN",
            quiet=quiet,
        )


def _table(report: Any) -> str:
    """Every trial, the best first."""
    order = sorted(
        report.trials, key=lambda trial: -1.0 if trial.value is None else trial.value, reverse=True
    )
    rows = [
        [
            one.number,
            one.state,
            one.value,
            *(f"{one.values.get(name, 0.0):.3g}" for name in report.ranges),
            one.minutes,
        ]
        for one in order
    ]
    return table(["trial", "state", report.figure, *report.ranges, "minutes"], rows)
