from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.labels import Labels, read_labels, write_labels
from seqdet.errors import InputError

CLASSES = ("bird", 'plane, "jet"', "Hubschrauber ü")
HEADER = "frame,track_id,class,left,top,right,bottom\n"
SIZE = (64, 48)


def read(tmp_path: Path, text: str | bytes) -> Labels:
    path = tmp_path / "clip.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_labels(path, CLASSES, 10, SIZE)


@st.composite
def some_labels(draw: st.DrawFn) -> Labels:
    ids = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**40)), unique=True, max_size=12))
    thousandths = st.integers(0, 31_000)
    rows = [[draw(thousandths), draw(thousandths), draw(st.integers(1, 17_000)), draw(st.integers(1, 17_000))]
            for _ in ids]  # fmt: skip
    ltwh = np.array(rows, np.float64).reshape(-1, 4) / 1000
    boxes = np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1)
    kinds = [draw(st.integers(0, 2)) for _ in ids]
    frames, tracks = np.array(ids, np.int64).reshape(-1, 2).T
    return Labels.from_columns(frames, tracks, np.array(kinds, np.int64), boxes)


@given(labels=some_labels())
def test_what_is_written_is_read_again(labels: Labels, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("labels") / "clip.csv"
    write_labels(path, labels, CLASSES)
    again = read_labels(path, CLASSES, 10, SIZE)
    for name in ("frame", "track_id", "class_id"):
        np.testing.assert_array_equal(getattr(again, name), getattr(labels, name))
    np.testing.assert_allclose(again.boxes_xyxy_px, labels.boxes_xyxy_px, atol=5e-4)
    write_labels(path.with_name("again.csv"), again, CLASSES)
    assert path.with_name("again.csv").read_bytes() == path.read_bytes(), (
        "writing what was read changes nothing"
    )


def test_at_gives_each_frame_its_boxes_and_no_other(tmp_path: Path) -> None:
    labels = read(tmp_path, HEADER + "7,4,bird,1,2,3,4\n2,1,bird,0,0,64,48\n7,2,bird,5.5,6,7.25,8\n")
    assert [len(labels.at(frame)) for frame in range(10)] == [0, 0, 1, 0, 0, 0, 0, 2, 0, 0]
    assert labels.at(7).track_ids.tolist() == [2, 4]
    np.testing.assert_array_equal(labels.at(7).boxes_xyxy_px, np.float32([[5.5, 6, 7.25, 8], [1, 2, 3, 4]]))


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbf" + HEADER.encode() + b"2,1,bird,1,2,3,4\r\n\r\n", HEADER + "2,1,bird,1,2,3,4"]
)
def test_byte_order_mark_crlf_and_a_missing_last_newline_are_accepted(
    tmp_path: Path, text: str | bytes
) -> None:
    assert len(read(tmp_path, text)) == 1


def test_a_file_of_the_header_only_has_no_object(tmp_path: Path) -> None:
    assert len(read(tmp_path, HEADER)) == 0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("2,1,bird,1,2,3", ":3: 7 columns"),
        ("2,1,bird,1,2,3,4,5", ":3: 7 columns"),
        ("x,1,bird,1,2,3,4", ":3: frame: a whole number is expected, got 'x'"),
        ("1.5,1,bird,1,2,3,4", ":3: frame: a whole number"),
        ("2,,bird,1,2,3,4", ":3: track_id: a whole number"),
        ("2,1,brid,1,2,3,4", ":3: class: 'brid' is not a class of the data set; classes are bird"),
        ("2,1,bird,1,two,3,4", ":3: top: a number is expected, got 'two'"),
        ("2,1,bird,nan,2,3,4", ":3: a coordinate is not a finite number"),
        ("2,1,bird,1,2,inf,4", ":3: a coordinate is not a finite number"),
        ("10,1,bird,1,2,3,4", ":3: frame: the sequence has frames 0 to 9, got 10"),
        ("-1,1,bird,1,2,3,4", ":3: frame: the sequence has frames 0 to 9, got -1"),
        ("2,-1,bird,1,2,3,4", ":3: track_id: ids start at 0, got -1"),
        (f"2,{10**30},bird,1,2,3,4", ":3: track_id: .* is too large"),
        ("2,1,bird,3,2,3,4", ":3: right must exceed left"),
        ("2,1,bird,3,5,4,4", ":3: right must exceed left"),
        ("2,1,bird,1,2,65,4", ":3: the box leaves the frame of 64x48 pixels"),
        ("0,5,bird,1,2,3,4", ":3: track 5 has a second box in frame 0"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_column(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "clip.csv")) + says):
        read(tmp_path, HEADER + "0,5,bird,9,9,12,12\n" + row + "\n4,5,bird,1,2,3,4\n")


def test_all_wrong_rows_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, HEADER + "x,1,bird,1,2,3,4\n" * 30)
    message = str(caught.value)
    assert "(30 problems)" in message
    assert message.count("clip.csv:") == 21  # the heading names the file once
    assert "... and 10 more" in message


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", HEADER.encode() + b'"1,2\n'])
def test_what_is_no_label_file_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"clip\.csv"):
        read(tmp_path, content)
