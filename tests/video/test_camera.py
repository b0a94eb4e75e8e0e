"""The newest picture of a live source that breaks off, blocks, comes back, or says no."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scripted_source import Scripted, picture, until

from seqdet.errors import UsageError
from seqdet.video import camera as camera_module
from seqdet.video.camera import Camera, StreamClock
from seqdet.video.live_source import live_source
from seqdet.video.pictures import SourceLost, SourceRefused
from seqdet.video.webcam import Webcam

SOON_S = 20.0  # liveness on a busy machine, not speed


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(camera_module, "LONGEST_PAUSE_S", 0.001)


@pytest.fixture
def source() -> Scripted:
    return Scripted()


@pytest.fixture
def camera(source: Scripted, quick: None) -> Iterator[Camera]:
    with Camera(source, stale_after_s=0.1) as camera:
        yield camera


def test_who_asks_seldom_gets_the_newest_and_the_others_are_counted(source: Scripted, camera: Camera) -> None:
    assert camera.status().state == "connecting"
    for value in range(10):
        source.script.put(picture(value))
    until(lambda: camera.status().captured == 10)
    captured = camera.take(0)
    assert captured is not None
    assert (captured.rgb[0, 0, 0], captured.index) == (9, 9)
    assert camera.take(0) is None
    assert camera.status().dropped == 9


def test_a_cut_is_not_dropped_with_its_picture(source: Scripted, camera: Camera) -> None:
    for value, cut in enumerate([False, True, False]):
        source.script.put(picture(value, cut=cut))
    until(lambda: camera.status().captured == 3)
    assert camera.take(0).cut
    source.script.put(picture(4))
    assert not camera.take(SOON_S).cut


def test_silence_is_noticed_while_the_read_still_blocks(source: Scripted, camera: Camera) -> None:
    source.script.put(picture(1))
    until(lambda: camera.status().state == "stale")
    status = camera.status()
    assert status.age_s > 0.1
    assert "no picture for" in status.message
    source.script.put(picture(2))
    until(lambda: camera.status().state == "live")
    assert camera.status().reconnects == 0


def test_a_lost_source_is_opened_again_and_its_frames_count_on(source: Scripted, camera: Camera) -> None:
    for _ in range(3):
        source.script.put(picture(1))
        source.script.put(SourceLost("the cable is out"))
    source.script.put(picture(2))
    until(lambda: camera.status().captured == 4)
    status = camera.status()
    assert (status.state, status.reconnects) == ("live", 3)
    assert camera.take(0).connection == 4
    assert source.closed == 3, "every one of them was closed before the next was opened"


def test_the_message_says_what_is_tried(source: Scripted, camera: Camera, monkeypatch) -> None:
    monkeypatch.setattr(camera_module, "FIRST_PAUSE_S", 60.0)
    source.script.put(picture(1))
    source.script.put(SourceLost("the cable is out"))
    until(lambda: camera.status().state == "lost")
    assert camera.status().message == "the cable is out; trying again"
    camera.close()  # does not wait for the pause


@pytest.mark.parametrize(("may_return", "seen", "tries"), [(False, 0, 1), (True, 0, 1), (False, 1, 2)])
def test_a_refusal_is_final(source: Scripted, camera: Camera, may_return, seen, tries) -> None:
    source.refusal = None if seen else SourceRefused("no", may_return=may_return)
    camera.close()
    with Camera(source) as other:
        before = source.opened - 1
        if seen:
            source.script.put(picture(1))
            until(lambda: other.status().captured == 1)
            source.refusal = SourceRefused("no", may_return=may_return)
            source.script.put(SourceLost("gone"))
        until(lambda: other.status().state == "refused")
        assert other.status().message == "no"
        other.take(0)
        assert other.take(SOON_S) is None  # at once, since none will come
        assert source.opened - before <= tries + 1


def test_what_was_there_may_return(source: Scripted, camera: Camera) -> None:
    source.script.put(picture(1))
    until(lambda: camera.status().captured == 1)
    source.refusal = SourceRefused("no such stream", may_return=True)
    source.script.put(SourceLost("the server was started again"))
    until(lambda: source.opened > 5)
    source.refusal = None
    source.script.put(picture(2))
    until(lambda: camera.status().state == "live")


def test_the_end_is_told_after_the_last_picture(source: Scripted, camera: Camera) -> None:
    source.script.put(picture(7))
    source.script.put(None)
    until(lambda: camera.status().state == "ended")
    assert camera.take(0).rgb[0, 0, 0] == 7
    assert camera.take(SOON_S) is None


def test_a_mistake_of_ours_reaches_who_takes_the_pictures(source: Scripted, camera: Camera) -> None:
    source.script.put(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        camera.take(SOON_S)


def test_a_thousand_reconnections_leave_nothing_behind(source: Scripted, camera: Camera) -> None:
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        source.script.put(picture(1))
        source.script.put(SourceLost("again"))
    until(lambda: source.closed == 1000, 60)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == files
    camera.close()
    assert threading.active_count() == threads - 1


@pytest.mark.parametrize(
    ("stamps_s", "arrivals_s", "expected_s"),
    [
        ([None, None, None], [1, 2, 4], [1, 2, 4]),
        ([10, 10.04, 10.08], [1, 1.2, 1.2], [1, 1.04, 1.08]),  # a burst: the source knows the steps
        ([10, 60, 60.04], [1, 3, 3.04], [1, 3, 3.04]),  # a jump that no clock has seen
        ([10, 5, 5.04], [1, 1.04, 1.08], [1, 1.04, 1.08]),  # back in time
        ([10, 10, 10], [1, 1, 1], [1, 1.001, 1.002]),
    ],
)
def test_times_grow_by_the_sources_steps_where_they_can_be_trusted(stamps_s, arrivals_s, expected_s) -> None:
    clock = StreamClock()
    clock._origin_s = 0.0
    given = [clock.time_s(stamp, at) for stamp, at in zip(stamps_s, arrivals_s, strict=True)]
    assert given == pytest.approx(expected_s)


class FakeCapture:
    """A webcam that can be pulled out."""

    plugged = True

    def __init__(self, index: int) -> None:
        self.index = index

    def isOpened(self) -> bool:
        return self.plugged

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.005)
        if not FakeCapture.plugged:
            return False, None
        bgr = np.zeros((4, 6, 3), np.uint8)
        bgr[..., 0] = 255
        return True, bgr

    def release(self) -> None:
        pass


def test_a_webcam_that_is_pulled_out_is_seen_again(quick: None) -> None:
    try:
        with Camera(lambda left: Webcam(3, left, FakeCapture)) as camera:
            for _ in range(20):
                assert tuple(camera.take(SOON_S).rgb[0, 0]) == (0, 0, 255), "RGB, not BGR"
                FakeCapture.plugged = False
                until(lambda: camera.status().state == "lost")
                assert "camera 3" in camera.status().message
                FakeCapture.plugged = True
                until(lambda: camera.status().state == "live")
            assert camera.status().reconnects == 20
    finally:
        FakeCapture.plugged = True


def test_no_camera_is_refused_with_a_hint() -> None:
    name, opener = live_source("97")
    assert name == "camera 97"
    with pytest.raises(SourceRefused, match="camera 97: no such camera"):
        opener(threading.Event())


def test_a_file_plays_at_its_own_pace_and_again(make_video: Callable[..., Path]) -> None:
    path = make_video("sky.mp4", frames=10, fps=50)
    _, opener = live_source(str(path), loop=True)
    player = opener(threading.Event())
    began_s = time.monotonic()
    shown = [player.read() for _ in range(25)]
    assert time.monotonic() - began_s >= 24 / 50 - 0.02
    assert [p.cut for p in shown] == [index in (10, 20) for index in range(25)]
    assert np.diff([p.stamp_s for p in shown]) == pytest.approx(1 / 50, abs=2e-3)
    player.close()


@pytest.mark.parametrize("source", ["absent.mp4", "."])
def test_a_file_that_cannot_be_read_is_refused(source: str, tmp_path: Path) -> None:
    _, opener = live_source(str(tmp_path / source))
    with pytest.raises(SourceRefused):
        opener(threading.Event())


@pytest.mark.parametrize("source", ["0", "rtsp://user:secret@camera/1"])
def test_only_files_can_be_looped(source: str) -> None:
    with pytest.raises(UsageError, match="--loop") as wrong:
        live_source(source, loop=True)
    assert "secret" not in str(wrong.value)
