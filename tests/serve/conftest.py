"""A page around a fake session, in the test client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_session import FakeSession
from starlette.testclient import TestClient

from seqdet.serve.app import build

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
