"""The beginning of every source, decoded in another process first: a decoder that crashes takes no one along.

A damaged file can end a process inside a native decoder, where no ``except`` catches anything. What happens
to the other process is an answer here. It costs a quarter of a second of processor time, which passes while
the libraries of the model are loaded, and covers the header and the first frames, where such files fail.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from seqdet.defaults import MAX_PIXELS
from seqdet.errors import InputError

FRAMES = 8
# A file on a slow disk or a busy machine may take long; one that takes so long hangs.
LIMIT_S = 120
_FIRST_WINDOWS_EXCEPTION = 0xC0000000
# How files begin that are probably fine: the usual containers and pictures (at their fourth byte: MP4, MOV).
_BEGINNINGS = (
    b"\x1aE\xdf\xa3",
    b"RIFF",
    b"FLV",
    b"OggS",
    b"G@",
    b"\x00\x00\x01",
    b"\xff\xd8",
    b"\x89PNG",
    b"BM",
    b"0&\xb2u",
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")


class Rehearsed(NamedTuple):
    """What became of one source.

    Attributes:
        promised: frames that it declares, or None.
        crash: what the decoder did to its process, as a sentence, or "".
        refused: why it cannot be read, as a sentence, or "".
    """

    promised: int | None = None
    crash: str = ""
    refused: str = ""


class Rehearsal:
    """Begins at once, in a process of its own; a context manager that leaves none behind.

    Args:
        sources: as for `seqdet.video.reader.expand_sources`.
        max_pixels: larger pictures are not decoded.
    """

    def __init__(self, sources: Sequence[str], max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._process = self._start(sources)
        self._outcomes: dict[str, Rehearsed] | None = None

    def _start(self, sources: Sequence[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="surrogateescape",
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is for this process; the other one is ended by it
        )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"sources": list(sources), "max_pixels": self._max_pixels}))
            process.stdin.close()
        except OSError:  # it has ended already; its exit code says why
            pass
        return process

    def outcomes(self) -> dict[str, Rehearsed]:
        """What became of each source that was tried, by its name; waits for the end."""
        if self._outcomes is None:
            self._outcomes = {}
            while left := self._listen(self._outcomes):
                self._process = self._start(left)
        return self._outcomes

    def refuse_early(self, source: str) -> None:
        """Wait for the end where a file does not begin as videos do, which is rare and mostly a mistake.

        Raises:
            InputError: it cannot be read; said before seconds went into loading a model.
        """
        if is_familiar(source):
            return
        outcome = self.outcomes().get(source, Rehearsed())
        if words := outcome.crash or outcome.refused:
            raise InputError(words)

    def _listen(self, outcomes: dict[str, Rehearsed]) -> list[str]:
        """Take in what the process says; the sources that it did not reach because one crashed it."""
        process, begun = self._process, ""
        waiting: list[str] = []
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said = json.loads(line)
                begun, waiting = said.get("begin", ""), said.get("waiting", waiting)
                if "end" in said:
                    outcomes[said["end"]] = Rehearsed(said["promised"], refused=said["refused"])
        code = process.wait()
        if not begun or not _is_crash(code):
            return []
        outcomes[begun] = Rehearsed(crash=_sentence(begun, code))
        return waiting[waiting.index(begun) + 1 :]

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def is_familiar(source: str) -> bool:
    """Whether a source is a file that begins as videos and pictures do; also what is no file by its name."""
    path = Path(source)
    try:
        if path.is_dir():
            return any(path.iterdir())
        if not path.is_file():
            return (
                "://" in source or source.isdigit() or (bool(set("*?[") & set(source)) and not path.exists())
            )
        with path.open("rb") as file:
            begin = file.read(12)
    except (OSError, ValueError):
        return False
    return begin.startswith(_BEGINNINGS) or begin[4:8] in _BOXES


def command() -> list[str]:
    """The program that decodes; -P keeps modules of the working folder out of it."""
    return [sys.executable, "-P", "-m", "seqdet.video.rehearsal"]


def _is_crash(code: int) -> bool:
    return code < 0 or code >= _FIRST_WINDOWS_EXCEPTION


def _sentence(source: str, code: int) -> str:
    if hasattr(signal, "SIGALRM") and code == -signal.SIGALRM:
        return f"{source}: its first {FRAMES} frames were not decoded within {LIMIT_S} s; the file is damaged"
    name = signal.Signals(-code).name if code < 0 else f"{code:#x}"
    if code < 0 and name == "SIGKILL":
        return f"{source}: the system ended its decoder (SIGKILL), which it does when memory is short"
    return (
        f"{source}: decoding it crashes the decoder ({name}); the file is damaged. "
        "Re-encoding may save it: ffmpeg -i FILE new.mp4"
    )


def main() -> None:
    """The other process: reads one JSON object, says for each source that it begins and that it survived."""
    from seqdet.video.reader import camera_index, expand_sources, is_url, open_video

    asked = json.load(sys.stdin)
    try:
        names = expand_sources(asked["sources"])
    except InputError:  # is told by the process that asks
        return
    local = [name for name in names if not is_url(name) and camera_index(name) is None]
    _say(waiting=local)
    for name in local:
        if hasattr(signal, "alarm"):
            signal.alarm(LIMIT_S)
        _say(begin=name)
        promised: int | None = 0
        refused = ""
        try:
            with open_video(name, max_pixels=asked["max_pixels"]) as reader:
                promised = reader.info.frames_promised
                for _ in islice(reader, FRAMES):
                    pass
        except InputError as error:
            refused = str(error)
        _say(end=name, promised=promised, refused=refused)


def _say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
