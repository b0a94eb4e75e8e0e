"""The n-th call of the writer to the system fails: an error of the disk, anywhere in the life of a video.

strace answers the call in the place of the kernel. SEQDET_FAILING_CALLS=200 tries the first 200 writes and
the first of all others; docs/reliability.md has the outcome.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from seqdet.errors import OutputError, SeqdetError
from seqdet.video.writer import VideoWriter

STRACE = shutil.which("strace")
MANY = int(os.environ.get("SEQDET_FAILING_CALLS", "0"))
WRITES = range(1, MANY + 1) if MANY else (2, 30)
CASES = [("write", n, "EIO") for n in WRITES] + [("fsync", 1, "EIO"), ("rename", 1, "EIO")]
if MANY:
    CASES += [("openat", n, "EIO") for n in range(1, 5)] + [("fsync", 2, "EIO"), ("lseek", 1, "EIO")]
    CASES += [("write", n, "ENOSPC") for n in range(5, MANY, 20)]
    CASES += [(call, n, "EIO") for call in ("read", "ftruncate", "flock") for n in (1, 2, 3)]
FRAMES, FPS = max(60, MANY), 25


def write(path: Path) -> int:
    """What runs under strace: an old video is replaced; says how many frames it gave, and how it ended."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    given = 0
    try:
        with VideoWriter(path, size_wh=(64, 48), fps_hint=FPS, overwrite=True) as writer:
            for given in range(1, FRAMES + 1):
                writer.write(np.roll(noise, 3 * given, axis=1), given / FPS)
    except SeqdetError as error:
        print(given, str(error))
        return error.exit_code
    print(given)
    return 0


def decoded(path: Path) -> int:
    """Frames that can be decoded, up to the first error."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    count = 0
    with contextlib.suppress(av.error.FFmpegError, IndexError), av.open(str(path)) as container:
        for _ in container.decode(video=0):
            count += 1
    return count


@pytest.mark.skipif(STRACE is None and not os.environ.get("CI"), reason="strace is not installed")
@pytest.mark.parametrize(("call", "number", "error"), CASES)
def test_the_nth_call_fails(tmp_path: Path, call: str, number: int, error: str) -> None:
    """An error in one line, the old video as it was, and all but the last second in the partial file."""
    out = tmp_path / "out.mp4"
    out.write_bytes(b"the old one")
    partial = tmp_path / ".out.mp4.partial.mp4"
    paths = [word for path in (partial, tmp_path / ".out.mp4.whole.mp4") for word in ("-P", str(path))]
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
    ran = subprocess.run(
        [
            STRACE,
            "-f",
            "-qq",
            "-o",
            str(tmp_path / "calls.txt"),
            *paths,
            *inject,
            sys.executable,
            __file__,
            out,
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        timeout=120,
    )
    injected = "INJECTED" in (tmp_path / "calls.txt").read_text()
    assert "Traceback" not in ran.stderr, ran.stderr
    print(f"{call} {number} {error}: {'failed' if injected else 'not called'}, exit code {ran.returncode}")
    if ran.returncode == 0:  # fewer calls than that, or one whose failure harms nothing
        assert decoded(out) == FRAMES
        assert not partial.exists()
        return
    assert injected
    assert ran.returncode in (2, OutputError.exit_code), ran.stderr
    given, _, said = ran.stdout.partition(" ")
    assert str(out) in said
    # The last write of all is one that PyAV does not miss; the frames are counted, and one is.
    reason = os.strerror(getattr(errno, error)).lower()
    assert reason in said.lower() or f"{given} frames were written, {int(given) - 1} are in the file" in said
    assert out.read_bytes() == b"the old one"
    assert not (tmp_path / ".out.mp4.whole.mp4").exists()
    assert decoded(partial) >= int(given) - FPS


if __name__ == "__main__":
    sys.exit(write(Path(sys.argv[1])))
