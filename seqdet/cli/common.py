"""What the commands share: the options that mean the same everywhere, and how they speak.

Results go to stdout: a text for people, or with ``--json`` one JSON object and nothing else. Talk (progress,
warnings, hints) goes to stderr and is silenced by ``--quiet``; errors are always shown.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

CLOSED_PIPE_EXIT_CODE = 141  # 128 + SIGPIPE, what a shell shows for a program whose reader has left

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no hints; errors are still shown.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists.")]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME or PATH",
        help="A shipped model, a run folder, a .safetensors file or an exported folder.",
    ),
]
Runtime = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    typer.Option(help="What computes the model. auto: OpenVINO on a CPU where that pays, else PyTorch."),
]
Every = Annotated[
    int,
    typer.Option(
        min=1,
        max=30,
        help="The network sees every so-manyth frame; boxes between are carried (docs/performance.md).",
        metavar="N",
    ),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]


def show(text: str) -> None:
    """Print a result on stdout; a reader that has left (``| head``) ends the program quietly."""
    try:
        typer.echo(text)  # without colours where stdout is no terminal
    except BrokenPipeError as error:
        # The interpreter flushes stdout once more at its end and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(CLOSED_PIPE_EXIT_CODE) from error


def show_json(value: Any) -> None:
    """Print a value as one JSON object; a dataclass becomes an object, NaN and infinity become null."""
    show(json.dumps(json_ready(value), ensure_ascii=False))


def json_ready(value: Any) -> Any:
    """The same value from what JSON knows: dict, list, str, finite numbers, bool, None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: json_ready(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # an array or scalar of NumPy
        return json_ready(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def say(text: str, *, quiet: bool = False, colour: str | None = None) -> None:
    """Say something on stderr; coloured on a terminal. That nobody listens any more is no error."""
    if quiet:
        return
    try:
        typer.secho(text, fg=colour, err=True)
    except OSError:
        return


def say_error(message: object) -> None:
    """One red ``error: ...`` line on stderr; further mistakes follow on lines of their own."""
    say(f"error: {message}", colour="red")


def say_warnings(warnings: Sequence[str], *, quiet: bool) -> None:
    """``warning: ...`` lines on stderr."""
    for text in warnings:
        say(f"warning: {text}", quiet=quiet, colour="yellow")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns for a person: numbers to the right, floats with three decimals, None as "-"."""
    cells = [list(header)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    right = [
        bool(rows) and all(value is None or isinstance(value, (int, float)) for value in column)
        for column in (zip(*rows, strict=True) if rows else [()] * len(header))
    ]
    lines = (
        "  ".join(
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(row, widths, right, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
