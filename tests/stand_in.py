"""What a launcher starts in tests in the place of ``python -m seqdet``: python -S stand_in.py ARGUMENTS...

It asks ``commands.py`` (its socket is in SEQDET_COMMANDS) for a copy that is already imported and has this
program's environment, hands SIGTERM on to it, and ends as it ends. The copy executes SEQDET_PATCH first.
"""

import json
import os
import signal
import socket
import sys
import time


def ask(**request):
    """One request to ``commands.py``."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ["SEQDET_COMMANDS"])
        with server.makefile("rw") as line:
            print(json.dumps(request), file=line, flush=True)
            return json.loads(line.readline())


if __name__ == "__main__":
    output = f"{os.environ['SEQDET_SAID']}.{os.environ['RANK']}"
    pid = ask(
        argv=["seqdet", *sys.argv[1:]],
        output=output,
        environment=dict(os.environ),
        patch=os.environ.get("SEQDET_PATCH", ""),
    )
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(pid, number))
    while (ended := ask(poll=pid)) is None:
        time.sleep(0.02)
    code, _ = ended
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)
