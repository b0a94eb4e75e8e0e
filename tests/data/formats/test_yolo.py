from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import choose_format, stills, yolo, yolo_config, yolo_layout
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

Make = Callable[..., Path]
NAMES = "names: [bird, drone]\n"


def write(root: Path, **texts: str) -> Path:
    """write(root, **{"labels/a.txt": "..."})"""
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def read(source: Path, strict: bool = False) -> tuple[RawDataset, Problems]:
    problems = Problems(strict)
    assert choose_format(source) is yolo
    raw = yolo.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def counts(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


@pytest.fixture
def source(tmp_path: Path, make_images: Make) -> Path:
    """Six frames of one clip, 64x48, in train; one picture in val."""
    root = tmp_path / "birds"
    make_images(root, [f"images/train/clip_{number:03d}.png" for number in range(1, 7)])
    make_images(root, ["images/val/still.png"], size_wh=(20, 10))
    write(root, **{"data.yaml": f"path: .\ntrain: images/train\nval: images/val\n{NAMES}"})
    write(root, **{f"labels/train/clip_{number:03d}.txt": "1 0.5 0.5 0.25 0.5\n" for number in range(1, 6)})
    return write(root, **{"labels/val/still.txt": "0 0.1 0.2 0.2 0.4\n1 0.75 0.5 0.5 1\n"})


def test_boxes_of_a_clip_and_a_still(source: Path) -> None:
    raw, problems = read(source)
    assert raw.classes == ("bird", "drone")
    clip, still = raw.sequences
    assert (clip.name, clip.split, still.name, still.split) == ("train_clip", "train", "val_still", "val")
    assert [path.name for path in clip.images or ()] == [f"clip_{number:03d}.png" for number in range(1, 7)]
    assert clip.frame.tolist() == [0, 1, 2, 3, 4]
    assert clip.boxes_xyxy_px.tolist() == [[24, 12, 40, 36]] * 5
    assert set(clip.class_id) == {1}
    assert np.allclose(still.boxes_xyxy_px, [[0, 0, 4, 4], [10, 0, 20, 10]], atol=1e-9)
    assert still.boxes_xyxy_px[0, 0] == 0, "rounding puts no edge beside that of the image"
    assert still.track_id.tolist() == [-1, -1]
    assert clip.place(4).endswith("labels/train/clip_005.txt:1")
    assert still.place(1).endswith("still.txt:2")
    assert counts(problems) == {yolo.NO_FILE: 1}
    assert set(raw.notes) == {stills.VIDEOS, stills.STILLS}


def test_ingested_box_by_box(source: Path, tmp_path: Path) -> None:
    report = ingest(source, tmp_path / "out")
    assert (report.format, report.sequences, report.frames, report.boxes) == ("yolo", 2, 7, 7)
    assert report.boxes_per_class == {"bird": 1, "drone": 6}
    dataset = load_dataset(tmp_path / "out")
    (still,) = dataset.split("val")
    assert dataset.labels(still).boxes_xyxy_px.tolist() == [[0, 0, 4, 4], [10, 0, 20, 10]]
    (clip,) = dataset.split("train")
    assert dataset.labels(clip).boxes_xyxy_px.tolist() == [[24, 12, 40, 36]] * 5
    assert dataset.labels(clip).frame.tolist() == [0, 1, 2, 3, 4]


@given(
    boxes=st.lists(
        st.tuples(*[st.integers(0, 1920)] * 2, *[st.integers(0, 1080)] * 2), min_size=1, max_size=9
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_six_decimals_give_back_whole_pixels(source: Path, boxes: list[tuple[int, ...]]) -> None:
    Image.new("L", (1920, 1080)).save(source / "images" / "val" / "still.png")
    want = [[min(a, b), min(c, d), max(a, b) + 1, max(c, d) + 1] for a, b, c, d in boxes]
    want = [box for box in want if box[2] <= 1920 and box[3] <= 1080]
    lines = [
        f"0 {(x0 + x1) / 3840:.6f} {(y0 + y1) / 2160:.6f} {(x1 - x0) / 1920:.6f} {(y1 - y0) / 1080:.6f}"
        for x0, y0, x1, y1 in want
    ]
    write(source, **{"labels/val/still.txt": "\n".join(lines)})
    got = read(source)[0].sequences[1].boxes_xyxy_px
    assert np.abs(got - np.array(want).reshape(-1, 4)).max(initial=0) < 0.005
    assert (got >= 0).all()
    assert (got <= [1920, 1080, 1920, 1080]).all()


@pytest.mark.parametrize(
    ("lines", "tracks", "note"),
    [
        (["0 .5 .5 .1 .1 7", "0 .5 .5 .1 .1 9"], [7, 9], yolo.TRACKS),
        (["0 .5 .5 .1 .1 0.7", "0 .5 .5 .1 .1 1"], [-1, -1], yolo.CONFIDENCE),
        (["0 .5 .5 .1 .1 0", "0 .5 .5 .1 .1 1"], [0, 1], yolo.TRACKS),
        (["0 .5 .5 .1 .1 1", "0 .6 .5 .1 .1 1"], [-1, -1], yolo.CONFIDENCE),
        (["0 .5 .5 .1 .1 -1", "0 .5 .5 .1 .1 3", "1 .5 .5 .1 .1"], [-1, 3, -1], yolo.TRACKS),
        (["0 .5 .5 .1 .1 0.87 1", "0 .6 .5 .1 .1 .9 2"], [1, 2], None),
        (["0 .5 .5 .1 .1 0.87 1"], [1], None),
    ],
)
def test_what_the_sixth_column_is(
    source: Path, lines: list[str], tracks: list[int], note: str | None
) -> None:
    write(source, **{"labels/val/still.txt": "\n".join(lines)})
    raw, _ = read(source)
    assert raw.sequences[1].track_id.tolist() == tracks
    assert {yolo.TRACKS, yolo.CONFIDENCE} & set(raw.notes) == ({note} if note else set())


def test_polygons_give_their_enclosing_box_and_are_counted(source: Path) -> None:
    lines = ["0 0.1 0.2 0.5 0.2 0.3 0.8", "1 .25 .5 .5 .25 .75 .5 .5 .75", "1 .25 .5 .5 .25 .75 .5 .5 .75 .9"]
    write(source, **{"labels/val/still.txt": "\n".join(lines)})
    raw, problems = read(source)
    want = [[2, 2, 10, 8], [5, 2.5, 15, 7.5], [5, 2.5, 15, 7.5]]
    assert np.allclose(raw.sequences[1].boxes_xyxy_px, want, atol=1e-9)
    assert counts(problems)[yolo.POLYGON] == 3


def test_key_points_are_left_out_where_the_yaml_says_that_there_are_some(source: Path) -> None:
    write(source, **{"data.yaml": f"train: images/train\nval: images/val\nkpt_shape: [2, 3]\n{NAMES}"})
    write(source, **{"labels/val/still.txt": "0 .5 .5 .5 .5 .1 .1 2 .9 .9 0\n"})
    raw, problems = read(source)
    assert raw.sequences[1].boxes_xyxy_px.tolist() == [[5, 2.5, 15, 7.5]]
    assert counts(problems)[yolo.KEYPOINTS] == 1


def test_frames_of_a_video_file_are_counted_from_one(tmp_path: Path, make_video: Make) -> None:
    root = tmp_path / "run"
    make_video(root / "clip.avi", 5)
    write(root, **{"labels/clip_1.txt": "2 .5 .5 .5 .5 .9 4", "labels/clip_4.txt": "0 .5 .5 .25 .5 .8 4"})
    raw, problems = read(root)
    (clip,) = raw.sequences
    assert (clip.name, clip.images, clip.first_frame) == ("clip", None, 1)
    assert clip.frame.tolist() == [0, 3]
    assert clip.track_id.tolist() == [4, 4]
    assert raw.classes == ("class_0", "class_2")
    assert "no file names the classes" in raw.notes[-1]
    assert counts(problems) == {yolo.NO_FILE: 3}
    assert clip.place(1).endswith("clip_4.txt:1")
    report = ingest(root, tmp_path / "out")
    dataset = load_dataset(report.out)
    labels = dataset.labels(dataset.sequences[0])
    assert labels.frame.tolist() == [0, 3]
    assert labels.boxes_xyxy_px.tolist() == [[16, 12, 48, 36], [24, 12, 40, 36]]


def test_a_frame_that_the_video_has_not(tmp_path: Path, make_video: Make) -> None:
    root = tmp_path / "run"
    make_video(root / "clip.avi", 5)
    write(root, **{"clip_000005.txt": "0 .5 .5 .5 .5", "clip_000006.txt": "0 .5 .5 .5 .5"})
    with pytest.raises(InputError, match=r"clip_000006.txt:1: frame: 6 is not a frame of clip.avi.* 1 to 5"):
        ingest(root, tmp_path / "out")
    write(root, **{"clip_000000.txt": "0 .5 .5 .5 .5"})
    (root / "clip_000005.txt").unlink()
    (root / "clip_000006.txt").unlink()
    write(root, **{"clip_000004.txt": "0 .5 .5 .5 .5"})
    raw, _ = read(root)
    assert raw.sequences[0].frame.tolist() == [0, 4]
    assert any("counted from 0" in note for note in raw.notes)


def test_darknet(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path, ["obj_train_data/a.png", "obj_train_data/b.png"])
    write(
        tmp_path,
        **{
            "obj.data": "classes = 2\ntrain=data/train.txt\nvalid=data/valid.txt\nnames = data/obj.names\n",
            "obj.names": "bird\r\ndrone\r\n",
            "train.txt": "data/obj_train_data/a.png\n",
            "valid.txt": "./obj_train_data/b.png\r\n",
            "obj_train_data/a.txt": "\ufeff0 .5 .5 .5 .5\r\n\r\n1 .5 .5 1 1\r\n",
            "obj_train_data/b.txt": "",
        },
    )
    raw, problems = read(tmp_path)
    assert [(each.split, len(each.frame)) for each in raw.sequences] == [("train", 2), ("val", 0)]
    assert raw.sequences[0].row.tolist() == [1, 3]
    assert counts(problems) == {}


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        (
            "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [bird, drone]\nnc: 2",
            "",
        ),
        (
            "path: /home/bob/x\ntrain: train/images\nval: [valid/images]\nnames: {0: bird, 5: drone}",
            "no folder here",
        ),
    ],
)
def test_layout_of_roboflow(tmp_path: Path, make_images: Make, yaml: str, says: str) -> None:
    make_images(tmp_path, ["train/images/a.png", "valid/images/b.png"])
    last = 5 if "5:" in yaml else 1
    labels = {"train/labels/a.txt": "0 .5 .5 .5 .5", "valid/labels/b.txt": f"{last} .5 .5 .5 .5"}
    raw, problems = read(write(tmp_path, **{"data.yaml": yaml}, **labels))
    assert [(each.split, each.class_id.tolist()) for each in raw.sequences] == [("train", [0]), ("val", [1])]
    assert says in " ".join(raw.notes)
    assert counts(problems) == ({yolo_config.NO_TEST: 1} if "test" in yaml else {})


def test_lists_of_images_and_frames_of_one_video_in_two_splits(source: Path, tmp_path: Path) -> None:
    frames = [f"./images/train/clip_{number:03d}.png\n" for number in range(1, 7)]
    write(source, **{"a.txt": "".join(frames[:4]), "b.txt": "".join(frames[4:]) + "images/val/still.png\n"})
    write(source, **{"data.yaml": f"train: a.txt\nval: b.txt\n{NAMES}"})
    raw, _ = read(source)
    assert [(each.name, each.split, each.recording) for each in raw.sequences] == [
        ("train_clip_train", "train", "train_clip"),
        ("train_clip_val", "val", "train_clip"),
        ("val_still", "val", None),
    ]
    assert yolo_layout.LEAK in raw.notes
    with pytest.raises(Exception, match="more than one split"):
        ingest(source, tmp_path / "out")


def test_images_listed_twice_are_taken_once(source: Path) -> None:
    write(source, **{"data.yaml": f"train: images/train\nval: images\n{NAMES}"})
    raw, problems = read(source)
    assert [each.split for each in raw.sequences] == ["train", "val"]
    assert counts(problems)[yolo_config.IN_TWO_SPLITS] == 6
    with pytest.raises(InputError, match="listed twice"):
        read(source, strict=True)


def test_a_split_without_labels_and_labels_without_a_split(source: Path, make_images: Make) -> None:
    make_images(source, ["images/test/t.png", "images/more/m.png"])
    write(source, **{"labels/more/m.txt": "0 .5 .5 .5 .5", "labels/more/README.txt": "words"})
    write(source, **{"data.yaml": f"train: images/train\nval: images/val\ntest: images/test\n{NAMES}"})
    raw, problems = read(source)
    assert len(raw.sequences) == 2
    assert counts(problems) == {yolo_layout.UNLISTED: 1, yolo_layout.NO_SPLIT_LABELS: 1, yolo.NO_FILE: 1}


def test_a_turned_photo_is_measured_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "a.jpg", exif=exif)
    raw, _ = read(write(tmp_path, **{"labels/a.txt": "0 .5 .5 .5 .5", "classes.txt": "bird\n"}))
    assert raw.classes == ("bird",)
    assert raw.sequences[0].boxes_xyxy_px.tolist() == [[5, 10, 15, 30]]


