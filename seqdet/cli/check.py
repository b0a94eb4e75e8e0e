"""``seqdet check``: what is in a data set, what is wrong with it, and its repair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqdet.cli.common import Force, Json, Quiet, say, show, show_json, table
from seqdet.cli.progress import Progress
from seqdet.errors import InputError

SHOWN = 20
COLOURS = {"error": "red", "warning": "yellow", "note": None}


def check(
    data: Annotated[Path, typer.Argument(help="Data set folder (see ingest).")],
    fix: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write a copy with the safe repairs; DATA is never changed."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for check.html: findings, sample frames, histograms."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not decode videos: seconds, but no pictures and no likeness.")
    ] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is in a data set and what is wrong in it.

    Exit code 0: no error, perhaps warnings. 3: errors; with --fix, errors that it could not repair.
    """
    from seqdet.data.check_counts import counts_table
    from seqdet.data.check_rows import CELLS, cells, grouped
    from seqdet.runs.check import check as run

    with Progress("sequences", quiet=quiet) as progress:
        report = run(data, fix=fix, out=out, quick=quick, force=force, progress=progress)
    if json:
        show_json(report)
    else:
        show(table(*counts_table(report.counts)))
        for group in grouped(report.found):
            severity, kind = group[0].severity, group[0].kind
            show(f"\n{typer.style(severity, fg=COLOURS[severity])} {kind}: {len(group)}")
            show(table(CELLS, [cells(finding) for finding in group[:SHOWN]]))
            if len(group) > SHOWN:
                show(f"... and {len(group) - SHOWN} more")
        if not report.found:
            show("\nnothing is wrong")
        for what, count in report.repairs.items():
            show(f"repaired {what} ({count})")
    for place in (report.page, report.fixed):
        if place is not None:
            say(f"written: {place}", quiet=quiet)
    if fix is not None and report.blocked:
        raise InputError(
            f"{fix} was not written: {report.blocked} rows have no safe repair (row, frame and "
            "coordinate above); correct them first"
        )
    if report.errors_left:
        left = " that have no safe repair" if report.fixed else ""
        raise InputError(f"{data}: {report.errors_left} errors{left}")
