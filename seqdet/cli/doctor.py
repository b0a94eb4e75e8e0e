"""``seqdet doctor``: what works here, and the repair of what does not."""

from __future__ import annotations

import typer

from seqdet.cli.common import Device, Json, Quiet, say, show, show_json
from seqdet.errors import InputError

MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def doctor(device: Device = "auto", json: Json = False, quiet: Quiet = False) -> None:
    """Check that everything works here, print repairs.

    A video is written and read, the device computes, the shipped model is loaded.

    Exit code 0: all works, perhaps with warnings. 3: something is broken.
    """
    from seqdet.runs.doctor import diagnose

    say("checking ...", quiet=quiet)
    results = diagnose(device=device)
    failed = [result.name for result in results if result.status == "fail"]
    if json:
        show_json({"ok": not failed, "checks": results})
    else:
        for result in results:
            mark, colour = MARKS[result.status]
            show(f"{typer.style(mark, fg=colour)}  {result.name:<9} {result.detail}")
            if result.repair:
                show(f"      repair    {result.repair}")
    if failed:
        raise InputError(f"does not work here: {', '.join(failed)}")
