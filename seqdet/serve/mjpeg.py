"""Pictures one after the other in one answer (multipart/x-mixed-replace), for `<img>`, VLC and OpenCV."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from seqdet.serve.hub import Hub

SEND_LIMIT_S = 10.0  # for one picture to leave
GONE_LIMIT_S = 60.0  # for the connection of one that takes nothing to be ended
_BOUNDARY = "seqdet-picture"


class MjpegStream:
    """An answer that goes on until the viewer leaves, takes nothing any more, or the server ends."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one picture after the other."""
        content_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}".encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}
        )
        wake = self._hub.join(drawn=True)
        leaving = asyncio.create_task(_has_left(receive, wake))
        number = 0
        try:
            while True:
                await wake.wait()
                wake.clear()
                if leaving.done() or self._hub.stopping:
                    break
                picture = self._hub.picture
                if picture is None or picture.frame.number <= number:
                    continue
                number = picture.frame.number
                jpeg = await asyncio.to_thread(picture.drawn_jpeg)
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                body = head.encode() + jpeg + b"\r\n"
                async with asyncio.timeout(SEND_LIMIT_S):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            # It takes nothing any more, or is gone; the kernel ends the connection in a while (`server`).
            self._hub.leave(wake)
            await asyncio.wait([leaving], timeout=GONE_LIMIT_S)
        finally:
            leaving.cancel()
            self._hub.leave(wake)


async def _has_left(receive: Receive, wake: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wake.set()
