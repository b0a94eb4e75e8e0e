"""`open_video` gives every frame of good files, what damaged ones hold, and one sentence for the rest."""

import csv
import os
import re
import stat
import struct
import time
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from seqdet.errors import InputError, UsageError
from seqdet.video.reader import expand_sources, open_video, read_info

VECTORS = Path(__file__).resolve().parents[2] / ".." / "shared" / "vectors"
# The aim is one second; the tests guard against what hangs, also on a machine that is busy.
LIMIT_S = 10


def read_all(source, **options):
    with open_video(source, **options) as reader:
        frames = list(reader)
    return frames, reader.report, reader.info


def vector_rows():
    table = VECTORS / "videos.tsv"
    if not table.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the shared test vectors are not there"))]
    with table.open(encoding="utf-8") as lines:
        return [pytest.param(row, id=row["file"]) for row in csv.DictReader(lines, delimiter="\t")]


@pytest.mark.parametrize("row", vector_rows())
def test_agrees_with_the_truth_about_files_from_the_wild(row):
    path = VECTORS / "videos" / row["file"]
    true_frames = int(row["av_true_frames"] or 0)
    if true_frames == 0:
        started_s = time.monotonic()
        with pytest.raises(InputError) as caught:
            open_video(path)
        assert time.monotonic() - started_s < LIMIT_S
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    with open_video(path) as reader:  # not kept: one of them is 1500 frames of 3 MB
        seen = [(frame.time_s, frame.size_wh) for frame in reader]
    info = reader.info
    assert len(seen) == reader.report.decoded == true_frames
    turned = {"90": 270, "-90": 90, "180": 180, "-180": 180}.get(row["rotation"], 0)
    assert info.rotation_degrees == turned
    stored = tuple(map(int, row["WxH"].split("x")))
    displayed = stored if turned % 180 == 0 else stored[::-1]
    assert {size_wh for _, size_wh in seen} == {info.size_wh} == {displayed}
    times = [time_s for time_s, _ in seen]
    assert times == sorted(times)
    if row["first_pts_s"]:
        assert times[0] == pytest.approx(float(row["first_pts_s"]), abs=6e-4)


DAMAGED = {
    "decord/tests/test_data/corrupted.mp4": (
        49,
        50,
        1,
        "49 of 50 frames could be decoded.*frame 27 at 2.70 s",
    ),
    "mp4parse-rust/mp4parse_capi/tests/no_timescale.mp4": (170, 182, 3, "170 of 182 frames"),
    "file-type/fixture2.mkv": (37, 37, 0, "cut off: it ends at 1.71 s of the 1132.05 s declared"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_says_what_a_damaged_file_lacks(vectors, name):
    decoded, promised, gaps, words = DAMAGED[name]
    _, report, _ = read_all(vectors / "videos" / name)
    assert (report.decoded, report.promised, len(report.gaps)) == (decoded, promised, gaps)
    assert report.short
    assert re.search(words, report.message)


def test_a_hidden_start_is_not_a_loss(vectors):
    """An edit list hides frames that the header counts: 25 of 30 is all there is to show."""
    _, report, _ = read_all(vectors / "videos" / "torchcodec" / "discard_first_keyframe.mp4")
    assert (report.decoded, report.promised, report.short) == (25, 25, False)


VARIABLE_TICKS = [7, 500, 1001, 1100, 3333, 9000, 9001, 15360, 20000, 40000]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("offset_s", [0, 8])
def test_times_are_the_containers_exact_to_a_tick(tmp_path, write_video, decode, suffix, offset_s):
    ticks = [offset_s * 15360 + tick for tick in VARIABLE_TICKS]
    path = write_video(tmp_path / f"variable{suffix}", ticks, time_base=Fraction(1, 15360))
    _, truth = decode(path)
    frames, report, _ = read_all(path)
    assert [frame.time_s for frame in frames] == [float(time_s) for time_s in truth]
    assert [frame.index for frame in frames] == list(range(10))
    assert not report.short
    assert report.warnings == ()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".ts"])
@pytest.mark.parametrize("sound_s", [None, 0.2, 1.5])
def test_a_whole_file_is_never_called_short(tmp_path, write_video, suffix, sound_s):
    path = tmp_path / f"whole{suffix}"
    write_video(path, range(20), sound="mp2" if sound_s else None, sound_s=sound_s)
    frames, report, _ = read_all(path)
    assert len(frames) == report.decoded == report.promised == 20
    assert (report.short, report.message, report.gaps) == (False, "", ())