WRONG_LINES = [
    ("0 .5 .5 .5", "still.txt:2: 5 columns or more are expected"),
    ("0,.5,.5,.5,.5", "still.txt:2: 5 columns or more"),
    ("bird .5 .5 .5 .5", "still.txt:2: class: a number is expected, got 'bird'"),
    ("0 .5 .5 .5 x", "still.txt:2: height: a number is expected, got 'x'"),
    ("0 .5 .5 nan .5", "still.txt:2: a coordinate is not a finite number"),
    ("0 .5 inf .5 .5", "still.txt:2: a coordinate is not a finite number"),
    ("-1 .5 .5 .5 .5", "still.txt:2: class: a whole number, 0 or more"),
    ("0.5 .5 .5 .5 .5", "still.txt:2: class: a whole number, 0 or more"),
    ("2 .5 .5 .5 .5", "still.txt:2: class: 2 is unknown; there are 0 bird, 1 drone"),
    ("99999999999999999999 .5 .5 .5 .5", "still.txt:2: class: "),
    ("0 320 .5 .5 .5", "still.txt:2: x centre: a fraction of the image, 0 to 1, is expected, got 320"),
    ("0 .5 .5 -.5 .5", "still.txt:2: width: a fraction"),
    ("0 .5 .5 1.2 .5", "still.txt:2: width: a fraction"),
    ("0 .1 .1 .9 .1 .9 1.5 .1 .9", "still.txt:2: y of point 3: a fraction"),
    ("0 .5 .5 .5 .5 -7", "still.txt:2: track id: 0 or more"),
    ("0 .5 .5 .5 .5 2.5", "still.txt:2: column 6: a confidence"),
    ("0 .5 .5 .5 .5\0", "still.txt:2: "),
]


