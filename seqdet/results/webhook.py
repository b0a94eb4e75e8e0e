"""Events by HTTP: each one is POSTed as a JSON object."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from seqdet import __version__
from seqdet.errors import UsageError
from seqdet.live_types import Event
from seqdet.results.events import event_row
from seqdet.results.outlet import NotSent, Outlet
from seqdet.video.probe import hide_password

_TIMEOUT_S = 5.0
_WORTH_ANOTHER_TRY = (408, 425, 429)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A receiver that points elsewhere is not followed: the events go where the user said."""

    def redirect_request(self, *_: Any) -> None:
        return None


def open_webhook(url: str, source: str) -> Outlet:
    """Begin to send events to an address.

    Args:
        url: http or https; user and password in it become basic authentication.
        source: what the events are about, as it may be shown.

    Raises:
        UsageError: no such address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--webhook {hide_password(url)}: give an address such as https://example.org/events"
        )
    headers = {"Content-Type": "application/json", "User-Agent": f"seqdet/{__version__}"}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode('ascii')}"
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    opener = urllib.request.build_opener(_NoRedirect)

    def send(event: Event) -> None:
        body = json.dumps(event_row(source, event), ensure_ascii=False, allow_nan=False).encode()
        request = urllib.request.Request(bare, body, headers, method="POST")
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            error.close()
            final = error.code < 500 and error.code not in _WORTH_ANOTHER_TRY
            raise NotSent(f"the receiver answered {error.code}", final=final) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise NotSent(f"cannot be reached ({reason})") from error

    return Outlet(hide_password(url), send)
