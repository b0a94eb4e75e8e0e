"""Whole commands in processes of their own, quickly: one process imports everything once and is then copied.

``Commands`` starts this file as a program. It reads one request a line and forks, and the child becomes
``seqdet ...`` with its own environment and output file: what a user would start, without seconds of imports.
``stand_in.py`` asks for such a child in the place of a program that a launcher starts.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PREPARE = "import torch; torch.set_num_threads(1); import seqdet.cli.app, seqdet.runs.train"


class Commands:
    """The process that is copied, and what was started from it.

    Args:
        patch: statements that every command executes before it starts, such as a shorter patience.
        tracer: a program and its options that all of them run under, such as strace.

    Attributes:
        peak_mib: the most memory that each process held which has ended, with what it shares with its parent.
        socket: where ``stand_in.py`` finds it.
    """

    def __init__(self, patch: str = "", tracer: Sequence[str | Path] = ()) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self._folder = tempfile.TemporaryDirectory(prefix="seqdet")
        self.socket = Path(self._folder.name) / "commands"
        self._process = subprocess.Popen(
            [*tracer, sys.executable, __file__, f"{PREPARE}\n{patch}", self.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._codes: dict[int, int] = {}
        self.peak_mib: dict[int, float] = {}

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def _ask(self, **request: Any) -> Any:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        *arguments: str | Path,
        output: Path,
        patch: str = "",
        program: str = "seqdet.cli.app",
        largest_file: int | None = None,
        **environment: str,
    ) -> int:
        """Start ``seqdet ARGUMENTS``.

        Args:
            arguments: of the command.
            output: where its stdout and stderr go.
            patch: statements that this command alone executes before it starts.
            program: a module whose ``main`` is called; another one than seqdet's.
            largest_file: bytes; a file that would grow beyond fails as on a full disk.
            environment: of this command, beside what the tests have.

        Returns:
            Its process id.
        """
        pid = self._ask(
            argv=["seqdet", *map(str, arguments)],
            output=str(output),
            environment=environment,
            patch=patch,
            program=program,
            largest_file=largest_file,
        )
        self._codes.pop(pid, None)  # of a process that had this number before
        return pid

    def poll(self, pid: int) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        if pid not in self._codes and (ended := self._ask(poll=pid)) is not None:
            self._codes[pid], self.peak_mib[pid] = ended
        return self._codes.get(pid)

    def wait(self, pid: int, limit_s: float = 300) -> int:
        """As ``poll``, when it has ended."""
        end = time.monotonic() + limit_s
        while (code := self.poll(pid)) is None:
            assert time.monotonic() < end, f"process {pid} is still there after {limit_s} s"
            time.sleep(0.02)
        return code


def _become(
    argv: list[str],
    output: str,
    environment: dict[str, str],
    patch: str = "",
    program: str = "seqdet.cli.app",
    largest_file: int | None = None,
) -> None:
    """The child: never returns."""
    code = 1
    try:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ.update(environment)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
        sys.argv = argv
        exec(patch, {})
        importlib.import_module(program).main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(listening: socket.socket) -> None:
    exec(sys.argv[1], {})
    copies: list[int] = []
    while True:
        for ready in select.select([sys.stdin, listening], [], [])[0]:
            if ready is listening:
                # Whoever asks may be killed at any moment.
                with (
                    contextlib.suppress(OSError),
                    listening.accept()[0] as caller,
                    caller.makefile("rw") as line,
                ):
                    if request := line.readline():
                        print(json.dumps(_answer(json.loads(request), copies)), file=line, flush=True)
            elif request := sys.stdin.readline():
                print(json.dumps(_answer(json.loads(request), copies)), flush=True)
            else:
                for pid in copies:
                    os.kill(pid, signal.SIGKILL)
                return


def _answer(request: dict[str, Any], copies: list[int]) -> Any:
    if "poll" in request:
        pid, status, used = os.wait4(request["poll"], os.WNOHANG)
        if not pid:
            return None
        copies.remove(pid)
        return os.waitstatus_to_exitcode(status), used.ru_maxrss / 1024
    copies.append(pid := os.fork())
    if pid == 0:
        _become(**request)
    return pid


if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(sys.argv[2])
        taken.listen()
        _serve(taken)
