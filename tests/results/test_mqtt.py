"""Events reach an MQTT broker, also after it was away. The broker here speaks as much MQTT as is needed."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator

import pytest

from seqdet.errors import MissingDependencyError, UsageError
from seqdet.live_types import Event
from seqdet.results import outlet as outlet_module
from seqdet.results.mqtt import open_mqtt


class Broker:
    """Confirms connections and what is published with quality of service 1."""

    def __init__(self) -> None:
        self.refuses = 0  # so many connections, as to a wrong password
        self.published: list[tuple[str, dict]] = []
        self.connects: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://me:open%20sesame@127.0.0.1:{self.listener.getsockname()[1]}/sky/events"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.settimeout(20)
            with client, client.makefile("rwb", buffering=0) as stream, contextlib.suppress(OSError):
                self.talk(stream)

    def talk(self, client) -> None:
        while head := client.read(1):
            length = shift = 0
            while (byte := client.read(1)[0]) & 0x80:
                length, shift = length | (byte & 0x7F) << shift, shift + 7
            body = client.read(length | byte << shift) if length | byte << shift else b""
            if head[0] >> 4 == 1:  # CONNECT
                self.connects.append(body)
                self.refuses -= 1
                client.write(b"\x20\x02\x00" + bytes([5 if self.refuses >= 0 else 0]))
                if self.refuses >= 0:
                    return
            elif head[0] >> 4 == 3:  # PUBLISH
                size = struct.unpack(">H", body[:2])[0]
                topic, identifier = body[2 : 2 + size].decode(), body[2 + size : 4 + size]
                assert head[0] >> 1 & 3 == 1, "quality of service"
                self.published.append((topic, json.loads(body[4 + size :])))
                client.write(b"\x40\x02" + identifier)
            elif head[0] >> 4 == 14:  # DISCONNECT
                return


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    monkeypatch.setattr(outlet_module, "FIRST_PAUSE_S", 0.01)
    broker = Broker()
    yield broker
    broker.listener.shutdown(socket.SHUT_RDWR)
    broker.listener.close()
    broker.thread.join(20)


def event(number: int) -> Event:
    return Event(number, "scene_cut", "another scene", 1.0, 1.7e9)


def test_events_are_published_also_after_a_refusal(broker: Broker) -> None:
    broker.refuses = 1
    with open_mqtt(broker.url, "camera 0") as outlet:
        for number in (1, 2, 3):
            outlet.put(event(number))
    assert outlet.report().sent == 3, outlet.report()
    assert [topic for topic, _ in broker.published] == ["sky/events"] * 3
    assert [row["number"] for _, row in broker.published] == [1, 2, 3]
    assert len(broker.connects) == 2
    assert b"open sesame" in broker.connects[0]
    assert "sesame" not in outlet.name


@pytest.mark.parametrize(
    "url", ["http://host/topic", "mqtt://host", "mqtt:///topic", "mqtt://host/a/#", "mqtt://host:x/a", "host"]
)
def test_only_brokers_with_a_topic(url: str) -> None:
    with pytest.raises(UsageError, match="--mqtt"):
        open_mqtt(url, "camera 0")


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        open_mqtt("mqtt://host/topic", "camera 0")
