"""The routes of the live page. Whoever gets here has passed the guard.

Nothing that comes over the network becomes a path: pages are read once, by their own names, when the
application is made; recordings are found by a random id.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from seqdet import __version__
from seqdet.errors import UsageError
from seqdet.live_types import Event
from seqdet.results.draw import Annotator, class_colour_rgb
from seqdet.serve.allowance import Allowance
from seqdet.serve.guard import Access, Guard
from seqdet.serve.hub import Hub
from seqdet.serve.messages import (
    MAX_CORNERS,
    MAX_NAME,
    MAX_ZONES,
    ShownRequest,
    ZoneRequest,
    event_ready,
    first_mistake,
    to_json,
    zones_ready,
)
from seqdet.serve.mjpeg import MjpegStream
from seqdet.serve.recorder import Recorder
from seqdet.serve.session import Session, Shown
from seqdet.serve.viewer import TRY_LATER, Viewer
from seqdet.video.still import encode_still

MAX_VIEWERS = 16
MAX_BODY_BYTES = 64 * 1024
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
Wanted = TypeVar("Wanted", bound=BaseModel)


class Page(NamedTuple):
    """An application and what lives in it."""

    asgi: Guard
    hub: Hub
    routes: FastAPI


def build(
    session: Session,
    *,
    folder: Path,
    access: Access | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> Page:
    """The application that shows a session.

    Args:
        session: what is shown.
        folder: where recordings go.
        access: who may come in; by default those on this machine.
        on_failure: is called when the session cannot go on.
    """
    recorder = Recorder(folder, session.classes)
    hub = Hub(session, recorder)

    @contextlib.asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(hub.run(on_failure))
        try:
            yield
        finally:
            running.cancel()
            await run_in_threadpool(recorder.close)
            await run_in_threadpool(hub.stop)

    routes = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=living)
    _add_page(routes)
    _add_watching(routes, hub)
    _add_zones(routes, session)
    _add_recording(routes, recorder, session.score)
    return Page(Guard(routes, access or Access()), hub, routes)


def _add_page(routes: FastAPI) -> None:
    files = {
        file.name: file.read_bytes()
        for file in (resources.files("seqdet.serve") / "static").iterdir()
        if Path(file.name).suffix in _TYPES
    }

    def answer(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=_TYPES[Path(name).suffix])

    @routes.get("/")
    def page() -> Response:
        return answer("index.html")

    @routes.get("/favicon.ico")
    def icon() -> Response:
        return answer("icon.svg")

    @routes.get("/static/{name}")
    def static(name: str) -> Response:
        return answer(name)


def _add_watching(routes: FastAPI, hub: Hub) -> None:
    session = hub.session
    snapshots = Allowance(per_s=4, burst=8)
    # A new one each time the server starts: numbers begin anew, and a page that was open must know.
    session_id = secrets.token_hex(8)

    @routes.websocket("/ws")
    async def watch(socket: WebSocket) -> None:
        await socket.accept()
        if hub.viewers >= MAX_VIEWERS:
            await socket.close(TRY_LATER, f"{MAX_VIEWERS} viewers are watching, which is the most")
            return
        await Viewer(socket, hub, _hello(session, session_id)).run()

    @routes.get("/video.mjpg")
    def video() -> Response:
        if hub.viewers >= MAX_VIEWERS:
            raise HTTPException(503, f"{MAX_VIEWERS} viewers are watching, which is the most")
        return _Streamed(MjpegStream(hub))

    @routes.get("/api/status")
    def status() -> Response:
        return _json(hub.status())

    @routes.get("/api/events")
    def events(since: Annotated[int, Query(ge=0)] = 0) -> Response:
        lines = "".join(to_json(event_ready(event)) + "\n" for event in session.events_since(since))
        return _download(lines.encode(), "application/jsonl", "events.jsonl")

    @routes.get("/api/events.csv")
    def events_as_csv(since: Annotated[int, Query(ge=0)] = 0) -> Response:
        return _download(_csv(session.events_since(since)), "text/csv", "events.csv")

    @routes.get("/api/snapshot")
    def snapshot(
        kind: Annotated[Literal["jpeg", "png"], Query(alias="format")] = "jpeg",
        score: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
    ) -> Response:
        if not snapshots.take():
            raise HTTPException(429, "too many snapshots; wait a second")
        if hub.picture is None:
            raise HTTPException(503, "no picture has come yet")
        shown = Shown(session.score if score is None else score)
        rgb = Annotator(session.classes, trail_length=0).draw(shown.of(hub.picture.frame.result))
        return _download(encode_still(rgb, kind), f"image/{kind}", f"snapshot.{kind}")


def _hello(session: Session, session_id: str) -> dict[str, Any]:
    """The first message to a viewer: what does not change."""
    return {
        "type": "hello",
        "session": session_id,
        "version": __version__,
        "source": session.source,
        "score": session.score,
        "classes": [
            {"name": name, "rgb": class_colour_rgb(number)} for number, name in enumerate(session.classes)
        ],
        "unknown_rgb": class_colour_rgb(-1),
        "limits": {"zones": MAX_ZONES, "corners": MAX_CORNERS, "name": MAX_NAME},
    }


def _add_zones(routes: FastAPI, session: Session) -> None:
    changes = Allowance(per_s=2, burst=12)

    @routes.get("/api/zones")
    def zones() -> Response:
        return _json(zones_ready(session.zones()))

    # Both run in the event loop without waiting between reading and setting, so that no change is lost.
    @routes.post("/api/zones")
    async def add_zone(request: Request) -> Response:
        wanted = (await _body(request, ZoneRequest)).zone()
        if not changes.take():
            raise HTTPException(429, "too many changes of zones; wait a second")
        there = [count.zone for count in session.zones()]
        if len(there) >= MAX_ZONES:
            raise HTTPException(409, f"there are {MAX_ZONES} zones, which is the most; delete one first")
        if any(zone.name == wanted.name for zone in there):
            raise HTTPException(409, f"there is a zone named {wanted.name!r} already; choose another name")
        try:
            session.set_zones([*there, wanted])
        except UsageError as error:  # such as corners on one line
            raise HTTPException(422, str(error)) from error
        return _json(zones_ready(session.zones()))

    @routes.delete("/api/zones")
    async def delete_zone(name: str) -> Response:
        if not changes.take():
            raise HTTPException(429, "too many changes of zones; wait a second")
        there = [count.zone for count in session.zones()]
        if all(zone.name != name for zone in there):
            raise HTTPException(404, "there is no zone of that name")
        session.set_zones([zone for zone in there if zone.name != name])
        return _json(zones_ready(session.zones()))


def _add_recording(routes: FastAPI, recorder: Recorder, score: float) -> None:
    changes = Allowance(per_s=0.5, burst=8)

    @routes.get("/api/recordings")
    def recordings() -> Response:
        return _json([asdict(recording) for recording in recorder.recordings()])

    @routes.get("/api/recordings/{recording_id}")
    def recording(recording_id: str) -> Response:
        path = recorder.path(recording_id)
        if path is None or not path.is_file():
            raise HTTPException(404, "there is no whole recording with that id")
        return FileResponse(path, media_type="video/mp4", filename=path.name)

    @routes.post("/api/record/start")
    async def start(request: Request) -> Response:
        shown = (await _body(request, ShownRequest)).shown(score)
        if not changes.take():
            raise HTTPException(429, "too many recordings; wait a few seconds")
        try:
            return _json(asdict(await run_in_threadpool(recorder.start, shown)))
        except UsageError as error:
            raise HTTPException(409, str(error)) from error

    @routes.post("/api/record/stop")
    def stop() -> Response:
        stopped = recorder.stop()
        if stopped is None:
            raise HTTPException(409, "nothing is being recorded")
        return _json(asdict(stopped))


class _Streamed(Response):
    """A response that an ASGI application gives."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _body(request: Request, model: type[Wanted]) -> Wanted:
    """Read and check the body of a request, which is JSON; an empty one is an empty object."""
    text = b""
    async for part in request.stream():
        text += part
        if len(text) > MAX_BODY_BYTES:
            raise HTTPException(413, f"a request holds at most {MAX_BODY_BYTES // 1024} KiB")
    try:
        return model.model_validate_json(text or b"{}")
    except ValidationError as error:
        raise HTTPException(422, first_mistake(error)) from error


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")


def _download(data: bytes, media_type: str, name: str) -> Response:
    return Response(
        data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _csv(events: tuple[Event, ...]) -> bytes:
    """Events as a table; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(Event.__dataclass_fields__), lineterminator="\n")
    table.writeheader()
    for event in events:
        row = event_ready(event)
        table.writerow(
            {
                key: f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") and cell else cell
                for key, cell in row.items()
            }
        )
    return text.getvalue().encode()
