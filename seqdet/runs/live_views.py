"""Ways to watch a live session without a browser: rows, and a window."""

from __future__ import annotations

from collections.abc import Iterator

from seqdet.errors import InputError
from seqdet.live_types import LiveStatus
from seqdet.results.draw import Annotator
from seqdet.results.events import above, event_row
from seqdet.results.sinks import detection_rows
from seqdet.runs.live import LiveSession
from seqdet.video.window import Window, require_display

__all__ = ["first_status", "live_rows", "require_display", "show_window"]

_WAIT_S = 0.5
_LONGEST_OPENING_S = 15.0


def first_status(session: LiveSession) -> LiveStatus:
    """How the session is once the source has answered, or has not in time.

    Raises:
        InputError: the source is refused: no such camera, address or file, or a wrong login.
    """
    number, waited_s = 0, 0.0
    while session.status().state == "connecting" and waited_s < _LONGEST_OPENING_S:
        session.wait_newer(number, _WAIT_S / 5)
        waited_s += _WAIT_S / 5
    _raise_if_refused(session)
    return session.status()


def live_rows(session: LiveSession) -> Iterator[dict[str, object]]:
    """All detections that count and all events, as rows, until the source ends.

    Yields:
        Rows of detections as ``--save`` writes them, rows of events as webhooks get them; and
        ``{"type": "missed", "results": n}`` where the reader was so slow that results are lost.

    Raises:
        InputError: the source refuses to go on.
        Enough: the session has seen what was asked for.
    """
    number = told = 0
    while True:
        over = session.is_over
        results = session.results_since(number)
        if results and results[0].number > number + 1:
            yield {"type": "missed", "results": results[0].number - number - 1}
        for live in results:
            number = live.number
            yield from detection_rows(session.source, live.result)
        for event in session.events_since(told):
            told = event.number
            yield event_row(session.source, event)
        if over:
            break
        session.wait_newer(number, _WAIT_S)
    _raise_if_refused(session)
    session.check()


def show_window(session: LiveSession) -> None:
    """The newest picture with its boxes in OpenCV's window until it is closed.

    Raises:
        InputError: the source refuses to go on.
        Enough: the session has seen what was asked for.
    """
    annotator, number = Annotator(session.classes), 0
    with Window() as window:
        while not window.is_closed() and not session.is_over:
            live = session.wait_newer(number, 0.1)
            status = session.status()
            if live is not None:
                number = live.number
                picture = annotator.draw(above(live.result, session.score))
                window.show(picture, _title(status))
    _raise_if_refused(session)
    session.check()


def _title(status: LiveStatus) -> str:
    """What a person wants to know at a glance."""
    latency = "" if status.latency_s is None else f", {1000 * status.latency_s:.0f} ms late"
    said = status.message or f"{status.result_fps:.0f} pictures/s{latency}"
    return f"{status.source}: {said}"


def _raise_if_refused(session: LiveSession) -> None:
    status = session.status()
    if status.state == "refused":
        raise InputError(status.message)
