"""An RTSP server on loopback that can misbehave, and pictures that carry their own number.

    with RtspServer() as server:
        open(server.url); server.stalled.set(); server.hang_up(); server.stop(); server.start()

Pictures are H.264 by RTP in the RTSP connection itself (RFC 2326 10.12, RFC 6184). Their number is painted as
eight black or white squares, so that how late a picture is can be read from it.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np

NUMBERS = 250  # then they begin again, with a picture that can be decoded by itself
SIZE_WH = (160, 96)
_LARGEST_PAYLOAD = 1300
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=numbers
t=0 0
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track
"""


def paint(number: int, size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    """A grey picture with its number in the upper half, lowest bit to the left."""
    width, height = size_wh
    rgb = np.full((height, width, 3), 90, np.uint8)
    cells = np.linspace(0, width, 9).astype(int)
    for bit, (left, right) in enumerate(itertools.pairwise(cells)):
        rgb[: height // 2, left:right] = 255 * (number >> bit & 1)
    return rgb


def read_number(rgb: np.ndarray) -> int:
    """The number that is painted in a picture of any size."""
    height, width = rgb.shape[:2]
    row = rgb[height // 8 : 3 * height // 8].mean(axis=(0, 2))
    cells = np.linspace(0, width, 9)
    return sum((row[int(cells[b : b + 2].mean())] > 128) << b for b in range(8))


@lru_cache
def encoded(size_wh: tuple[int, int] = SIZE_WH) -> list[list[bytes]]:
    """The NAL units of every number's picture."""
    return encode([paint(number, size_wh) for number in range(NUMBERS)])


def encode(pictures_rgb: Sequence[np.ndarray]) -> list[list[bytes]]:
    """The NAL units of pictures of one size; every tenth can be decoded without those before."""
    codec = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = pictures_rgb[0].shape[:2]
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": "keyint=10:scenecut=0:repeat-headers=1:log-level=none",
    }
    pictures = []
    for rgb in pictures_rgb:
        packets = codec.encode(av.VideoFrame.from_ndarray(rgb, "rgb24"))
        pictures.append([unit for packet in packets for unit in _units(bytes(packet))])
    assert all(pictures), "one picture in, one picture out"
    return pictures


def _units(stream: bytes) -> list[bytes]:
    return [unit.rstrip(b"\0") for unit in stream.split(b"\0\0\1") if unit.strip(b"\0")]


def _payloads(units: list[bytes]) -> Iterator[tuple[bytes, bool]]:
    """RTP payloads of one picture, each with whether it is the last (RFC 6184 5.6 and 5.8)."""
    for index, unit in enumerate(units):
        is_last = index == len(units) - 1
        if len(unit) <= _LARGEST_PAYLOAD:
            yield unit, is_last
            continue
        parts = [unit[at : at + _LARGEST_PAYLOAD] for at in range(1, len(unit), _LARGEST_PAYLOAD)]
        for number, part in enumerate(parts):
            start, end = number == 0, number == len(parts) - 1
            header = bytes([unit[0] & 0xE0 | 28, start << 7 | end << 6 | unit[0] & 0x1F])
            yield header + part, is_last and end


class RtspServer:
    """One stream for any number of readers, all from the same moment.

    Attributes (may be set at any time):
        answer: "play"; "never" (accepts, and says nothing); "no media" (all is fine, but no picture comes); a
            status line such as "404 Not Found"; "garbage".
        login: "user:password" that a reader must know, or None.
        stalled: while set, no more pictures are sent.
        size_wh: of the pictures.
        fps: pictures a second.
        loses: share of the packets that are lost on their way, 0..1.
        jitter_s: pictures are late by up to so much, each by another time.
        film: pictures to send instead of the numbers, as `encode` gives them; a multiple of ten.
        connections: how many readers have come.
    """

    def __init__(
        self,
        answer: str = "play",
        login: str | None = None,
        fps: float = 25.0,
        film: list[list[bytes]] | None = None,
    ) -> None:
        self.answer, self.login, self.fps, self.size_wh = answer, login, fps, SIZE_WH
        self.film = film
        self.stalled = threading.Event()
        self.connections = 0
        self.loses = self.jitter_s = 0.0
        self.number = 0  # of the picture that is sent next
        self._began_s = time.monotonic()
        self._readers: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._port = 0
        encoded()
        self.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._port}/stream"

    def url_with(self, login: str) -> str:
        return f"rtsp://{login}@127.0.0.1:{self._port}/stream"

    def number_now(self) -> int:
        """The number of the newest picture."""
        return int((time.monotonic() - self._began_s) * self.fps)

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._begin(self._accept, self._listener)

    def stop(self) -> None:
        """As when the server is killed: nobody listens, all connections end."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.hang_up()

    def hang_up(self, *, reset: bool = False) -> None:
        """End all connections, by FIN or by RST."""
        for reader in list(self._readers):
            with contextlib.suppress(OSError):
                if reset:
                    reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    reader.close()
                else:
                    reader.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(10)

    def _begin(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                reader, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._readers.add(reader)
            self._begin(self._serve, reader)

    def _serve(self, reader: socket.socket) -> None:
        with reader, contextlib.suppress(OSError, ValueError):
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    more = reader.recv(4096)
                    if not more:
                        break
                    received = _without_rtcp(received + more)
                head, ended, received = received.partition(b"\r\n\r\n")
                if not ended:
                    break
                self._reply(reader, head.decode("latin1"))
        self._readers.discard(reader)

    def _reply(self, reader: socket.socket, request: str) -> None:
        method = request.split()[0]
        number = re.search(r"(?im)^cseq:\s*(\d+)", request)
        if self.answer == "never":
            return
        if self.answer == "garbage":
            reader.sendall(np.random.default_rng(0).bytes(3000))
            raise OSError
        status, headers, body = "200 OK", "", ""
        wanted = base64.b64encode(self.login.encode()).decode() if self.login else None
        if wanted is not None and f"Basic {wanted}" not in request:
            status, headers = "401 Unauthorized", 'WWW-Authenticate: Basic realm="numbers"\r\n'
        elif self.answer not in ("play", "no media"):
            status = self.answer
        elif method == "OPTIONS":
            headers = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = _SDP.replace("\n", "\r\n")
            headers = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            headers = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "PLAY":
            headers = "Session: 1\r\n"
        cseq = number.group(1) if number else "0"
        reader.sendall(f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}\r\n{body}".encode())
        if method == "PLAY" and self.answer == "play":
            self._begin(self._play, reader)

    def _play(self, reader: socket.socket) -> None:
        sequence, chance = itertools.count(), np.random.default_rng(0)
        # From the newest picture that can be decoded by itself.
        index = self.number_now() // 10 * 10
        with contextlib.suppress(OSError):
            while True:
                while self.stalled.is_set() or index > self.number_now():
                    time.sleep(0.004)
                    if reader.fileno() < 0:
                        return
                time.sleep(self.jitter_s * chance.random())
                stamp = int(index * 90000 / self.fps) & 0xFFFFFFFF
                film = self.film or encoded(self.size_wh)
                for payload, is_last in _payloads(film[index % len(film)]):
                    head = struct.pack(
                        ">BBHII", 0x80, 96 | is_last << 7, next(sequence) & 0xFFFF, stamp, 0x1234
                    )
                    if chance.random() < self.loses:
                        continue
                    packet = head + payload
                    reader.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
                index += 1


def _without_rtcp(received: bytes) -> bytes:
    """What a reader says of its reception is not listened to."""
    while received[:1] == b"$" and len(received) >= 4:
        length = 4 + struct.unpack(">H", received[2:4])[0]
        if len(received) < length:
            break
        received = received[length:]
    return received
