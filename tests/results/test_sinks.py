"""Rows by the contract of ``--save``; files that are whole, or named as parts, whatever happens."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from seqdet.errors import OutputError, UsageError
from seqdet.results.sinks import CSV_COLUMNS, open_sink
from seqdet.types import Frame, FrameResult, SequenceResult, Track

CLASSES = ("drone", "bird")
BOXES = [[10.123, 20, 30.5, 44], [1, 2, 3, 4]]
FORMATS = ["x.jsonl", "x.csv", "x.mot.txt", "x.coco.json"]


@pytest.fixture
def result(make_detections):
    """index -> a frame with a confirmed bird that looks like a drone here, and an untracked drone."""

    def make(index, boxes=BOXES):
        count = len(boxes)
        detections = make_detections(
            boxes,
            [0.87654, 0.25][:count],
            class_ids=np.array([0, 0][:count]),
            track_ids=np.array([3, -1][:count]),
            track_class_ids=np.array([1, -1][:count]),
            track_scores=np.array([0.75, 0.0][:count], np.float32),
        )
        return FrameResult(
            Frame(np.zeros((60, 80, 3), np.uint8), index, index / 30), detections, CLASSES, "bird", 0.5
        )

    return make


def sequence(source, frames=2):
    return SequenceResult(source, frames, frames / 30, "bird", 0.66667, (Track(3, "bird", 0.75, 0, 1, 2),))


def test_jsonl_rows_are_the_contract(tmp_path, result):
    path = tmp_path / "x.jsonl"
    with open_sink(path, CLASSES) as sink:
        sink.write("a é.mp4", result(1))
        sink.write("a é.mp4", result(2, []))
        sink.end_sequence(sequence("a é.mp4"))
        sink.write("b.mp4", result(0, BOXES[:1]))
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert rows[0] == {
        "type": "detection",
        "source": "a é.mp4",
        "frame": 1,
        "time_s": 0.033333,
        "track_id": 3,
        "label": "drone",
        "score": 0.8765,
        "track_label": "bird",
        "track_score": 0.75,
        "box_xyxy_px": [10.12, 20.0, 30.5, 44.0],
    }
    assert (rows[1]["track_id"], rows[1]["track_label"], rows[1]["track_score"]) == (-1, "", 0.0)
    assert rows[2] == {
        "type": "sequence",
        "source": "a é.mp4",
        "frames": 2,
        "duration_s": 0.066667,
        "label": "bird",
        "score": 0.6667,
        "tracks": [
            {
                "track_id": 3,
                "label": "bird",
                "score": 0.75,
                "first_frame": 0,
                "last_frame": 1,
                "detections": 2,
            }
        ],
    }
    assert [row["source"] for row in rows[3:]] == ["b.mp4"]


def test_csv_has_the_detection_rows(tmp_path, result):
    path = tmp_path / "x.csv"
    with open_sink(path, CLASSES) as sink:
        sink.write('a,"b".mp4', result(1))
        sink.end_sequence(sequence("a"))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["source"] for row in rows] == ['a,"b".mp4'] * 2
    assert (rows[0]["frame"], rows[0]["track_id"], rows[0]["x1_px"], rows[0]["y2_px"]) == (
        "1",
        "3",
        "10.12",
        "44.0",
    )


def test_mot_counts_from_one(tmp_path, result):
    path = tmp_path / "x.mot.txt"
    with open_sink(path, CLASSES) as sink:
        sink.write("a.mp4", result(0))
    assert path.read_text().splitlines() == [
        "1,3,11.12,21.00,20.38,24.00,0.8765,2,1",
        "1,-1,2.00,3.00,2.00,2.00,0.2500,1,1",
    ]


def test_mot_holds_one_source(tmp_path, result):
    with pytest.raises(UsageError, match="holds one source"):
        open_sink(tmp_path / "x.mot.txt", CLASSES, sources=2)
    assert list(tmp_path.iterdir()) == []
    with open_sink(tmp_path / "x.mot.txt", CLASSES) as sink:
        sink.write("a.mp4", result(0))
        with pytest.raises(UsageError, match="holds one source"):
            sink.write("b.mp4", result(0))
    assert len((tmp_path / "x.mot.txt").read_text().splitlines()) == 2


def test_coco_is_read_by_pycocotools(tmp_path, result):
    path = tmp_path / "x.coco.json"
    with open_sink(path, CLASSES) as sink:
        for index in range(3):
            sink.write("a.mp4", result(index, BOXES if index != 1 else []))
        sink.end_sequence(sequence("a.mp4", 3))
        sink.write("b.mp4", result(0))
        sink.end_sequence(sequence("b.mp4", 1))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
        results = coco.loadRes([{**annotation} for annotation in coco.dataset["annotations"]])
    assert len(coco.imgs) == 4, "images without detections count"
    assert len(results.anns) == 6
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    annotation = coco.anns[1]
    assert annotation["bbox"] == [10.12, 20.0, 20.38, 24.0]
    assert (annotation["category_id"], annotation["track_id"], annotation["score"]) == (1, 3, 0.8765)
    assert [video["name"] for video in coco.dataset["videos"]] == ["a.mp4", "b.mp4"]
    assert {image["video_id"] for image in coco.dataset["images"]} == {1, 2}


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_written_is_still_a_valid_file(tmp_path, name):
    with open_sink(tmp_path / name, CLASSES):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith(".json"):
        assert json.loads((tmp_path / name).read_text())["annotations"] == []


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_what_was_found_in_a_whole_file(tmp_path, result, name, error):
    def run():
        with open_sink(tmp_path / name, CLASSES) as sink:
            sink.write("a.mp4", result(0))
            raise error

    with pytest.raises(error):
        run()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    text = (tmp_path / name).read_text()
    assert len(json.loads(text)["annotations"]) == 2 if name.endswith(".json") else text.count("\n") >= 2


REFUSED = [
    ("x.txt", r"must end in \.jsonl, \.csv, \.mot\.txt, \.coco\.json"),
    ("x", "must end in"),
    (".jsonl", "must end in"),
    ("old.csv", "exists; choose another name, or replace it with --force"),
    ("dangling.csv", "exists"),
    ("missing/x.jsonl", "the folder .*missing does not exist"),
    ("folder.jsonl", "is a folder"),
]


@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_what_cannot_be_written_is_refused_before_any_work(tmp_path, name, message):
    (tmp_path / "old.csv").write_text("precious")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "nowhere")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UsageError, match=message):
        open_sink(tmp_path / name, CLASSES)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "old.csv").read_text() == "precious"


def test_a_folder_that_cannot_be_written_to_is_refused():
    """/proc takes no files, from root neither."""
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc, a folder that takes no files even from root")
    with pytest.raises(UsageError, match="choose a folder that you may write to"):
        open_sink("/proc/self/x.jsonl", CLASSES)


def test_overwriting_replaces_the_old_file_only_when_the_new_one_is_whole(tmp_path, result):
    path = tmp_path / "x.jsonl"
    path.write_text("old")
    with open_sink(path, CLASSES, overwrite=True) as sink:
        sink.write("a.mp4", result(0))
        assert path.read_text() == "old"
        assert sink.part_path.read_text().count("\n") == 2, "rows reach the file frame by frame"
    assert path.read_text().count("\n") == 2
    assert not sink.part_path.exists()


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path, result):
    path = tmp_path / "x.jsonl"
    sink = open_sink(path, CLASSES)
    sink.write("a.mp4", result(0))
    path.write_text("somebody else's")
    with pytest.raises(OutputError, match=r"x\.jsonl\.part"):
        sink.close()
    assert path.read_text() == "somebody else's"
    assert sink.part_path.read_text().count("\n") == 2


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_told_and_the_part_kept(tmp_path, result, name):
    """A limit on the file size stands for the disk: the write fails with an OSError in both."""
    path = tmp_path / name
    path.write_text("old")

    def run(sink):
        with sink:
            for index in range(1000):
                sink.write("a.mp4", result(index))

    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old_limit[1]))
    try:
        sink = open_sink(path, CLASSES, overwrite=True)
        with pytest.raises(OutputError, match=r"\.part"):
            run(sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert path.read_text() == "old"
    assert sink.part_path.stat().st_size > 1000


def test_a_killed_run_leaves_its_rows(tmp_path):
    """SIGKILL after three frames: three rows are in the part, and the next run begins anew."""
    script = """
import os, signal, sys
import numpy as np
from seqdet.results.sinks import open_sink
from seqdet.types import Detections, Frame, FrameResult
sink = open_sink(sys.argv[1], ("drone",))
d = Detections.empty(1)
d = Detections(*(np.zeros((1, *getattr(d, n).shape[1:]), getattr(d, n).dtype) for n in Detections.__slots__))
for t in range(3):
    sink.write("a.mp4", FrameResult(Frame(np.zeros((8, 8, 3), np.uint8), t, t / 30), d, ("drone",)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "x.jsonl"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=root, env={**os.environ}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    rows = [json.loads(line) for line in Path(f"{path}.part").read_text().splitlines()]
    assert [row["frame"] for row in rows] == [0, 1, 2]
    with open_sink(path, CLASSES):
        pass
    assert path.read_text() == ""
