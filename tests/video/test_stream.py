"""Real streams on loopback, and what goes wrong with them. Row numbers are those of the fault plan."""

from __future__ import annotations

import http.server
import io
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from PIL import Image
from rtsp_server import NUMBERS, RtspServer, encoded, paint, read_number
from scripted_source import until

from seqdet.video.camera import Camera, Captured
from seqdet.video.live_source import live_source
from seqdet.video.pictures import SourceLost, SourceRefused
from seqdet.video.probe import hide_password

SOON_S = 30.0


def taken(camera: Camera) -> Captured:
    captured = camera.take(SOON_S)
    assert captured is not None, camera.status()
    return captured


def camera_on(url: str) -> Camera:
    return Camera(live_source(url)[1])


def lag_pictures(server: RtspServer, captured: Captured) -> int:
    return (server.number_now() - read_number(captured.rgb)) % NUMBERS


def test_a_slow_consumer_sees_what_is_now() -> None:
    """Row 30: five looks a second at 25 pictures a second."""
    with RtspServer() as server, camera_on(server.url) as camera:
        taken(camera)
        lags = []
        for _ in range(10):
            time.sleep(0.2)
            captured = taken(camera)
            assert time.monotonic() - captured.captured_at_s < 0.25
            lags.append(lag_pictures(server, captured) / server.fps)
        status = camera.status()
    # One picture waits in FFmpeg's parser for the next, one in the slot.
    assert sorted(lags)[5] <= 0.5
    assert status.dropped > 20
    assert status.state == "live"


def test_times_are_the_sources_own() -> None:
    with RtspServer() as server, camera_on(server.url) as camera:
        # What had been sent before the stream was open comes at once.
        pictures = [captured for _ in range(25) if (captured := taken(camera)).index > 12]
    for before, after in itertools.pairwise(pictures):
        steps = (read_number(after.rgb) - read_number(before.rgb)) % NUMBERS
        assert after.time_s - before.time_s == pytest.approx(steps / 25, abs=0.002)


@pytest.mark.parametrize(
    ("answer", "words"), [("never", "no answer within"), ("no media", "connected, but no picture came")]
)
def test_a_server_that_says_nothing_is_lost_and_tried_again(answer: str, words: str) -> None:
    """Rows 25 and 26, and back."""
    with RtspServer(answer) as server, camera_on(server.url) as camera:
        took_s = until(lambda: camera.status().state == "lost")
        assert words in camera.status().message
        assert took_s < 10, "the platform's own time-out is 30 s; ours is below 3"
        server.answer = "play"
        taken(camera)


def test_a_stall_is_noticed_and_healed() -> None:
    """Row 27."""
    with RtspServer() as server, camera_on(server.url) as camera:
        taken(camera)
        server.stalled.set()
        until(lambda: camera.status().state in ("stale", "lost"))
        assert camera.status().age_s < 3, "designed for 1.6"
        assert "no picture for" in camera.status().message
        connections = server.connections
        server.stalled.clear()
        until(lambda: camera.status().state == "live")
        assert server.connections > connections
        assert camera.status().reconnects == 1


def test_a_server_that_is_killed_and_started_again() -> None:
    """Row 28."""
    with RtspServer() as server, camera_on(server.url) as camera:
        for times in range(1, 4):
            taken(camera)
            server.stop()
            until(lambda: camera.status().state == "lost")
            server.start()
            assert until(lambda: camera.status().state == "live") < 10, "designed for 3"
            assert camera.status().reconnects == times
            camera.take(0)


def test_a_connection_that_is_reset() -> None:
    """Row 28."""
    with RtspServer() as server, camera_on(server.url) as camera:
        taken(camera)
        server.hang_up(reset=True)
        until(lambda: camera.status().reconnects == 1)


def test_packets_that_are_lost_cost_pictures_and_no_more() -> None:
    """Row 31."""
    with RtspServer() as server:
        server.loses = 0.1
        with camera_on(server.url) as camera:
            times_s = [taken(camera).time_s for _ in range(30)]
            assert camera.status().reconnects == 0
    assert times_s == sorted(set(times_s))


def test_jitter_and_a_pause_of_five_seconds_keep_the_times_in_order() -> None:
    """Row 31: the pause is a loss, and heals."""
    with RtspServer() as server:
        server.jitter_s = 0.08
        with camera_on(server.url) as camera:
            times_s = [taken(camera).time_s for _ in range(20)]
            server.stalled.set()
            time.sleep(5)
            server.stalled.clear()
            until(lambda: camera.status().state == "live")
            times_s += [taken(camera).time_s for _ in range(10)]
    assert times_s == sorted(set(times_s))
    assert times_s[-1] - times_s[0] > 5


@pytest.mark.parametrize(
    ("answer", "words"),
    [("404 Not Found", "no such stream"), ("403 Forbidden", "may not"), ("garbage", "no video")],
)
def test_who_says_no_is_not_asked_again(answer: str, words: str) -> None:
    """Row 29."""
    with RtspServer(answer) as server, camera_on(server.url) as camera:
        until(lambda: camera.status().state == "refused")
        assert words in camera.status().message
        assert camera.take(0.3) is None
        assert server.connections == 1


