"""Each kind of finding with a planted fault, and none of it where all is well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.check import (
    VideoFacts,
    check_video,
    find_recording_leaks,
    inspect_labels,
    still_stretches,
)
from seqdet.data.check_counts import counts_table, shares, sum_counts
from seqdet.data.check_rows import UNREPAIRABLE, Finding, grouped
from seqdet.data.dataset import Sequence
from seqdet.data.labels import read_labels, write_labels

CLASSES = ("bird", "drone")
HEADER = "frame,track_id,class,left,top,right,bottom\n"
FRAMES = 40
SEQUENCE = Sequence("clip", Path("clip.mp4"), FRAMES, (64, 48), 10.0)


def box(frame: int, track: int = 1, kind: str = "bird", left: float = 4, top: float = 5) -> str:
    """A row of a box of 8x6 that moves a pixel each frame."""
    return f"{frame},{track},{kind},{left + frame},{top},{left + frame + 8},{top + 6}"


CLEAN = [box(frame) for frame in range(FRAMES)]


def inspect(tmp_path: Path, rows: list[str] | str | bytes, sequence: Sequence = SEQUENCE):
    path = tmp_path / "clip.csv"
    text = rows if isinstance(rows, (str, bytes)) else HEADER + "\n".join(rows) + "\n"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return inspect_labels(path, sequence, CLASSES)


def kinds(found: list[Finding]) -> list[str]:
    return [finding.kind for finding in found]


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    assert found[0].file == "labels/clip.csv"
    return found[0]


def test_clean_labels_have_no_finding_and_are_not_changed(tmp_path: Path):
    second = [box(frame, 2, "drone", 2, 30) for frame in range(FRAMES)]
    seen = inspect(tmp_path, [row for pair in zip(CLEAN, second, strict=True) for row in pair])
    assert seen.found == []
    labels = read_labels(tmp_path / "clip.csv", CLASSES, FRAMES, (64, 48))
    for name in ("frame", "track_id", "class_id", "boxes_xyxy_px"):
        np.testing.assert_array_equal(getattr(seen.rows.labels(), name), getattr(labels, name))


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ("3,1,bird,1,2,3", "row", "7 columns are expected, got 6"),
        ("3,1,bird,1,2,3,4,5", "row", "7 columns are expected, got 8"),
        ("3,1,plane,1,2,3,4", "row", "class: 'plane' is none of bird, drone"),
        ("x,1,bird,1,2,3,4", "row", "frame: a whole number is expected, got 'x'"),
        ("3,1.5,bird,1,2,3,4", "row", "track_id: a whole number is expected"),
        ("3,1,bird,left,2,3,4", "row", "left: a number is expected"),
        (f"3,{10**30},bird,1,2,3,4", "row", "track_id: 1000000"),
        ("3,9,bird,nan,2,3,4", "coordinate", "no finite number"),
        ("3,9,bird,1e308,2,inf,4", "coordinate", "no finite number"),
        ("40,9,bird,1,2,3,4", "frame", "frames 0 to 39"),
        ("-1,9,bird,1,2,3,4", "frame", "frame -1 is none"),
    ],
)
def test_a_row_that_cannot_be_kept_is_listed_and_has_no_repair(tmp_path, row: str, kind: str, said: str):
    seen = inspect(tmp_path, [*CLEAN[:10], row, *CLEAN[10:]])
    finding = only(seen.found)
    assert (finding.kind, finding.severity, finding.line, finding.repair) == (kind, "error", 12, "")
    assert kind in UNREPAIRABLE
    assert said in finding.message
    assert len(seen.rows) == FRAMES, "the others are read all the same"


def test_all_faults_of_a_file_are_listed(tmp_path: Path):
    seen = inspect(tmp_path, [*CLEAN, *["5,x,bird,1,2,3,4"] * 30, *["5,7,bird,9,9,9,9"] * 30])
    assert kinds(seen.found) == ["row"] * 30 + ["empty-box"] * 30
    assert [finding.line for finding in seen.found] == list(range(42, 102))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the header must be"),
        ("a,b\n1,2\n", 1, "the header must be"),
        (HEADER + '0,1,"bird,1,2,3,4\n', 1, "not UTF-8 CSV"),
        (HEADER.encode() + b"0,1,b\xff,1,2,3,4\n", 0, "not UTF-8 CSV"),
    ],
)
def test_a_file_that_is_no_label_file_is_an_error(tmp_path, text: str | bytes, line: int, said: str):
    finding = next(found for found in inspect(tmp_path, text).found if found.kind == "row")
    assert (finding.severity, finding.line) == ("error", line)
    assert said in finding.message


def test_a_byte_order_mark_and_crlf_are_no_fault(tmp_path: Path):
    text = b"\xef\xbb\xbf" + (HEADER + "\n".join(CLEAN) + "\n").replace("\n", "\r\n").encode()
    assert inspect(tmp_path, text).found == []


@pytest.mark.parametrize(
    ("row", "kind", "repair", "left"),
    [
        ("3,9,bird,5,5,5,9", "empty-box", "dropped", None),
        ("3,9,bird,9,5,5,9", "empty-box", "dropped", None),
        ("3,9,bird,70,5,80,9", "outside", "dropped", None),
        ("3,9,bird,-9,-9,-1,-1", "outside", "dropped", None),
        ("3,9,bird,-2,30,5,60", "outside", "clipped", [0, 30, 5, 48]),
        ("3,-4,bird,30,30,40,40", "track-id", "a track of its own", [30, 30, 40, 40]),
    ],
)
def test_a_box_that_no_frame_can_have(tmp_path, row: str, kind: str, repair: str, left: list[int] | None):
    seen = inspect(tmp_path, [*CLEAN, row])
    finding = seen.found[0]
    assert (finding.kind, finding.severity, finding.repair) == (kind, "error", repair)
    assert (finding.line, finding.frame) == (42, 3)
    others = seen.rows.boxes_xyxy_px[seen.rows.track_id != 1].tolist()
    assert others == ([left] if left else [])
    assert seen.rows.track_id.min() >= 0


def test_what_ingest_leaves_by_rounding_is_no_fault(tmp_path: Path):
    rows = [f"{frame},1,bird,56.0004,{10 + frame / 2},64.0004,{20 + frame / 2}" for frame in range(FRAMES)]
    assert inspect(tmp_path, rows).found == []


def test_tiny_boxes(tmp_path: Path):
    rows = [row for row in CLEAN if not row.startswith("7,")] + ["7,1,bird,11,5,12.5,11"]
    finding = only(inspect(tmp_path, rows).found)
    assert (finding.kind, finding.severity, finding.line, finding.frame, finding.repair) == (
        "tiny-box", "warning", 41, 7, "",
    )  # fmt: skip


def test_the_same_row_twice_is_kept_once(tmp_path: Path):
    seen = inspect(tmp_path, [*CLEAN, CLEAN[4]])
    finding = only(seen.found)
    assert (finding.kind, finding.line, finding.frame, finding.repair) == ("repeat", 42, 4, "kept once")
    assert len(seen.rows) == FRAMES


def test_a_second_box_of_a_track_in_a_frame_becomes_a_track_of_its_own(tmp_path: Path):
    seen = inspect(tmp_path, [*CLEAN, "4,1,bird,40,30,50,40"])
    assert kinds(seen.found) == ["repeat", "short-track"]
    assert (seen.found[0].line, seen.found[0].repair) == (42, "a track of its own")
    assert sorted(set(seen.rows.track_id.tolist())) == [1, 2]


@pytest.mark.parametrize(("wrong", "repaired"), [(4, True), (5, False)])
def test_class_flips_are_repaired_where_nine_of_ten_agree(tmp_path, wrong: int, repaired: bool):
    rows = [box(frame, kind="drone" if 10 <= frame < 10 + wrong else "bird") for frame in range(FRAMES)]
    seen = inspect(tmp_path, rows)
    finding = only(seen.found)
    assert (finding.kind, finding.severity, finding.line, finding.frame) == ("class-flip", "warning", 12, 10)
    assert finding.message == f"track 1 changes its class: {40 - wrong} of bird, {wrong} of drone"
    assert finding.repair == ("all bird" if repaired else "")
    assert np.count_nonzero(seen.rows.class_id) == (0 if repaired else wrong)


def test_duplicate_boxes(tmp_path: Path):
    twin = [box(frame, 2, left=4.2) for frame in range(FRAMES)]
    seen = inspect(tmp_path, CLEAN + twin)
    assert kinds(seen.found) == ["duplicate-box"] * FRAMES
    assert all(finding.repair == "" for finding in seen.found), "which of two tracks is right, who knows"
    assert "track 2 has nearly the box of track 1 (line 2)" in seen.found[0].message
    seen = inspect(tmp_path, [*CLEAN, twin[6]])
    assert only(seen.found).repair == "dropped"
    assert set(seen.rows.track_id.tolist()) == {1}
    other_class = [row.replace("bird", "drone") for row in twin]
    assert inspect(tmp_path, CLEAN + other_class).found == []
    apart = [box(frame, 2, left=5.5) for frame in range(FRAMES)]
    assert inspect(tmp_path, CLEAN + apart).found == []


@given(
    st.lists(st.tuples(st.integers(0, 2), *[st.integers(0, 12)] * 2, *[st.integers(8, 12)] * 2), max_size=12)
)
def test_duplicates_are_those_that_comparing_all_pairs_finds(tmp_path_factory, boxes):
    from seqdet.boxes import iou

    rows = [f"{f},{k},bird,{x},{y},{x + w},{y + h}" for k, (f, x, y, w, h) in enumerate(boxes)]
    seen = inspect(tmp_path_factory.mktemp("labels"), rows)
    found = {finding.line for finding in seen.found if finding.kind == "duplicate-box"}
    xyxy = np.array([[x, y, x + w, y + h] for _, x, y, w, h in boxes], float).reshape(-1, 4)
    frame = np.array([entry[0] for entry in boxes])
    alike = np.triu((iou(xyxy, xyxy) > 0.9) & (frame[:, None] == frame), 1)
    assert (found != set()) == alike.any()
    assert found <= {int(second) + 2 for _, second in np.argwhere(alike)}


def test_a_gap_of_one_frame_is_interpolated(tmp_path: Path):
    seen = inspect(tmp_path, [*CLEAN[:20], *CLEAN[21:]])
    finding = only(seen.found)
    assert (finding.kind, finding.severity, finding.line, finding.frame, finding.repair) == (
        "gap", "warning", 22, 20, "interpolated",
    )  # fmt: skip
    labels = seen.rows.labels()
    np.testing.assert_array_equal(labels.frame, np.arange(FRAMES))
    np.testing.assert_array_equal(labels.boxes_xyxy_px[20], [24, 5, 32, 11])
    assert inspect(tmp_path, [*CLEAN[:20], *CLEAN[22:]]).found == [], "two frames may be an absence"


def test_a_gap_is_left_where_the_object_has_another_track_or_is_far_away(tmp_path: Path):
    other = box(20, 7)
    seen = inspect(tmp_path, [*CLEAN[:20], other, *CLEAN[21:]])
    assert kinds(seen.found) == ["gap", "short-track"]
    assert "track 7 has one at its place" in seen.found[0].message
    assert seen.found[0].repair == ""
    rows = [
        f"{frame},1,bird,{0 if frame < 20 else 50},5,{4 if frame < 20 else 54},9" for frame in range(FRAMES)
    ]
    seen = inspect(tmp_path, [*rows[:20], *rows[21:]])
    assert (kinds(seen.found), seen.found[0].repair) == (["gap", "jump"], "")


def test_an_empty_box_in_a_track_is_dropped_and_interpolated(tmp_path: Path):
    seen = inspect(tmp_path, [*CLEAN[:20], "20,1,bird,24,5,24,11", *CLEAN[21:]])
    assert [(finding.kind, finding.repair) for finding in seen.found] == [
        ("empty-box", "dropped"),
        ("gap", "interpolated"),
    ]
    assert len(seen.rows) == FRAMES


def test_a_jump(tmp_path: Path):
    rows = [
        f"{frame},1,bird,{2 if frame < 20 else 40},5,{10 if frame < 20 else 48},11" for frame in range(FRAMES)
    ]
    finding = only(inspect(tmp_path, rows).found)
    assert (finding.kind, finding.severity, finding.line, finding.frame) == ("jump", "warning", 22, 20)
    assert "moves 38 pixels a frame since frame 19, 5.5 of its size" in finding.message


def test_tracks_of_one_frame(tmp_path: Path):
    finding = only(inspect(tmp_path, [*CLEAN, "5,9,bird,40,30,50,40"]).found)
    assert (finding.kind, finding.severity, finding.line, finding.frame) == ("short-track", "warning", 42, 5)
    nameless = [box(frame, frame) for frame in range(FRAMES)]
    finding = only(inspect(tmp_path, nameless).found)
    assert (finding.kind, finding.severity) == ("no-tracks", "note")
    picture = replace(SEQUENCE, frames=1)
    assert inspect(tmp_path, CLEAN[:1], picture).found == [], "a still picture has no tracks"


def test_stretches_without_labels(tmp_path: Path):
    found = inspect(tmp_path, [], replace(SEQUENCE, frames=100)).found
    assert (only(found).kind, only(found).severity) == ("no-labels", "note")
    long = replace(SEQUENCE, frames=200)
    finding = only(inspect(tmp_path, CLEAN, long).found)
    assert (finding.kind, finding.frame) == ("no-labels", 40)
    assert finding.message == "no box in 160 frames (16.0 s), to frame 199"
    assert inspect(tmp_path, CLEAN, replace(SEQUENCE, frames=80)).found == [], "4 s"


def test_stretches_in_which_a_box_rests(tmp_path: Path):
    rows = [f"{frame},1,bird,{max(frame, 10)},5,{max(frame, 10) + 8},11" for frame in range(FRAMES)]
    rows += [f"{frame},2,bird,{min(frame, 25)},30,{min(frame, 25) + 8},36" for frame in range(FRAMES)]
    found = [
        (still.track_id, still.first, still.last) for still in still_stretches(inspect(tmp_path, rows).rows)
    ]
    assert found == [(2, 25, 39)], "11 frames of track 1 are too few"


def facts(frames: int = FRAMES, size_wh: tuple[int, int] = (64, 48), fps: float | None = 10.0) -> VideoFacts:
    return VideoFacts(frames, (size_wh,), fps)


@pytest.mark.parametrize(
    ("video", "last_frame", "expected"),
    [
        (facts(), 39, None),
        (facts(fps=None), 39, None),
        (facts(fps=10.05), 39, None),
        (facts(frames=38), 39, ("frame-count", "error", "")),
        (facts(frames=38), 37, ("frame-count", "error", "set in dataset.json")),
        (facts(frames=0), -1, ("frame-count", "error", "")),
        (facts(frames=42), 39, ("frame-count", "warning", "")),
        (facts(size_wh=(48, 64)), 39, ("size", "error", "")),
        (facts(fps=12.5), 39, ("fps", "warning", "")),
    ],
)
def test_the_video_against_what_the_data_set_says(video: VideoFacts, last_frame: int, expected):
    sequence, found = check_video(SEQUENCE, "videos/clip.mp4", video, last_frame)
    assert [(f.kind, f.severity, f.repair) for f in found] == ([expected] if expected else [])
    assert sequence.frames == (38 if expected and expected[2] else FRAMES)


def test_a_recording_in_two_splits():
    one = replace(SEQUENCE, recording="r1")
    other = replace(one, name="other", split="val")
    (finding,) = find_recording_leaks([one, other, replace(other, recording="r2")])
    assert (finding.kind, finding.severity, finding.file) == ("leak", "error", "dataset.json")
    assert finding.message == "recording 'r1' is in train and val"
    assert find_recording_leaks([one, replace(one, name="third")]) == []


def test_counts_by_hand(tmp_path: Path):
    rows = [*CLEAN[:10], "3,2,drone,0,0,16,16", "5,2,drone,0,0,64,4"]
    counts = inspect(tmp_path, rows, replace(SEQUENCE, recording="r1", class_id=0)).counts
    assert (counts.empty_frames, counts.boxes_per_class.tolist()) == (30, [10, 2])
    assert counts.tracks_per_class.tolist() == [1, 1]
    assert sorted(counts.track_frames.tolist()) == [2, 10]
    np.testing.assert_allclose(sorted(counts.sides_px), [np.sqrt(48)] * 10 + [16, 16], rtol=1e-6)
    summed = sum_counts([counts, counts], CLASSES)
    assert list(summed) == ["train", "all"]
    assert summed["all"] == summed["train"]
    total = summed["all"]
    assert (total.sequences, total.recordings, total.frames, total.empty_frames) == (2, 1, 80, 60)
    assert (total.boxes, total.tracks, total.boxes_per_class) == (24, 4, {"bird": 20, "drone": 4})
    assert total.box_side_px["least"] == pytest.approx(6.93)
    assert (total.track_frames["least"], total.track_frames["most"]) == (2, 10)
    header, rows = counts_table(summed)
    assert header == ["", "train", "all"]
    assert ["boxes of drone", "4", "4"] in rows


def test_counts_of_no_boxes(tmp_path: Path):
    summed = sum_counts([inspect(tmp_path, []).counts], CLASSES)
    assert (summed["all"].boxes, summed["all"].box_side_px) == (0, {})
    assert all(len(row) == 3 for row in counts_table(summed)[1])


def test_shares_are_of_ranges_that_end_before_the_next():
    assert shares(np.array([1, 3.9, 4, 300]), (0, 4, 8, np.inf)) == [0.5, 0.25, 0.25]
    assert shares(np.zeros(0), (0, 4, 8)) == [0, 0]


def test_groups_are_errors_first_then_the_most_frequent():
    def finding(kind: str, severity) -> Finding:
        return Finding(kind, severity, "labels/clip.csv", 2, 0, "")

    found = [finding("a", "note"), finding("b", "warning"), finding("c", "warning"), finding("c", "warning")]
    groups = grouped([*found, finding("c", "error")])
    assert [(group[0].kind, group[0].severity, len(group)) for group in groups] == [
        ("c", "error", 1),
        ("c", "warning", 2),
        ("b", "warning", 1),
        ("a", "note", 1),
    ]


def test_a_repaired_file_has_nothing_left_to_repair(tmp_path: Path):
    rows = [*CLEAN[:20], *CLEAN[21:30], box(30, kind="drone"), *CLEAN[31:], CLEAN[3], "7,-1,bird,50,40,70,60"]
    first = inspect(tmp_path, rows)
    assert {f.kind for f in first.found if f.repair} == {"gap", "class-flip", "repeat", "track-id", "outside"}
    write_labels(tmp_path / "clip.csv", first.rows.labels(), CLASSES)
    read_labels(tmp_path / "clip.csv", CLASSES, FRAMES, (64, 48))
    again = inspect_labels(tmp_path / "clip.csv", SEQUENCE, CLASSES)
    assert [f for f in again.found if f.repair or f.severity == "error"] == []


def test_a_million_boxes_are_checked_quickly(tmp_path: Path):
    import time

    count = 200_000  # a fifth of it, in a fifth of the time
    frame = np.arange(count) // 100
    left = (np.arange(count) % 100) * 10
    rows = [f"{f},{k % 100},bird,{x},5,{x + 8},11" for k, (f, x) in enumerate(zip(frame, left, strict=True))]
    sequence = replace(SEQUENCE, frames=2000, size_wh=(1920, 1080))
    start = time.process_time()
    assert inspect(tmp_path, rows, sequence).found == []
    assert time.process_time() - start < 4
