from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.data.formats import choose_format, mot
from seqdet.data.formats.mot_layout import NO_LABELS
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError, UsageError

VECTORS = (
    Path(__file__).resolve().parents[3]
    / ".."
    / "shared"
    / "vectors"
    / "annotations"
    / "datumaro"
    / "mot_dataset"
)
Make = Callable[..., Path]


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is mot
    raw = mot.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def flat(tmp_path: Path, make_video: Make, text: str, classes: str | None = "bird\ndrone\n") -> Path:
    make_video(tmp_path / "videos" / "a.avi")
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "a.txt").write_text(text)
    if classes is not None:
        (tmp_path / "classes.txt").write_text(classes)
    return tmp_path


def test_frames_and_pixels_count_from_one_in_the_file_and_from_zero_here(
    tmp_path: Path, make_video: Make
) -> None:
    raw, _ = read(flat(tmp_path, make_video, "1,7,1,1,64,48,1,2,1\n10,7,11.5,21,4,5.25,1,1,0.3\n"))
    (sequence,) = raw.sequences
    assert raw.classes == ("bird", "drone")
    assert sequence.frame.tolist() == [0, 9]
    assert sequence.track_id.tolist() == [7, 7]
    assert sequence.class_id.tolist() == [1, 0]
    np.testing.assert_array_equal(sequence.boxes_xyxy_px, [[0, 0, 64, 48], [10.5, 20, 14.5, 25.25]])
    assert sequence.place(1) == f"{tmp_path / 'gt' / 'a.txt'}:2"


def test_the_standard_layout_with_splits_images_and_seqinfo(tmp_path: Path, make_images: Make) -> None:
    for split, name in (("train", "MOT17-02-DPM"), ("test", "other")):
        folder = tmp_path / split / name
        make_images(folder / "img1", [f"{number:06d}.png" for number in range(1, 4)])
        (folder / "gt").mkdir()
        (folder / "gt" / "gt.txt").write_text("1,1,1,1,5,5,0,1,1\n2,1,1,1,5,5,1,1,1\n3,2,1,1,5,5,1,3,1\n")
        (folder / "seqinfo.ini").write_text(
            f"[Sequence]\nname={name}\nimDir=img1\nframeRate=14\nseqLength=3\nimWidth=64\nimHeight=48\nimExt=.png\n"
        )
    raw, problems = read(tmp_path)
    assert raw.classes == ("pedestrian", "car"), "the names of MOT17, only those that occur"
    assert {(each.name, each.split, each.recording) for each in raw.sequences} == {
        ("MOT17-02-DPM", "train", "MOT17-02"), ("other", "test", None),
    }  # fmt: skip
    first = raw.sequences[0]
    assert (first.frames, first.size_wh, first.fps) == (3, (64, 48), 14.0)
    assert [path.name for path in first.images or ()] == ["000001.png", "000002.png", "000003.png"]
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(mot.IGNORED, 2)]


def test_mot15_lines_with_3d_coordinates_are_pedestrians(tmp_path: Path, make_video: Make) -> None:
    raw, _ = read(flat(tmp_path, make_video, "1,1,1,1,5,5,1,-1,-1,-1\n", classes=None))
    assert raw.classes == ("pedestrian",)


