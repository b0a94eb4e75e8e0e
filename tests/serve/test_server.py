"""The server on a real port: what it says when it cannot start, who slows whom, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path

import av
import httpx2
import pytest
from fake_session import FakeSession, Over, serving
from page_viewers import pictures_in, port_of, silent_viewer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from seqdet.errors import MissingDependencyError, UsageError
from seqdet.serve import web
from seqdet.serve.server import exposure_warning, is_loopback, require_servable, serve


def test_silent_viewers_slow_nobody(tmp_path: Path):
    with serving(FakeSession(fps=20, size_wh=(640, 512)), tmp_path) as address:
        port = port_of(address)
        alone = pictures_in(port, 1.5)
        silent = [silent_viewer(port) for _ in range(10)]
        mjpeg = socket.create_connection(("127.0.0.1", port))
        mjpeg.sendall(f"GET /video.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        beside = pictures_in(port, 1.5)
        for viewer in (*silent, mjpeg):
            viewer.close()
    assert len(alone) > 10
    assert len(beside) > len(alone) * 0.6  # generous: the machine may be busy with other things
    assert beside == sorted(set(beside))


def test_the_video_for_other_players_is_many_jpegs(tmp_path: Path):
    with serving(FakeSession(), tmp_path) as address, httpx2.stream("GET", f"{address}video.mjpg") as answer:
        assert answer.headers["content-type"].startswith("multipart/x-mixed-replace")
        text = b""
        for part in answer.iter_bytes():
            text += part
            if text.count(b"\xff\xd8\xff") >= 4:
                break
    assert text.count(b"Content-Type: image/jpeg") >= 4


def test_who_connects_and_says_nothing_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web, "FIRST_REQUEST_LIMIT_S", 0.5)
    with serving(FakeSession(), tmp_path) as address:
        idle, garbage = (socket.create_connection(("127.0.0.1", port_of(address))) for _ in range(2))
        garbage.sendall(b"\x16\x03\x01 no request at all")
        assert pictures_in(port_of(address), 1.0)  # a viewer that does speak stays
        for connection in (idle, garbage):
            connection.settimeout(10)
            with connection:
                while connection.recv(1000):  # an answer, perhaps, and then the end
                    pass


def test_a_message_that_is_too_long_closes_the_viewer(tmp_path: Path):
    with (
        serving(FakeSession(), tmp_path) as address,
        connect(f"{address.replace('http', 'ws')}ws", origin=address.rstrip("/")) as viewer,
    ):
        viewer.send("x" * (web.MAX_MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed, match="1009"):
            deque(viewer, maxlen=0)  # to its end


def test_a_taken_port_is_one_clear_line(tmp_path: Path):
    with (
        serving(FakeSession(), tmp_path) as address,
        pytest.raises(UsageError, match=r"port \d+ is taken.*--port"),
    ):
        require_servable("127.0.0.1", port_of(address), None, tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": "192.0.2.77", "token": "new"}, "cannot listen there"),
        ({"host": "no such host", "token": "new"}, "no address"),
        ({"host": "a" * 300, "token": "new"}, "no address"),
        ({"host": "0.0.0.0"}, "type --host 0.0.0.0 --token new"),
        ({"host": "::"}, "every network.*type --host :: --token new"),
        ({"host": "192.0.2.77"}, "reach 192.0.2.77.*--token new"),
        ({"host": ""}, "--token new"),
        ({"port": -1}, "from 0 to 65535"),
        ({"port": 70000}, "from 0 to 65535"),
        ({"folder": Path("no such folder")}, "--folder"),
        ({"token": "short"}, "--token"),
        ({"token": "with spaces in between"}, "--token"),
    ],
)
def test_what_cannot_be_served_is_said(options: dict, says: str):
    wanted = {"host": "127.0.0.1", "port": 0, "token": None, "folder": Path(), **options}
    for act in (require_servable, partial(serve, FakeSession())):
        with pytest.raises(UsageError, match=says):
            act(**wanted)


def test_a_missing_package_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingDependencyError, match="pip install fastapi uvicorn websockets"):
        require_servable("127.0.0.1", 0, None, tmp_path)


def test_another_name_is_known_when_it_was_told(tmp_path: Path):
    with serving(FakeSession(), tmp_path, names=["Camera.example"]) as address:
        for host, status in (("camera.example", 200), ("camera.example:80", 200), ("other.example", 403)):
            assert httpx2.get(f"{address}api/status", headers={"host": host}).status_code == status


def test_only_loopback_goes_without_a_word():
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "camera.example", "")))
    assert exposure_warning("127.0.0.1") is None
    assert "every network" in exposure_warning("0.0.0.0")
    assert "plain HTTP" in exposure_warning("192.168.1.5")


def test_a_session_that_fails_ends_the_server_without_a_traceback(tmp_path: Path, caplog):
    with serving(FakeSession(), tmp_path):
        pass  # the end of `serving` is such a failure, and checks that `serve` raises it
    assert caplog.records == []


def test_a_token_is_made_where_it_is_asked_for_and_another_each_time():
    session, addresses = FakeSession(), []

    def on_ready(address: str) -> None:
        addresses.append(address)
        session.failure = Over()

    for host, token in (("0.0.0.0", "new"), ("0.0.0.0", "new"), ("127.0.0.1", "new"), ("127.0.0.1", None)):
        session.failure = None
        with pytest.raises(Over):
            serve(session, host=host, token=token, port=0, on_ready=on_ready)
    *made, none = [address.partition("?token=")[2] for address in addresses]
    assert all(len(token) >= 32 for token in made)
    assert len(set(made)) == 3
    assert none == ""


def test_a_signal_finishes_the_recording(tmp_path: Path):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, str(root / "tests" / "fake_session.py"), "0", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as running:  # fmt: skip
        address = running.stdout.readline().strip()
        with httpx2.Client(base_url=address, headers={"origin": address.rstrip("/")}) as client:
            assert client.post("/api/record/start").status_code == 200
            while client.get("/api/recordings").json()[0]["frames"] < 5:
                time.sleep(0.02)
        running.terminate()
        running.communicate(timeout=20)
    assert running.returncode == -signal.SIGTERM  # the signal goes on to whoever called, once all is finished
    (path,) = tmp_path.iterdir()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 5
