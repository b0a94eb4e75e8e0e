"""Events tell once what began, changed for good, and ended; a dead receiver holds nobody up."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from seqdet.errors import UsageError
from seqdet.live_types import Event
from seqdet.results import outlet as outlet_module
from seqdet.results.events import EventState, above, event_row, step_events
from seqdet.results.outlet import NotSent, Outlet
from seqdet.results.webhook import open_webhook
from seqdet.types import Detections, Frame, FrameResult

CLASSES = ("drone", "bird")


def result(time_s: float, tracks: dict[int, str], sequence: str = "", score: float = 0.8) -> FrameResult:
    count = len(tracks)
    ids = np.array([CLASSES.index(label) for label in tracks.values()], np.int64)
    found = replace(
        Detections.empty(2),
        boxes_xyxy_px=np.tile(np.array([[1, 2, 9, 8]], np.float32), (count, 1)),
        scores=np.full(count, score, np.float32),
        class_ids=ids,
        track_ids=np.array(list(tracks), np.int64),
        track_class_ids=ids,
        track_scores=np.full(count, 0.9, np.float32),
        class_scores=np.ones((count, 2), np.float32),
        features=np.zeros((count, 0), np.float32),
        motion_px=np.zeros((count, 2), np.float32),
    )
    frame = Frame(np.zeros((4, 4, 3), np.uint8), round(time_s * 10), time_s)
    return FrameResult(frame, found, CLASSES, sequence, 0.7)


def told(results: list[FrameResult], ended: dict[int, list[int]] | None = None) -> list[tuple]:
    state, events = EventState(), []
    for index, one in enumerate(results):
        state, new = step_events(state, one, (ended or {}).get(index, []))
        events += new
    return [(event.kind, event.track_id, event.label, round(event.time_s, 1)) for event in events]


def test_a_track_begins_changes_its_class_for_good_and_ends() -> None:
    labels = ["drone"] * 5 + ["bird"] * 10
    results = [result(t / 10, {3: label}) for t, label in enumerate(labels)] + [result(1.6, {})]
    assert told(results, {15: [3]}) == [
        ("track_started", 3, "drone", 0.0),
        ("track_label", 3, "bird", 1.0),
        ("track_ended", 3, "bird", 1.6),
    ]


def test_a_class_that_flickers_is_not_told() -> None:
    assert len(told([result(t / 10, {3: CLASSES[t // 3 % 2]}) for t in range(60)])) == 1


def test_unconfirmed_tracks_are_not_told() -> None:
    assert told([result(0.0, {-1: "drone"})]) == []


def test_the_class_of_the_sequence_is_told_when_it_holds() -> None:
    sequence = [""] * 3 + ["drone"] * 3 + ["bird"] * 20
    assert told([result(t / 10, {}, name) for t, name in enumerate(sequence)]) == [
        ("sequence_label", None, "bird", 1.6)
    ]


def test_what_scores_less_does_not_count() -> None:
    weak = result(0.0, {1: "drone"}, score=0.2)
    assert len(above(weak, 0.3).detections) == 0
    assert above(weak, 0.1) is weak


def event(number: int = 1) -> Event:
    return Event(number, "zone_left", "track 3 left", 1.23456789, 1.7e9, 3, "bird", 0.8, "gate", 2.5)


def test_the_row_of_an_event_is_json() -> None:
    row = json.loads(json.dumps(event_row("camera 0", event())))
    assert row == {
        "type": "event",
        "source": "camera 0",
        "number": 1,
        "kind": "zone_left",
        "text": "track 3 left",
        "time_s": 1.234568,
        "wall_time_s": 1.7e9,
        "track_id": 3,
        "label": "bird",
        "score": 0.8,
        "zone": "gate",
        "dwell_s": 2.5,
    }


class Receiver:
    """A web server that answers with given status codes, then with 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[dict] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = outer.answers.pop(0) if outer.answers else 200
                outer.headers.append(dict(self.headers))
                if code == 200:
                    outer.got.append(json.loads(body))
                self.send_response(code)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *words: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(outlet_module, "FIRST_PAUSE_S", 0.001)
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    receiver.thread.join()


def sent_all(outlet: Outlet, events: int) -> None:
    for number in range(1, events + 1):
        outlet.put(event(number))
    outlet.close()


def test_a_webhook_gets_every_event_in_order(receiver: Receiver) -> None:
    outlet = open_webhook(f"http://me:open%20sesame@{receiver.address}/x", "camera 0")
    sent_all(outlet, 5)
    assert [row["number"] for row in receiver.got] == [1, 2, 3, 4, 5]
    assert base64.b64decode(receiver.headers[0]["Authorization"].split()[1]) == b"me:open sesame"
    assert receiver.headers[0]["Content-Type"] == "application/json"
    report = outlet.report()
    assert (report.sent, report.failed, report.dropped) == (5, 0, 0)
    assert "sesame" not in report.name


@pytest.mark.parametrize(
    ("answers", "sent", "failed"),
    [([503, 500], 2, 0), ([429], 2, 0), ([400], 1, 1), ([302], 1, 1), ([503] * outlet_module.TRIES, 1, 1)],
)
def test_what_may_help_is_tried_again(receiver: Receiver, answers: list[int], sent: int, failed: int) -> None:
    receiver.answers = answers.copy()
    outlet = open_webhook(f"http://{receiver.address}/x", "camera 0")
    sent_all(outlet, 2)
    assert (outlet.report().sent, outlet.report().failed) == (sent, failed)
    if failed:
        assert str(answers[0]) in outlet.report().problem


def test_a_dead_receiver_holds_up_nobody_and_its_events_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "WAITING", 5)
    monkeypatch.setattr(outlet_module, "_LAST_WORDS_S", 0.05)
    released = threading.Event()

    def hang(event: Event) -> None:
        released.wait(20)
        raise NotSent("nobody there")

    outlet = Outlet("nowhere", hang)
    began_s = time.monotonic()
    for number in range(100):
        outlet.put(event(number))
    assert time.monotonic() - began_s < 1
    threading.Timer(0.2, released.set).start()
    outlet.close()
    report = outlet.report()
    assert report.sent + report.failed + report.dropped == 100
    assert report.sent == 0
    assert report.problem == "nobody there"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "example.org", "http://", "http:///x"])
def test_only_web_addresses_are_webhooks(url: str) -> None:
    with pytest.raises(UsageError, match="--webhook"):
        open_webhook(url, "camera 0")
