"""Whether a file is shorter than its own structure says: what FFmpeg passes over in silence.

Frame counts and durations catch most cut files. A fragmented mp4, or the last frames of a Matroska file,
promise neither; but their boxes say how long they are.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_TS_PACKET = 188


def missing_bytes(path: str | Path) -> int:
    """How many bytes a media file lacks by the sizes that it declares; 0 when whole or when it declares none.

    Knows mp4 and mov (top-level boxes), Matroska and WebM (the segment), AVI (the RIFF chunk) and MPEG
    transport streams (whole packets of 188 bytes).

    Args:
        path: a local file.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        file.seek(0)
        declared: Callable[[BinaryIO, int], int]
        if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            declared = _boxes
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            declared = _matroska
        elif head[:4] == b"RIFF":
            declared = _riff
        elif head[:1] == b"G":
            declared = _transport_stream
        else:
            return 0
        return max(declared(file, size) - size, 0)


def _boxes(file: BinaryIO, size: int) -> int:
    """End of the last top-level box of an ISO base media file."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        header = file.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        if not kind.isalnum():  # padding, or no box any more
            break
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        elif length == 0:  # reaches to the end, wherever that is
            return size
        if length < 8:
            break
        end += length
    return end


def _matroska(file: BinaryIO, size: int) -> int:
    """End of the segment of a Matroska file; ``size`` where it does not say (a live recording)."""
    for _ in range(2):  # the EBML header, then the segment
        file.seek(_length(file)[0], os.SEEK_CUR)  # its identifier
        position = file.tell()
        width, length = _length(file)
        if not width or length == (1 << 7 * width) - 1:
            return size
        end = position + width + length
        file.seek(end)
    return end


def _length(file: BinaryIO) -> tuple[int, int]:
    """Width in bytes and value of the variable-length number that follows; the file stays where it was."""
    position = file.tell()
    data = file.read(8)
    file.seek(position)
    if not data or data[0] == 0:
        return 0, 0
    width = 9 - data[0].bit_length()
    return width, int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)


def _riff(file: BinaryIO, size: int) -> int:
    header = file.read(8)
    length = struct.unpack("<I", header[4:])[0] if len(header) == 8 else 0
    return length + 8 if length not in (0, 0xFFFFFFFF) else size


def _transport_stream(file: BinaryIO, size: int) -> int:
    file.seek(_TS_PACKET)
    is_one = size < 2 * _TS_PACKET or file.read(1) == b"G"
    return -(-size // _TS_PACKET) * _TS_PACKET if is_one else size
