"""``seqdet live``: what a camera sees, now."""

from __future__ import annotations

import contextlib
import json as json_text
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seqdet.cli.common import (
    Device,
    Force,
    Json,
    Model,
    Quiet,
    json_ready,
    say,
    say_warnings,
    show,
    show_json,
)
from seqdet.defaults import SHOWN_SCORE
from seqdet.errors import InputError

if TYPE_CHECKING:
    from seqdet.runs.live import LiveSession
    from seqdet.runs.live_account import LiveReport


def live(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]",
            help="Camera index, rtsp, http or udp address, or a file, played at its own pace.",
        ),
    ] = "0",
    view: Annotated[
        Literal["browser", "window", "none"],
        typer.Option(help="A page for browsers, OpenCV's window, or rows on stdout."),
    ] = "browser",
    host: Annotated[
        str, typer.Option(help="Where the page listens; any address that others reach needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            help="What viewers must know; `new` has one made and shown once.",
            metavar="TEXT",
            envvar="SEQDET_TOKEN",  # arguments can be read by all users of a machine
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Another name by which browsers may call this machine.", metavar="NAME"),
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="Where the page's recordings go.", metavar="FOLDER", file_okay=False)
    ] = Path(),
    loop: Annotated[bool, typer.Option("--loop", help="A file begins again at its end.")] = False,
    save: Annotated[
        list[Path] | None,
        typer.Option(help="Rows to write, as `detect` does. May be repeated.", metavar="FILE"),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Where events are POSTed to as JSON.", metavar="URL")
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(help="Where events are published: mqtt://host/topic.", metavar="URL"),
    ] = None,
    model: Model = "airspace",
    device: Device = "auto",
    score: Annotated[float, typer.Option(min=0, max=1, help="Smallest score of what counts.")] = SHOWN_SCORE,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="End after so many pictures looked at.")
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0.1, help="End after so long.")] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Watch a camera or stream now, in a browser or a window.

    Boxes, tracks, events and zones of the newest picture; a stream that is lost is opened again.
    """
    # Decoding and the page share the cores with the model: see ``detect``.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if view == "browser":
        from seqdet.serve.server import exposure_warning, require_servable

        require_servable(host, port, token, folder)
        warning = exposure_warning(host)
        say_warnings([warning] if warning else [], quiet=quiet)
    elif view == "window":
        from seqdet.runs.live_views import require_display

        require_display()
    from seqdet.runs.live import Enough, open_live
    from seqdet.runs.live_views import first_status

    session = open_live(
        source,
        model=model,
        device=device,
        score=score,
        loop=loop,
        save=save or [],
        webhook=webhook,
        mqtt=mqtt,
        force=force,
        max_frames=max_frames,
        max_seconds=max_seconds,
    )
    try:
        with contextlib.suppress(Enough):
            say_warnings([text] if (text := first_status(session).message) else [], quiet=quiet)
            if view == "browser":
                _browse(session, host, port, token, name or [], folder)
            elif view == "window":
                _show_window(session)
            else:
                _print_rows(session, silent=json)
    finally:
        session.close()
        report = session.report()
        if report.captured:
            _say_account(report, quiet=quiet)
        if json:
            show_json(report)
        with contextlib.suppress(Enough):
            session.check()  # such as rows that could not be finished
    if not report.captured:
        raise InputError(f"not one picture came: {session.status().message or 'the source was silent'}")


def _browse(
    session: LiveSession,
    host: str,
    port: int,
    token: str | None,
    names: list[str],
    folder: Path,
) -> None:
    from seqdet.serve.server import serve

    def ready(url: str) -> None:
        # Not silenced by --quiet: a token that was made is shown here and nowhere else.
        say(f"open {url}   (Ctrl-C ends)")

    serve(session, host=host, port=port, token=token, folder=folder, names=names, on_ready=ready)


def _show_window(session: LiveSession) -> None:
    from seqdet.runs.live_views import show_window

    show_window(session)


def _print_rows(session: LiveSession, *, silent: bool) -> None:
    """One row a line on stdout, at once; nothing there with ``--json``."""
    from seqdet.runs.live_views import live_rows

    for row in live_rows(session):
        if not silent:
            show(json_text.dumps(json_ready(row), ensure_ascii=False))


def _say_account(report: LiveReport, *, quiet: bool) -> None:
    """What came, what was looked at, what was sent."""
    latency = "" if report.latency_s is None else f", {1000 * report.latency_s:.0f} ms from capture to result"
    say(
        f"{report.source}: {report.captured} pictures came, {report.detected} were looked at "
        f"({report.fps:.1f} a second{latency}), {report.dropped} were dropped for newer ones; "
        f"{report.reconnects} reconnections; {report.detections} detections, {report.tracks} tracks, "
        f"{report.events} events",
        quiet=quiet,
    )
    for outlet in report.outlets:
        problem = f" (the last time: {outlet.problem})" if outlet.problem else ""
        say(
            f"{outlet.name}: {outlet.sent} events sent, {outlet.failed} failed, "
            f"{outlet.dropped} dropped{problem}",
            quiet=quiet,
        )
