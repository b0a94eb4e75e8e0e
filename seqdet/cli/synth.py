"""``seqdet synth``: synthetic sequences with exact truth."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from seqdet.cli.common import Force, Json, Quiet, Seed, say, show, show_json, table
from seqdet.cli.progress import Progress
from seqdet.errors import UsageError


def synth(
    out: Annotated[Path, typer.Argument(help="The data set to make.")],
    task: Annotated[
        Literal[
            "airspace",
            "discs",
            "discs-appearance",
            "shapes",
            "stress-clean",
            "stress-occlusion",
            "stress-noise",
            "stress-bursts",
            "stress-motion",
            "stress-camera",
            "stress-rate",
            "stress-long",
            "stress-timing",
            "stress-fast",
            "stress-camouflage",
        ],
        typer.Option(
            help="Scenes of the air; discs told by motion alone; the same told by shape; shapes with masks; "
            "stress sets, each with another reason why one frame is not enough (docs/data.md)."
        ),
    ] = "airspace",
    sequences: Annotated[int, typer.Option(min=1, help="How many.")] = 24,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many in each: 90, in stress sets 48, in stress-long 2000 if not given."
        ),
    ] = None,
    sensor: Annotated[
        Literal["thermal", "visible", "both"], typer.Option(help="Which camera, in airspace scenes.")
    ] = "both",
    level: Annotated[
        str | None,
        typer.Option(
            help="One level instead of all in turn: contrast to noise (stress-noise), kind of burst "
            "(stress-bursts), frames a second of val (stress-rate)."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Pixels, such as 320x256; by task and sensor if not given."),
    ] = None,
    val_fraction: Annotated[float, typer.Option(min=0, max=1, help="Part that goes to val.")] = 0.25,
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make synthetic sequences with exact truth."""
    size_wh = None if size is None else _size_wh(size)
    from seqdet.runs.synth import synth as run

    with Progress("sequences", quiet=quiet) as progress:
        report = run(
            out,
            task=task,
            sequences=sequences,
            frames=frames,
            seed=seed,
            sensor=sensor,
            level=level,
            size_wh=size_wh,
            val_fraction=val_fraction,
            force=force,
            progress=partial(progress, "render"),
        )
    if json:
        show_json(report)
        return
    counted = {"sequences": report.sequences, "frames": report.frames, "boxes": report.boxes}
    counted |= {"tracks": report.tracks} | {f"split {name}": count for name, count in report.splits.items()}
    show(table(["data set", str(report.out)], list(counted.items())))
    say(f"next: seqdet train {report.out}", quiet=quiet)


def _size_wh(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UsageError(f"--size {text}: write width x height in pixels, such as 320x256")
    return int(match[1]), int(match[2])