@pytest.mark.parametrize(("line", "says"), WRONG_LINES)
def test_a_wrong_line_is_named_and_nothing_is_written(
    source: Path, tmp_path: Path, line: str, says: str
) -> None:
    write(source, **{"labels/val/still.txt": f"0 .5 .5 .5 .5\n{line}\n"})
    with pytest.raises(InputError) as caught:
        ingest(source, tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["birds"]


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("", "data.yaml: names and train or val are expected"),
        ("train: x\nnames: [a", "data.yaml:2: not valid YAML"),
        ("train: x\nnames: 3", "data.yaml: names: a list of class names"),
        ("train: x\nnames: []", "data.yaml: names: a list of class names"),
        ("train: x\nnames: [a, a]", "data.yaml: names: 'a' occurs twice"),
        ("train: x\nnames: [a, [b]]", "data.yaml: names: 1: a text is expected"),
        ("train: x\nnames: {-1: a}", "data.yaml: names: a class number"),
        ("train: x\nnames: {0: no}", "data.yaml: names: 0: a text is expected; put it into quotes"),
        ("train: x\nnc: 3\nnames: [a, b]", "data.yaml: nc: 3, but names has 2"),
        ("train: x\nnames: [a, b]", "data.yaml: train: there is no 'x'"),
        ("train: 5\nnames: [a, b]", "data.yaml: train: a folder, a list"),
        ("train: /etc\nnames: [a, b]", "data.yaml: train: '/etc' leads out"),
        ("train: images/../../..\nnames: [a, b]", "data.yaml: train: 'images/../../..' leads out"),
        ("train: https://x.org/a\nnames: [a, b]", "data.yaml: train: 'https://x.org/a' leads out"),
        ("train: link\nnames: [a, b]", "data.yaml: train: there is no 'link'"),
        ("train: list.txt\nnames: [a, b]", "list.txt:1: '/etc/passwd' leads out"),
        ("train: list.txt\nnames: [a, b]", "list.txt:2: there is no image 'no.png'"),
        ("train: x\nnames: !!python/object/apply:os.system [ls]", "data.yaml:2: not valid YAML"),
        ("train: x\nnames: " + "[" * 5000, "data.yaml"),
        ("train: x\nd: 2024-99-99\nnames: [a]", "data.yaml: not valid YAML"),
        ("train: \xe9\x00\nnames: [a]", "data.yaml"),
    ],
)
def test_a_wrong_description_is_named(source: Path, tmp_path: Path, yaml: str, says: str) -> None:
    (source / "link").symlink_to("/")
    write(source, **{"data.yaml": yaml, "list.txt": "/etc/passwd\nno.png\n"})
    with pytest.raises(InputError) as caught:
        ingest(source, tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_alias_bomb_is_refused_quickly(source: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    write(source, **{"data.yaml": f"{bomb}train: x\nnames: *a59\n"})
    with pytest.raises(InputError, match=r"names: 0: a text is expected"):
        read(source)


def test_labels_without_images_and_files_that_are_no_text(source: Path) -> None:
    write(source, **{"labels/val/lost.txt": "0 .5 .5 .5 .5"})
    with pytest.raises(InputError, match=r"lost.txt: there is no image or video for these labels"):
        read(source)
    (source / "labels" / "val" / "lost.txt").unlink()
    (source / "labels" / "val" / "still.txt").write_bytes(b"\xff\xfe0\x00")
    with pytest.raises(InputError, match=r"still.txt: not UTF-8"):
        read(source)


def test_two_label_files_of_one_image_are_refused(source: Path) -> None:
    write(source, **{"images/val/still.txt": "0 .5 .5 .5 .5"})
    with pytest.raises(InputError, match=r"still.txt: a second label file"):
        read(source)


def test_no_labels_at_all(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path, ["images/a.png"])
    assert not yolo.sniff(tmp_path)
    with pytest.raises(InputError, match="no label file"):
        yolo.read(tmp_path, Problems())


@given(st.lists(st.sampled_from(["0", "1", ".5", "2", "-1", "x", "nan", "1e400", "é", "0.9"]), max_size=10))
@example(["0", "1e400", "0", "1e400", "0"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_line_is_read_or_refused(source: Path, cells: list[str]) -> None:
    write(source, **{"labels/val/still.txt": f"{' '.join(cells)}\n0 .5 .5 .5 .5"})
    problems = Problems()
    raw = yolo.read(source, problems)
    for sequence in raw.sequences:
        assert np.isfinite(sequence.boxes_xyxy_px).all()
        assert (sequence.class_id < 2).all()


def test_many_boxes_are_parsed_as_columns(source: Path) -> None:
    line = "0 0.512345 0.512345 0.100000 0.200000\n"
    write(source, **{"labels/val/still.txt": line * 50_000 + "1 .5 .5 .5 .5 7\n"})
    raw, _ = read(source)
    assert len(raw.sequences[1].frame) == 50_001
    assert raw.sequences[1].row[-1] == 50_001


def test_many_wrong_lines_are_counted_and_the_first_are_shown(source: Path) -> None:
    write(source, **{"labels/val/still.txt": "0 .5 .5 .5 é\n" * 20_000 + "0 .5 1_0 .5 .5\n0 .5 .5 .5 .5\n"})
    with pytest.raises(InputError, match=r"20001 problems") as caught:
        read(source)
    assert "still.txt:20: height: a number is expected, got 'é'" in str(caught.value)