def test_a_wrong_password_is_tried_once_and_never_shown(capfd: pytest.CaptureFixture[str]) -> None:
    """Row 29."""
    with RtspServer(login="guard:open-sesame") as server:
        with camera_on(server.url_with("guard:wrong-words")) as camera:
            until(lambda: camera.status().state == "refused")
            message = camera.status().message
            assert "password" in message
            assert server.connections == 1
        with camera_on(server.url_with("guard:open-sesame")) as camera:
            taken(camera)
        shown = live_source(server.url_with("guard:wrong-words"))[0]
    told = message + shown + "".join(capfd.readouterr())
    assert "***@" in told
    assert "wrong-words" not in told
    assert "guard" not in told


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://camera/1", "rtsp://camera/1"),
        ("rtsp://me:secret@camera/1", "rtsp://***@camera/1"),
        ("rtsp://me:se@cret@camera/1", "rtsp://***@camera/1"),
        ("rtsp://me:se/cret@camera/1", "rtsp://***@camera/1"),
        ("rtsp://me:se?cret#@camera/1", "rtsp://***@camera/1"),
        ("udp://@:5000", "udp://@:5000"),
        (
            "http://camera/video.cgi?usr=me&pwd=secret&size=2",
            "http://camera/video.cgi?usr=***&pwd=***&size=2",
        ),
        ("clips/me@home.mp4", "clips/me@home.mp4"),
    ],
)
def test_what_is_shown_of_an_address(address: str, shown: str) -> None:
    assert hide_password(address) == shown


def test_pictures_that_change_their_size() -> None:
    with RtspServer() as server, camera_on(server.url) as camera:
        assert taken(camera).rgb.shape == (96, 160, 3)
        encoded((96, 64))
        server.size_wh = (96, 64)
        until(lambda: taken(camera).rgb.shape == (64, 96, 3))
        assert camera.status().reconnects == 0


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("rtsp://me:secret@nowhere.invalid/1", SourceRefused, "no computer named nowhere.invalid"),
        ("rtsp://me:secret@127.0.0.1:1/1", SourceLost, "refused"),
        ("tcp://me:secret@127.0.0.1:1", SourceLost, "refused"),
    ],
)
def test_wrong_addresses(url: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as wrong:
        live_source(url)[1](threading.Event())
    assert "secret" not in str(wrong.value)


def test_connections_of_a_real_stream_leave_nothing_open() -> None:
    """Row 33, the quick version; a thousand are in tests/bench."""
    with RtspServer() as server:
        opener = live_source(server.url)[1]

        def cycle() -> None:
            stream = opener(threading.Event())
            stream.read()
            stream.close()

        cycle()
        files = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            cycle()
        until(lambda: len(os.listdir("/proc/self/fd")) <= files + 1)


def transport_stream(pictures: int = 50) -> bytes:
    """MPEG-TS of numbered pictures, 25 a second."""
    held = io.BytesIO()
    with av.open(held, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(pictures):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(paint(number), "rgb24")))
        container.mux(stream.encode(None))
    return held.getvalue()


@contextmanager
def web_server(reply: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                reply(self)
            except OSError:
                return

        def log_message(self, *words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def jpeg(number: int) -> bytes:
    held = io.BytesIO()
    Image.fromarray(paint(number)).save(held, "JPEG")
    return held.getvalue()


def test_motion_jpeg_over_http_is_timed_by_the_clock() -> None:
    """FFmpeg stamps such pictures as 25 a second, whatever they are."""
    ended = threading.Event()

    def reply(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        request.end_headers()
        for number in range(1000):
            picture = jpeg(number % NUMBERS)
            request.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\n")
            request.wfile.write(b"Content-Length: %d\r\n\r\n" % len(picture) + picture + b"\r\n")
            if ended.wait(0.1):
                return

    with web_server(reply) as url, camera_on(url) as camera:
        first = taken(camera)
        while (last := taken(camera)).index < first.index + 8:
            pass
        ended.set()
        assert (last.time_s - first.time_s) / (last.index - first.index) > 0.06
        assert read_number(last.rgb) - read_number(first.rgb) == last.index - first.index


def test_a_stream_over_http_that_ends_is_opened_again() -> None:
    pictures = transport_stream()

    def reply(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "video/mp2t")
        request.end_headers()
        for at in range(0, len(pictures), 4096):
            request.wfile.write(pictures[at : at + 4096])
            time.sleep(0.005)

    with web_server(reply) as url, camera_on(url) as camera:
        until(lambda: camera.status().reconnects >= 1)
        assert taken(camera).rgb.shape == (96, 160, 3)


@pytest.mark.parametrize(
    ("status", "state"), [(401, "refused"), (404, "refused"), (200, "refused"), (503, "lost")]
)
def test_a_web_server_that_has_no_stream(status: int, state: str) -> None:
    def reply(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "900")
        request.end_headers()
        request.wfile.write(b"<html>hello</html>" * 50)

    with web_server(reply) as url, camera_on(url.replace("http://", "http://me:secret@")) as camera:
        until(lambda: camera.status().state == state)
        assert "secret" not in camera.status().message


def test_a_file_on_a_web_server_plays_at_its_own_pace(make_video: Callable[..., Path]) -> None:
    whole = make_video("sky.mp4", frames=10, fps=25).read_bytes()

    def reply(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(whole)))
        request.end_headers()
        request.wfile.write(whole)

    with web_server(reply) as url:
        player = live_source(url)[1](threading.Event())
        began_s, pictures = time.monotonic(), 0
        while player.read() is not None:
            pictures += 1
        player.close()
    assert pictures == 10
    assert time.monotonic() - began_s >= 9 / 25 - 0.02


def test_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pictures, ended = transport_stream(), threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not ended.is_set():
                for at in range(0, len(pictures), 1316):
                    sender.sendto(pictures[at : at + 1316], ("127.0.0.1", port))
                    time.sleep(0.005)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        with camera_on(f"udp://127.0.0.1:{port}") as camera:
            assert taken(camera).rgb.shape == (96, 160, 3)
            ended.set()
            until(lambda: camera.status().state in ("stale", "lost"))
    finally:
        ended.set()
        thread.join()
