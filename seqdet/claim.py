"""One writer for each output: who begins a file or works in a folder holds it until it is done or dead.

The lock is the operating system's, on the unfinished file or on the folder itself. It goes with its process,
however that ends, so that nothing stale is left to be cleaned up, and what a kill left behind can be written
anew (docs/decisions/014). Where the system has no such locks (Windows, some network drives) none is refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from seqdet.errors import OutputError, UsageError

try:
    import fcntl
except ImportError:  # Windows, whose locks would keep the encoder itself from writing
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS_HERE = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS})


class Claim:
    """A file that this process alone writes; made where it is missing, its content is left as it is.

    Args:
        path: of the unfinished file, or of a folder.
        shown: what the user calls it.

    Raises:
        UsageError: another process writes it.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, shown: Path) -> None:
        self._descriptor = -1
        if fcntl is None:
            return
        while True:
            is_folder = path.is_dir()
            how = os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            descriptor = os.open(path, how, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                same = os.path.samestat(os.fstat(descriptor), path.stat())
            except BlockingIOError:
                os.close(descriptor)
                raise UsageError(
                    f"{shown}: another process is writing it; wait until it is done, or choose another name"
                ) from None
            except FileNotFoundError:  # its writer has just given it its final name
                same = False
            except OSError as error:
                same = error.errno in _NO_LOCKS_HERE
                if not same:
                    os.close(descriptor)
                    raise
            if same:
                self._descriptor = descriptor
                return
            os.close(descriptor)

    def release(self) -> None:
        """Let others write it; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Work in a folder that no other process works in; one that was made for it and stayed empty is removed.

    Raises:
        UsageError: another process works in it.
        OutputError: it cannot be made.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        claim = Claim(folder, folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}; choose another place") from error
    try:
        yield
    finally:
        claim.release()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
