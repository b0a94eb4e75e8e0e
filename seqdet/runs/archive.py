"""A source of labels that is a zip file of a labelling tool: unpacked beside the output for a while."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqdet.data.formats import looks_like
from seqdet.data.formats.protocol import VIDEO_SUFFIXES
from seqdet.data.unpack import is_archive, unpack
from seqdet.errors import InputError, OutputError, UsageError
from seqdet.video.folder import is_image_name


@contextmanager
def opened(source: Path, out: Path, format: str, link: bool) -> Iterator[Path]:
    """The folder to read in place of ``source``: itself, or for a zip file what is in it, until the end.

    Errors name the archive in place of the folder, which is gone by then.

    Args:
        source: a folder, label file or zip file.
        out: what is being made; the folder is beside it, so that it is on the same disk.
        format: name of a label format, or "auto".
        link: whether videos will be linked, which those of an archive cannot be.

    Raises:
        UsageError: ``link`` and an archive.
        InputError: the archive is damaged, or not safe to unpack.
        OutputError: there is no room beside ``out``.
    """
    if not is_archive(source):
        yield source
        return
    if link:
        raise UsageError(
            f"{source} is an archive, so its videos cannot be linked: leave --link out, or unpack it"
        )
    beside = next(folder for folder in out.absolute().parents if folder.is_dir())
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.unpacked-", dir=beside))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        inside = work / (source.stem or "archive")
        inside.mkdir()
        unpack(source, inside)
        folder = _source_in(inside, format)
        try:
            yield folder
        except (InputError, UsageError) as error:
            hint = (
                ""
                if _holds_media(inside)
                else f". {source.name} holds no video or image: unpack it beside them"
            )
            raise type(error)(str(error).replace(str(inside), str(source)) + hint) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _source_in(folder: Path, format: str) -> Path:
    """The folder, or the only folder in it (and so on) where nothing is recognised above it."""
    while not looks_like(folder, format):
        entries = [path for path in folder.iterdir() if path.name != "__MACOSX" and path.name[0] != "."]
        if len(entries) != 1 or not entries[0].is_dir():
            break
        folder = entries[0]
    return folder


def _holds_media(folder: Path) -> bool:
    return any(is_image_name(path) or path.suffix.lower() in VIDEO_SUFFIXES for path in folder.rglob("*"))
