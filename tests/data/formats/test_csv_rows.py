from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import choose_format, csv_rows
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.data.formats.stills import STILLS, VIDEOS
from seqdet.errors import InputError
from seqdet.results.sinks import open_sink
from seqdet.runs.ingest import ingest
from seqdet.types import Detections, Frame, FrameResult

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
Make = Callable[..., Path]
HEADER = "video,frame,track_id,class,left,top,right,bottom\n"


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is csv_rows
    raw = csv_rows.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def counts(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


@pytest.fixture
def source(tmp_path: Path, make_video: Make) -> Path:
    """videos/a.avi and videos/b.avi of five frames."""
    for name in "ab":
        make_video(tmp_path / "source" / "videos" / f"{name}.avi", 5)
    return tmp_path / "source"


def test_one_file_for_many_videos(source: Path) -> None:
    write(
        source / "rows.csv",
        HEADER + "a.avi,0,1,bird,1.5,2,30,40\nvideos/b.avi,4,7,drone,0,0,64,48\na.avi,2,,drone,3,4,5,6\n",
    )
    raw, problems = read(source)
    first, second = raw.sequences
    assert raw.classes == ("bird", "drone")
    assert (first.name, second.name) == ("a", "b")
    assert first.frame.tolist() == [0, 2]
    assert first.track_id.tolist() == [1, -1]
    assert first.class_id.tolist() == [0, 1]
    assert first.boxes_xyxy_px.tolist() == [[1.5, 2, 30, 40], [3, 4, 5, 6]]
    assert second.boxes_xyxy_px.tolist() == [[0, 0, 64, 48]]
    assert first.place(1) == f"{source / 'rows.csv'}:4"
    assert raw.notes == ()
    assert problems.dropped == ()


def test_a_file_for_each_video_in_the_form_of_a_data_set(source: Path) -> None:
    write(source / "labels" / "a.csv", "frame,track_id,class,left,top,right,bottom\n0,1,bird,1,2,3,4\n")
    write(source / "labels" / "b.csv", "frame,track_id,class,left,top,right,bottom\n")
    for given_source in (source, source / "labels"):
        raw, _ = read(given_source)
        assert [(each.name, len(each.frame)) for each in raw.sequences] == [("a", 1), ("b", 0)]
    raw, problems = read(source / "labels" / "a.csv")
    assert [each.name for each in raw.sequences] == ["a"]
    assert counts(problems) == {csv_rows.NO_ROWS: 1}


def test_the_only_video_needs_no_name(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 3)
    write(tmp_path / "labels.csv", "frame,class,left,top,right,bottom\n0,bird,1,2,3,4\n")
    raw, _ = read(tmp_path)
    assert [(each.name, each.track_id.tolist()) for each in raw.sequences] == [("clip", [-1])]


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("Video; Frame ID; Category; X; Y; W; H\na;0;bird;1,5;2;3;4\n", [1.5, 2, 4.5, 6]),
        ("clip\tFRAME\tlabel\txmin\tymin\txmax\tymax\na\t0\tbird\t1.5\t2\t4\t6\n", [1.5, 2, 4, 6]),
        ("filename|frame-id|name|x1_px|y1_px|x2_px|y2_px\na|0|bird|1.5|2|4|6\n", [1.5, 2, 4, 6]),
        (
            "x2,y2,x1,y1,width,height,class,id,frame_from_1,file\n4,6,1.5,2,64,48,bird,7,1,a.avi\n",
            [1.5, 2, 4, 6],
        ),
        (
            '"video","frame","class","left","top","width","height"\r\n"a","0","bird","1","2","3","4"\r\n',
            [1, 2, 4, 6],
        ),
        ("\ufeff" + HEADER + "a,0,3,bird, 1 , 2 ,4,6\n\n,,,,,,,\n", [1, 2, 4, 6]),
        (HEADER + "a,0.0,3.0,bird,1,2,4,6", [1, 2, 4, 6]),
    ],
)
def test_names_of_columns_delimiters_and_line_ends(source: Path, text: str, box: list[float]) -> None:
    raw, _ = read(write(source / "rows.csv", text))
    (sequence,) = raw.sequences
    assert sequence.name == "a"
    assert raw.classes == ("bird",)
    assert sequence.frame.tolist() == [0]
    assert sequence.boxes_xyxy_px.tolist() == [box]


