"""``seqdet convert``: labels in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from seqdet.cli.common import Force, Json, Quiet, say, show, show_json, table
from seqdet.cli.progress import Progress


def convert(
    source: Annotated[Path, typer.Argument(help="A data set, or rows of detect --save (.jsonl, .csv).")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    to: Annotated[Literal["mot", "coco-vid", "yolo", "cvat"], typer.Option(help="The label format.")],
    videos: Annotated[
        Literal["none", "copy", "link"],
        typer.Option(help="Put the videos beside the labels: no, as copies, or as hard links."),
    ] = "none",
    video: Annotated[
        list[Path] | None,
        typer.Option(help="Where the video of the rows is, if not where they say; for several again."),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write labels or detections for another tool.

    So that they can be corrected there and ingested again. What the format cannot hold is said.
    """
    from seqdet.runs.convert import convert as run

    with Progress("sequences", quiet=quiet) as progress:
        report = run(
            source, out, to=to, videos=videos, video=video or (), force=force, progress=progress
        )  # fmt: skip
    for note in report.notes:
        say(f"note: {note}", quiet=quiet)
    if json:
        show_json(report)
        return
    counted = {"sequences": report.sequences, "frames": report.frames, "boxes": report.boxes}
    counted |= {"tracks": report.tracks, "dropped": sum(entry.count for entry in report.dropped)}
    show(table([report.format, str(report.out)], list(counted.items())))
    if videos == "none":
        say("labels only; to ingest them again the videos belong beside them (--videos link)", quiet=quiet)
    else:
        say(f"after correction: seqdet ingest {report.out} DATA", quiet=quiet)