def test_clips_csv_says_split_recording_label_and_attributes(tmp_path: Path, make_video: Make) -> None:
    source = flat(tmp_path, make_video, "")
    (source / "clips.csv").write_text(
        "clip,sensor,label,recording,split,frames,width,height,fps\na,thermal,drone,take 1,val,10,64,48,10\n"
    )
    (sequence,) = read(source)[0].sequences
    assert (sequence.label, sequence.recording, sequence.split) == ("drone", "take 1", "val")
    assert (sequence.frames, sequence.size_wh, sequence.fps) == (10, (64, 48), 10.0)
    assert sequence.attributes == {"sensor": "thermal"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,1,1,1,5", "a.txt:2: 9 columns are expected, as in the first line, got 5"),
        ("1,1,1,1,five,5,1,1,1", "a.txt:2: width: a number is expected, got 'five'"),
        ("1,1,1,1,,5,1,1,1", "a.txt:2: width: a number is expected, got ''"),
        ("1.5,1,1,1,5,5,1,1,1", "a.txt:2: frame: a whole number is expected, got 1.5"),
        ("nan,1,1,1,5,5,1,1,1", "a.txt:2: frame: a whole number is expected, got nan"),
        ("1,1e300,1,1,5,5,1,1,1", "a.txt:2: track: a whole number is expected"),
        ("1,-7,1,1,5,5,1,1,1", "a.txt:2: track: 0 or more, or -1 for none, got -7"),
        ("1,1,1,1,5,5,1,3,1", "a.txt:2: class: 3 is unknown; classes are 1 bird, 2 drone"),
        ("1,1,1,1,5,5,1,0,1", "a.txt:2: class: 0 is unknown"),
        ("1,1,1,1,5,5,1,1.5,1", "a.txt:2: class: a whole number is expected"),
        ("frame;track", "a.txt:2: 9 columns"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, make_video: Make, line: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read(flat(tmp_path, make_video, f"1,1,1,1,5,5,1,1,1\n{line}\n2,1,1,1,5,5,1,1,1\n"))
    assert says in str(caught.value)
    assert "(1 problem)" in str(caught.value)


def test_every_wrong_line_is_named_at_once(tmp_path: Path, make_video: Make) -> None:
    with pytest.raises(InputError) as caught:
        read(flat(tmp_path, make_video, "x,1,1,1,5,5,1,1,1\n1,1,1,1,5,5,1,9,1\n\n1,y,z,1,5,5,1,1,1\n"))
    assert all(
        text in str(caught.value)
        for text in ("a.txt:1: frame", "a.txt:2: class", "a.txt:4: track", "a.txt:4: left")
    )


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff1,1,1,1,5,5,1,1,1\r\n"])
def test_empty_files_byte_order_marks_and_crlf_are_accepted(
    tmp_path: Path, make_video: Make, text: str
) -> None:
    assert len(read(flat(tmp_path, make_video, text))[0].sequences[0].frame) == text.count("1,1,1,1,5")


def test_files_without_a_partner_are_said(tmp_path: Path, make_video: Make) -> None:
    source = flat(tmp_path, make_video, "")
    make_video(source / "videos" / "unlabelled.avi")
    _, problems = read(source)
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(NO_LABELS, 1)]
    (source / "gt" / "b.txt").write_text("")
    with pytest.raises(InputError, match=r"gt/b.txt: there is no video"):
        read(source)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name\na\n", "clips.csv:1: the header needs a column 'clip'"),
        ("clip,split\na,trian\n", "clips.csv:2: split: one of train, val, test"),
        ("clip,frames\na,ten\n", "clips.csv:2: frames: a number above 0 is expected, got 'ten'"),
        ("clip,fps\na,nan\n", "clips.csv:2: fps: a number above 0 is expected, got 'nan'"),
        ("clip,frames\na\n", "clips.csv:2: 2 columns are expected"),
        ("clip,frames\na,-3\n", "clips.csv:2: frames: a number above 0"),
        ("clip\na\nb\n", "clip: 'b' has no label file"),
        ("clip\na\na\n", "clips.csv:3: clip: 'a' occurs twice"),
    ],
)
def test_a_wrong_clips_csv_is_named(tmp_path: Path, make_video: Make, text: str, says: str) -> None:
    source = flat(tmp_path, make_video, "")
    (source / "clips.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read(source)
    assert says in str(caught.value)


@pytest.mark.parametrize("folder", ["../outside", "/etc", "http://host/img1"])
def test_seqinfo_cannot_lead_out_of_its_folder(tmp_path: Path, make_images: Make, folder: str) -> None:
    make_images(tmp_path / "outside", ["1.png"])
    (tmp_path / "seq" / "gt").mkdir(parents=True)
    (tmp_path / "seq" / "gt" / "gt.txt").write_text("1,1,1,1,5,5,1,1,1\n")
    (tmp_path / "seq" / "seqinfo.ini").write_text(f"[Sequence]\nimDir={folder}\n")
    with pytest.raises(InputError, match=r"seqinfo.ini: imDir: .* leads out"):
        read(tmp_path / "seq")


def test_a_missing_image_would_shift_all_labels_and_is_refused(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "img1", ["000001.png", "000003.png"])
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "gt.txt").write_text("1,1,1,1,5,5,1,1,1\n")
    with pytest.raises(InputError, match="some are missing"):
        read(tmp_path)


def test_an_unknown_format_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)no label format.*mot: .*coco-vid: "):
        choose_format(tmp_path)
    with pytest.raises(UsageError, match=r"--format nonsense: the formats are auto, .*mot, .*coco-vid"):
        choose_format(tmp_path, "nonsense")
    with pytest.raises(InputError, match="no such file"):
        choose_format(tmp_path / "none")


def test_a_sequence_that_datumaro_wrote() -> None:
    source = VECTORS / "mot_seq"
    if not source.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    raw, _ = read(source)
    assert raw.classes == tuple(f"label_{number}" for number in range(10))
    (sequence,) = raw.sequences
    assert sequence.class_id.tolist() == [2]
    assert sequence.boxes_xyxy_px.tolist() == [[-1.0, 3.0, 3.0, 11.0]]
    assert sequence.track_id.tolist() == [-1]


MOT_FILES = ("gt/a.txt", "clips.csv", "classes.txt", "gt/labels.txt")
PIECES = rb"""1 , -1 nan 1e9 clip a " = frames split 1,1,1,1,5,5,1,1,1""".split()
FRAGMENTS = st.lists(st.sampled_from([*PIECES, b"\n", b"\r", b" ", b"\0", b"\xff"]), max_size=14)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(name=st.sampled_from(MOT_FILES), fragments=FRAGMENTS)
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path: Path, name: str, fragments: list[bytes]
) -> None:
    for folder in ("gt", "videos"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "videos" / "a.mp4").touch()
    for other in MOT_FILES:
        (tmp_path / other).unlink(missing_ok=True)
    (tmp_path / "gt" / "a.txt").touch()
    (tmp_path / name).write_bytes(b"".join(fragments))
    with contextlib.suppress(InputError):
        read(tmp_path)
