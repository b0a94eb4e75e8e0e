"""Viewers of the live page that are no browsers: one that takes every picture, and one that reads nothing."""

from __future__ import annotations

import base64
import os
import socket
import time

from websockets.sync.client import connect


def port_of(address: str) -> int:
    """Of the address that the server says, with or without a token."""
    return int(address.partition("?")[0].rstrip("/").rpartition(":")[2])


def silent_viewer(port: int) -> socket.socket:
    """A viewer that opens the WebSocket and then reads nothing, with the smallest window there is."""
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    viewer.sendall(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return viewer


def pictures_in(port: int, seconds: float) -> list[int]:
    """Numbers of the pictures that a good viewer gets meanwhile."""
    numbers = []
    end_s = time.monotonic() + seconds
    with connect(f"ws://127.0.0.1:{port}/ws", origin=f"http://127.0.0.1:{port}", compression=None) as viewer:
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                message = viewer.recv(timeout=left_s)
            except TimeoutError:
                break
            if isinstance(message, bytes):
                head = message[4 : 4 + int.from_bytes(message[:4], "little")]
                numbers.append(int(head.split(b'"number":')[1].split(b",")[0]))
                viewer.send(f'{{"type":"seen","number":{numbers[-1]}}}')
    return numbers