@pytest.mark.parametrize("counterclockwise", [0, 90, 180, -90, 45])
def test_frames_are_upright(tmp_path, write_video, decode, counterclockwise):
    path = write_video(tmp_path / "turned.mp4", range(3), rotation=counterclockwise)
    stored, _ = decode(path)
    frames, report, info = read_all(path)
    quarters = 0 if counterclockwise == 45 else counterclockwise // 90
    for frame, picture in zip(frames, stored, strict=True):
        upright = np.rot90(picture, quarters)
        assert frame.rgb.shape == upright.shape
        assert np.abs(frame.rgb.astype(int) - upright).mean() < 2
    assert info.rotation_degrees == -90 * quarters % 360
    assert ("rotation of" in " ".join(report.warnings)) == (counterclockwise == 45)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt", "size_wh"),
    [
        (".mkv", "libx264", "yuv444p", (97, 65)),
        (".mkv", "libx264", "yuv420p10le", (96, 64)),
        (".mkv", "libx265", "yuv422p12le", (96, 64)),
        (".mkv", "ffv1", "gray", (97, 65)),
        (".mkv", "ffv1", "bgra", (97, 65)),
        (".mkv", "mpeg2video", "yuv420p", (121, 81)),
        (".avi", "mjpeg", "yuvj422p", (121, 81)),
        (".webm", "libvpx-vp9", "yuv420p", (33, 17)),
        (".mkv", "libsvtav1", "yuv420p", (96, 64)),
    ],
)
def test_pixels_of_every_kind_are_those_of_the_oracle(
    tmp_path, write_video, decode, suffix, codec, pix_fmt, size_wh
):
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = tmp_path / f"picture{suffix}"
    write_video(path, range(3), codec=codec, pix_fmt=pix_fmt, size_wh=size_wh, codec_options=quiet)
    truth, _ = decode(path)
    frames, _, info = read_all(path)
    assert len(frames) == 3
    assert info.size_wh == size_wh
    for frame, picture in zip(frames, truth, strict=True):
        assert frame.rgb.shape == picture.shape
        assert np.abs(frame.rgb.astype(int) - picture).mean() <= 2


def test_a_raw_stream_has_no_times_so_they_are_spaced_and_it_says_so(tmp_path, write_video):
    path = write_video(tmp_path / "raw.h264", range(5), file_format="h264")
    frames, report, _ = read_all(path)
    assert np.diff([frame.time_s for frame in frames]) == pytest.approx(0.04)
    assert "carry no time" in " ".join(report.warnings)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"movflags": "faststart"}),
        (".mp4", {"movflags": "frag_keyframe+empty_moov"}),
        (".mkv", {}),
        (".avi", {}),
        (".flv", {}),
        (".ts", {}),
    ],
)
def test_a_cut_file_gives_what_it_holds_and_is_never_silent(tmp_path, write_video, suffix, options):
    whole = write_video(tmp_path / f"whole{suffix}", range(40), options=options, codec_options={"g": "10"})
    data = whole.read_bytes()
    refused, told, silent = 0, 0, []
    for cut in np.linspace(0.05, 0.97, 16):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(data[: int(len(data) * cut)])
        try:
            frames, report, _ = read_all(path)
        except InputError:
            refused += 1
            continue
        if len(frames) < 40 and not report.short:
            silent.append((float(cut), len(frames)))
        told += report.short and len(report.message) > 0
    assert told >= 4
    assert silent == []


