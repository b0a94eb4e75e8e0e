"""uvicorn, with what a live page needs besides: viewers are sent away first, and nobody may dawdle."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seqdet.serve.app import Page

MAX_MESSAGE_BYTES = 16 * 1024  # from a viewer
MAX_CONNECTIONS = 128
FIRST_REQUEST_LIMIT_S = 10.0


class ImpatientProtocol(H11Protocol):
    """HTTP that closes a connection on which no whole request has come for a while."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins."""
        super().connection_made(transport)
        self.loop.call_later(FIRST_REQUEST_LIMIT_S, self._give_up)

    def _give_up(self) -> None:
        # A WebSocket has taken the transport over by now and has a protocol of its own.
        if self.cycle is None and self.transport.get_protocol() is self:
            self.transport.close()


class PageServer(uvicorn.Server):
    """Serves a page.

    Args:
        page: the application.
        on_ready: is called once it can be reached.
    """

    def __init__(self, page: Page, on_ready: Callable[[], None]) -> None:
        # What viewers do wrong is told to them; they shall not fill the terminal.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            page.asgi,
            http=ImpatientProtocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # pictures are compressed already
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=3,
            access_log=False,
            log_config=None,
            server_header=False,
            lifespan="on",
        )
        super().__init__(config)
        self._hub, self._on_ready = page.hub, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: the viewers first, for uvicorn waits until they have left."""
        self._hub.stopping = True
        self._hub.wake_all()
        await super().shutdown(sockets)
