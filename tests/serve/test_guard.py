"""Who may come in: every route of the router's own table, against wrong hosts, origins, tokens, methods."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from fake_session import FakeSession
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.testclient import TestClient

from seqdet.serve.app import build
from seqdet.serve.guard import HEADERS, Access, Guard

ORIGIN = "http://127.0.0.1:8765"
TOKEN = "a-good-long-token"
NONE = "no such header"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def all_routes() -> list[tuple[str, frozenset[str]]]:
    """Path and methods of every route; a WebSocket's method is "WS"."""
    found = []
    for route in build(FakeSession(), folder=Path()).routes.routes:
        assert isinstance(route, (APIRoute, APIWebSocketRoute)), f"{route}: no route of ours (docs?)"
        methods = frozenset(route.methods) if isinstance(route, APIRoute) else frozenset({"WS"})
        found.append((route.path.replace("{name}", "main.js").replace("{recording_id}", "0" * 16), methods))
    return found


ROUTES = all_routes()


def ask(app: Guard, path: str, method: str, headers: dict[str, str]) -> int:
    """Status of the answer; for a WebSocket that of its refusal, or 101. Past the test client: quick."""
    path, _, query = path.partition("?")
    kind = "websocket" if method == "WS" else "http"
    given = {"host": "127.0.0.1:8765", "origin": ORIGIN, **headers}
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(key.encode(), value.encode("latin-1")) for key, value in given.items() if value != NONE],
        **({"subprotocols": []} if kind == "websocket" else {"method": method}),
    }
    statuses = []

    async def send(message) -> None:
        statuses.append(101 if message["type"] == "websocket.accept" else message.get("status"))

    async def receive():
        return {"type": f"{kind}.disconnect", "code": 1000}

    asyncio.run(app(scope, receive, send))
    return statuses[0]


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    """A viewer on the same machine; one server for all tests here, for they change nothing."""
    app = build(FakeSession(), folder=tmp_path_factory.mktemp("open")).asgi
    with TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}) as client:
        yield client


@pytest.fixture(scope="module")
def guarded_app(tmp_path_factory) -> Iterator[Guard]:
    page = build(FakeSession(), folder=tmp_path_factory.mktemp("guarded"), access=Access(token=TOKEN))
    with TestClient(page.asgi, base_url=ORIGIN):
        yield page.asgi


@pytest.fixture
def guarded(guarded_app: Guard) -> TestClient:
    """A viewer without cookies of a server that wants the token."""
    return TestClient(guarded_app, base_url=ORIGIN, headers={"origin": ORIGIN})


def test_the_table_of_routes_is_whole():
    paths = {path for path, _ in ROUTES}
    assert {"/", "/ws", "/video.mjpg", "/api/zones", "/api/record/start", "/static/main.js"} <= paths
    assert not any(word in path for path in paths for word in ("docs", "openapi", "redoc"))


@pytest.mark.parametrize(("path", "methods"), ROUTES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example:8765",
     "[::2]:8765", "127.0.0.1@evil.example", "10.0.0.7:8765", "0.0.0.0:8765", "", "xn--localhost:8765"],
)  # fmt: skip
def test_a_foreign_name_is_refused_everywhere(client: TestClient, path: str, methods, host: str):
    for method in {*METHODS, *methods}:
        assert ask(client.app, path, method, {"host": host, "origin": f"http://{host}"}) == 403, method


@pytest.mark.parametrize(("path", "methods"), ROUTES)
@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1:9999", "http://127.0.0.1", "http://localhost:8765", "null", "",
     "http://127.0.0.1:8765.evil.example", "http://127.0.0.1:8765/", "file://", "chrome-extension://abc"],
)  # fmt: skip
def test_a_foreign_origin_is_refused_everywhere(client: TestClient, path: str, methods, origin: str):
    for method in {*METHODS, *methods}:
        assert ask(client.app, path, method, {"origin": origin}) == 403, method


@pytest.mark.parametrize(("path", "methods"), ROUTES)
def test_what_changes_something_must_name_its_origin(client: TestClient, path: str, methods):
    for method in {*METHODS, *methods} - {"GET", "HEAD"}:
        assert ask(client.app, path, method, {"origin": NONE}) == 403, method


