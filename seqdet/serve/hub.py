"""Between the session and its viewers: each new picture is encoded once, and everybody is woken.

A thread of its own waits for the session, so that neither the loop nor the viewers wait for each other.
Viewers take the newest picture when they are ready for it; what came between is never sent to them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from seqdet.live_types import LiveFrame
from seqdet.results.draw import Annotator
from seqdet.serve.messages import picture_message, to_json, zones_ready
from seqdet.serve.recorder import Recorder
from seqdet.serve.session import Session, Shown
from seqdet.video.still import encode_still

LONGEST_SENT_PX = 1280  # a page shows hardly more, and larger pictures cost every viewer time
TICK_S = 0.25  # between two looks at the session's status
_WAIT_S = 0.5  # for a picture, before looking whether to stop
_PAUSE_S = 0.05


class Picture:
    """A frame with its encoded forms, each made at most once, when first asked for. Safe in threads."""

    def __init__(self, frame: LiveFrame, annotator: Annotator, shown: Shown) -> None:
        self.frame = frame
        self._annotator, self._shown = annotator, shown
        self._lock = threading.Lock()
        self._message: bytes | None = None
        self._drawn: bytes | None = None

    def message(self) -> bytes:
        """The picture without boxes, and its boxes beside it."""
        with self._lock:
            if self._message is None:
                jpeg = encode_still(self.frame.result.frame.rgb, longest_px=LONGEST_SENT_PX)
                self._message = picture_message(self.frame, jpeg)
            return self._message

    def drawn_jpeg(self) -> bytes:
        """The picture with its boxes drawn in."""
        with self._lock:
            if self._drawn is None:
                rgb = self._annotator.draw(self._shown.of(self.frame.result))
                self._drawn = encode_still(rgb, longest_px=LONGEST_SENT_PX)
            return self._drawn


class Hub:
    """Wakes viewers, and hands them what is newest. All but `start`'s thread runs in the event loop.

    Attributes:
        picture: the newest, or None before the first.
        status_text: what viewers are told of the session, a JSON text.
        stopping: True once the server ends.
    """

    def __init__(self, session: Session, recorder: Recorder) -> None:
        self.session = session
        self.recorder = recorder
        self.picture: Picture | None = None
        self.status_text = ""
        self.stopping = False
        self._viewers: dict[asyncio.Event, bool] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seqdet page")
        self._pumping: Future[None] | None = None
        self._annotator = Annotator(session.classes)

    @property
    def viewers(self) -> int:
        """How many there are."""
        return len(self._viewers)

    def join(self, *, drawn: bool) -> asyncio.Event:
        """A new viewer.

        Args:
            drawn: True when it wants pictures with boxes drawn in.

        Returns:
            An event that is set when there is something new, and by which the viewer leaves.
        """
        wake = asyncio.Event()
        wake.set()
        self._viewers[wake] = drawn
        return wake

    def leave(self, wake: asyncio.Event) -> None:
        """A viewer is gone."""
        self._viewers.pop(wake, None)

    def wake_all(self) -> None:
        """There is something new."""
        for wake in self._viewers:
            wake.set()

    async def run(self, on_failure: Callable[[], None]) -> None:
        """Work until cancelled.

        Args:
            on_failure: is called when the session cannot go on; `raise_failure` says why.
        """
        loop = asyncio.get_running_loop()
        self._pumping = self._thread.submit(self._pump, loop)
        while not self._pumping.done():
            self.status_text = to_json(self.status())
            self.wake_all()
            await asyncio.sleep(TICK_S)
        if not self.stopping:
            on_failure()

    def stop(self) -> None:
        """Let the viewers and the thread go."""
        self.stopping = True
        self.wake_all()
        self._thread.shutdown()

    def raise_failure(self) -> None:
        """Raise what the session raised, if it did; after `stop`."""
        if self._pumping is not None:
            self._pumping.result()

    def status(self) -> dict[str, Any]:
        """What is told of the session, ready for JSON."""
        newest = self.recorder.recordings()[-1:]
        return {
            "type": "status",
            **asdict(self.session.status()),
            "viewers": self.viewers,
            "zones": zones_ready(self.session.zones()),
            "recording": asdict(newest[0]) if newest else None,
        }

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        number = 0
        while not self.stopping:
            frame = self.session.wait_newer(number, _WAIT_S)
            if frame is None:
                time.sleep(_PAUSE_S)  # a session that has ended answers at once
                continue
            number = frame.number
            self.recorder.offer(frame)
            picture = Picture(frame, self._annotator, Shown(self.session.score))
            # Encoded here, not in the event loop; a copy, for viewers come and go meanwhile.
            wanted = set(self._viewers.copy().values())
            if False in wanted:
                picture.message()
            if True in wanted:
                picture.drawn_jpeg()
            if not self.stopping:
                loop.call_soon_threadsafe(self._publish, picture)

    def _publish(self, picture: Picture) -> None:
        self.picture = picture
        self.wake_all()
