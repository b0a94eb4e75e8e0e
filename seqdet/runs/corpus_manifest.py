"""The list of a corpus: one video an entry, from .txt, .csv or .parquet, as a stream of any length.

    .txt      one path or URL a line; empty lines, and lines that begin with #, are passed over
    .csv      a header line that names a column source, path, url or video; a row a line
    .parquet  a column of that name (needs pyarrow)

Relative paths are relative to the folder of the manifest. Nothing is dropped in silence: an entry that is not
taken comes out with its line and the reason.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from seqdet.errors import InputError
from seqdet.runs.corpus_store import SCHEMES, need
from seqdet.video.probe import hide_password

MAX_ENTRY_BYTES = 4096  # PATH_MAX of Linux; URLs of object stores are shorter
COLUMNS = ("source", "path", "url", "video")
_COMMENT = "#"
_ROWS_AT_ONCE = 1000
_SHOWN_CHARACTERS = 80
_WEB = ("http", "https")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a manifest.

    Attributes:
        line: of the file (of a .parquet file: row), from 1.
        source: an absolute path or a URL; "" where the entry is refused.
        shown: as the manifest has it, fit to be printed.
        refused: why it is not taken, or "".
    """

    line: int
    source: str
    shown: str
    refused: str = ""

    @property
    def scheme(self) -> str:
        """Of a URL: "s3"; "" of a path."""
        return self.source.partition("://")[0] if "://" in self.source else ""


def read_manifest(path: Path) -> Iterator[Entry]:
    """The entries of a manifest, in order, in constant memory.

    Raises:
        InputError: it cannot be read, is of no known format, or has no column of sources.
        MissingDependencyError: a .parquet file, and pyarrow is not installed.
    """
    readers = {".txt": _text_lines, ".csv": _csv_cells, ".parquet": _parquet_cells}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a manifest is a .txt, .csv or .parquet file")
    if not path.is_file():
        raise InputError(f"{path}: no such manifest" if not path.exists() else f"{path}: not a file")
    folder = str(path.resolve().parent)
    try:
        for line, cell in reader(path):
            yield _entry(line, cell, folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def manifest_digest(path: Path) -> str:
    """SHA-256 of the file, in hexadecimal digits.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: the manifest cannot be read ({error.strerror or error})") from error


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes and whether all of them: of a longer line only the beginning is ever in memory."""
    number = 0
    while start := file.readline(MAX_ENTRY_BYTES + 1):
        number += 1
        rest = start
        while not rest.endswith(b"\n") and len(rest) > MAX_ENTRY_BYTES:
            rest = file.readline(MAX_ENTRY_BYTES + 1)
        yield number, start.rstrip(b"\r\n"), rest is start
    return


def _text_lines(path: Path) -> Iterator[tuple[int, str | bytes | None]]:
    with path.open("rb") as file:
        for number, line, whole in _lines(file):
            text = _decoded(line, number) if whole else line
            if isinstance(text, bytes) or (text.strip() and not text.startswith(_COMMENT)):
                yield number, text


def _csv_cells(path: Path) -> Iterator[tuple[int, str | bytes | None]]:
    with path.open("rb") as file:
        column = -1
        for number, line, whole in _lines(file):
            text = _decoded(line, number) if whole else line
            if isinstance(text, bytes):
                if column < 0:
                    raise InputError(f"{path}:{number}: the header line is too long, or no UTF-8")
                yield number, text
                continue
            if not text.strip():
                continue
            try:
                cells = next(csv.reader([text], strict=True), [])
            except csv.Error:  # a quote that does not end in this line
                yield number, text.encode()
                continue
            if column < 0:
                column = _column([cell.strip().lower() for cell in cells], f"{path}:{number}")
            else:
                yield number, cells[column] if column < len(cells) else None


def _parquet_cells(path: Path) -> Iterator[tuple[int, str | bytes | None]]:
    need(("pyarrow",), "a .parquet manifest")
    parquet = importlib.import_module("pyarrow.parquet")
    arrow = importlib.import_module("pyarrow")
    try:
        with parquet.ParquetFile(path) as table:
            names = table.schema_arrow.names
            name = names[_column([str(each).lower() for each in names], str(path))]
            row = 0
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[name]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    is_long = isinstance(value, str) and len(value) > MAX_ENTRY_BYTES
                    yield row, value.encode() if is_long else str(value) if value is not None else None
    except arrow.ArrowException as error:
        raise InputError(f"{path}: not a .parquet file that can be read ({error})") from error


def _column(names: list[str], where: str) -> int:
    for wanted in COLUMNS:
        if wanted in names:
            return names.index(wanted)
    shown = ", ".join(name[:30] for name in names[:10])
    raise InputError(f"{where}: no column is named {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]} (got {shown})")


def _decoded(line: bytes, number: int) -> str | bytes:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        return line


def _entry(line: int, cell: str | bytes | None, folder: str) -> Entry:
    """Judge one cell; bytes are what could not even be taken for a text of sensible length."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return Entry(line, "", "", "the entry is empty")
    if isinstance(cell, bytes):
        too_long = len(cell) > MAX_ENTRY_BYTES
        shown = _printable(cell.decode("utf-8", "backslashreplace"))
        reason = (
            f"longer than {MAX_ENTRY_BYTES} bytes" if too_long else "no UTF-8, or a quote that never ends"
        )
        return Entry(line, "", shown, reason)
    text = cell.strip()
    shown = _printable(hide_password(text))
    if len(text.encode()) > MAX_ENTRY_BYTES:
        return Entry(line, "", shown, f"longer than {MAX_ENTRY_BYTES} bytes")
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        return Entry(line, "", shown, "it holds control characters")
    if re.search(r"::.*://", text):
        return Entry(line, "", shown, "chained file systems (::) are not taken")
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", text)
    if scheme is not None and scheme[1].lower() != "file":
        return _url(line, text, scheme[1].lower(), shown)
    name = scheme[2] if scheme is not None else text
    if ".." in name.split(os.sep):
        return Entry(line, "", shown, "it climbs with '..'; write the whole path")
    return Entry(line, os.path.normpath(os.path.join(folder, name)), shown)


def _url(line: int, text: str, scheme: str, shown: str) -> Entry:
    if scheme not in SCHEMES and scheme not in _WEB:
        known = ", ".join([*_WEB, "file", *SCHEMES])
        return Entry(line, "", shown, f"{scheme}:// is not read here; known are {known}")
    return Entry(line, text, shown)


def _printable(text: str) -> str:
    """Shortened, with control characters escaped: it must not move a terminal's cursor."""
    short = text[:_SHOWN_CHARACTERS] + ("..." if len(text) > _SHOWN_CHARACTERS else "")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in short
    )
