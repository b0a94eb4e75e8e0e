"""Where the arithmetic happens."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from seqdet.errors import UsageError

# Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 256 << 20


def choose_device(name: str) -> torch.device:
    """ "auto" takes the GPU when there is one; "cpu", "cuda" or "cuda:1" are taken by their word.

    Raises:
        UsageError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: no such device name; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: no CUDA device is usable here; use --device cpu")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda are supported")
    return device


@contextmanager
def threads_shared_by(stages: int) -> Iterator[None]:
    """Inside, the arithmetic of one thread takes its share of the cores only, because others work beside it.

    Two halves of a network at work on different frames use two cores better than one network whose every
    layer is cut in two: no layer waits for the other half of the one before.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // stages))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Tell the C library to keep memory that is freed, from now on, for the next frame.

    Else glibc returns every large array to the system, which clears a thousand pages for each frame anew: 5 %
    of the work of ``detect`` (docs/performance.md). It holds for the whole process, so that programs call it,
    not functions that somebody else's program calls. Where there is no glibc, nothing happens.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
