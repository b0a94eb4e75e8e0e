"""A stream from a server that others wrote, which is killed, held and brought back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from packaged_rtsp import SIZE_WH, PackagedRtspServer
from scripted_source import until

from seqdet.video.camera import Camera
from seqdet.video.live_source import live_source

SOON_S = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[PackagedRtspServer]:
    with PackagedRtspServer() as server:
        yield server


@pytest.fixture
def camera(server: PackagedRtspServer) -> Iterator[Camera]:
    with Camera(live_source(server.url)[1]) as camera:
        first = camera.take(SOON_S)
        assert first is not None, camera.status()
        assert first.rgb.shape == (SIZE_WH[1], SIZE_WH[0], 3)
        yield camera


def test_a_server_that_is_killed_comes_back(server: PackagedRtspServer, camera: Camera) -> None:
    """Row 28: two times, for the second time is where what was not put away shows."""
    for times in (1, 2):
        server.kill()
        until(lambda: camera.status().state == "lost")
        assert "trying again" in camera.status().message
        server.start()
        until(lambda: camera.status().state == "live", SOON_S)
        assert camera.status().reconnects == times
        camera.take(0)
        assert camera.take(SOON_S) is not None


def test_a_server_that_hangs_is_noticed_and_may_go_on(server: PackagedRtspServer, camera: Camera) -> None:
    """Row 27: its connection stays open."""
    server.hold()
    try:
        until(lambda: camera.status().state in ("stale", "lost"))
        assert camera.status().age_s < 3, "designed for 1.6"
        assert "no picture for" in camera.status().message
    finally:
        server.go_on()
    until(lambda: camera.status().state == "live", SOON_S)


def test_a_path_that_it_does_not_have_is_refused(server: PackagedRtspServer) -> None:
    """Row 29."""
    with Camera(live_source(server.url + "-other")[1]) as camera:
        until(lambda: camera.status().state == "refused")
        assert "no such stream" in camera.status().message
