"""An RTSP server that others wrote (GStreamer's, as Debian packages it), in a process that can be killed.

    with PackagedRtspServer() as server:
        open(server.url); server.kill(); server.start()

It needs: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-{base,good,ugly}
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

SIZE_WH = (320, 240)
# Python's bindings belong to the system's interpreter, not to ours.
_INTERPRETER = Path("/usr/bin/python3")
_PACKAGES = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
_PACKAGES += "gstreamer1.0-plugins-ugly"
_SCRIPT = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
for needed in ("videotestsrc", "x264enc", "rtph264pay"):
    assert Gst.ElementFactory.find(needed), needed
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(sys.argv[2])
factory.set_shared(True)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
server.get_mount_points().add_factory("/stream", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
_PICTURES = (
    "( videotestsrc is-live=true pattern=ball ! "
    f"video/x-raw,width={SIZE_WH[0]},height={SIZE_WH[1]},framerate=25/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96 )"
)


class PackagedRtspServer:
    """A ball that jumps about, in H.264 at 25 pictures a second; skips the test where the packages lack.

    Attributes:
        url: where it is, also after it was killed and started again.
    """

    def __init__(self) -> None:
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None
        self.start()
        self.url = f"rtsp://127.0.0.1:{self._port}/stream"

    def start(self) -> None:
        """Listen; returns once connections are taken."""
        self._process = subprocess.Popen(
            [str(_INTERPRETER), "-c", _SCRIPT, self._port, _PICTURES],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port.isdigit():
            _, why = self._process.communicate()
            self._process = None
            _lacks(why.strip().rpartition("\n")[2])
        self._port = port

    def kill(self) -> None:
        """By SIGKILL: no farewell to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def hold(self) -> None:
        """Stop it (SIGSTOP): connections stay, nothing comes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``hold``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> PackagedRtspServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def _lacks(why: str) -> None:
    told = f"no packaged RTSP server ({why}); apt-get install {_PACKAGES}"
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)
