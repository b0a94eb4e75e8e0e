"""A model at work on what a camera sees now: the newest picture in, the newest result out, for any number
of watchers at the price of one.

    with open_live("rtsp://camera/stream") as session:
        number = 0
        while (live := session.wait_newer(number, timeout_s=5)) is not None:
            number = live.number
            live.result.labels, session.status().latency_s

camera's thread -> newest picture -> this session's thread: model, events, rows -> newest result -> watchers

Nothing waits in line: while the model looks at one picture, newer ones replace each other, and the next one
that it looks at is the newest. A watcher that is slow, or gone, misses results and slows nobody.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from seqdet.defaults import SHOWN_SCORE
from seqdet.errors import SeqdetError, UsageError
from seqdet.live_types import Event, LiveFrame, LiveStatus, StreamState, Zone, ZoneCount
from seqdet.results.events import EventState, above, step_events
from seqdet.results.mqtt import open_mqtt
from seqdet.results.outlet import Outlet
from seqdet.results.sinks import Sink, open_sink
from seqdet.results.tracks import living_tracks
from seqdet.results.webhook import open_webhook
from seqdet.results.zones import ZoneState, step_zones, watched, zone_count
from seqdet.runs.device import threads_shared_by
from seqdet.runs.live_account import Account, LiveReport
from seqdet.runs.live_memory import LiveMemory, initial_memory, look
from seqdet.runs.stream import Model, load, with_score
from seqdet.types import Frame
from seqdet.video.camera import Camera, Captured
from seqdet.video.live_source import live_source

# Results are given from this score on, whatever the session's own is, so that a page can show the weak ones.
PAGE_SCORE = 0.1
EVENTS_KEPT = 1000
# Results that wait for who wants every one of them; they carry no pictures.
RESULTS_KEPT = 256
_POLL_S = 0.2
_RECENT = 50
_RECENT_S = 3.0
_JOIN_S = 10.0


class Enough(SeqdetError):
    """A session has looked at as many pictures, or for as long, as was asked for."""

    exit_code = 0


class LiveSession:
    """A model that watches a live source, from the moment on that it is made; a context manager.

    All methods may be called from any thread.

    Args:
        source: the source as it may be shown.
        camera: where pictures come from; the session closes it.
        model: what looks at them; it should report from ``PAGE_SCORE`` on.
        score: detections below take no part in rows, events and zones, 0..1.
        sinks: files that get the rows; the session closes them.
        outlets: where events are sent; the session closes them.
        max_frames: the session ends after so many results.
        max_seconds: the session ends after so long.

    Attributes:
        source: as the user named it, passwords hidden.
        classes: names of the classes.
        score: as above.
    """

    def __init__(
        self,
        source: str,
        camera: Camera,
        model: Model,
        score: float,
        sinks: Sequence[Sink] = (),
        outlets: Sequence[Outlet] = (),
        max_frames: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        self.source, self.classes, self.score = source, model.classes, score
        self._camera, self._model = camera, model
        self._max_frames, self._max_seconds = max_frames, max_seconds
        self._sinks, self._outlets = tuple(sinks), tuple(outlets)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._error: BaseException | None = None
        self._over = False
        self._newest: LiveFrame | None = None
        self._results: deque[LiveFrame] = deque(maxlen=RESULTS_KEPT)
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._told = 0  # events
        self._lost = False
        self._zones: tuple[ZoneState, ...] = ()
        self._time_s = 0.0  # of the newest result
        self._account = Account()
        self._latencies_s: deque[float] = deque(maxlen=_RECENT)
        self._finished_s: deque[float] = deque(maxlen=_RECENT)
        self._thread = threading.Thread(target=self._run, name="seqdet-live", daemon=True)
        self._thread.start()

    def wait_newer(self, number: int, timeout_s: float) -> LiveFrame | None:
        """The newest result, once there is one of a greater number.

        Args:
            number: of the result that the caller has; 0 for none.
            timeout_s: how long to wait.

        Returns:
            None when none came in time, or none will come any more (``is_over``).

        Raises:
            Enough: it has seen what was asked for.
            OutputError: rows could not be written; nothing is looked at any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._is_newer(number), timeout_s)
            if self._is_newer(number):
                return self._newest
        self.check()
        return None

    def check(self) -> None:
        """Raise what ended the session before its time, if anything did (see ``wait_newer``)."""
        if self._error is not None:
            raise self._error

    @property
    def is_over(self) -> bool:
        """Whether no result will come any more; ``status`` says why."""
        return self._over

    def results_since(self, number: int) -> tuple[LiveFrame, ...]:
        """Results of a greater number, oldest first, of the newest 256: black pictures, but every result.

        They hold what counts: detections of the session's score and more.
        """
        with self._changed:
            return tuple(live for live in self._results if live.number > number)

    def status(self) -> LiveStatus:
        """How the session is, now; never waits for the source."""
        camera = self._camera.status()
        with self._changed:
            newest, latencies = self._newest, list(self._latencies_s)
            recent = [at_s for at_s in self._finished_s if time.monotonic() - at_s < _RECENT_S]
        span_s = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        state, message = camera.state, camera.message
        if self._error is not None:
            # Why nothing came matters more than that the time is over.
            said = camera.message if isinstance(self._error, Enough) else ""
            state, message = "ended", said or str(self._error)
        return LiveStatus(
            source=self.source,
            state=state,
            message=message,
            age_s=camera.age_s,
            size_wh=newest.result.frame.size_wh if newest is not None else None,
            source_fps=camera.fps,
            result_fps=(len(recent) - 1) / span_s if span_s > 0 else 0.0,
            captured=camera.captured,
            detected=newest.number if newest is not None else 0,
            dropped=camera.dropped,
            reconnects=camera.reconnects,
            latency_s=statistics.median(latencies) if latencies else None,
        )

    def events_since(self, number: int) -> tuple[Event, ...]:
        """Events of a greater number, oldest first, of the newest thousand."""
        with self._changed:
            return tuple(event for event in self._events if event.number > number)

    def zones(self) -> tuple[ZoneCount, ...]:
        """The zones and what they have seen."""
        with self._changed:
            return tuple(zone_count(state, self._time_s) for state in self._zones)

    def set_zones(self, zones: Sequence[Zone]) -> None:
        """Count in these zones from now on; one that stays as it was goes on counting.

        Raises:
            UsageError: a zone that cannot be; those before stay.
        """
        fresh = {zone: watched(zone) for zone in zones}
        with self._changed:
            known = {state.zone: state for state in self._zones}
            self._zones = tuple(known.get(zone, state) for zone, state in fresh.items())

    def report(self) -> LiveReport:
        """The account of the session; whole once it is closed."""
        status, account = self.status(), self._account
        seconds = time.monotonic() - account.began_s
        newest = account.newest
        return LiveReport(
            source=self.source,
            seconds=round(seconds, 3),
            captured=status.captured,
            detected=account.frames,
            dropped=status.captured - account.frames,
            reconnects=status.reconnects,
            detections=account.detections,
            tracks=account.tracks,
            events=self._told,
            fps=round(account.frames / max(seconds, 1e-9), 2),
            latency_s=status.latency_s,
            label=newest.sequence_label if newest is not None else "",
            score=round(newest.sequence_score, 4) if newest is not None else 0.0,
            outlets=tuple(outlet.report() for outlet in self._outlets),
        )

    def close(self) -> None:
        """End the threads, finish the files, let go of the source; safe to call twice."""
        self._closing.set()
        self._camera.close()
        self._thread.join(_JOIN_S)
        for outlet in self._outlets:
            outlet.close()

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_newer(self, number: int) -> bool:
        return self._newest is not None and self._newest.number > number

    def _run(self) -> None:
        try:
            # The cores are shared with decoding and with the page's pictures.
            with ExitStack() as files, threads_shared_by(2):
                for sink in self._sinks:
                    files.enter_context(sink)
                self._watch()
        except BaseException as error:  # shown to whoever asks, whatever it is
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _watch(self) -> None:
        memory, events = initial_memory(self._model), EventState()
        try:
            while not self._closing.is_set():
                captured = self._camera.take(_POLL_S)
                state = self._camera.status().state
                self._tell(self._stream_events(state))
                if captured is not None:
                    memory, events = self._look(captured, memory, events)
                elif state in ("ended", "refused"):
                    return
                self._end_when_enough()
        finally:
            self._account.remember(living_tracks(memory.stream.tracks))
            for sink in self._sinks if self._account.frames else ():
                sink.end_sequence(self._account.sequence(self.source))

    def _look(
        self, captured: Captured, memory: LiveMemory, events: EventState
    ) -> tuple[LiveMemory, EventState]:
        """One picture: model, events, zones, rows; then show it."""
        result, memory, ended, cut = look(self._model, captured, memory)
        counted = above(result, self.score)
        told: list[Event] = []
        if cut:
            told.append(Event(0, "scene_cut", "another scene: the memory begins anew", result.time_s, 0.0))
        events, new = step_events(events, counted, [track.track_id for track in ended])
        self._account.take(counted, ended)
        for sink in self._sinks:
            sink.write(self.source, counted)
        finished_s = time.monotonic()
        with self._changed:
            self._zones, of_zones = step_zones(self._zones, counted.detections, self.classes, result.time_s)
            self._time_s = result.time_s
            number = self._account.frames
            counts = tuple(zone_count(state, result.time_s) for state in self._zones)
            self._newest = LiveFrame(number, result, captured.captured_at_s, finished_s, counts)
            self._results.append(replace(self._newest, result=replace(counted, frame=_black(result.frame))))
            self._latencies_s.append(finished_s - captured.captured_at_s)
            self._finished_s.append(finished_s)
            self._changed.notify_all()
        self._tell([*told, *new, *of_zones])
        return memory, events

    def _stream_events(self, state: StreamState) -> list[Event]:
        """That the source has fallen silent, or is back; nothing before its first picture."""
        silent = self._newest is not None and state in ("stale", "lost", "refused")
        if silent == self._lost or (self._lost and state != "live"):
            return []
        self._lost = silent
        status = self._camera.status()
        time_s = self._time_s + (status.age_s or 0.0)
        if silent:
            return [Event(0, "stream_lost", status.message or "no picture comes", time_s, 0.0)]
        return [Event(0, "stream_back", "pictures come again", time_s, 0.0)]

    def _tell(self, events: Sequence[Event]) -> None:
        """Number the events, keep them, send them."""
        for event in events:
            with self._changed:
                self._told += 1
                event = replace(event, number=self._told, wall_time_s=time.time())
                self._events.append(event)
            for outlet in self._outlets:
                outlet.put(event)

    def _end_when_enough(self) -> None:
        """What was asked for is done: as an error, so that whoever shows the session ends, too."""
        account = self._account
        if self._max_frames is not None and account.frames >= self._max_frames:
            raise Enough(f"{account.frames} pictures were looked at, as asked for")
        if self._max_seconds is not None and time.monotonic() - account.began_s >= self._max_seconds:
            raise Enough(f"{self._max_seconds:g} seconds are over, as asked for")


