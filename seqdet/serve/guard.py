"""The door: every request and WebSocket passes here before anything else looks at it.

A page on another site must not reach a camera through the browser of its owner. So the Host header must name
this machine (a foreign name that resolves to 127.0.0.1 is DNS rebinding), whatever can change something or
stays open (WebSocket) must come from the page itself (Origin), fetches by other sites are refused, nothing
answers to CORS, and where others can reach the server they need the token. It is compared in constant time,
accepted once in the address, and then lives in a cookie that no script and no other site can use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
# A meta refresh, not a redirect: after a redirect that another site began, browsers withhold a strict cookie.
_ONWARD = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>seqdet</title>'
)
_NEEDS_TOKEN = (
    "This page needs its token: open the address that seqdet live printed, which ends with /?token=..., "
    "or send the token as password (user: any) or as 'Authorization: Bearer ...'."
)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in.

    Attributes:
        names: what the Host header may name, without port, in lower case.
        any_address: True also lets any IP address be named; a rebound name is never one.
        token: what every viewer must know, or None.
        cookie: name of the cookie that stands for the token.
    """

    names: frozenset[str] = LOOPBACK_NAMES
    any_address: bool = False
    token: str | None = None
    cookie: str = "seqdet"

    def names_this(self, host: str) -> bool:
        """True when a Host header names this server."""
        name = _name_of(host)
        if name in self.names:
            return True
        if not self.any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_token(self, given: str) -> bool:
        """Compare in constant time."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def cookie_value(self) -> str:
        """What the cookie holds: it proves the token and does not tell it."""
        return hmac.new((self.token or "").encode(), b"seqdet live cookie", hashlib.sha256).hexdigest()

    def knows_token(self, headers: Headers) -> bool:
        """True when a request carries the cookie, or the token in its Authorization header."""
        if self.token is None:
            return True
        held = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        if hmac.compare_digest(held.encode(), self.cookie_value().encode()):
            return True
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(value.strip())
        return scheme.lower() == "basic" and self.is_token(_password_of(value))


class Guard:
    """Wraps an application: refuses who must not come in, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, sending)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to who must not come in, or who comes in by the token in the address; None: welcome."""
        headers, access = Headers(scope=scope), self._access
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not access.names_this(hosts[0]):
            return _refused(403, "this server does not go by that name (Host header)")
        is_page = scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "GET"
        safe = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        origins = headers.getlist("origin")
        if (origins or not safe) and origins not in ([f"http://{hosts[0]}"], [f"https://{hosts[0]}"]):
            return _refused(403, "only the page itself may ask for this (Origin header)")
        site = headers.get("sec-fetch-site", "none")
        abroad = site not in ("none", "same-origin")
        if abroad and not (is_page and headers.get("sec-fetch-mode") == "navigate"):
            return _refused(403, "another site asks (Sec-Fetch-Site header)")
        if access.token is None:
            return None
        if is_page:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
            if len(given) == 1 and access.is_token(given[0]):
                return self._welcome()
        if access.knows_token(headers):
            return None
        if is_page and abroad and "token=" not in scope["query_string"].decode("latin-1"):
            return HTMLResponse(_ONWARD)  # a link on another site: the browser kept the strict cookie back
        return _refused(401, _NEEDS_TOKEN)

    def _welcome(self) -> Response:
        answer = HTMLResponse(_ONWARD)
        answer.set_cookie(
            self._access.cookie, self._access.cookie_value(), httponly=True, samesite="strict", path="/"
        )
        return answer


def _refused(status: int, text: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return PlainTextResponse(text + "\n", status, headers)


def _name_of(host: str) -> str:
    """Name in a Host header, without port, brackets and the dot at the end, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _password_of(basic: str) -> str:
    """Password in a Basic header; "" when it cannot be read."""
    try:
        return base64.b64decode(basic, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
