from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import choose_format, kitti
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.data.formats.stills import STILLS, VIDEOS
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
Make = Callable[..., Path]
REST = "1.5 1.6 3.9 -5.1 1.8 13.4 -2.0"
GOOD = f"0 1 Car 0 0 -1.57 10 5 30 25.5 {REST}\n"


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is kitti
    raw = kitti.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def tracking(source: Path, make_images: Make, texts: dict[str, str], frames: int = 3, first: int = 0) -> Path:
    """label_02 and image_02 with these label files."""
    (source / "label_02").mkdir(parents=True)
    for name, text in texts.items():
        (source / "label_02" / f"{name}.txt").write_bytes(text.encode())
        make_images(source / "image_02" / name, [f"{first + k:06d}.png" for k in range(frames)])
    return source


def counts(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


def test_frames_and_edges_are_taken_as_they_are(tmp_path: Path, make_images: Make) -> None:
    text = (
        GOOD
        + f"2 1 Car 0 1 -1.57 11 6 31 26.5 {REST}\n"
        + f"0 -1 DontCare -1 -1 -10 1 2 3 4 {REST}\n"
        + f"1 7 Person 0 0 0.1 0 0 63 47 {REST} 0.93\n"
    )
    # A file has a score in all lines or in none by the format; both in one file are no problem.
    raw, problems = read(tracking(tmp_path, make_images, {"0003": text, "0004": ""}))
    first, second = raw.sequences
    assert raw.classes == ("Car", "Person")
    assert (first.name, second.name) == ("0003", "0004")
    assert first.frame.tolist() == [0, 2, 1]
    assert first.track_id.tolist() == [1, 1, 7]
    assert first.class_id.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(first.boxes_xyxy_px, [[10, 5, 30, 25.5], [11, 6, 31, 26.5], [0, 0, 63, 47]])
    assert first.place(2) == f"{tmp_path / 'label_02' / '0003.txt'}:4"
    assert len(second.frame) == 0
    assert len(second.images or ()) == 3
    assert counts(problems) == {kitti.DONT_CARE: 1}
    assert {first.split, second.split} == {None}


def test_the_name_of_an_image_is_the_number_of_its_frame(tmp_path: Path, make_images: Make) -> None:
    source = tracking(tmp_path, make_images, {"0000": GOOD.replace("0 1 Car", "12 1 Car", 1)}, 3, first=11)
    raw, _ = read(source)
    assert raw.sequences[0].frame.tolist() == [1]
    assert raw.sequences[0].first_frame == 11
    (source / "image_02" / "0000" / "000012.png").unlink()
    with pytest.raises(
        InputError, match=r"0000.txt:1: frame: 12 has no image in .*0000, which has 2, numbered"
    ):
        read(source)
    (source / "label_02" / "0000.txt").write_text(GOOD.replace("0 1 Car", "13 1 Car", 1))
    raw, _ = read(source)
    assert raw.sequences[0].frame.tolist() == [1]
    assert raw.notes == (kitti.GAPS,)
    shutil.copy(source / "image_02" / "0000" / "000013.png", source / "image_02" / "0000" / "000013.jpg")
    with pytest.raises(InputError, match=r"0000: two images of frame 13"):
        read(source)


def test_a_video_in_place_of_images(tmp_path: Path, make_video: Make) -> None:
    (tmp_path / "label_02").mkdir()
    (tmp_path / "label_02" / "0000.txt").write_text(GOOD)
    make_video(tmp_path / "image_02" / "0000.avi", 4)
    make_video(tmp_path / "image_02" / "0001.avi", 4)
    raw, problems = read(tmp_path)
    assert raw.sequences[0].images is None
    assert counts(problems) == {kitti.NO_LABELS: 1}


def test_folders_of_splits_and_training_alone(tmp_path: Path, make_images: Make) -> None:
    tracking(tmp_path / "training", make_images, {"0000": GOOD})
    make_images(tmp_path / "testing" / "image_02" / "0000", ["000000.png"])
    raw, _ = read(tmp_path)
    assert [(each.name, each.split) for each in raw.sequences] == [("0000", None)], "test has no labels"
    tracking(tmp_path / "val", make_images, {"0000": GOOD})
    raw, _ = read(tmp_path)
    assert [(each.name, each.split) for each in raw.sequences] == [
        ("training_0000", "train"),
        ("val_0000", "val"),
    ]


def test_a_data_set_of_it_box_by_box(tmp_path: Path, make_images: Make) -> None:
    source = tracking(
        tmp_path / "source",
        make_images,
        {"0000": GOOD + f"2 1 Car 0 1 -1.57 11 6 63 47 {REST}\n", "0001": GOOD},
    )
    report = ingest(source, tmp_path / "data")
    assert (report.format, report.sequences, report.frames, report.boxes) == ("kitti", 2, 6, 3)
    dataset = load_dataset(tmp_path / "data")
    labels = dataset.labels(dataset.sequences[0])
    assert labels.frame.tolist() == [0, 2]
    assert labels.track_id.tolist() == [1, 1]
    assert labels.boxes_xyxy_px.tolist() == [[10, 5, 30, 25.5], [11, 6, 63, 47]]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (GOOD.replace("10 5 30", "10 5"), "0.txt:2: 17 or 18 columns are expected, got 16"),
        (GOOD.split(" ", 2)[2], "0.txt:2: 17 or 18 columns are expected, got 15"),
        (GOOD.replace(" 30 ", " x "), "0.txt:2: right: a number is expected, got 'x'"),
        (GOOD.replace(" 30 ", " nan "), "0.txt:2: box: a coordinate is not a finite number"),
        (GOOD.replace(" 30 ", " inf "), "0.txt:2: box: a coordinate is not a finite number"),
        (GOOD.replace("0 1 Car", "-1 1 Car"), "0.txt:2: frame: 0 or more is expected, got -1"),
        (GOOD.replace("0 1 Car", "0.5 1 Car"), "0.txt:2: frame: a whole number is expected, got 0.5"),
        (GOOD.replace("0 1 Car", "nan 1 Car"), "0.txt:2: frame: a whole number is expected, got nan"),
        (GOOD.replace("0 1 Car", "1e300 1 Car"), "0.txt:2: frame: a whole number is expected"),
        (GOOD.replace("0 1 Car", "3 1 Car"), "0.txt:2: frame: 3 has no image"),
        (GOOD.replace("0 1 Car", "0 -2 Car"), "0.txt:2: track_id: -1 or more is expected, got -2"),
        (GOOD.replace("Car", "0.25"), "0.txt:2: type: the name of a class is expected, got '0.25'"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_written(
    tmp_path: Path, make_images: Make, line: str, says: str
) -> None:
    source = tracking(tmp_path / "source", make_images, {"0": GOOD + line + GOOD})
    with pytest.raises(InputError) as caught:
        ingest(source, tmp_path / "data")
    assert says in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_byte_order_mark_and_other_line_ends(tmp_path: Path, make_images: Make) -> None:
    source = tracking(tmp_path, make_images, {"0": ("\ufeff" + GOOD + "\n" + GOOD).replace("\n", "\r\n")})
    raw, _ = read(source)
    assert raw.sequences[0].row.tolist() == [1, 3]


def test_what_cannot_be_read_at_all(tmp_path: Path, make_images: Make) -> None:
    source = tracking(tmp_path / "a", make_images, {"0": ""})
    with pytest.raises(InputError, match="hold no object"):
        ingest(source, tmp_path / "data")
    (source / "label_02" / "0.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"0.txt: not UTF-8 text"):
        ingest(source, tmp_path / "data")
    (source / "label_02" / "0.txt").write_text(GOOD)
    shutil.rmtree(source / "image_02")
    with pytest.raises(InputError, match=r"0.txt: no frames for these labels: neither a folder"):
        ingest(source, tmp_path / "data")
    with pytest.raises(InputError, match="no label file with frames"):
        kitti.read(source / "label_02", Problems())
    assert not (tmp_path / "data").exists()


def detection(source: Path, make_images: Make, names: list[str]) -> Path:
    make_images(source / "image_2", [f"{name}.png" for name in names])
    (source / "label_2").mkdir()
    for index, name in enumerate(names):
        text = (
            f"Car 0 0 -1.57 {index} 5 30 25.5 {REST}\n" + "DontCare -1 -1 -10 9 9 8 9 -1 -1 -1 -1 -1 -1 -1\n"
        )
        (source / "label_2" / f"{name}.txt").write_text(text)
    return source


def test_images_of_detection_that_follow_each_other_are_a_video(tmp_path: Path, make_images: Make) -> None:
    names = [f"{k:06d}" for k in (0, 1, 2, 3, 4, 5)] + ["other"]
    raw, problems = read(detection(tmp_path / "set", make_images, names))
    video, alone = raw.sequences
    assert (video.name, alone.name) == ("set", "other")
    assert raw.notes == (VIDEOS, STILLS)
    assert video.frame.tolist() == [0, 1, 2, 3, 4, 5]
    assert video.boxes_xyxy_px[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert set(video.track_id.tolist()) == {-1}
    assert alone.place(0).endswith("other.txt:1")
    assert video.place(3).endswith("000003.txt:1")
    assert counts(problems) == {kitti.DONT_CARE: 7}


def test_images_of_the_benchmark_follow_no_other(tmp_path: Path, make_images: Make) -> None:
    source = detection(tmp_path / "training", make_images, [f"{k:06d}" for k in range(6)]).parent
    (source / "training" / "calib").mkdir()
    raw, _ = read(source)
    assert len(raw.sequences) == 6
    assert raw.notes == (kitti.SHUFFLED,)


def test_detection_labels_and_images_that_lack_each_other(tmp_path: Path, make_images: Make) -> None:
    source = detection(tmp_path, make_images, ["a", "b"])
    (source / "label_2" / "b.txt").unlink()
    raw, problems = read(source)
    assert [each.name for each in raw.sequences] == ["a"]
    assert counts(problems)[kitti.NO_LABELS] == 1
    (source / "label_2" / "c.txt").write_text("")
    with pytest.raises(InputError, match=r"c.txt: there is no image .*c.png"):
        read(source)


def test_a_data_set_of_stills_has_a_track_for_each_box(tmp_path: Path, make_images: Make) -> None:
    source = detection(tmp_path / "source", make_images, ["a", "b"])
    report = ingest(source, tmp_path / "data")
    assert (report.sequences, report.frames, report.boxes, report.tracks) == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kitti_detection", {"000030_10": ["Truck", "Van"], "000030_11": ["Van", "Van", "Van"]}),
        ("kitti_3d", {"000001": ["Truck", "Car"]}),
    ],
)
def test_files_of_datumaro(name: str, expected: dict[str, list[str]]) -> None:
    source = VECTORS / "datumaro" / "kitti_dataset" / name
    if not source.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    raw, _ = read(source)
    found = {each.name: [raw.classes[k] for k in each.class_id] for each in raw.sequences}
    assert found == expected


@pytest.mark.parametrize("folder", ["faster_coco_eval", "label-studio-converter", "mmtracking", "datumaro"])
def test_sources_of_other_formats_are_not_claimed(folder: str) -> None:
    if not VECTORS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    claimed = [path for path in (VECTORS / folder).rglob("*") if kitti.sniff(path)]
    assert {path.name for path in claimed} <= {"kitti_detection", "kitti_3d", "training"}


PARTS = ["0", "1", "-1", "2.5", "nan", "1e400", "Car", "DontCare", "x", "\ufeff", "\0", "é"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(lines=st.lists(st.lists(st.sampled_from(PARTS), min_size=15, max_size=19), max_size=3))
def test_any_text_is_read_or_refused(tmp_path: Path, make_images: Make, lines: list[list[str]]) -> None:
    if not (tmp_path / "label_02").exists():
        tracking(tmp_path, make_images, {"0": ""})
    (tmp_path / "label_02" / "0.txt").write_text("\n".join(map(" ".join, lines)), encoding="utf-8")
    with contextlib.suppress(InputError):
        read(tmp_path)
