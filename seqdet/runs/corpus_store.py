"""Videos that lie in object stores: fetched to a file of the worker's own, by fsspec."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Iterable
from pathlib import Path

from seqdet.errors import InputError, MissingDependencyError
from seqdet.video.probe import hide_password

# Schemes that are read through fsspec, and the package that each needs beside it.
SCHEMES = {"memory": "", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_CHUNK_BYTES = 8 << 20


def need(modules: Iterable[str], what: str) -> None:
    """Refuse in one line what lacks a package of the extra "cluster".

    Raises:
        MissingDependencyError: one of the modules is not installed.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{what} needs {' and '.join(missing)}, not installed here: pip install 'seqdet[cluster]'"
        )


def need_scheme(scheme: str) -> None:
    """Refuse a scheme of ``SCHEMES`` whose packages are not installed.

    Raises:
        MissingDependencyError: with the line that installs them.
    """
    need(["fsspec"], f"{scheme}://")
    package = SCHEMES[scheme]
    if package and importlib.util.find_spec(package) is None:
        raise MissingDependencyError(
            f"{scheme}:// needs {package}, not installed here: pip install {package}"
        )


def fetch(source: str, folder: Path) -> Path:
    """Copy an object into a folder.

    Args:
        source: its URL, of a scheme of ``SCHEMES``.
        folder: exists; the file in it keeps the object's extension.

    Raises:
        InputError: it is missing, or the store refuses.
    """
    fsspec = importlib.import_module("fsspec")
    path = folder / f"video{Path(source).suffix[:10]}"
    try:
        with fsspec.open(source, "rb") as remote, path.open("wb") as local:
            shutil.copyfileobj(remote, local, _CHUNK_BYTES)
    except FileNotFoundError as error:
        raise InputError(f"{hide_password(source)}: no such object") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{hide_password(source)}: cannot be fetched ({error})") from error
    return path
