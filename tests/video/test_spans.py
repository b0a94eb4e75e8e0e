"""Frame k read by seeking is frame k read in order: to the bit, at the exact time, wherever a span begins."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqdet.errors import InputError
from seqdet.types import Frame
from seqdet.video import spans as room
from seqdet.video.probe import count_packets
from seqdet.video.reader import open_video
from seqdet.video.spans import InexactError, SpanReader, Spans, find_spans, in_order


def frames_in_order(path: Path) -> list[Frame]:
    with open_video(path) as reader:
        return list(reader)


def same_in_any_order(path: Path, spans: Spans, frames: list[Frame]) -> None:
    """Every span, against the reading in order: each from its keyframe, then by a decoder that goes on."""
    numbers = range(len(spans.starts))
    for order in (reversed(numbers), numbers):
        reader = SpanReader()
        seen = []
        for number in order:
            for frame in reader.read(spans, number):
                truth = frames[frame.index]
                np.testing.assert_array_equal(
                    frame.rgb, truth.rgb, err_msg=f"{path.name} frame {frame.index}"
                )
                assert frame.time_s == truth.time_s
                assert spans.of(frame.index) == number
                seen.append(frame.index)
        assert sorted(seen) == list(range(len(frames)))


VFR = np.cumsum([0, *[1, 3, 1, 1, 7, 2] * 8]).tolist()
X264 = {"g": "7", "keyint_min": "7"}
FILES: dict[str, tuple[str, dict]] = {
    "b-frames": ("a.mp4", {"codec_options": {**X264, "bf": "3"}}),
    "no b-frames": ("a.mp4", {"codec_options": {**X264, "bf": "0"}}),
    "open groups": ("a.mkv", {"codec_options": {**X264, "bf": "3", "x264-params": "open-gop=1"}}),
    "open groups in mp4": ("a.mp4", {"codec_options": {**X264, "bf": "3", "x264-params": "open-gop=1"}}),
    "b-frames in pyramids": ("a.mkv", {"codec_options": {**X264, "bf": "5", "x264-params": "b-pyramid=2"}}),
    "keyframes by scene": ("a.mp4", {"codec_options": {"g": "11", "keyint_min": "2", "bf": "2"}}),
    "variable rate": ("a.mkv", {"ticks": VFR, "time_base": Fraction(1, 100), "codec_options": X264}),
    "variable rate in mp4": ("a.mp4", {"ticks": VFR, "time_base": Fraction(1, 90000), "codec_options": X264}),
    "odd start": ("a.mkv", {"ticks": range(83, 133), "codec_options": {**X264, "bf": "2"}}),
    "transport stream": ("a.ts", {"ticks": range(10, 60), "codec_options": {**X264, "bf": "2"}}),
    "all keyframes": ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "mpeg-4": ("a.mp4", {"codec": "mpeg4", "codec_options": {"g": "6", "bf": "2"}}),
    "mpeg-2": ("a.mkv", {"codec": "mpeg2video", "codec_options": {"g": "6", "bf": "2"}}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "codec_options": {"g": "9", "cpu-used": "8"}}),
    "hevc, open groups": (
        "a.mp4",
        {"codec": "libx265", "codec_options": {"x265-params": "keyint=8:open-gop=1:log-level=none"}},
    ),
    "upright by rotation": ("a.mp4", {"rotation": 90, "codec_options": X264}),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_by_seeking_as_in_order(write_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str):
    monkeypatch.setattr(room, "LEAST_FRAMES", 1)
    name, options = FILES[case]
    path = write_video(tmp_path / name, **{"ticks": range(50), **options})
    frames = frames_in_order(path)
    spans = find_spans(path, len(frames))
    assert len(spans.starts) > 3
    same_in_any_order(path, spans, frames)


def test_a_reader_goes_on_where_the_next_span_is_asked_for(write_video, tmp_path: Path, monkeypatch):
    """Two files in turn, each opened once to be read; again where the order is another one."""
    monkeypatch.setattr(room, "LEAST_FRAMES", 1)
    paths = [write_video(tmp_path / f"{k}.mp4", range(50), codec_options={**X264, "bf": "2"}) for k in "ab"]
    reader = SpanReader()
    both = [find_spans(path, 50, reader) for path in paths]
    opened: list[str] = []
    open_container = room.open_container
    monkeypatch.setattr(
        room, "open_container", lambda source: (opened.append(source), open_container(source))[1]
    )
    for number in range(len(both[0].starts)):
        for spans, truth in zip(both, map(frames_in_order, paths), strict=True):
            for frame in reader.read(spans, number):
                np.testing.assert_array_equal(frame.rgb, truth[frame.index].rgb)
    assert opened == []  # the walk had opened their beginnings
    list(reader.read(both[0], 3))
    assert opened == [str(paths[0])]
    half = reader.read(both[0], 4)
    next(half)
    del half  # left in the middle: where it stands is not where a span begins
    assert [frame.index for frame in reader.read(both[0], 5)] == list(range(*both[0].starts[5:7]))
    assert len(opened) == 2


def test_a_reader_keeps_few_files_open(write_video, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(room, "LEAST_FRAMES", 1)
    monkeypatch.setattr(room, "MOST_OPEN", 2)
    paths = [write_video(tmp_path / f"{k}.mp4", range(20), codec_options=X264) for k in range(4)]
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    reader = SpanReader()
    for spans in [find_spans(path, 20, reader) for path in paths]:
        assert len(list(reader.read(spans, 0))) == spans.starts[1]
    if before:
        assert len(os.listdir("/proc/self/fd")) == before + 2


def test_short_groups_are_taken_together(write_video, tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", range(150), codec_options={"g": "10", "sc_threshold": "0"})
    spans = find_spans(path, 150)
    assert spans.starts.tolist() == [0, 50, 100]
    assert [spans.of(k) for k in (0, 49, 50, 99, 100, 149, 500)] == [0, 0, 1, 1, 2, 2, 2]
    same_in_any_order(path, spans, frames_in_order(path))


def test_what_only_looks_like_a_keyframe_is_no_place_to_begin(write_video, tmp_path: Path, monkeypatch):
    """A stream that is refreshed in stripes marks frames as keys from which nothing can be decoded."""
    monkeypatch.setattr(room, "LEAST_FRAMES", 1)
    options = {**X264, "x264-params": "intra-refresh=1:bframes=0:scenecut=0"}
    path = write_video(tmp_path / "a.mkv", range(50), codec_options=options)
    spans = find_spans(path, 50)
    assert len(spans.starts) > 3
    with pytest.raises(InexactError):
        list(SpanReader().read(spans, 3))


def test_a_folder_of_pictures_is_entered_anywhere(tmp_path: Path):
    for index in range(60):
        Image.fromarray(np.full((8, 12, 3), 4 * index, np.uint8)).save(tmp_path / f"{index}.png")
    spans = find_spans(tmp_path, 60)
    assert spans.starts.tolist() == [0, 48]
    same_in_any_order(tmp_path, spans, frames_in_order(tmp_path))
    (tmp_path / "50.png").write_bytes(b"no picture")
    with pytest.raises(InexactError):
        list(SpanReader().read(spans, 1))
    assert len(find_spans(tmp_path, 61).starts) == 1


@pytest.mark.parametrize("frames", [49, 51])
def test_another_number_of_frames_than_the_data_set_says_is_read_in_order(write_video, tmp_path, frames: int):
    path = write_video(tmp_path / "a.mp4", range(50), codec_options=X264)
    assert find_spans(path, frames).starts.tolist() == [0]


def test_a_file_that_changed_since_its_walk_is_noticed(write_video, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(room, "LEAST_FRAMES", 1)
    path = write_video(tmp_path / "a.mp4", range(50), codec_options=X264)
    spans = find_spans(path, 50)
    write_video(path, range(0, 100, 2), codec_options=X264)
    with pytest.raises(InexactError):
        list(SpanReader().read(spans, 3))
    path.unlink()
    with pytest.raises(InexactError):
        list(SpanReader().read(spans, 3))
    with pytest.raises(InputError):
        find_spans(path, 50)


def test_the_shared_videos(vectors: Path, monkeypatch: pytest.MonkeyPatch):
    """What other projects test with: by seeking as in order, or read in order because it cannot be told."""
    monkeypatch.setattr(room, "LEAST_FRAMES", 1)
    sought, refused = 0, 0
    for path in sorted((vectors / "videos").rglob("*")):
        if not path.is_file() or path.stat().st_size > 600_000:
            continue
        try:
            frames = frames_in_order(path)
            spans = find_spans(path, count_packets(path).packets)
            if len(spans.ticks) > len(
                frames
            ):  # damaged: by seeking, frames keep the numbers they were sent with
                continue
        except InputError:
            continue
        try:
            if len(spans.starts) > 1:
                same_in_any_order(path, spans, frames)
                sought += 1
        except InexactError:
            refused += 1
    assert sought >= 5
    assert refused <= 3


def test_one_span_is_the_whole(write_video, tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", range(12))
    same_in_any_order(path, in_order(path), frames_in_order(path))
