"""Rows of ``detect`` read as labels: what the sinks write, and what is wrong with the rows of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqdet.data.export import rows
from seqdet.data.formats.protocol import Problems
from seqdet.errors import InputError
from seqdet.results.sinks import CSV_COLUMNS, open_sink
from seqdet.types import Detections, Frame, FrameResult, SequenceResult

CLASSES = ('bird & "co" <é>', "drone")


def frame_result(frame: int, boxes: list[tuple[int, int, int, list[float]]]) -> FrameResult:
    """A result with boxes of (track, class, class of the track, edges)."""
    track, own, of_track, edges = zip(*boxes, strict=True) if boxes else ((), (), (), ())
    count = len(boxes)
    found = Detections(
        np.array(edges, np.float32).reshape(-1, 4), np.full(count, 0.5, np.float32), np.array(own, np.int64),
        np.array(track, np.int64), np.array(of_track, np.int64), np.full(count, 0.5, np.float32),
        np.zeros((count, 2), np.float32), np.zeros((count, 0), np.float32), np.zeros((count, 2), np.float32),
    )  # fmt: skip
    return FrameResult(Frame(np.zeros((48, 64, 3), np.uint8), frame, frame / 10), found, CLASSES)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_rows_that_detect_wrote_are_labels_with_one_class_a_track(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    with open_sink(path, CLASSES) as sink:
        sink.write("a b.mp4", frame_result(0, [(-1, 1, -1, [1, 2, 3, 4])]))
        sink.write("a b.mp4", frame_result(3, [(1, 1, 1, [1, 2, 3, 4.25]), (2, 0, 0, [9, 9, 12, 12])]))
        sink.write("a b.mp4", frame_result(4, [(1, 1, 0, [1, 2, 3, 4.25])]))
        sink.end_sequence(SequenceResult("a b.mp4", 5, 0.5, CLASSES[0], 0.9))
    problems = Problems(strict=True)
    raw, seen = rows.read_rows(path, problems)
    problems.raise_if_failed(path)
    assert raw.classes == tuple(sorted(CLASSES))
    (found,) = raw.sequences
    assert found.name == "a b.mp4"
    assert found.frame.tolist() == [0, 3, 3, 4]
    assert found.track_id.tolist() == [-1, 1, 2, 1]
    assert [raw.classes[k] for k in found.class_id] == [CLASSES[1], CLASSES[0], CLASSES[0], CLASSES[0]]
    assert found.boxes_xyxy_px[1].tolist() == [1, 2, 3, 4.25]
    assert found.place(1) == f"{path}:{2 if suffix == '.jsonl' else 3}"
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(rows.ONE_CLASS, 2)]
    assert (found.label, seen) == ((CLASSES[0], {"a b.mp4": 5}) if suffix == ".jsonl" else (None, {}))


def test_the_columns_are_those_that_are_written() -> None:
    assert set(rows.COLUMNS) <= set(CSV_COLUMNS)


ROW: dict[str, Any] = {
    "type": "detection", "source": "a.mp4", "frame": 1, "time_s": 0.1, "track_id": 1, "label": "bird",
    "score": 0.5, "track_label": "bird", "track_score": 0.5, "box_xyxy_px": [1, 2, 3, 4],
}  # fmt: skip
END = {"type": "sequence", "source": "a.mp4", "frames": 2, "label": "bird"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frame": -1}, "2: frame: a whole number, 0 or more, is expected, got -1"),
        ({"frame": 1.5}, "2: frame: "),
        ({"frame": True}, "2: frame: "),
        ({"frame": 10**30}, "2: frame: "),
        ({"track_id": -2}, "2: track_id: a whole number, -1 or more"),
        ({"track_id": None}, "2: track_id: "),
        ({"label": ""}, "2: label: a name is expected, got ''"),
        ({"label": ["bird"]}, "2: label: "),
        ({"track_label": 3}, "2: track_label: "),
        ({"source": None}, "2: source: "),
        ({"box_xyxy_px": [1, 2, 3]}, "2: box_xyxy_px: [left, top, right, bottom] is expected"),
        ({"box_xyxy_px": [1, 2, "3", 4]}, "2: box_xyxy_px: "),
        ({"box_xyxy_px": [1, 2, 3, 10**400]}, "2: box_xyxy_px: "),
        ({"type": 3}, '2: an object with "type": "detection" or "sequence" is expected'),
        ({**END, "frames": "2"}, "2: frames: a whole number is expected"),
        ({**END, "label": None}, "2: label: a name is expected"),
        ({**END, "source": ""}, "2: source: a name is expected"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, **change}) + "\n")
    problems = Problems()
    rows.read_rows(path, problems)
    with pytest.raises(InputError) as caught:
        problems.raise_if_failed(path)
    assert f"{path}:{says}" in str(caught.value)


HEADER = ",".join(CSV_COLUMNS)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.jsonl", json.dumps(ROW) + "\n" + json.dumps(ROW)[:-9], "r.jsonl:2: not valid JSON"),
        ("r.jsonl", "[" * 100_000, "r.jsonl:1: not valid JSON"),
        ("r.jsonl", '{"frame": ' + "9" * 9999 + "}", "r.jsonl:1: not valid JSON"),
        ("r.jsonl", "[1]\n", "r.jsonl:1: an object"),
        ("r.jsonl", b"\xff\xfe\x00", "r.jsonl: not UTF-8 text"),
        ("r.csv", "", "r.csv:1: a file of seqdet detect --save is expected"),
        ("r.csv", "frame,left\n", "its header lacks the columns source, track_id"),
        ("r.csv", HEADER + "\na.mp4,1,0.1,1,bird,0.5,bird,0.5,1,2,3\n", "r.csv:2: 12 columns are expected"),
        ("r.csv", HEADER + "\na.mp4,one,0.1,1,bird,0.5,bird,0.5,1,2,3,4\n", "r.csv:2: a number is expected"),
        ("r.csv", HEADER + "\na.mp4,-1,0.1,1,bird,0.5,bird,0.5,1,2,3,4\n", "r.csv:2: frame: "),
        ("r.csv", HEADER + '\n"a.mp4,1\n', "r.csv:2: not a CSV file"),
    ],
)
def test_broken_rows_are_an_input_error(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems()

    def read() -> None:
        rows.read_rows(path, problems)
        problems.raise_if_failed(path)

    with pytest.raises(InputError) as caught:
        read()
    assert says in str(caught.value)


def test_rows_with_a_byte_order_mark_crlf_and_other_types(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, [ROW, {"type": "zone"}, END])).encode() + b"\r\n\r\n"
    )
    problems = Problems()
    raw, seen = rows.read_rows(path, problems)
    assert not problems.failed
    assert [len(sequence.frame) for sequence in raw.sequences] == [1]
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(rows.OTHER_ROWS, 1)]
    assert seen == {"a.mp4": 2}
