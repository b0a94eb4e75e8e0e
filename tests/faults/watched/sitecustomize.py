"""Taken up by every Python that starts with this folder on its path: no network, and who asked for it.

An audit hook sees what any module asks of sockets, also in C and also where the caller swallows the refusal,
as programs do that report to their makers.
"""

import os
import socket
import sys
import traceback

ASKED = {
    "socket.connect",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.getnameinfo",
}


def refuse(event: str, arguments: tuple) -> None:
    if event not in ASKED:
        return
    if isinstance(arguments[0], socket.socket) and arguments[0].family == socket.AF_UNIX:
        return
    with open(os.environ["SEQDET_ATTEMPTS"], "a", encoding="utf-8") as file:
        file.write(f"{event} {arguments[-1]}\n{''.join(traceback.format_stack(limit=30))}\n")
    raise ConnectionRefusedError(f"{event}: there is no network in this test")


sys.addaudithook(refuse)
