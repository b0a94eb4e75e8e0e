from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from seqdet.data.dataset import load_dataset
from seqdet.data.split import find_leaks
from seqdet.errors import InputError, OutputError, UsageError
from seqdet.runs.ingest import SHORT_VIDEO, ingest
from seqdet.video.reader import open_video

AIRSPACE = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "airspace"
LINES = "1,1,10,10,20,20,1,1,1\n2,1,12,10,20,20,1,1,1\n4,2,5,5,9,9,1,2,1\n"


def make_video(path: Path, frames: int = 6, size_wh: tuple[int, int] = (64, 48)) -> None:
    """A file of motion JPEG in which the grey of frame k is 40 k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, size_wh)
    for index in range(frames):
        writer.write(np.full((size_wh[1], size_wh[0], 3), 40 * index, np.uint8))
    writer.release()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five clips, each its own recording, in the flat layout."""
    folder = tmp_path / "source"
    (folder / "gt").mkdir(parents=True)
    (folder / "classes.txt").write_text("bird\ndrone\n")
    for name in "abcde":
        make_video(folder / "videos" / f"{name}.avi")
        (folder / "gt" / f"{name}.txt").write_text(LINES)
    return folder


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_labels_and_frames_arrive_and_the_report_counts_them(source: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    report = ingest(source, tmp_path / "data", progress=lambda *call: calls.append(call))
    assert (report.sequences, report.frames, report.boxes, report.tracks) == (5, 30, 15, 10)
    assert report.boxes_per_class == {"bird": 10, "drone": 5}
    assert report.splits == {"train": 4, "val": 1}
    assert report.dropped == ()
    assert calls == [(stage, done, 5) for stage in ("check", "write") for done in range(1, 6)]
    dataset = load_dataset(tmp_path / "data")
    sequence = dataset.sequences[0]
    assert (sequence.frames, sequence.size_wh, sequence.fps, sequence.class_id) == (6, (64, 48), 10.0, -1)
    labels = dataset.labels(sequence)
    assert labels.frame.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(labels.boxes_xyxy_px[0], [9, 9, 29, 29])
    with open_video(sequence.video) as frames:
        greys = [round(float(frame.rgb.mean()) / 40) for frame in frames]
    assert greys == [0, 1, 2, 3, 4, 5]


def test_the_same_source_gives_the_same_data_set(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        ingest(source, tmp_path / name, seed=3)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    for path in tree(tmp_path / "one"):
        if (tmp_path / "one" / path).is_file():
            assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_an_ingested_folder_of_images_is_read_as_its_frames(tmp_path: Path) -> None:
    images = tmp_path / "source" / "img1"
    images.mkdir(parents=True)
    for number in range(1, 4):
        assert cv2.imwrite(str(images / f"{number}.png"), np.full((48, 64, 3), 50 * number, np.uint8))
    (tmp_path / "source" / "gt").mkdir()
    (tmp_path / "source" / "gt" / "gt.txt").write_text("3,1,10,10,20,20,1,1,1\n")
    ingest(tmp_path / "source", tmp_path / "data", link=True)
    dataset = load_dataset(tmp_path / "data")
    assert any("only one recording" in note for note in dataset.notes)
    assert any("no classes.txt" in note and "pedestrian" in note for note in dataset.notes)
    (sequence,) = dataset.sequences
    assert (sequence.name, sequence.frames, sequence.class_id) == ("source", 3, 0)
    with open_video(sequence.video) as frames:
        assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [50, 100, 150]


def coco(file_name: str) -> str:
    return json.dumps({
        "categories": [{"id": 1, "name": "bird"}],
        "videos": [{"id": 1, "name": "clip"}],
        "images": [{"id": 1, "video_id": 1, "frame_id": 0, "file_name": file_name}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "track_id": 1}],
    })  # fmt: skip


def test_coco_vid_of_images(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    assert cv2.imwrite(str(tmp_path / "source" / "f.png"), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "source" / "labels.json").write_text(coco("f.png"))
    report = ingest(tmp_path / "source" / "labels.json", tmp_path / "data")
    assert (report.format, report.frames, report.boxes) == ("coco-vid", 1, 1)


BAD = {
    "a label of an unknown class": (
        "gt/a.txt",
        LINES + "1,3,5,5,9,9,1,3,1\n",
        r"gt/a.txt:4: class: 3 is unknown",
    ),
    "a label of a frame that is not there": (
        "gt/a.txt",
        "7,1,5,5,9,9,1,1,1\n",
        r"gt/a.txt:1: frame: 7 is not a frame",
    ),
    "a frame 0": ("gt/a.txt", "0,1,5,5,9,9,1,1,1\n", r"gt/a.txt:1: frame: 0 is not a frame .* 1 to 6"),
    "a negative frame": ("gt/a.txt", "-3,1,5,5,9,9,1,1,1\n", r"gt/a.txt:1: frame: -3 is not a frame"),
    "not a number": ("gt/a.txt", "1,1,nan,5,9,9,1,1,1\n", r"gt/a.txt:1: box: a coordinate is not a finite"),
    "a cut line": ("gt/a.txt", LINES + "1,1,5", r"gt/a.txt:4: 9 columns are expected"),
    "no text": ("gt/a.txt", b"\xff\xfe\x00\x01", r"gt/a.txt: not UTF-8"),
    "a video that is text": ("videos/a.avi", "hello", r"gt/a.txt: its video cannot be read: .*a.avi"),
    "an empty video": ("videos/a.avi", "", r"gt/a.txt: its video cannot be read: .*a.avi"),
    "another length": ("clips.csv", "clip,frames\na,7\n", r"a.avi: the labels say 7 frames, the video has 6"),
    "another size": (
        "clips.csv",
        "clip,width,height\na,48,64\n",
        r"a.avi: the labels say 48x64 pixels, .* 64x48",
    ),
    "an unknown label": (
        "clips.csv",
        "clip,label\na,brid\n",
        r"label: 'brid' is not one of the classes bird, drone",
    ),
    "no classes": ("classes.txt", "", r"classes.txt: one or more"),
    "a class twice": ("classes.txt", "bird\nbird\n", r"classes.txt: one or more different"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_ends_with_code_3_and_harms_nothing(
    source: Path, tmp_path: Path, case: str
) -> None:
    path, content, says = BAD[case]
    ingest(source, tmp_path / "data")
    before = {name: (tmp_path / "data" / name).stat().st_mtime_ns for name in tree(tmp_path / "data")}
    (source / path).write_bytes(content.encode() if isinstance(content, str) else content)
    for out in (tmp_path / "data", tmp_path / "new"):
        with pytest.raises(InputError, match=says) as caught:
            ingest(source, out, force=True)
        assert caught.value.exit_code == 3
        assert str(source) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "source"]
    assert {name: (tmp_path / "data" / name).stat().st_mtime_ns for name in tree(tmp_path / "data")} == before


def test_problems_of_all_files_are_listed_at_once(source: Path, tmp_path: Path) -> None:
    (source / "gt" / "a.txt").write_text("1,1,5,5,9,9,1,8,1\n")
    (source / "gt" / "c.txt").write_text("99,1,5,5,9,9,1,1,1\n")
    with pytest.raises(InputError, match=r"(?s)\(2 problems\).*a.txt:1: class.*c.txt:1: frame"):
        ingest(source, tmp_path / "data")


def test_what_can_be_repaired_is_counted_with_its_line_and_fails_under_strict(
    source: Path, tmp_path: Path
) -> None:
    (source / "gt" / "a.txt").write_text(
        "1,1,60,40,20,20,1,1,1\n1,2,70,5,9,9,1,1,1\n2,1,5,5,0,9,1,1,1\n2,2,5,5,-4,9,1,1,1\n3,1,5,5,9,9,0,1,1\n"
    )
    report = ingest(source, tmp_path / "data")
    counts = {entry.reason.split(":")[0]: (entry.count, entry.examples[0][-7:]) for entry in report.dropped}
    assert counts == {
        "box partly outside the frame": (1, "a.txt:1"),
        "box fully outside the frame": (1, "a.txt:2"),
        "box of zero or negative width or height": (2, "a.txt:3"),
        "line with conf 0, which the format says to ignore": (1, "a.txt:5"),
    }
    assert report.boxes == 4 * 3 + 1
    assert any("partly outside" in note for note in load_dataset(tmp_path / "data").notes)
    with pytest.raises(InputError, match=r"(?s)\(4 problems\).*a.txt:1: box partly outside"):
        ingest(source, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_a_video_that_was_cut_short_is_said(source: Path, tmp_path: Path) -> None:
    whole = (source / "videos" / "a.avi").read_bytes()
    last_picture = whole[: whole.rindex(b"idx1")].rindex(b"00dc")
    (source / "videos" / "a.avi").write_bytes(whole[:last_picture])
    report = ingest(source, tmp_path / "data")
    (entry,) = report.dropped
    assert entry.reason == SHORT_VIDEO
    assert entry.examples[0].endswith("videos/a.avi (6 promised)")
    assert load_dataset(tmp_path / "data").sequences[0].frames == 5


def test_what_exists_is_refused_before_anything_is_read(source: Path, tmp_path: Path) -> None:
    ingest(source, tmp_path / "data")
    cases: list[tuple[Path, Path, dict[str, object], str]] = [
        (source, tmp_path / "data", {}, "--force"),
        (source, tmp_path, {"force": True}, "holds the source"),
        (source, source, {"force": True}, "holds the source"),
        (tmp_path / "data", tmp_path / "new", {}, "is a seqdet data set already"),
        (source, tmp_path / "new", {"split": "random"}, "--split random"),
        (source, tmp_path / "new", {"format": "x"}, "--format x"),
        (source, tmp_path / "new", {"val_fraction": 1.5}, "fraction"),
        (source, source / "gt" / "a.txt" / "data", {}, "cannot be written"),
    ]
    for origin, out, options, says in cases:
        with pytest.raises(UsageError if "cannot" not in says else OutputError, match=says):
            ingest(origin, out, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no such file or folder"):
        ingest(tmp_path / "none", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "source"]


def test_splits_of_the_source_are_kept_and_leaks_refused(source: Path, tmp_path: Path) -> None:
    head = "clip,recording,split\n"
    rows = [f"{name},take {name in 'ab'},{'val' if name == 'b' else 'train'}\n" for name in "abcde"]
    (source / "clips.csv").write_text(head + "".join(rows))
    with pytest.raises(UsageError, match=r"'take True' \(train and val\).*--allow-leak"):
        ingest(source, tmp_path / "data")
    leaked = ingest(source, tmp_path / "leaked", allow_leak=True)
    assert leaked.splits == {"train": 4, "val": 1}
    assert any(note.startswith("LEAK") for note in leaked.notes)
    ingest(source, tmp_path / "anew", split="recording")
    sequences = load_dataset(tmp_path / "anew").sequences
    assert not find_leaks([each.recording for each in sequences], [each.split for each in sequences])
    (source / "clips.csv").write_text("clip,split\na,val\n")
    with pytest.raises(UsageError, match="a split for 1 of 5 sequences"):
        ingest(source, tmp_path / "partly")


def test_a_picture_that_two_splits_have_is_a_leak_and_splits_made_anew_do_not_divide_it(
    tmp_path: Path,
) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3)).astype(np.uint8)
    for split, numbers in (("train", range(4)), ("val", (1, 4))):
        for number in numbers:
            path = (
                tmp_path
                / "source"
                / split
                / ("bird", "drone")[number % 2]
                / f"{split}-picture{number * 100}.png"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pictures[number])
    source = tmp_path / "source"
    with pytest.raises(
        UsageError, match=r"1 video or picture of one split is in another.*picture100.png \(val\)"
    ):
        ingest(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    allowed = ingest(source, tmp_path / "allowed", allow_leak=True)
    assert any(note.startswith("LEAK") for note in allowed.notes)
    made = load_dataset(ingest(source, tmp_path / "anew", split="recording", val_fraction=0.4).out)
    twins = [sequence for sequence in made.sequences if "picture100" in sequence.name]
    assert len(twins) == 2
    assert len({(sequence.recording, sequence.split) for sequence in twins}) == 1


def test_every_error_is_one_of_ours(source: Path, tmp_path: Path) -> None:
    """Any cut of a label file either reads or ends with an error that has an exit code."""
    text = LINES.encode()
    for cut in range(0, len(text), 3):
        (source / "gt" / "a.txt").write_bytes(text[:cut])
        with contextlib.suppress(InputError):
            ingest(source, tmp_path / "data", force=True, link=True)


@pytest.fixture(scope="module")
def airspace(tmp_path_factory: pytest.TempPathFactory):
    if not AIRSPACE.is_dir():
        pytest.skip("shared/data/airspace is not beside this checkout")
    out = tmp_path_factory.mktemp("airspace") / "data"
    return ingest(AIRSPACE, out, link=True), load_dataset(out)


def test_the_airspace_benchmark_arrives_whole(airspace) -> None:
    report, dataset = airspace
    assert (report.sequences, report.frames, report.dropped) == (489, 152_775, ())
    assert report.splits == {"train": 412, "val": 77}
    with (AIRSPACE / "clips.csv").open(newline="") as file:
        clips = {row["clip"]: row for row in csv.DictReader(file)}
    lines = {name: (AIRSPACE / "gt" / f"{name}.txt").read_text().splitlines() for name in clips}
    assert report.boxes == sum(map(len, lines.values())) == 160_795
    classes = Counter(line.split(",")[7] for each in lines.values() for line in each)
    assert list(report.boxes_per_class.values()) == [classes[str(number)] for number in range(1, 5)]
    for sequence in dataset.sequences:
        row = clips[sequence.name]
        assert (str(sequence.frames), dataset.classes[sequence.class_id]) == (row["frames"], row["label"])
        assert (sequence.recording, sequence.split) == (row["recording"], row["split"])
        assert sequence.attributes == {"sensor": row["sensor"], "distance": row["distance"]}
    assert len(dataset.where(sensor="thermal").sequences) == 297


def test_the_airspace_splits_share_no_recording(airspace) -> None:
    _, dataset = airspace
    train, val = ({each.recording for each in dataset.split(name)} for name in ("train", "val"))
    assert not train & val


def test_airspace_boxes_are_those_of_the_source(airspace) -> None:
    _, dataset = airspace
    for sequence in dataset.sequences[::40]:
        rows = np.loadtxt(AIRSPACE / "gt" / f"{sequence.name}.txt", delimiter=",", ndmin=2)
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        labels = dataset.labels(sequence)
        np.testing.assert_array_equal(labels.frame, rows[:, 0] - 1)
        np.testing.assert_array_equal(labels.track_id, rows[:, 1])
        edges = np.concatenate([rows[:, 2:4] - 1, rows[:, 2:4] - 1 + rows[:, 4:6]], axis=1)
        np.testing.assert_allclose(labels.boxes_xyxy_px, edges, atol=1e-3)
