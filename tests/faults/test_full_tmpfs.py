"""A file system that is full, at any point of a video: a tmpfs of every size, where mounting is allowed.

SEQDET_FULL_DISKS=50 tries so many sizes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from seqdet.errors import OutputError, UsageError
from seqdet.video.writer import VideoWriter

SIZES_KIB = [round(size) for size in np.linspace(100, 2500, int(os.environ.get("SEQDET_FULL_DISKS", "3")))]
FRAMES, FPS, OLD = 90, 25, b"the old one"


@pytest.fixture(params=SIZES_KIB)
def disk(tmp_path: Path, request) -> Iterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_all_but_a_second_is_kept(disk: Path) -> None:
    out, partial = disk / "out.mp4", disk / ".out.mp4.partial.mp4"
    out.write_bytes(OLD)
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    given, code, said = 0, 0, ""
    try:
        with VideoWriter(out, size_wh=(320, 240), fps_hint=FPS, overwrite=True) as writer:
            for given in range(1, FRAMES + 1):
                writer.write(np.roll(noise, 5 * given, axis=1), given / FPS)
    except (OutputError, UsageError) as error:
        code, said = error.exit_code, str(error)
    whole = code == 0
    kept = decoded(out if whole else partial)
    print(f"{given} frames given, {kept} kept, exit code {code}")
    if whole:
        assert kept == FRAMES
        assert {path.name for path in disk.iterdir()} == {"out.mp4"}
        return
    assert code == OutputError.exit_code
    assert str(out) in said
    assert "o space left" in said
    assert out.read_bytes() == OLD
    assert {path.name for path in disk.iterdir()} == {"out.mp4", partial.name}
    assert kept >= given - FPS


def decoded(path: Path) -> int:
    """Frames that can be decoded, up to the first error."""
    count = 0
    with contextlib.suppress(av.error.FFmpegError, IndexError), av.open(str(path)) as container:
        for _ in container.decode(video=0):
            count += 1
    return count
