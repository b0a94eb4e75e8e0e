"""A folder that appears under its name only when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from seqdet.errors import OutputError


def partial_folder(target: Path) -> Path:
    """A hidden folder beside the target, to grow in.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"{target}: cannot be made ({error.strerror}); choose another --out") from error


def put_in_place(partial: Path, target: Path) -> None:
    """Rename the whole folder; what was there goes only then."""
    partial.chmod(0o755)
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
        target.rename(old / target.name)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        partial.rename(target)
