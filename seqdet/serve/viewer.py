"""One viewer at its WebSocket: pictures as fast as it takes them, status and events as texts.

A viewer says which picture it has taken, and never has more than two on their way: pictures do not pile up in
the network, and a slow viewer sees fewer of them, not older ones. Texts from a viewer:

    {"type":"seen","number":N} · {"type":"ping","at":T} · {"type":"pause","paused":true|false}

Whatever else comes closes the viewer, with a reason.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import deque
from typing import Any, NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect

from seqdet.serve.allowance import Allowance
from seqdet.serve.hub import Hub
from seqdet.serve.messages import event_ready, to_json

IN_FLIGHT = 2  # pictures sent and not yet taken
SILENT_S = 15.0  # a viewer that takes no picture for so long is closed
SEND_LIMIT_S = 10.0  # for one message to leave
MAX_EVENTS_SENT = 200  # at once; older ones can be fetched
_MESSAGES_PER_S = 300.0


class Goodbye(NamedTuple):
    """Why a viewer is closed."""

    code: int
    reason: str


NOT_UNDERSTOOD = 1008
TRY_LATER = 1013
GOING_AWAY = 1001


class Viewer:
    """Serves one accepted WebSocket until it ends."""

    def __init__(self, socket: WebSocket, hub: Hub, hello: dict[str, Any]) -> None:
        self._socket, self._hub, self._hello = socket, hub, hello
        self._wake = hub.join(drawn=False)
        self._on_their_way: deque[tuple[int, float]] = deque()
        self._sent_number = self._event_number = 0
        self._sent_status = ""
        self._paused = False
        self._pings: deque[tuple[float, float]] = deque(maxlen=4)
        self._allowance = Allowance(_MESSAGES_PER_S, burst=3 * _MESSAGES_PER_S)

    async def run(self) -> None:
        """Serve until the viewer leaves, is closed, or the server ends."""
        tasks = [asyncio.create_task(self._receiving()), asyncio.create_task(self._sending())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(self._wake)
            finished = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        goodbye = finished[0].result()
        if goodbye is not None:
            await self._close(goodbye)

    async def _close(self, goodbye: Goodbye) -> None:
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await self._socket.close(goodbye.code, goodbye.reason)
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            return  # gone already

    async def _receiving(self) -> Goodbye | None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            if not self._allowance.take():
                return Goodbye(NOT_UNDERSTOOD, "too many messages")
            if not self._understood(message.get("text")):
                return Goodbye(NOT_UNDERSTOOD, "a message that this server does not understand")
            self._wake.set()

    def _understood(self, text: str | None) -> bool:
        """Take one text; False when it makes no sense."""
        try:
            told = json.loads(text or "")
        except (ValueError, RecursionError):
            return False
        match told:
            case {"type": "seen", "number": int(number)} if 0 <= number <= self._sent_number:
                while self._on_their_way and self._on_their_way[0][0] <= number:
                    self._on_their_way.popleft()
            case {"type": "ping", "at": int(at) | float(at)} if abs(at) < 1e12 and math.isfinite(at):
                self._pings.append((at, time.monotonic()))
            case {"type": "pause", "paused": bool(paused)}:
                self._paused = paused
                self._on_their_way.clear()
            case _:
                return False
        return True

    async def _sending(self) -> Goodbye | None:
        try:
            await self._send_text(to_json(self._hello))
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._hub.stopping:
                    return Goodbye(GOING_AWAY, "the server ends")
                if self._is_silent():
                    return Goodbye(NOT_UNDERSTOOD, f"no picture was taken for {SILENT_S:.0f} s")
                await self._send_news()
        except TimeoutError:
            return Goodbye(NOT_UNDERSTOOD, f"a message could not be sent within {SEND_LIMIT_S:.0f} s")
        except (WebSocketDisconnect, RuntimeError):
            return None  # it left while something was sent

    def _is_silent(self) -> bool:
        return len(self._on_their_way) >= IN_FLIGHT and time.monotonic() - self._on_their_way[0][1] > SILENT_S

    async def _send_news(self) -> None:
        """All that is new: the picture first, for it ages."""
        picture = self._hub.picture
        if (
            picture is not None
            and not self._paused
            and picture.frame.number > self._sent_number
            and len(self._on_their_way) < IN_FLIGHT
        ):
            self._sent_number = picture.frame.number
            self._on_their_way.append((picture.frame.number, time.monotonic()))
            async with asyncio.timeout(SEND_LIMIT_S):
                await self._socket.send_bytes(picture.message())
        while self._pings:
            at, received_s = self._pings.popleft()
            pong = {"type": "pong", "at": at, "received_s": received_s, "sent_s": time.monotonic()}
            await self._send_text(to_json(pong))
        events = self._hub.session.events_since(self._event_number)[-MAX_EVENTS_SENT:]
        if events:
            self._event_number = events[-1].number
            await self._send_text(to_json({"type": "events", "events": [event_ready(e) for e in events]}))
        if self._hub.status_text != self._sent_status:
            self._sent_status = self._hub.status_text
            await self._send_text(self._sent_status)

    async def _send_text(self, text: str) -> None:
        async with asyncio.timeout(SEND_LIMIT_S):
            await self._socket.send_text(text)
