"""Whole commands in processes of their own, quickly: one process imports everything once and is then copied.

``Commands`` starts this file as a program. It reads one request a line and forks, and the child becomes
``seqdet ...`` with its own environment and output file: what a user would start, without seconds of imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PREPARE = "import torch; torch.set_num_threads(1); import seqdet.cli.app, seqdet.runs.train"


class Commands:
    """The process that is copied, and what was started from it.

    Args:
        patch: statements that every command executes before it starts, such as a shorter patience.

    Attributes:
        peak_mib: the most memory that each process held which has ended, with what it shares with its parent.
    """

    def __init__(self, patch: str = "") -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, __file__, f"{PREPARE}\n{patch}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._started: list[int] = []
        self._codes: dict[int, int] = {}
        self.peak_mib: dict[int, float] = {}

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, **request: Any) -> Any:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self, *arguments: str | Path, output: Path, largest_file: int | None = None, **environment: str
    ) -> int:
        """Start ``seqdet ARGUMENTS``; its stdout and stderr go to ``output``. Returns its process id.

        ``largest_file``: bytes; a file that would grow beyond fails as on a full disk.
        """
        pid = self._ask(
            argv=["seqdet", *map(str, arguments)],
            output=str(output),
            largest_file=largest_file,
            environment=environment,
        )
        self._started.append(pid)
        return pid

    def poll(self, pid: int) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        if pid in self._started and (ended := self._ask(poll=pid)) is not None:
            self._started.remove(pid)
            self._codes[pid], self.peak_mib[pid] = ended
        return self._codes.get(pid)

    def wait(self, pid: int, limit_s: float = 300) -> int:
        """As ``poll``, when it has ended."""
        end = time.monotonic() + limit_s
        while (code := self.poll(pid)) is None:
            assert time.monotonic() < end, f"process {pid} is still there after {limit_s} s"
            time.sleep(0.02)
        return code


def _become(argv: list[str], output: str, largest_file: int | None, environment: dict[str, str]) -> None:
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
        from seqdet.cli.app import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    exec(sys.argv[1], {})
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status, used = os.wait4(request["poll"], os.WNOHANG)
            answer = [os.waitstatus_to_exitcode(status), used.ru_maxrss / 1024] if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _become(**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
