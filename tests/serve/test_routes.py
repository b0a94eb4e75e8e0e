"""What the page's routes answer: pictures with their boxes, zones, events, snapshots, recordings."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fake_session import FakeSession
from PIL import Image
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from seqdet.serve import app as app_module
from seqdet.serve.messages import MAX_CORNERS, MAX_NAME, MAX_ZONES

SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100]]


def watching(client: TestClient) -> WebSocketTestSession:
    return client.websocket_connect("ws://127.0.0.1:8765/ws", headers={"origin": "http://127.0.0.1:8765"})


def next_picture(socket: WebSocketTestSession) -> tuple[dict[str, Any], bytes]:
    """Header and JPEG of the next picture; texts between are skipped."""
    while True:
        message = socket.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        data = message.get("bytes")
        if data is not None:
            length = int.from_bytes(data[:4], "little")
            return json.loads(data[4 : 4 + length]), data[4 + length :]


def until_closed(socket: WebSocketTestSession) -> None:
    while True:
        next_picture(socket)


def next_text(socket: WebSocketTestSession, kind: str) -> dict[str, Any]:
    while True:
        text = socket.receive().get("text")
        if text is not None and json.loads(text)["type"] == kind:
            return json.loads(text)


def until(condition: Callable[[], Any], limit_s: float = 20.0) -> Any:
    end_s = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.02)
    return value


def test_a_picture_and_its_boxes_are_one_message(client: TestClient, session: FakeSession):
    with watching(client) as socket:
        hello = next_text(socket, "hello")
        assert [known["name"] for known in hello["classes"]] == list(session.classes)
        for _ in range(3):
            header, jpeg = next_picture(socket)
            rgb = np.asarray(Image.open(io.BytesIO(jpeg)))
            assert rgb.shape == (256, 320, 3)
            drone = header["objects"][0]
            x1, y1, x2, y2 = (round(side) for side in drone["box"])
            assert (drone["id"], drone["label"], drone["score"]) == (1, "drone", 0.9)
            # The object is dark: it lies exactly in the box that came with this picture.
            if x1 > 8 and x2 < 312:
                assert rgb[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].mean() < 40
                assert rgb[y1:y2, x2 + 3 : x2 + 6].mean() > 60
            assert header["objects"][1]["score"] == 0.2  # below session.score, for the slider
            socket.send_json({"type": "seen", "number": header["number"]})


def test_a_viewer_has_two_pictures_on_their_way_and_then_gets_the_newest(client: TestClient):
    with watching(client) as socket:
        first, second = next_picture(socket)[0], next_picture(socket)[0]
        time.sleep(0.4)
        socket.send_json({"type": "ping", "at": 12.5})
        pong = next_text(socket, "pong")  # nothing came between but texts
        assert pong["at"] == 12.5
        assert pong["received_s"] <= pong["sent_s"]
        socket.send_json({"type": "seen", "number": second["number"]})
        third = next_picture(socket)[0]
        assert third["number"] >= second["number"] + 5 > first["number"]


def test_a_paused_viewer_hears_of_the_session_but_gets_no_picture(client: TestClient, session: FakeSession):
    with watching(client) as socket:
        next_picture(socket)
        socket.send_json({"type": "pause", "paused": True})
        socket.send_json({"type": "ping", "at": 1})
        next_text(socket, "pong")
        session.freeze("lost")
        assert until(lambda: next_text(socket, "status")["state"] == "lost")
        socket.send_json({"type": "pause", "paused": False})


@pytest.mark.parametrize(
    "garbage",
    ["", "{", "[]", "null", "5", '{"type":"seen"}', '{"type":"seen","number":1e9}', "[" * 9000, "\0",
     '{"type":"seen","number":-1}', '{"type":"seen","number":"1"}', '{"type":"ping","at":NaN}', b"\x00\x01",
     '{"type":"ping","at":1e400}', '{"type":"ping","at":"x"}', '{"type":"pause","paused":1}',
     '{"type":"exec"}'],
)  # fmt: skip
def test_garbage_closes_the_viewer_with_a_reason_and_nobody_else(client: TestClient, garbage: str | bytes):
    with watching(client) as other, watching(client) as socket:
        if isinstance(garbage, bytes):
            socket.send_bytes(garbage)
        else:
            socket.send_text(garbage)
        with pytest.raises(WebSocketDisconnect) as closed:
            until_closed(socket)
        assert closed.value.code == 1008
        assert closed.value.reason
        assert next_picture(other)


def test_a_flood_of_messages_closes_the_viewer(client: TestClient):
    with watching(client) as socket:
        for _ in range(1500):
            socket.send_text('{"type":"pause","paused":true}')
        with pytest.raises(WebSocketDisconnect, match="too many messages"):
            until_closed(socket)


def test_there_are_so_many_viewers_and_no_more(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(app_module, "MAX_VIEWERS", 2)
    with watching(client) as first, watching(client):
        next_picture(first)
        with watching(client) as third, pytest.raises(WebSocketDisconnect) as closed:
            next_picture(third)
        assert closed.value.code == 1013
        assert "2 viewers" in closed.value.reason
        assert client.get("/video.mjpg").status_code == 503


def test_zones_are_drawn_counted_and_deleted(client: TestClient, session: FakeSession):
    wide = [[0, 60], [320, 60], [320, 160], [0, 160]]
    assert client.post("/api/zones", json={"name": " gate ", "polygon_px": wide}).status_code == 200
    with watching(client) as socket:
        header = until(lambda: next((h for h in [next_picture(socket)[0]] if h["zones"]), None))
        (zone,) = header["zones"]
        assert (zone["name"], zone["polygon_px"], zone["inside"]) == ("gate", wide, 1)
    assert client.post("/api/zones", json={"name": "gate", "polygon_px": SQUARE}).status_code == 409
    assert client.delete("/api/zones", params={"name": "other"}).status_code == 404
    assert client.delete("/api/zones", params={"name": "gate"}).json() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b"[]", 422),
        (b'{"name":"a","polygon_px":[[0,0],[1,0]]}', 422),
        (b'{"name":"a","polygon_px":[[0,0],[1,0],[NaN,1]]}', 422),
        (b'{"name":"a","polygon_px":[[0,0],[1,0],[Infinity,1]]}', 422),
        (b'{"name":"a","polygon_px":[[0,0],[1,0],[1e999,1]]}', 422),
        (b'{"name":"a","polygon_px":[[0,0],[1,0],["1",1]]}', 422),
        (b'{"name":"a","polygon_px":[[0,0],[1,0],[1]]}', 422),
        (b'{"name":"","polygon_px":[[0,0],[1,0],[1,1]]}', 422),
        (b'{"name":"  ","polygon_px":[[0,0],[1,0],[1,1]]}', 422),
        (b'{"name":"a\\nb","polygon_px":[[0,0],[1,0],[1,1]]}', 422),
        (b'{"name":"a","polygon_px":[[0,0],[1,0],[1,1]],"path":"/etc"}', 422),
        (json.dumps({"name": "a" * (MAX_NAME + 1), "polygon_px": SQUARE}).encode(), 422),
        (json.dumps({"name": "a", "polygon_px": [[0, 0]] * (MAX_CORNERS + 1)}).encode(), 422),
        (b'{"name":"' + b"a" * 70_000 + b'"}', 413),
    ],
)
def test_a_zone_that_makes_no_sense_is_refused_with_a_reason(client, session, body: bytes, status: int):
    answer = client.post("/api/zones", content=body)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    assert session.zones() == ()


def test_zones_are_limited_in_number_and_in_haste(client: TestClient, session: FakeSession):
    statuses = [
        client.post("/api/zones", json={"name": str(number), "polygon_px": SQUARE}).status_code
        for number in range(MAX_ZONES + 4)
    ]
    assert statuses.count(429) > 0
    assert len(session.zones()) == statuses.count(200) <= MAX_ZONES
    far = {"name": "far", "polygon_px": [[-1e300, 0], [1e300, 0], [0, 1e300]]}
    until(lambda: client.delete("/api/zones", params={"name": "0"}).status_code == 200)
    until(lambda: client.post("/api/zones", json=far).status_code == 200)
    assert all(
        0 <= v <= 16384 for count in session.zones() for corner in count.zone.polygon_px for v in corner
    )


def test_events_are_saved_as_lines_and_as_a_table(client: TestClient, session: FakeSession):
    session._tell("zone_entered", "=1+1 entered", zone="=cmd()", track_id=7)
    lines = [json.loads(line) for line in client.get("/api/events").text.splitlines()]
    rows = list(csv.DictReader(io.StringIO(client.get("/api/events.csv").text)))
    assert [line["number"] for line in lines] == [1, 2] == [int(row["number"]) for row in rows]
    assert lines[1]["zone"] == "=cmd()"
    assert rows[1]["zone"] == "'=cmd()"  # no formula for a spreadsheet
    assert rows[1]["track_id"] == "7"
    assert [json.loads(x)["number"] for x in client.get("/api/events?since=1").text.splitlines()] == [2]
    with watching(client) as socket:
        assert [event["number"] for event in next_text(socket, "events")["events"]] == [1, 2]


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_snapshot_shows_the_boxes(client: TestClient, kind: str):
    until(lambda: client.get("/api/snapshot?score=1").status_code == 200)
    plain, drawn = (
        np.asarray(Image.open(io.BytesIO(client.get(f"/api/snapshot?format={kind}&score={score}").content)))
        for score in (1.0, 0.1)
    )
    assert plain.shape == drawn.shape == (256, 320, 3)
    # Object 2 stands still at 200..216 x 40..56: its frame is in the one and not in the other.
    assert plain[38, 200:216].mean(0) == pytest.approx((60, 90, 130), abs=14)
    assert np.abs(drawn[38, 200:216].mean(0) - (60, 90, 130)).max() > 40


@pytest.mark.parametrize("query", ["score=2", "score=nan", "format=exe", "score=x"])
def test_a_snapshot_of_nonsense_is_refused(client: TestClient, query: str):
    assert client.get(f"/api/snapshot?{query}").status_code == 422


def test_a_recording_is_whole_and_found_by_its_id(client: TestClient, tmp_path: Path):
    assert client.post("/api/record/stop").status_code == 409
    started = client.post("/api/record/start", json={"score": 0.1, "hidden": ["bird"]})
    assert started.status_code == 200
    assert client.post("/api/record/start").status_code == 409
    until(lambda: client.get("/api/recordings").json()[0]["frames"] >= 12)
    recording_id = client.post("/api/record/stop").json()["id"]
    done = until(
        lambda: next((r for r in client.get("/api/recordings").json() if r["state"] == "done"), None)
    )
    video = client.get(f"/api/recordings/{recording_id}")
    assert video.headers["content-disposition"] == f'attachment; filename="{done["name"]}"'
    with av.open(io.BytesIO(video.content)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
    assert len(frames) == done["frames"] >= 12
    assert frames[3].shape == (256, 320, 3)
    assert frames[3][38, 200:216].mean(0) == pytest.approx((60, 90, 130), abs=14)  # the bird is hidden
    assert [path.name for path in tmp_path.iterdir()] == [done["name"]]


@pytest.mark.parametrize("id_", ["0" * 16, "..%2F..%2Fetc%2Fpasswd", "seqdet.mp4", "%00", "main.js%00"])
def test_no_path_leads_to_a_file(client: TestClient, id_: str):
    assert client.get(f"/api/recordings/{id_}").status_code in (404, 307)
    assert client.get(f"/static/{id_}").status_code in (404, 307)


def test_a_recording_without_a_picture_fails_and_leaves_nothing(client, session: FakeSession, tmp_path: Path):
    session.freeze()
    time.sleep(0.1)
    client.post("/api/record/start")
    client.post("/api/record/stop")
    failed = until(
        lambda: next((r for r in client.get("/api/recordings").json() if r["state"] == "failed"), 0)
    )
    assert "no picture came" in failed["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_before_a_recording_begins(client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("seqdet.serve.recorder.FREE_TO_START_BYTES", 1e30)
    answer = client.post("/api/record/start")
    assert answer.status_code == 409
    assert "are free" in answer.json()["detail"]


def test_a_recording_ends_by_itself(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("seqdet.serve.recorder.MAX_LENGTH_S", 0.5)
    client.post("/api/record/start")
    done = until(
        lambda: next((r for r in client.get("/api/recordings").json() if r["state"] == "done"), None)
    )
    assert "stopped after" in done["message"]