@pytest.mark.parametrize(("path", "methods"), ROUTES)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_fetch_nothing(client: TestClient, path: str, methods, site: str):
    for mode in ("no-cors", "cors", "websocket", *(() if path == "/" else ("navigate",))):
        for method in methods:
            headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
            assert ask(client.app, path, method, headers) == 403, (method, mode)


@pytest.mark.parametrize(("path", "methods"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "seqdet=wrong"},
        {"cookie": f"seqdet={TOKEN}"},
        {"cookie": 'seqdet="; seqdet=\xff'},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": f"Digest {TOKEN}"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(f"{TOKEN}:wrong".encode()).decode()},
    ],
)
def test_without_the_token_nothing_is_answered(guarded: TestClient, path: str, methods, headers):
    for method in {*METHODS, *methods}:
        assert ask(guarded.app, path, method, headers) == 401, method
        assert ask(guarded.app, f"{path}?token=wrong", method, headers) == 401, method
        if path != "/":  # the token counts in the address of the page alone
            assert ask(guarded.app, f"{path}?token={TOKEN}", method, headers) == 401, method


@pytest.mark.parametrize(("path", "methods"), ROUTES)
def test_another_method_is_not_answered(client: TestClient, path: str, methods):
    for method in set(METHODS) - methods - {"HEAD" if "GET" in methods else ""}:
        others = {m for p, ms in ROUTES if p == path for m in ms}
        if method not in others:
            assert ask(client.app, path, method, {}) in (404, 405), method


@pytest.mark.parametrize(
    "path", [path for path, methods in ROUTES if "GET" in methods and "mjpg" not in path]
)
def test_every_answer_carries_the_headers(client: TestClient, path: str):
    for answer in (
        client.get(path),
        client.get(path, headers={"host": "evil.example"}),
        client.get("/nothing"),
    ):
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_token_comes_in_by_the_address_once_and_then_by_the_cookie(guarded: TestClient):
    welcome = guarded.get(f"/?token={TOKEN}", follow_redirects=False)
    assert welcome.status_code == 200
    assert TOKEN not in welcome.text
    (cookie,) = SimpleCookie(welcome.headers["set-cookie"]).values()
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "strict"
    assert TOKEN not in cookie.value
    assert guarded.get("/").status_code == 200  # the client keeps the cookie
    with guarded.websocket_connect(
        "ws://127.0.0.1:8765/ws", headers={"cookie": f"seqdet={cookie.value}"}
    ) as socket:
        assert socket.receive_json()["type"] == "hello"


@pytest.mark.parametrize(
    "authorization", [f"Bearer {TOKEN}", "Basic " + base64.b64encode(f"any:{TOKEN}".encode()).decode()]
)
def test_players_send_the_token_as_a_header(guarded: TestClient, authorization: str):
    assert guarded.get("/api/status", headers={"authorization": authorization}).status_code == 200


def test_a_link_on_another_site_leads_in_by_a_second_step(guarded: TestClient):
    """A strict cookie is kept back on the first step; the answer must not tell anything but where to go."""
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    answer = TestClient(guarded.app, base_url=ORIGIN).get("/", headers=headers)
    assert 'http-equiv="refresh"' in answer.text
    assert "script" not in answer.text


@pytest.mark.parametrize(
    ("host", "names", "any_address", "welcome"),
    [
        ("LOCALHOST:1", {"localhost"}, False, True),
        ("localhost.:8765", {"localhost"}, False, True),
        ("[::1]:8765", {"::1"}, False, True),
        ("192.168.1.5:8765", set(), True, True),
        ("[fe80::1]:8765", set(), True, True),
        ("192.168.1.5", set(), False, False),
        ("camera.example:8765", {"camera.example"}, True, True),
        ("evil.example", {"camera.example"}, True, False),
        ("1.2.3.4.evil.example", set(), True, False),
    ],
)
def test_names_of_this_machine(host: str, names, any_address: bool, welcome: bool):
    assert Access(frozenset(names), any_address).names_this(host) is welcome