def test_frames_that_seem_to_count_from_one_are_said(source: Path) -> None:
    raw, _ = read(write(source / "rows.csv", HEADER + "a,1,1,bird,1,2,3,4\nb,3,1,bird,1,2,3,4\n"))
    assert raw.notes == (csv_rows.FROM_ZERO,)
    assert raw.sequences[0].frame.tolist() == [1]
    path = write(source / "rows.csv", HEADER.replace("frame", "frame_from_1") + "a,5,1,bird,1,2,3,4\n")
    raw, _ = read(path)
    assert raw.notes == ()
    assert raw.sequences[0].frame.tolist() == [4]
    assert raw.sequences[0].first_frame == 1


def test_columns_that_are_not_used_are_said(source: Path) -> None:
    raw, _ = read(
        write(source / "rows.csv", HEADER.replace("\n", ",score,time_s\n") + "a,0,1,bird,1,2,3,4,.5,0\n")
    )
    assert raw.notes == ("columns that are not used: score, time_s",)


def test_rows_with_an_empty_box_name_videos_without_objects(source: Path) -> None:
    raw, problems = read(write(source / "rows.csv", HEADER + "a,0,1,bird,1,2,3,4\nb,,,,,,,\n"))
    assert [(each.name, len(each.frame)) for each in raw.sequences] == [("a", 1), ("b", 0)]
    assert counts(problems) == {csv_rows.NO_BOX: 1}


def test_folders_of_frames_and_same_names_in_folders(
    tmp_path: Path, make_images: Make, make_video: Make
) -> None:
    make_images(tmp_path / "day1" / "cam.0", ["000000.png", "000001.png"])
    make_video(tmp_path / "day2" / "cam.avi", 3)
    make_video(tmp_path / "day3" / "cam.avi", 3)
    write(
        tmp_path / "rows.csv",
        HEADER + "day1/cam.0,1,1,x,1,2,3,4\nday2\\cam.avi,1,1,x,1,2,3,4\nday3/cam,0,1,x,1,2,3,4\n",
    )
    with pytest.raises(InputError, match=r"rows.csv:4: video: there is no video .* 'day3/cam'|may be"):
        read(tmp_path)
    text = (tmp_path / "rows.csv").read_text()
    raw, _ = read(write(tmp_path / "rows.csv", text.replace("day3/cam", "day3/cam.avi")))
    assert [each.name for each in raw.sequences] == ["cam.0", "day2_cam", "day3_cam"]
    assert [len(each.images or ()) for each in raw.sequences] == [2, 0, 0]


def test_splits_are_named_by_folder_or_by_a_file_of_many_videos(tmp_path: Path, make_video: Make) -> None:
    for split, name in (("train", "a"), ("valid", "b")):
        make_video(tmp_path / "one" / split / f"{name}.avi", 3)
        write(tmp_path / "one" / split / "_annotations.csv", HEADER + f"{name}.avi,0,1,x,1,2,3,4\n")
        make_video(tmp_path / "two" / "videos" / f"{name}.avi", 3)
        write(tmp_path / "two" / f"my_{split}.csv", HEADER + f"{name}.avi,0,1,x,1,2,3,4\n")
    for folder in ("one", "two"):
        raw, _ = read(tmp_path / folder)
        assert [(each.name, each.split) for each in raw.sequences] == [("a", "train"), ("b", "val")]


def test_rows_of_images(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images", [f"drive_{k:03d}.png" for k in range(8)] + ["x.png", "unnamed.png"])
    write(
        tmp_path / "_annotations.csv",
        "filename,width,height,class,xmin,ymin,xmax,ymax\n"
        "drive_005.png,64,48,car,1,2,3,4\nx.png,64,48,man,5,6,7,8\ndrive_002.png,64,48,car,9,10,11,12\n",
    )
    raw, problems = read(tmp_path)
    drive, alone = raw.sequences
    assert (drive.name, alone.name) == ("drive", "x")
    assert len(drive.images or ()) == 8
    assert drive.frame.tolist() == [5, 2]
    assert drive.boxes_xyxy_px.tolist() == [[1, 2, 3, 4], [9, 10, 11, 12]]
    assert alone.frame.tolist() == [0]
    assert alone.boxes_xyxy_px.tolist() == [[5, 6, 7, 8]]
    assert set(raw.notes) == {VIDEOS, STILLS, "columns that are not used: width, height"}
    assert counts(problems) == {csv_rows.UNLISTED: 6, csv_rows.NO_ROWS: 1}


def test_rows_that_seqdet_detect_saved(tmp_path: Path, make_video: Make) -> None:
    video = make_video(tmp_path / "videos" / "a.avi", 3)
    found = Detections(
        boxes_xyxy_px=np.array([[1.25, 2, 30, 40.5]], np.float32),
        scores=np.array([0.5], np.float32),
        class_ids=np.array([1]),
        track_ids=np.array([4]),
        track_class_ids=np.array([0]),
        track_scores=np.array([0.6], np.float32),
        class_scores=np.array([[0.1, 0.5]], np.float32),
        features=np.zeros((1, 0), np.float32),
        motion_px=np.zeros((1, 2), np.float32),
    )
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 2, 0.2)
    with open_sink(tmp_path / "rows.csv", ("bird", "drone")) as sink:
        sink.write(str(video.absolute()), FrameResult(frame, found, ("bird", "drone")))
    raw, _ = read(tmp_path)
    (sequence,) = raw.sequences
    assert raw.classes == ("drone",)
    assert (sequence.name, sequence.frame.tolist(), sequence.track_id.tolist()) == ("a", [2], [4])
    assert sequence.boxes_xyxy_px.tolist() == [[1.25, 2, 30, 40.5]]


