"""`VideoWriter` writes what it was given, at the times it was given, or says that it did not."""

import errno
import os
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from seqdet.errors import OutputError, UsageError
from seqdet.video import finish as finish_module
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter, encoder_name, refuse_same_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, times_s, scene, size_wh=(96, 64), **options):
    with VideoWriter(path, size_wh=size_wh, **options) as writer:
        for index, time_s in enumerate(times_s):
            writer.write(scene(index, size_wh), time_s)
    return writer


VARIABLE_S = [tick / 15360 for tick in [7, 500, 1001, 1100, 3333, 9000, 9001, 15360, 20000, 40000]]


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".MP4"])
def test_every_frame_arrives_with_its_pixels_and_its_own_time(tmp_path, scene, decode, suffix):
    path = tmp_path / f"out{suffix}"
    writer = write(path, VARIABLE_S, scene, crf=12)
    pictures, times = decode(path)
    tick_s = 1e-3 if suffix == ".mkv" else 1e-9
    assert [float(time_s) for time_s in times] == pytest.approx(VARIABLE_S, abs=tick_s)
    for index, picture in enumerate(pictures):
        assert np.abs(picture.astype(int) - scene(index)).mean() < 3
    assert (writer.frames, writer.nudged, writer.origin_s, writer.warnings) == (10, 0, 0, [])
    assert names(tmp_path) == [path.name]


def test_the_file_is_what_players_want(tmp_path, scene):
    path = tmp_path / "out.mp4"
    write(path, np.arange(40) * 1001 / 24000, scene, fps_hint=24000 / 1001)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (40, Fraction(24000, 1001))
        assert stream.start_time == 0
        assert container.duration / av.time_base == pytest.approx(40 * 1001 / 24000, abs=1e-3)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e6, None])
def test_times_rule_whatever_rate_is_hinted(tmp_path, scene, decode, fps):
    times_s = [0, 0.1, 0.2, 0.3]
    writer = write(tmp_path / "out.mp4", times_s, scene, fps_hint=fps)
    assert [float(time_s) for time_s in decode(tmp_path / "out.mp4")[1]] == pytest.approx(times_s)
    assert len(writer.warnings) == (fps is not None)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == 10


