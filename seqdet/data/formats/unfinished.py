"""Label files that are empty or cut off, as a broken download or a full disk leaves them.

Such a file looks like no format any more. Finding label files by their content would pass over it, and read
the rest of the folder as if that were all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seqdet.data.checks import read_json
from seqdet.data.formats.markup import refuse_broken_xml
from seqdet.errors import InputError

_LAST_CHARACTERS = {".json": (b"}", b"]"), ".xml": (b">",)}
_TAIL_BYTES = 4096


def refuse_unfinished(paths: Iterable[Path]) -> None:
    """Look at the ends of .json, .xml, .csv and .tsv files; others are passed over.

    Raises:
        InputError: one of them is not whole, with its line and, where there is one, column.
    """
    for path in paths:
        if path.suffix.lower() in (".csv", ".tsv") and _size(path) == 0:
            raise InputError(f"{path}:1: the file is empty")
        last = _LAST_CHARACTERS.get(path.suffix.lower())
        if last and not _ends_with(path, last):
            read_json(path) if path.suffix.lower() == ".json" else refuse_broken_xml(path)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _ends_with(path: Path, characters: tuple[bytes, ...]) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            text = file.read().replace(b"\0", b"").rstrip()  # also in UTF-16
    except OSError:
        return True  # reading it will say why
    return text.endswith(characters)
