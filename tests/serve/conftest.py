"""A page around a fake session: in the test client, and as a real server on a free port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_session import FakeSession
from starlette.testclient import TestClient

from seqdet.serve.app import build
from seqdet.serve.server import serve

ORIGIN = "http://127.0.0.1:8765"


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def client(session: FakeSession, tmp_path: Path) -> Iterator[TestClient]:
    """A viewer on the same machine, which needs no token."""
    with TestClient(
        build(session, folder=tmp_path).asgi, base_url=ORIGIN, headers={"origin": ORIGIN}
    ) as client:
        yield client


@pytest.fixture
def served(tmp_path: Path) -> Callable:
    """`with served(session) as port`: a real server in a thread; the session's failure ends it."""

    @contextmanager
    def serving(session: FakeSession, port: int = 0) -> Iterator[int]:
        class Over(Exception):
            pass

        ready, ports, ended = threading.Event(), [], []

        def on_ready(address: str) -> None:
            ports.append(int(address.rstrip("/").rpartition(":")[2]))
            ready.set()

        def run() -> None:
            try:
                serve(session, port=port, folder=tmp_path, quiet=True, on_ready=on_ready)
            except Over:
                ended.append(True)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(20)
            yield ports[0]
        finally:
            session.failure = Over()
            thread.join(20)
        assert ended, "the server did not end when its session failed"

    return serving
