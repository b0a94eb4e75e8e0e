"""Where the arithmetic happens."""

from __future__ import annotations

import torch

from seqdet.errors import UsageError


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