def _black(frame: Frame) -> Frame:
    """The same frame with a picture that takes no memory."""
    return replace(frame, rgb=np.broadcast_to(np.uint8(0), frame.rgb.shape))


def open_live(
    source: str,
    *,
    model: str | Path = "airspace",
    device: str = "auto",
    score: float = SHOWN_SCORE,
    loop: bool = False,
    save: Sequence[Path] = (),
    webhook: str | None = None,
    mqtt: str | None = None,
    force: bool = False,
    max_frames: int | None = None,
    max_seconds: float | None = None,
) -> LiveSession:
    """Begin to watch a live source.

    Args:
        source: a camera index, an address (rtsp, http, udp), or a file, played at its own pace.
        model: shipped name, run folder or file.
        device: "auto", "cpu" or "cuda".
        score: smallest score of a detection that counts, 0..1.
        loop: a file begins again at its end.
        save: files of rows; the extension chooses the format.
        webhook: where events are POSTed to.
        mqtt: broker and topic to which events are published.
        force: replace files of rows that exist.
        max_frames: end after so many results.
        max_seconds: end after so long.

    Raises:
        UsageError: no such model or device, a wrong score, address or file of rows, or a loop of what is no
            file.
        MissingDependencyError: ``mqtt`` without its extra.
    """
    if not 0 < score < 1:
        raise UsageError(f"--score {score:g}: give a number between 0 and 1, such as 0.3")
    shown, opener = live_source(source, loop)
    loaded = with_score(load(model, device), min(score, PAGE_SCORE))
    with ExitStack() as stack:
        sinks = [stack.enter_context(open_sink(path, loaded.classes, overwrite=force)) for path in save]
        outlets = [
            stack.enter_context(begin(url, shown))
            for url, begin in ((webhook, open_webhook), (mqtt, open_mqtt))
            if url is not None
        ]
        stack.pop_all()  # the session closes them
    return LiveSession(shown, Camera(opener), loaded, score, sinks, outlets, max_frames, max_seconds)
