"""Files that are damaged on purpose, from fixed seeds, and what became of them in a process of its own.

A decoder may end its process, so that all media are read by a child: this file as a program reads one path a
line and says how that went as one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

PICTURES = 25
FLIPS = (0.00001, 0.0001, 0.001)  # of all bits
# Without dates and random numbers of the writer's own, so that a seed gives the same damage again.
MEDIA = {".mp4": {"movflags": "faststart"}, ".mkv": {"fflags": "+bitexact"}, ".avi": {}}


class Fate(NamedTuple):
    """What became of one damaged file.

    Attributes:
        kind: "refused" in one line; "told": read, with words on what is wrong; "full"; "silent": short
            without a word; "crash".
        frames: given.
        seconds: that it took.
        words: what was said.
    """

    kind: str
    frames: int
    seconds: float
    words: str


def whole_video(path: Path) -> bytes:
    """25 frames with a key frame every fifth."""
    with av.open(str(path), "w", options=MEDIA[path.suffix]) as container:
        codec = "mpeg4" if path.suffix == ".avi" else "libx264"
        stream = container.add_stream(codec, rate=25, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.thread_count = 1
        noise = np.random.default_rng(0).integers(0, 60, (64, 96, 3), np.uint8)
        for index in range(PICTURES):
            picture = np.roll(noise, 3 * index, 1) + np.uint8(4 * index)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def whole_picture(path: Path) -> bytes:
    """A JPEG of 96 x 64 pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    Image.fromarray(noise).save(path, "JPEG")
    return path.read_bytes()


def cuts(data: bytes, count: int = 50) -> Iterator[bytes]:
    """The beginning of a file, up to each of ``count`` equal parts."""
    return (data[: len(data) * part // count] for part in range(count))


def flipped(data: bytes, seed: int, least: int = 1) -> bytes:
    """Some bits, the more the higher the seed modulo three, are the other way round."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(max(least, round(len(data) * 8 * FLIPS[seed % len(FLIPS)]))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def fates(files: Iterable[tuple[Path, int]], limit_s: float = 120) -> Iterator[tuple[Path, Fate]]:
    """Read files of which each should give so many frames; a child that dies is replaced.

    Raises:
        subprocess.TimeoutExpired: one took longer than ``limit_s``.
    """
    child: subprocess.Popen[str] | None = None
    try:
        for path, frames in files:
            if child is None:
                child = subprocess.Popen(
                    [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            child.stdin.write(f"{path}\n")
            child.stdin.flush()
            started = time.monotonic()
            answer = child.stdout.readline()
            seconds = time.monotonic() - started
            if seconds > limit_s:
                raise subprocess.TimeoutExpired(str(path), limit_s)
            if answer:
                got, short, words = json.loads(answer)
                kind = (
                    "refused" if got is None else "told" if short else "full" if got >= frames else "silent"
                )
                yield path, Fate(kind, got or 0, seconds, words)
            else:
                code = child.wait()
                _close(child)
                child = None
                yield path, Fate("crash", 0, seconds, f"exit code {code}")
    finally:
        if child is not None:
            _close(child)


def _close(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        child.stdin.close()
    child.wait()
    child.stdout.close()


def _read() -> None:
    from seqdet.errors import InputError
    from seqdet.video.reader import open_video

    for line in sys.stdin:
        try:
            with open_video(line.rstrip("\n")) as reader:
                frames = sum(1 for _ in reader)
            report = reader.report
            answer = (
                frames,
                report.short or bool(report.warnings),
                "; ".join((report.message, *report.warnings)),
            )
        except InputError as error:
            answer = (None, False, str(error))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _read()
