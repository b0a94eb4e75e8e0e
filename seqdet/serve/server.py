"""The server of the live page: one port, one process, until it is told to stop."""

from __future__ import annotations

import contextlib
import errno
import importlib
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqdet.errors import MissingDependencyError, UsageError
from seqdet.serve.session import Session

if TYPE_CHECKING:
    from seqdet.serve.guard import Access

NEEDED = ("fastapi", "uvicorn", "websockets")
_KERNEL_BUFFER_BYTES = 256 * 1024  # what a viewer that does not read can hold back of pictures
_DEAD_PEER_MS = 20_000
NEW_TOKEN = "new"  # asks for one to be made
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{12,200}")


def serve(
    session: Session,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    folder: Path = Path(),
    names: Sequence[str] = (),
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Show a session until Ctrl-C or SIGTERM; an open recording is finished then.

    Args:
        session: what is shown; the caller closes it.
        host: address to listen at. Any but a loopback one needs a token.
        port: to listen at; 0 takes a free one.
        token: what viewers must know; "new" has one made; None where nobody but this machine can come.
        folder: where recordings go.
        names: by which viewers may call this machine besides its own name and addresses.
        on_ready: is told the address to open, with the token where there is one, once it can be opened.

    Raises:
        MissingDependencyError: the extra `serve` is not installed.
        UsageError: the port is taken, the host is not of this machine, the token is too weak or missing, or
            there is no such folder.
        SeqdetError: what made the session end.
    """
    _require_usable(host, token, folder)
    from seqdet.serve.app import build
    from seqdet.serve.web import PageServer

    if token == NEW_TOKEN:
        token = secrets.token_urlsafe(24)

    def ready() -> None:
        if on_ready is not None:
            on_ready(_url(host, address[1], token))

    with _listening(host, port) as listener:
        address = listener.getsockname()
        page = build(
            session,
            folder=folder,
            access=_access(host, address, token, names),
            on_failure=lambda: setattr(server, "should_exit", True),
        )
        server = PageServer(page, ready)
        try:
            server.run([listener])
        finally:
            # Again, for a signal may have cut the orderly end short.
            page.hub.recorder.close()
            page.hub.stop()
        page.hub.raise_failure()


def require_servable(host: str, port: int, token: str | None, folder: Path) -> None:
    """Find out whether `serve` would begin, before anything else is started; it raises what that would."""
    _require_usable(host, token, folder)
    with _listening(host, port):
        pass


def _require_usable(host: str, token: str | None, folder: Path) -> None:
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingDependencyError(
                f"the live page needs {name}; install what it needs: pip install {' '.join(NEEDED)}"
            ) from error
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} shows the camera to {_reach(host)}, so viewers must know a token: "
            f"type --host {host} --token {NEW_TOKEN}, and one is made and shown once "
            "(or set SEQDET_TOKEN to one of your own)"
        )
    if token is not None and token != NEW_TOKEN and not _TOKEN.fullmatch(token):
        raise UsageError(
            f"--token (or SEQDET_TOKEN): 12 letters, digits or .-_~ at least; or --token {NEW_TOKEN}"
        )
    if not folder.is_dir():
        raise UsageError(f"--folder {folder}: no such folder; create it first")


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exposure_warning(host: str) -> str | None:
    """What somebody should know who lets others reach the page; None where nobody else can."""
    if is_loopback(host):
        return None
    return (
        f"--host {host} shows the camera to {_reach(host)}: whoever has the link with the token sees it, and "
        "the traffic is plain HTTP, which others in that network can read; where you do not trust them, "
        "tunnel it (ssh -L) or put a TLS proxy in front"
    )


def _reach(host: str) -> str:
    return "every network that this machine is in" if _is_any(host) else f"those who can reach {host}"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens; closed at the end."""
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(f"--host {host} --port {port}: no address to listen at ({error})") from error
    with listener:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Both pass on to the connections: what lies in the kernel is old when it arrives.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(f"port {port} is taken; give another with --port, or 0 for any") from error
            raise UsageError(
                f"--host {host} --port {port}: cannot listen there ({error.strerror}); use an address of "
                "this machine and a port above 1023"
            ) from error
        yield listener


def _access(host: str, address: tuple[str, int], token: str | None, names: Sequence[str]) -> Access:
    """Who may come in at an address."""
    from seqdet.serve.guard import LOOPBACK_NAMES, Access

    known = {name.lower().rstrip(".") for name in (host, address[0], *names)}
    if is_loopback(host) or _is_any(host):
        known |= LOOPBACK_NAMES
    if not is_loopback(host):
        own = socket.gethostname().lower()
        known |= {own, f"{own}.local"}
    return Access(frozenset(known), _is_any(host), token, cookie=f"seqdet-{address[1]}")


def _url(host: str, port: int, token: str | None) -> str:
    """The address to open in a browser."""
    name = _reachable_address() if _is_any(host) else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def _reachable_address() -> str:
    """The address of this machine that others reach it by, as far as it knows; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
