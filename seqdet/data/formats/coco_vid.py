"""COCO-VID labels (stub until the next commit)."""

from __future__ import annotations

from pathlib import Path

from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError

NAME = "coco-vid"


def sniff(source: Path) -> bool:
    """Nothing is recognised yet."""
    return False


def read(source: Path, problems: Problems) -> RawDataset:
    """Not yet."""
    raise InputError(f"{source}: COCO-VID is not read yet")
