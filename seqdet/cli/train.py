"""``seqdet train``: a model from annotated video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seqdet.cli.common import Device, Force, Json, Quiet, say, say_error, say_warnings, show, show_json, table
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
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Fine-tune: start from a shipped model, a run folder or a .safetensors file.",
            metavar="NAME or PATH",
        ),
    ] = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a detector, or a sequence classifier.

    A detector learns from annotated video, a classifier (--config configs/sequence_classifier.yaml) from
    labelled clips. It may be killed at any time: --resume continues it.
    """
    settings = settings_of(data, config, override or [], resume, start)
    from seqdet.runs.device import keep_freed_memory
    from seqdet.runs.processes import is_first
    from seqdet.runs.train import train as run

    keep_freed_memory()
    quiet = quiet or not is_first()

    if data is None and resume is None:
        say("no DATA is given: this trains the small built-in synthetic task, in minutes", quiet=quiet)
    with Progress("steps", quiet=quiet) as progress:
        report = run(
            data,
            config=settings,
            out=out,
            resume=resume,
            start=start,
            device=device,
            force=force,
            progress=progress,
            tell=lambda line: _tell(line, quiet),
            last_words=say_error,
        )
    if not is_first():
        return
    if json:
        show_json(report)
    else:
        show(table(["run", str(report.run)], list(report.headline.items())))
    rendered = report.run.with_name(report.run.name + "-data") / "videos"
    video = "VIDEO" if data is not None else next(map(str, sorted(rendered.glob("*.mp4"))), "VIDEO")
    say(f"next: seqdet detect {video} --model {report.run} --out annotated.mp4", quiet=quiet)


def settings_of(
    data: Path | None, config: Path | None, override: list[str], resume: Path | None, start: str | None
) -> Any:
    """The configuration that was asked for; None leaves the choice to the run."""
    from seqdet.config_file import load_any_config, load_config, with_overrides

    if config is None and resume is not None and override:
        config = resume / "config.yaml"
    if config is not None:
        return load_any_config(config, override)
    if not override:
        return None
    if data is None:
        from seqdet.runs.train import built_in_config

        return with_overrides(built_in_config(), override)
    if start is not None:
        from seqdet.runs.train import config_of

        return with_overrides(config_of(start), override)
    return load_config(None, override)


def _tell(line: dict[str, Any], quiet: bool) -> None:
    """What happens in passing, as one line; the steps between are the progress's matter."""
    kind = line.get("kind")
    if kind == "warning":
        say_warnings([line["text"]], quiet=quiet)
    elif kind == "skipped":
        say_warnings([f"step {line['step']} was not learned: {line['why']}: {line['batch']}"], quiet=quiet)
    elif kind == "evaluation":
        figures = ", ".join(f"{name} {value:.3f}" for name, value in line.items() if isinstance(value, float))
        say(f"evaluation at step {line['step']}: {figures}", quiet=quiet)
