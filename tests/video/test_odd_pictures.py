"""Pixels that are not square, and pictures that declare more pixels than anybody has memory for."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest
from PIL import Image

from seqdet.errors import InputError
from seqdet.video.folder import image_size, read_image
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(("rotation", "shown"), [(0, Fraction(16, 11)), (90, Fraction(11, 16))])
def test_pixels_that_are_not_square_stay_so(tmp_path, write_video, suffix, rotation, shown):
    """What is written is as wide on a screen as its source, also where that lies on its side."""
    source = write_video(tmp_path / "anamorphic.mp4", range(3))
    turned = tmp_path / "turned.mp4"
    with av.open(str(source)) as given, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(given.streams.video[0])
        stream.sample_aspect_ratio = Fraction(16, 11)
        if rotation:
            stream.set_display_rotation(rotation)
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    out = tmp_path / f"out{suffix}"
    with open_video(turned) as reader:
        info = reader.info
        with VideoWriter(out, size_wh=info.size_wh, pixel_aspect=info.pixel_aspect) as writer:
            for frame in reader:
                writer.write(frame.rgb, frame.time_s)
    assert info.pixel_aspect == shown
    with av.open(str(out)) as container:
        assert container.streams.video[0].sample_aspect_ratio == shown


def png(path: Path, width: int, height: int) -> Path:
    """Some 60 bytes that declare a picture."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT", b"IEND"]
    data = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def jpeg(path: Path, width: int, height: int) -> Path:
    """A small JPEG whose frame header says another size."""
    Image.new("RGB", (16, 16)).save(path, "JPEG")
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("make", [png, jpeg])
@pytest.mark.parametrize("size_wh", [(9000, 9000), (56321, 7789), (60000, 60000)])
def test_the_limit_alone_decides_on_stills(tmp_path, make, size_wh):
    """Pillow has a limit of its own, at 178 million pixels, which would stay where ours is raised."""
    path = make(tmp_path / "bomb", *size_wh)
    pixels = size_wh[0] * size_wh[1]
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match=r"more than .* --max-pixels"):
        image_size(path, pixels - 1)
    assert image_size(path, pixels) == size_wh
    assert before == Image.MAX_IMAGE_PIXELS


def test_what_opencv_refuses_is_an_error_of_the_input(tmp_path):
    path = png(tmp_path / "bomb.png", 60000, 60000)  # beyond 2**30, its own limit
    with pytest.raises(cv2.error):
        cv2.imread(str(path))
    with pytest.raises(InputError, match="OpenCV refuses"):
        read_image(path, 1 << 40)


def test_a_bomb_takes_no_memory(tmp_path):
    """56321 x 7789 pixels in 700 bytes: OpenCV alone takes 2.5 GB for such a file."""
    path = jpeg(tmp_path / "bomb.jpg", 56321, 7789)
    code = (
        "import resource, sys\n"
        "from seqdet.errors import InputError\n"
        "from seqdet.video.reader import open_video\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = used()\n"
        "try: open_video(sys.argv[1])\n"
        "except InputError: print((used() - before) / 1024)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 64


@pytest.mark.parametrize(("lost", "said"), [(range(8, 12), "jump, by 0.20 s after 0.28 s"), ((), "")])
def test_a_hole_in_the_times_of_a_steady_video_is_said(tmp_path, write_video, lost, said):
    """Damage that a demuxer passes over: all that it reads decodes, and the duration is what was declared."""
    path = write_video(tmp_path / "a.mkv", [tick for tick in range(40) if tick not in lost])
    with open_video(path) as reader:
        frames = sum(1 for _ in reader)
    assert (frames, reader.report.short) == (40 - len(lost), False)
    assert said in " ".join(reader.report.warnings)
    assert bool(said) == bool(reader.report.warnings)


def test_a_title_in_letters_of_another_time(tmp_path, write_video):
    """Titles are bytes of any kind; PyAV fails over them unless told otherwise, or is too new to be told."""
    path = tmp_path / "named.mp4"
    with av.open(str(write_video(tmp_path / "a.mp4"))) as given, av.open(str(path), "w") as target:
        target.metadata["title"] = "Grosse Tiere"
        stream = target.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"Grosse Tiere", "Große Tiere ".encode("latin-1")))
    with open_video(path) as reader:
        assert sum(1 for _ in reader) == 10


@pytest.mark.parametrize("second_wh", [(96, 64), (160, 120)])
def test_a_size_that_changes_on_the_way_is_said(tmp_path, write_video, second_wh):
    """OpenCV scales what follows to the first size without a word; a control keeps its size."""
    parts = [
        write_video(tmp_path / f"{number}.ts", range(30 * number, 30 * number + 30), size_wh=size_wh)
        for number, size_wh in enumerate([(96, 64), second_wh])
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_video(path) as reader:
        sizes = {frame.rgb.shape for frame in reader}
    assert sizes == {(64, 96, 3)}
    said = [text for text in reader.report.warnings if "the size changes" in text]
    if second_wh == (96, 64):
        assert said == []
    else:
        (warning,) = said
        assert "from 96x64 to 160x120 at about frame 30; all pictures and boxes are in the first" in warning
