"""``seqdet ingest``: labels of any known format to one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from seqdet.cli.common import Force, Json, Quiet, Seed, say, show, show_json, table
from seqdet.cli.progress import Progress


def ingest(
    source: Annotated[Path, typer.Argument(help="Folder, label file, or zip file of a labelling tool.")],
    out: Annotated[Path, typer.Argument(metavar="DATA", help="The data set to make.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Label format; auto finds it by content.")
    ] = "auto",
    split: Annotated[
        Literal["auto", "recording"],
        typer.Option(help="auto keeps the source's own splits, recording makes them anew."),
    ] = "auto",
    val_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Part that val gets where splits are made.")
    ] = 0.2,
    seed: Seed = 0,
    link: Annotated[bool, typer.Option("--link", help="Link the videos instead of copying them.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail where labels would be repaired or dropped.")
    ] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Accept a recording that is in two splits.")
    ] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Keep the masks of objects too (COCO: polygons and RLE).")
    ] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a data set of labels in any known format.

    The splits are by recording; what was repaired or dropped is said.
    """
    from seqdet.runs.ingest import ingest as run

    with Progress("sequences", quiet=quiet) as progress:
        report = run(
            source,
            out,
            format=format_,
            split=split,
            val_fraction=val_fraction,
            seed=seed,
            force=force,
            link=link,
            strict=strict,
            allow_leak=allow_leak,
            masks=masks,
            progress=progress,
        )
    for note in report.notes:
        say(f"note: {note}", quiet=quiet)
    if json:
        show_json(report)
        return
    counted = {"sequences": report.sequences, "frames": report.frames, "boxes": report.boxes}
    counted |= {"tracks": report.tracks, "dropped": sum(entry.count for entry in report.dropped)}
    counted |= {f"split {name}": count for name, count in report.splits.items()}
    counted |= {f"boxes of {name}": count for name, count in report.boxes_per_class.items()}
    show(table(["data set", str(report.out)], list(counted.items())))
    say(f"next: seqdet train {report.out}", quiet=quiet)