def test_leaving_early_is_not_short(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4")
    with open_video(path) as reader:
        for frame in reader:
            if frame.index == 3:
                break
        iter(reader).close()
    reader.close()
    assert (reader.report.decoded, reader.report.short) == (4, False)


def test_info_is_what_the_header_says(tmp_path, write_video):
    info = read_info(write_video(tmp_path / "a.mp4", range(10), size_wh=(98, 66)))
    assert (info.size_wh, info.fps, info.frames_promised, info.codec) == ((98, 66), 25.0, 10, "h264")
    assert info.duration_s == pytest.approx(0.4)
    assert not info.is_live


def bomb_png(path):
    """Some 60 bytes that declare 56321 x 7789 pixels."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    for chunk in [b"IHDR" + struct.pack(">IIBBBBB", 56321, 7789, 8, 2, 0, 0, 0), b"IDAT"]:
        with path.open("ab") as file:
            file.write(struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)))


def cover_only(path):
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")))
        container.mux(cover.encode(None))


def audio_only(path):
    with av.open(str(path), "w", format="wav") as container:
        track = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(track.encode(frame))


def encrypted(path, write_video):
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    write_video(path, options=key | {"encryption_kid": "a7e61c373e219033c21091fa607bf3b8"})


BAD = {
    "missing.mp4": (None, "no such file"),
    "n" * 300 + ".mp4": (None, "cannot be opened|no such file"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "is empty"),
    "empty.jpg": (lambda path: path.write_bytes(b""), "is empty"),
    "text.mp4": (lambda path: path.write_text("not a video\n" * 50), "not a video"),
    "text.txt": (lambda path: path.write_text("not a video\n" * 50), "not a video"),
    "list.txt": (lambda path: path.write_text("ffconcat version 1.0\nfile /etc/hostname\n"), "not a video"),
    "text.png": (lambda path: path.write_text("not a picture"), "not a picture"),
    "noise.mkv": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), "not a video"),
    "44.wav": (lambda path: path.write_bytes(b"RIFF$\0\0\0WAVEfmt " + b"\0" * 28), "not a video|no video"),
    "folder": (lambda path: path.mkdir(), "no pictures in this folder"),
    "pipe.mp4": (os.mkfifo if hasattr(os, "mkfifo") else None, "pipe or device|no such file"),
    "sound.wav": (audio_only, "sound only"),
    "cover.m4a": (cover_only, "only sound with a cover"),
    "bomb.png": (bomb_png, "more than 64000000 pixels"),
    "half.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 40), "not a picture|broken"),
    "*.jpg": (None, "matches nothing"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_said_in_one_line_and_soon(tmp_path, name):
    make, words = BAD[name]
    path = tmp_path / name
    if make is not None:
        make(path)
    started_s = time.monotonic()
    with pytest.raises(InputError, match=words) as caught:
        open_video(path)
    assert time.monotonic() - started_s < LIMIT_S
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_encryption_is_named(tmp_path, write_video):
    encrypted(tmp_path / "drm.mp4", write_video)
    with pytest.raises(InputError, match="encrypted"):
        open_video(tmp_path / "drm.mp4")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_device_that_never_ends_is_refused():
    with pytest.raises(InputError, match="pipe or device"):
        open_video("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read all")
def test_a_file_without_permission_is_refused(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4")
    path.chmod(stat.S_IWUSR)
    with pytest.raises(InputError, match="cannot be opened"):
        open_video(path)


def test_a_video_with_too_many_pixels_is_refused_and_the_limit_is_adjustable(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", range(2))
    with pytest.raises(InputError, match="96x64 is more than 6143 pixels"):
        open_video(path, max_pixels=6143)
    open_video(path, max_pixels=6144).close()


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_url_that_is_refused_never_shows_its_password(scheme):
    started_s = time.monotonic()
    with pytest.raises(InputError) as caught:
        open_video(f"{scheme}://anna:secret@127.0.0.1:9/a.mp4")
    assert time.monotonic() - started_s < LIMIT_S
    assert "secret" not in str(caught.value)
    assert "***@127.0.0.1:9" in str(caught.value)


@pytest.fixture
def pictures(tmp_path, scene):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in [0, 1, 2, 9, 10, 11]:
        Image.fromarray(scene(index)).save(folder / f"f{index}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.mark.parametrize("pattern", ["", "f*.png", "f[0-9]*.png"])
def test_pictures_are_one_sequence_in_natural_order(pictures, scene, pattern):
    frames, report, info = read_all(pictures / pattern if pattern else pictures, image_fps=10)
    for frame, index in zip(frames, [0, 1, 2, 9, 10, 11], strict=True):
        assert np.array_equal(frame.rgb, scene(index))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert (info.fps, info.frames_promised, report.decoded, report.short) == (10, 6, 6, False)


def test_one_damaged_picture_is_a_gap_and_not_the_end(pictures):
    (pictures / "f2.png").write_bytes((pictures / "f2.png").read_bytes()[:60])
    frames, report, _ = read_all(pictures)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [round(frame.time_s * 30) for frame in frames] == [0, 1, 3, 4, 5]
    assert report.short
    assert "1 of 6 pictures" in report.message
    assert "f2.png" in report.warnings[0]


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied_once(tmp_path, scene, orientation, quarters):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene(0)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    (frame,), _, info = read_all(tmp_path / "a.jpg")
    upright = np.rot90(scene(0), quarters)
    assert frame.rgb.shape == upright.shape
    assert info.size_wh == frame.size_wh
    assert np.abs(frame.rgb.astype(int) - upright).mean() < 3


def test_pictures_of_every_kind_become_rgb(tmp_path, scene):
    picture = scene(0, (33, 17))
    grey = picture[..., 0]
    alpha = np.dstack([picture, np.zeros_like(grey)])
    cases = {
        "grey.png": (grey, np.dstack([grey] * 3)),
        "alpha.png": (alpha, picture),
        "deep.png": (grey.astype(np.uint16) * 257, np.dstack([grey] * 3)),
        "colour.bmp": (picture, picture),
        "colour.tiff": (picture, picture),
    }
    for name, (stored, shown) in cases.items():
        Image.fromarray(stored).save(tmp_path / name)
        (frame,), _, _ = read_all(tmp_path / name)
        assert np.array_equal(frame.rgb, shown), name


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e6])
def test_a_senseless_rate_of_pictures_is_wrong_usage(pictures, fps):
    with pytest.raises(UsageError, match="positive number"):
        open_video(pictures, image_fps=fps)


def test_sources_of_the_command_line(tmp_path, pictures, write_video):
    for name in ["b10.mp4", "b9.mp4"]:
        write_video(tmp_path / name, range(2))
    (tmp_path / "odd[1].mp4").write_bytes(b"x")
    videos, images = str(tmp_path / "b*.mp4"), str(pictures / "*.png")
    odd, url = str(tmp_path / "odd[1].mp4"), "rtsp://host/a?b=*"
    assert expand_sources([videos]) == [str(tmp_path / "b9.mp4"), str(tmp_path / "b10.mp4")]
    assert expand_sources([images, odd, url, "0"]) == [images, odd, url, "0"]
    with pytest.raises(InputError, match="matches nothing"):
        expand_sources([str(tmp_path / "*.mov")])
