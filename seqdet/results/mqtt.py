"""Events by MQTT: each is published as a JSON object and confirmed by the broker (quality of service 1)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from seqdet.errors import MissingDependencyError, UsageError
from seqdet.live_types import Event
from seqdet.results.events import event_row
from seqdet.results.outlet import NotSent, Outlet
from seqdet.video.probe import hide_password

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_TIMEOUT_S = 5.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}


def open_mqtt(url: str, source: str) -> Outlet:
    """Begin to publish events.

    Args:
        url: ``mqtt://user:password@host:port/topic``, or ``mqtts://`` for TLS.
        source: what the events are about, as it may be shown.

    Raises:
        UsageError: no such address.
        MissingDependencyError: the extra ``mqtt`` is not installed.
    """
    shown = hide_password(url)
    try:
        parts = urlsplit(url)
        topic, port = unquote(parts.path.lstrip("/")), parts.port
    except ValueError:
        parts, topic, port = urlsplit(""), "", None
    if parts.scheme not in _PORTS or not parts.hostname or not topic or set(url) & set("#+"):
        raise UsageError(f"--mqtt {shown}: give a broker and a topic, such as mqtt://localhost/seqdet/events")
    broker = _Broker(parts, port or _PORTS[parts.scheme])

    def send(event: Event) -> None:
        broker.publish(topic, json.dumps(event_row(source, event), ensure_ascii=False, allow_nan=False))

    return Outlet(shown, send, broker.close)


class _Broker:
    """A connection that is made when it is needed, and anew after it broke. Used by one thread."""

    def __init__(self, parts: SplitResult, port: int) -> None:
        try:
            import paho.mqtt.client as paho
        except ImportError as error:
            raise MissingDependencyError('--mqtt needs paho-mqtt: pip install "seqdet[mqtt]"') from error
        self._paho = paho
        self._parts, self._port = parts, port
        self._client: Client | None = None
        self._answer: Any = None

    def publish(self, topic: str, payload: str) -> None:
        """Publish, and wait for the broker's word; it may come twice when that word was lost."""
        if self._client is None:
            self._connect()
        assert self._client is not None
        try:
            sent = self._client.publish(topic, payload.encode(), qos=1)
            confirmed = self._wait(sent.is_published)
        except (RuntimeError, ValueError, OSError) as error:
            self._drop()
            raise NotSent(f"cannot be published ({error})") from error
        if not confirmed:
            self._drop()
            raise NotSent("the broker does not confirm")

    def _connect(self) -> None:
        parts = self._parts
        self._client = client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2)
        if parts.username is not None:
            client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            client.tls_set()
        client.on_connect = self._hear
        self._answer = None
        try:
            client.connect(parts.hostname or "", self._port, keepalive=0)  # the next event finds out
            self._wait(lambda: self._answer is not None)
        except OSError as error:
            self._drop()
            raise NotSent(f"cannot be reached ({error})") from error
        if self._answer is None or self._answer.is_failure:
            self._drop()
            raise NotSent(f"the broker refuses ({self._answer or 'no answer'})")

    def _wait(self, done: Callable[[], bool]) -> bool:
        """Let the client work until it is done, its connection breaks, or it takes too long."""
        assert self._client is not None
        until_s = time.monotonic() + _TIMEOUT_S
        while not done() and time.monotonic() < until_s:
            if self._client.loop(0.2) != self._paho.MQTT_ERR_SUCCESS:
                break
        return done()

    def _hear(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._answer = reason

    def _drop(self) -> None:
        client, self._client = self._client, None
        connection = client.socket() if client is not None else None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Say good-bye."""
        if self._client is not None:
            self._client.disconnect()
        self._drop()
