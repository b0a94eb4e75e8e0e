"""Zip archives that come from anywhere: unpacked into a folder of their own, and never beyond it.

Labelling tools export zip files. One from elsewhere may try to write outside (``../``, absolute paths,
symbolic links) or to fill the disk (a few kilobytes that become petabytes); the rules here refuse both before
a byte is written, and sizes again while they are written: what an archive declares need not be true.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from seqdet.data.checks import is_inside, raise_problems
from seqdet.errors import InputError, OutputError

MOST_ENTRIES = 2_000_000
# Text of labels becomes 20 to 100 times smaller; nothing honest more than this.
LARGEST_RATIO = 250
# Up to here no ratio is asked: a small archive of blank masks is no danger.
HARMLESS_BYTES = 1 << 28
_BLOCK = 1 << 20


def is_archive(path: Path) -> bool:
    """True for a zip file, by its content."""
    try:
        return path.is_file() and zipfile.is_zipfile(path)
    except OSError:
        return False


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip file; all or an error, and nothing outside of ``target``.

    Args:
        archive: the zip file.
        target: an empty folder.

    Raises:
        InputError: it is damaged or encrypted, or holds what no export does; each such entry is named.
        OutputError: there is no room for it.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _refuse(archive, entries)
            room = shutil.disk_usage(target).free
            if (total := sum(entry.file_size for entry in entries)) > room:
                raise OutputError(
                    f"{archive}: unpacked it takes {total} bytes; {target.parent} has {room} left"
                )
            for entry in entries:
                _write(archive, opened, entry, target)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise InputError(f"{archive}: the archive is damaged: {error}") from error
    except (NotImplementedError, RuntimeError) as error:  # a method of compression that zipfile does not know
        raise InputError(f"{archive}: the archive cannot be read: {error}") from error
    except OSError as error:  # its disk failed, or an entry is said to begin before the file does
        raise InputError(f"{archive}: the archive cannot be read: {error.strerror or error}") from error


def _refuse(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise for an archive with any entry that does not belong into a folder of labels and media."""
    if len(entries) > MOST_ENTRIES:
        raise InputError(f"{archive}: {len(entries)} files are in it; at most {MOST_ENTRIES} are unpacked")
    total, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if total > max(HARMLESS_BYTES, LARGEST_RATIO * packed):
        raise InputError(
            f"{archive}: its {packed} bytes would become {total}: more than {LARGEST_RATIO} times as "
            "many are not unpacked. If you trust it, unpack it yourself and give the folder"
        )
    problems: list[str] = []
    names: set[str] = set()
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        name = entry.filename.rstrip("/")
        fault = None
        if not is_inside(name) or "\\" in name:
            fault = "the path leads out of the archive, or into another system's folders"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            fault = "a link or device, not a file"
        elif entry.flag_bits & 1:
            fault = "it is encrypted"
        elif name in names:
            fault = "the name occurs twice"
        names.add(name)
        if fault:
            problems.append(f"{entry.filename!r}: {fault}")
    raise_problems(problems, f"{archive}: the archive is not unpacked")


def _write(archive: Path, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    path = target / entry.filename
    try:
        if entry.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{archive}: {entry.filename!r} cannot be unpacked: {error.strerror}") from error
    with opened.open(entry) as source:
        try:
            file = path.open("xb")
        except OSError as error:  # a name that is too long, or that is a folder already
            raise InputError(f"{archive}: {entry.filename!r} cannot be unpacked: {error.strerror}") from error
        with file:
            left = entry.file_size
            while block := source.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise InputError(f"{archive}: {entry.filename!r} is longer than the archive says")
                try:
                    file.write(block)
                except OSError as error:
                    raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
