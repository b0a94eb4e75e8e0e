"""The face: parse, call one function of runs/, print.

Nothing heavy is imported here; each command imports what it runs when it runs. Errors that seqdet raises on
purpose become one red line and their exit code, whatever else is raised propagates with its traceback.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seqdet import __version__
from seqdet.cli import (
    bench,
    check,
    convert,
    detect,
    doctor,
    evaluate,
    explain,
    export,
    ingest,
    live,
    preview,
    synth,
    train,
    tune,
)
from seqdet.cli.common import say, say_error
from seqdet.errors import SeqdetError, Terminated

INTERRUPTED_EXIT_CODE = 130


class Face(TyperGroup):
    """The group of all commands; it turns what a command raises into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with _stop_signals_raise():
                return super().invoke(ctx)
        except SeqdetError as error:
            say_error(error)
            raise typer.Exit(error.exit_code) from error
        except Terminated as stop:
            say(f"stopped by {stop}: what was finished is kept")
            raise typer.Exit(stop.exit_code) from stop
        except KeyboardInterrupt as stop:
            say("interrupted: what was finished is kept")
            raise typer.Exit(INTERRUPTED_EXIT_CODE) from stop


@contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """SIGTERM and a closed terminal raise where the program is, so that writers finalise their files."""

    def stop(number: int, frame: FrameType | None) -> None:
        # Once only: a second signal must not cut the finalising short.
        signal.signal(number, signal.SIG_IGN)
        raise Terminated(number)

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What the parent has told to be ignored stays so: nohup ignores SIGHUP.
    before = {number: signal.getsignal(number) for number in wanted}
    replaced = [number for number in wanted if before[number] is not signal.SIG_IGN]
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seqdet {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
]


def root(version: Version = False) -> None:
    """Find objects in video with a detector that remembers.

    Results go to stdout, talk to stderr. Exit codes: 0 done, 2 wrong usage or configuration, 3 unreadable
    input, 4 done in part, 5 a missing optional dependency, 6 the output cannot be written, 130 interrupted.
    """


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="seqdet",
        cls=Face,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    app.command("detect")(detect.detect)
    app.command("live")(live.live)
    app.command("train")(train.train)
    app.command("tune")(tune.tune)
    app.command("eval")(evaluate.evaluate)
    app.command("ingest")(ingest.ingest)
    app.command("preview")(preview.preview)
    app.command("convert")(convert.convert)
    app.command("check")(check.check)
    app.command("synth")(synth.synth)
    app.command("export")(export.export)
    app.command("bench")(bench.bench)
    app.command("explain")(explain.explain)
    app.command("doctor")(doctor.doctor)
    return app


def main() -> None:
    """Entry point of the ``seqdet`` command."""
    build()()
