"""``seqdet detect``: annotated video and rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from seqdet.cli.common import (
    Device,
    Force,
    Json,
    Model,
    Quiet,
    Runtime,
    say_error,
    say_warnings,
    show,
    show_json,
    table,
)
from seqdet.cli.progress import Progress
from seqdet.defaults import SHOWN_SCORE

COLUMNS = ["source", "frames", "detections", "tracks", "fps", "label", "score", "out"]


def detect(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Video, folder of frames, pattern, stream URL, camera."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Annotated video to write; with several sources, a folder for them.", metavar="FILE"
        ),
    ] = None,
    save: Annotated[
        list[Path] | None,
        typer.Option(
            help="Rows to write: .jsonl, .csv, .mot.txt or .coco.json by extension. May be repeated. "
            "A box whose track is not confirmed yet has track_id -1 and no track_label.",
            metavar="FILE",
        ),
    ] = None,
    model: Model = "airspace",
    device: Device = "auto",
    runtime: Runtime = "auto",
    score: Annotated[float, typer.Option(min=0, max=1, help="Smallest score of a detection.")] = SHOWN_SCORE,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Stop each source after so many frames.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find objects in video: boxes, tracks and labels.

    An annotated video (--out), rows (--save) and a summary on stdout.
    """
    # Decoding and encoding share the cores with the model: its waiting threads must sleep, not spin. OpenMP
    # reads this when torch is imported, and only then.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from seqdet.runs.detect import detect_files
    from seqdet.runs.device import keep_freed_memory

    keep_freed_memory()
    with Progress("frames", quiet=quiet) as progress:
        report = detect_files(
            sources,
            out=out,
            save=save or [],
            model=model,
            device=device,
            runtime=runtime,
            score=score,
            max_frames=max_frames,
            force=force,
            progress=progress,
        )
    for one in report.sources:
        say_warnings(one.warnings, quiet=quiet)
        if one.error:
            say_error(one.error)
    if json:
        show_json({"sources": report.sources})
    else:
        show(table(COLUMNS, [[getattr(one, column) for column in COLUMNS] for one in report.sources]))
    raise typer.Exit(report.exit_code)