def test_a_data_set_of_it_and_back(source: Path, tmp_path: Path) -> None:
    write(
        source / "rows.csv", HEADER + "a,0,1,bird,1.5,2,30,40\nb,4,7,drone,0,0,64,48\na,2,1,bird,-3,4,5,6\n"
    )
    report = ingest(source, tmp_path / "data")
    assert (report.format, report.sequences, report.frames, report.boxes) == ("csv", 2, 10, 3)
    dataset = load_dataset(tmp_path / "data")
    labels = dataset.labels(dataset.sequences[0])
    assert labels.frame.tolist() == [0, 2]
    assert labels.boxes_xyxy_px.tolist() == [[1.5, 2, 30, 40], [0, 4, 5, 6]]
    (tmp_path / "data" / "dataset.json").unlink()
    ingest(tmp_path / "data", tmp_path / "again")
    for name in ("a.csv", "b.csv"):
        assert (tmp_path / "again" / "labels" / name).read_bytes() == (
            tmp_path / "data" / "labels" / name
        ).read_bytes()


GOOD = "a,0,1,bird,1,2,3,4\n"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,0,1,bird,1,2,3\n", "rows.csv:3: 8 columns are expected, got 7"),
        ("a,0,1,bird,1,2,3,x\n", "rows.csv:3: bottom: a number is expected, got 'x'"),
        ("a,0,1,bird,1,2,3,\n", "rows.csv:3: bottom: a number is expected, got ''"),
        ("a,0,1,bird,1,2,3,nan\n", "rows.csv:3: box: a coordinate is not a finite number"),
        ("a,0,1,bird,1,2,3,1e999\n", "rows.csv:3: box: a coordinate is not a finite number"),
        ("a,-1,1,bird,1,2,3,4\n", "rows.csv:3: frame: 0 or more is expected, got -1"),
        ("a,1.5,1,bird,1,2,3,4\n", "rows.csv:3: frame: a whole number is expected, got 1.5"),
        ("a,,1,bird,1,2,3,4\n", "rows.csv:3: frame: a number is expected, got ''"),
        ("a,5,1,bird,1,2,3,4\n", "rows.csv:3: frame: 5 is not a frame of a.avi"),
        ("a,0,-2,bird,1,2,3,4\n", "rows.csv:3: track_id: -1 or more is expected, got -2"),
        ("a,0,x,bird,1,2,3,4\n", "rows.csv:3: track_id: a number is expected, got 'x'"),
        ("a,0,1, ,1,2,3,4\n", "rows.csv:3: class: the name of a class is expected"),
        ("c,0,1,bird,1,2,3,4\n", "rows.csv:3: video: there is no video (or folder of images) 'c' under"),
        ("ü.mp4,0,1,bird,1,2,3,4\n", "rows.csv:3: video: there is no video (or folder of images) 'ü.mp4'"),
        (",0,1,bird,1,2,3,4\n", "rows.csv:3: video: the name of a video is expected"),
        ("../a.avi,0,1,bird,1,2,3,4\n", "rows.csv:3: video: '../a.avi' leads out of"),
        ("/etc/passwd,0,1,bird,1,2,3,4\n", "rows.csv:3: video: '/etc/passwd' leads out of"),
        ("C:\\a.avi,0,1,bird,1,2,3,4\n", "rows.csv:3: video: 'C:\\\\a.avi' leads out of"),
        ("http://host/a.avi,0,1,bird,1,2,3,4\n", "rows.csv:3: video: 'http://host/a.avi' leads out of"),
        ("out.avi,0,1,bird,1,2,3,4\n", "rows.csv:3: video: 'out.avi' is a link out of"),
        ('a,0,1,"bird,1,2,3,4\n', "rows.csv:4: not a row of CSV: unexpected end of data"),
        ('a,0,1,"bi"rd,1,2,3,4\n', "rows.csv:3: not a row of CSV"),
        (f"a,0,1,{'x' * 200_000},1,2,3,4\n", "rows.csv:3: not a row of CSV: field larger than"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_written(
    source: Path, tmp_path: Path, row: str, says: str
) -> None:
    outside = tmp_path / "outside.avi"
    (source / "videos" / "a.avi").rename(outside)
    (source / "videos" / "a.avi").write_bytes(outside.read_bytes())
    (source / "videos" / "out.avi").symlink_to(outside)
    write(source / "rows.csv", HEADER + GOOD + row + GOOD)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(InputError) as caught:
        ingest(source, tmp_path / "data")
    assert says in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("", "rows.csv:1: the first line is to name the columns, but it is empty; Needed"),
        ("\ufeff\r\n", "rows.csv:1: the first line is to name the columns, but it is empty"),
        ("video,frame,left,top,right,bottom", "no column for class. Found: 'video', 'frame', 'left'"),
        ("video,class,left,top,right,bottom", "there is no image (rows without a column frame name images)"),
        ("class,left,top,right,bottom", "no column for frame (or image). Found: 'class'"),
        ("frame,class,x,y,width", "no column for the box. Found: 'frame'"),
        ("0,1,2,3,4", "no column for the box, class, frame (or image). Found: '0', '1'"),
        ("frame,Frame,class,left,top,right,bottom", "rows.csv:1: two columns are called 'Frame'"),
    ],
)
def test_a_first_line_that_lacks_something(source: Path, header: str, says: str) -> None:
    row = ",".join("0" for _ in header.split(","))
    with pytest.raises(InputError) as caught:
        read(write(source / "rows.csv", f"{header}\n{row}\n" if header else ""))
    assert says in str(caught.value)