@pytest.mark.parametrize(
    ("start_s", "origin_s"), [(0, 0), (0.066, 0), (8.333007, 0), (59857.456, 59857.456), (-1.5, -1.5)]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_start_offset_is_kept_unless_it_is_an_arbitrary_clock(
    tmp_path, scene, decode, start_s, origin_s, suffix
):
    times_s = [start_s + index / 25 for index in range(5)]
    writer = write(tmp_path / f"out{suffix}", times_s, scene)
    shown = [float(time_s) + writer.origin_s for time_s in decode(tmp_path / f"out{suffix}")[1]]
    assert shown == pytest.approx(times_s, abs=1e-3 if suffix == ".mkv" else 1e-6)
    assert writer.origin_s == origin_s


@pytest.mark.parametrize("size_wh", [(97, 65), (96, 65), (1, 1), (97, 64)])
def test_an_odd_side_is_padded_by_the_edge_and_declared(tmp_path, scene, decode, size_wh):
    writer = write(tmp_path / "out.mp4", [0, 1], scene, size_wh, crf=10)
    width, height = writer.coded_size_wh
    assert (width - size_wh[0], height - size_wh[1]) == (size_wh[0] % 2, size_wh[1] % 2)
    (first, _), _ = decode(tmp_path / "out.mp4")
    assert first.shape == (height, width, 3)
    assert np.abs(first[: size_wh[1], : size_wh[0]].astype(int) - scene(0, size_wh)).mean() < 6
    assert bool(writer.warnings) == (writer.coded_size_wh != size_wh)


def test_times_that_do_not_increase_are_moved_by_a_tick_and_counted(tmp_path, scene, decode):
    writer = write(tmp_path / "out.mp4", [0, 0.5, 0.5, 0.4, 1.0], scene)
    times = decode(tmp_path / "out.mp4")[1]
    assert [float(time_s) for time_s in times] == pytest.approx([0, 0.5, 0.5, 0.5, 1.0], abs=1e-6)
    assert len(set(times)) == 5
    assert writer.nudged == 2


WRONG = {
    "none": None,
    "list": [[1]],
    "grey": np.zeros((64, 96), np.uint8),
    "alpha": np.zeros((64, 96, 4), np.uint8),
    "swapped": np.zeros((96, 64, 3), np.uint8),
    "larger": np.zeros((66, 96, 3), np.uint8),
    "float": np.zeros((64, 96, 3), np.float32),
    "int": np.zeros((64, 96, 3), np.int64),
    "batch": np.zeros((1, 64, 96, 3), np.uint8),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_frame_raises_and_is_never_written(tmp_path, scene, decode, name):
    with VideoWriter(tmp_path / "out.mp4", size_wh=(96, 64)) as writer:
        writer.write(scene(0), 0)
        with pytest.raises(ValueError, match="frame 1 must be"):
            writer.write(WRONG[name], 0.1)
        for time_s in [float("nan"), float("inf")]:
            with pytest.raises(ValueError, match="finite time"):
                writer.write(scene(1), time_s)
    assert len(decode(tmp_path / "out.mp4")[0]) == writer.frames == 1
    with pytest.raises(ValueError, match="closed"):
        writer.write(scene(0), 1)


def test_the_caller_may_paint_over_a_frame_that_was_written(tmp_path, scene, decode):
    path, canvas = tmp_path / "out.mp4", np.empty_like(scene(0))
    with VideoWriter(path, size_wh=canvas.shape[1::-1], crf=12) as writer:
        for index in range(12):
            canvas[:] = scene(index)
            writer.write(canvas, index / 25)
    for index, picture in enumerate(decode(path)[0]):
        assert np.abs(picture.astype(int) - scene(index)).mean() < 3


def test_a_frame_need_not_be_contiguous(tmp_path, scene, decode):
    turned = np.rot90(scene(0, (64, 96)))
    bgr_view = np.ascontiguousarray(turned[..., ::-1])[..., ::-1]
    assert not bgr_view.flags.c_contiguous
    with VideoWriter(tmp_path / "out.mp4", size_wh=(96, 64), crf=10) as writer:
        writer.write(bgr_view, 0)
    assert np.abs(decode(tmp_path / "out.mp4")[0][0].astype(int) - turned).mean() < 3


def existing(folder):
    (folder / "old.mp4").write_bytes(b"old")
    return folder / "old.mp4"


REFUSED = {
    "exists already": existing,
    "does not exist": lambda folder: folder / "nowhere" / "out.mp4",
    "is not a file": lambda folder: (folder / "out.mp4").mkdir() or folder / "out.mp4",
    r"\.mp4, \.m4v, \.mov, \.mkv": lambda folder: folder / "out.exe",
    "cannot be written": lambda folder: folder / ("n" * 300 + ".mp4"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_an_output_that_cannot_be_is_refused_before_the_first_frame(tmp_path, words):
    path = REFUSED[words](tmp_path)
    before = names(tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        VideoWriter(path, size_wh=(96, 64))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    "options", [{"size_wh": (0, 4)}, {"size_wh": (99999, 4)}, {"preset": "bogus"}, {"crf": 99}]
)
def test_settings_that_the_encoder_refuses_leave_nothing_behind(tmp_path, options):
    with pytest.raises(UsageError):
        VideoWriter(tmp_path / "out.mp4", **({"size_wh": (96, 64)} | options))
    assert names(tmp_path) == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere"
)
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(UsageError, match="cannot be written"):
        VideoWriter(tmp_path / "out.mp4", size_wh=(96, 64))


def test_the_input_is_never_the_output(tmp_path, write_video):
    source = write_video(tmp_path / "a.mp4")
    before = source.read_bytes()
    (tmp_path / "soft.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    for out in [source, tmp_path / "soft.mp4", tmp_path / "hard.mp4", tmp_path / "x" / ".." / "a.mp4"]:
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="the input itself"):
            refuse_same_file(source, out)
        with pytest.raises(UsageError, match="the input itself"):
            VideoWriter(out, size_wh=(96, 64), audio_from=source, overwrite=True)
    refuse_same_file(source, tmp_path / "other.mp4")
    refuse_same_file("rtsp://host/stream", tmp_path / "other.mp4")
    assert source.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_an_exception_leaves_a_playable_file_and_stays_what_it_is(tmp_path, scene, decode, error, suffix):
    def stop_in_the_middle():
        with VideoWriter(tmp_path / f"out{suffix}", size_wh=(96, 64)) as writer:
            for index in range(30):
                writer.write(scene(index), index / 25)
            raise error("stop")

    with pytest.raises(error, match="stop"):
        stop_in_the_middle()
    assert len(decode(tmp_path / f"out{suffix}")[0]) == 30
    assert names(tmp_path) == [f"out{suffix}"]


def test_an_exception_before_the_first_frame_harms_nothing(tmp_path):
    path = existing(tmp_path)
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, size_wh=(96, 64), overwrite=True):
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    with pytest.raises(OutputError, match="no frame"), VideoWriter(path, size_wh=(96, 64), overwrite=True):
        pass
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["old.mp4"]


def test_the_old_output_is_replaced_only_at_the_end(tmp_path, scene, decode):
    path = existing(tmp_path)
    with VideoWriter(path, size_wh=(96, 64), overwrite=True) as writer:
        writer.write(scene(0), 0)
        assert path.read_bytes() == b"old"
    assert len(decode(path)[0]) == 1


def sound_of(path):
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        track = container.streams.audio[0]
        frames = list(container.decode(track))
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(float)
        return (
            track.codec_context.codec.canonical_name,
            frames[0].time,
            samples / max(np.abs(samples).max(), 1),
        )


@pytest.mark.parametrize(
    ("source_suffix", "codec", "suffix", "written"),
    [
        (".mp4", "aac", ".mp4", "aac"),
        (".mp4", "aac", ".mkv", "aac"),
        (".ts", "aac", ".mp4", "aac"),
        (".mkv", "libopus", ".mp4", "opus"),
        (".avi", "pcm_s16le", ".mp4", "aac"),
        (".avi", "pcm_s16le", ".mkv", "pcm_s16le"),
        (".mkv", "mp2", ".mov", "aac"),
    ],
)
def test_sound_is_copied_in_sync_or_converted(
    tmp_path, write_video, decode, source_suffix, codec, suffix, written
):
    pictures = "mpeg4" if source_suffix == ".avi" else "libx264"  # AVI knows no order of display
    source = write_video(tmp_path / f"source{source_suffix}", range(25), sound=codec, codec=pictures)
    with (
        open_video(source) as reader,
        VideoWriter(tmp_path / f"out{suffix}", size_wh=reader.info.size_wh, audio_from=source) as writer,
    ):
        for frame in reader:
            writer.write(frame.rgb, frame.time_s)
    name, starts_s, samples = sound_of(tmp_path / f"out{suffix}")
    _, source_starts_s, source_samples = sound_of(source)
    assert name == written
    assert starts_s == pytest.approx(source_starts_s - writer.origin_s, abs=0.03)
    assert abs(len(samples) - len(source_samples)) / 48000 < 0.06
    assert np.sqrt((samples**2).mean()) > 0.3
    assert ("converted to AAC" in " ".join(writer.warnings)) == (written not in codec)
    times = [float(time_s) for time_s in decode(tmp_path / f"out{suffix}")[1]]
    truth = [float(time_s) for time_s in decode(source)[1]]
    assert times == pytest.approx(truth, abs=1e-3 if suffix == ".mkv" else 1e-6)


def test_sound_ends_with_the_pictures_when_only_some_were_written(tmp_path, write_video, scene):
    source = write_video(tmp_path / "long.mp4", range(10), sound="aac", sound_s=6)
    writer = write(tmp_path / "out.mp4", np.arange(10) / 25, scene, audio_from=source)
    assert len(sound_of(tmp_path / "out.mp4")[2]) / 48000 == pytest.approx(1.4, abs=0.1)
    assert writer.warnings == []


@pytest.mark.parametrize("source", ["silent.mp4", "missing.mp4", "text.mp4"])
def test_sound_that_is_not_there_never_fails_the_video(tmp_path, write_video, scene, decode, source):
    write_video(tmp_path / "silent.mp4")
    (tmp_path / "text.mp4").write_text("no sound here")
    writer = write(tmp_path / "out.mp4", [0, 1], scene, audio_from=tmp_path / source)
    assert len(decode(tmp_path / "out.mp4")[0]) == 2
    assert bool(writer.warnings) == (source != "silent.mp4")


CHILD = """
    import sys
    import numpy as np
    from seqdet.errors import OutputError
    from seqdet.video.writer import VideoWriter
    noise = np.random.default_rng(0)
    try:
        with VideoWriter(sys.argv[1], size_wh=(96, 64), fps_hint=25, overwrite=True) as writer:
            for index in range(int(sys.argv[2])):
                writer.write(noise.integers(0, 255, (64, 96, 3), np.uint8), index / 25)
                print(index + 1, flush=True)
    except OutputError as error:
        sys.exit(f"{error.exit_code} {error}")
"""


def start_child(path, frames, before=""):
    code = textwrap.dedent(before) + textwrap.dedent(CHILD)
    command = [sys.executable, "-c", code, str(path), str(frames)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def playable(path):
    with open_video(path) as reader:
        return sum(1 for _ in reader)


def test_what_was_written_before_a_kill_plays(tmp_path):
    child = start_child(tmp_path / "out.mp4", 10**6)
    for line in child.stdout:
        if int(line) == 60:
            break
    child.kill()
    child.communicate()
    assert names(tmp_path) == [".out.mp4.partial.mp4"]
    assert playable(tmp_path / ".out.mp4.partial.mp4") >= 60 - 25


@pytest.mark.parametrize("limit_bytes", [60_000, 300_000])
def test_a_full_disk_is_an_error_and_keeps_what_was_written_and_the_old_output(tmp_path, limit_bytes):
    pytest.importorskip("resource")
    path = existing(tmp_path)
    limit = f"""
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))
    """
    child = start_child(path, 1000, limit)
    written, words = child.communicate()
    assert words.startswith("6 ")
    assert ".old.mp4.partial.mp4" in words
    assert len(words.splitlines()) == 1
    assert path.read_bytes() == b"old"
    assert playable(tmp_path / ".old.mp4.partial.mp4") >= int(written.split()[-1]) - 25


def test_a_disk_that_fails_while_finishing_keeps_the_partial_file(tmp_path, scene, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = existing(tmp_path)
    monkeypatch.setattr(finish_module, "_sync", full)
    with pytest.raises(OutputError, match=r"No space left.*plays: .*\.partial\.mp4"):
        write(path, [0, 1], scene, overwrite=True)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == [".old.mp4.partial.mp4", "old.mp4"]
    assert playable(tmp_path / ".old.mp4.partial.mp4") == 2


def test_a_file_that_lacks_frames_is_not_passed_off_as_whole(tmp_path, scene, monkeypatch):
    monkeypatch.setattr(finish_module, "_pictures", lambda *_: iter([]))
    with pytest.raises(OutputError, match="2 frames were written"):
        write(tmp_path / "out.mp4", [0, 1], scene)
    assert names(tmp_path) == [".out.mp4.partial.mp4"]


def test_the_encoder_of_this_installation_is_x264():
    assert encoder_name() == "libx264"


def test_ffprobe_agrees(tmp_path, scene):
    """A decoder that the product does not use judges its output."""
    shutil = pytest.importorskip("shutil")
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    path = Path(tmp_path / "out.mp4")
    write(path, VARIABLE_S, scene)
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames,codec_name"]
    found = subprocess.run(
        [*command, "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["h264,10"]
    assert found.stderr == ""