def test_files_that_are_no_text(source: Path) -> None:
    for content in (b"\xff\xfe\x00\x01", HEADER.encode() + b"a,0,1,\xff,1,2,3,4\n"):
        (source / "rows.csv").write_bytes(content)
        with pytest.raises(InputError, match=r"rows.csv: not UTF-8 text"):
            read(source / "rows.csv")


def test_parts_of_the_frame_are_no_pixels(source: Path) -> None:
    with pytest.raises(InputError, match=r"rows.csv: all boxes lie between 0 and 1"):
        read(write(source / "rows.csv", HEADER + "a,0,1,bird,.1,.2,.3,.4\n"))


def test_a_table_of_something_else_is_counted_and_an_empty_one_is_an_error(source: Path) -> None:
    write(source / "rows.csv", HEADER + GOOD)
    write(source / "weather.csv", "day,sun\n1,2\n")
    _, problems = read(source)
    assert counts(problems)[csv_rows.NO_BOXES] == 1
    write(source / "weather.csv", "")
    with pytest.raises(InputError, match=r"weather.csv:1: the first line"):
        read(source)


def test_many_wrong_rows_among_many(source: Path) -> None:
    text = HEADER + (GOOD * 999 + "a,0,1,bird,1,2,3,x\n") * 120
    with pytest.raises(InputError, match=r"\(120 problems\)(.|\n)*rows.csv:1001: bottom(.|\n)*and 100 more"):
        read(write(source / "rows.csv", text))
    raw, _ = read(write(source / "rows.csv", text.replace("x\n", "4\n")))
    assert len(raw.sequences[0].frame) == 120_000
    assert raw.sequences[0].row.tolist() == list(range(2, 120_002))


def test_no_source_of_another_format_is_claimed() -> None:
    if not VECTORS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    claimed = [path for path in VECTORS.rglob("*") if csv_rows.sniff(path)]
    assert {path.suffix for path in claimed} <= {".csv"}, (
        "a table itself may be given, a folder is not claimed"
    )


CELLS = ["", "0", "-1", "1.5", "nan", "1e400", "bird", "a", "../a", '"', "\0", "ü", ";", "left"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.lists(st.lists(st.sampled_from(CELLS), min_size=7, max_size=9), max_size=3),
    quoted=st.booleans(),
    header=st.sampled_from([HEADER, HEADER.replace("frame", "x"), HEADER.replace(",", ";"), ""]),
)
def test_any_text_is_read_or_refused(source: Path, rows: list[list[str]], quoted: bool, header: str) -> None:
    path = source / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(header)
        if quoted:
            csv.writer(file).writerows(rows)
        else:
            file.write("\n".join(",".join(row) for row in rows))
    with contextlib.suppress(InputError):
        read(path)
