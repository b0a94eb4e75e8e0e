from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import choose_format, class_folders
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.data.formats.stills import STILLS, VIDEOS
from seqdet.errors import InputError
from seqdet.runs.ingest import CLASSES_ONLY, ingest

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
Make = Callable[..., Path]
FRAMES = [f"{k:06d}.png" for k in range(1, 7)]


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is class_folders
    raw = class_folders.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def summary(raw: RawDataset) -> list[tuple[str, str | None, str | None]]:
    return [(each.name, each.label, each.split) for each in raw.sequences]


def test_videos_folders_of_frames_and_pictures(tmp_path: Path, make_video: Make, make_images: Make) -> None:
    make_video(tmp_path / "bird" / "b2.avi", 4)
    make_video(tmp_path / "bird" / "b10.avi", 4)
    make_images(tmp_path / "drone" / "clip.v2", FRAMES)
    make_images(tmp_path / "plané x", ["shot_001.png", "other.png"])
    (tmp_path / "README.md").write_text("what this is")
    (tmp_path / "bird" / ".DS_Store").write_text("")
    raw, problems = read(tmp_path)
    assert raw.classes == ("bird", "drone", "plané x")
    assert summary(raw) == [
        ("bird_b2", "bird", None),
        ("bird_b10", "bird", None),
        ("drone_clip.v2", "drone", None),
        ("plané x_other", "plané x", None),
        ("plané x_shot_001", "plané x", None),
    ]
    assert [len(each.images or ()) for each in raw.sequences] == [0, 0, 6, 1, 1]
    assert all(len(each.frame) == 0 for each in raw.sequences)
    assert raw.notes == (class_folders.NO_BOXES, STILLS)
    assert problems.dropped == ()


def test_images_of_a_class_that_follow_each_other_are_one_video(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "a", FRAMES)
    make_images(tmp_path / "b", [f"take_{name}" for name in FRAMES])
    raw, _ = read(tmp_path)
    assert summary(raw) == [("a", "a", None), ("b_take", "b", None)]
    assert raw.notes == (class_folders.NO_BOXES, VIDEOS)


def test_folders_of_splits(tmp_path: Path, make_video: Make) -> None:
    for split in ("train", "valid", "test"):
        for name in ("bird", "drone"):
            make_video(tmp_path / split / name / "1.avi", 3)
    make_video(tmp_path / "train" / "bird" / "2.avi", 3)
    raw, _ = read(tmp_path)
    assert summary(raw) == [
        ("test_bird_1", "bird", "test"),
        ("test_drone_1", "drone", "test"),
        ("train_bird_1", "bird", "train"),
        ("bird_2", "bird", "train"),
        ("train_drone_1", "drone", "train"),
        ("val_bird_1", "bird", "val"),
        ("val_drone_1", "drone", "val"),
    ]


def test_a_class_may_be_called_train(tmp_path: Path, make_video: Make) -> None:
    for name in ("train", "plane"):
        make_video(tmp_path / name / "1.avi", 3)
    raw, _ = read(tmp_path)
    assert summary(raw) == [("plane_1", "plane", None), ("train_1", "train", None)]


def test_clips_of_one_video_of_ucf101_are_one_recording(tmp_path: Path, make_video: Make) -> None:
    for name in ("v_Archery_g01_c01", "v_Archery_g01_c02", "v_Archery_g02_c01"):
        make_video(tmp_path / "Archery" / f"{name}.avi", 3)
    make_video(tmp_path / "Punch" / "other.avi", 3)
    raw, _ = read(tmp_path)
    assert [each.recording for each in raw.sequences] == [
        "v_Archery_g01",
        "v_Archery_g01",
        "v_Archery_g02",
        None,
    ]


def test_a_data_set_of_it(tmp_path: Path, make_video: Make, make_images: Make) -> None:
    source = tmp_path / "source"
    for name in ("x", "y"):
        make_video(source / "train" / "bird" / f"{name}.avi", 4)
        make_images(source / "train" / "drone" / name, FRAMES)
    make_video(source / "val" / "bird" / "x.avi", 5)
    make_video(source / "val" / "bird" / "x.mkv", 5)
    report = ingest(source, tmp_path / "data")
    assert (report.format, report.sequences, report.frames, report.boxes) == ("class-folders", 6, 30, 0)
    dataset = load_dataset(tmp_path / "data")
    assert {
        each.name: (dataset.classes[each.class_id], each.split, each.frames) for each in dataset.sequences
    } == {
        "train_bird_x": ("bird", "train", 4),
        "bird_y": ("bird", "train", 4),
        "drone_x": ("drone", "train", 6),
        "drone_y": ("drone", "train", 6),
        "val_bird_x": ("bird", "val", 5),
        "val_bird_x_2": ("bird", "val", 5),
    }
    assert all(len(dataset.labels(each)) == 0 for each in dataset.sequences)
    assert class_folders.NO_BOXES in dataset.notes
    assert CLASSES_ONLY in dataset.notes
    assert not any(each.boxes_known for each in dataset.sequences)
    document = tmp_path / "data" / "dataset.json"
    document.write_text(document.read_text().replace(', "boxes_known": false', ""))
    assert all(each.boxes_known for each in load_dataset(tmp_path / "data").sequences)  # as older ones
    document.write_text(document.read_text().replace('"split": "val"', '"split": "val", "boxes_known": "no"'))
    with pytest.raises(InputError, match=r"sequences\[4\].boxes_known: true or false"):
        load_dataset(tmp_path / "data")


def two_classes(source: Path, make_video: Make) -> Path:
    for name in ("bird", "drone"):
        make_video(source / name / "1.avi", 3)
    return source


@pytest.mark.parametrize(
    "spoil",
    [
        "labels.json",
        "bird/1.txt",
        "bird/deeper/1.xml",
        "2.avi",
        "bird/deeper/deeper/1.png",
        "images/1.png",
        "gt/1/1.png",
        "bird/masks/1.png",
        "empty/",
    ],
)
def test_what_looks_like_anything_else_is_not_claimed(tmp_path: Path, make_video: Make, spoil: str) -> None:
    two_classes(tmp_path, make_video)
    assert class_folders.sniff(tmp_path)
    (tmp_path / spoil).parent.mkdir(parents=True, exist_ok=True)
    if spoil.endswith("/"):
        (tmp_path / spoil).mkdir()
    else:
        (tmp_path / spoil).write_text("")
    assert not class_folders.sniff(tmp_path)


def test_one_class_is_not_claimed(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "bird" / "1.avi", 3)
    assert not class_folders.sniff(tmp_path)
    assert not class_folders.sniff(tmp_path / "bird" / "1.avi")


def test_forced_it_counts_what_it_leaves_out(tmp_path: Path, make_video: Make) -> None:
    source = two_classes(tmp_path / "source", make_video)
    (source / "empty").mkdir()
    (source / "bird" / "1.srt").write_text("")
    (source / "bird" / "deep" / "deeper").mkdir(parents=True)
    report = ingest(source, tmp_path / "data", format="class-folders")
    assert {entry.reason: entry.count for entry in report.dropped} == {
        class_folders.OTHER: 2,
        class_folders.EMPTY: 1,
    }
    with pytest.raises(InputError, match=r"1.srt: file or folder that is no video"):
        ingest(source, tmp_path / "strict", format="class-folders", strict=True)


def test_what_cannot_be_read(tmp_path: Path, make_video: Make) -> None:
    source = two_classes(tmp_path / "source", make_video)
    (source / "bird" / "1.avi").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"bird: its video cannot be read: .*1.avi"):
        ingest(source, tmp_path / "data")
    (source / "bird" / "1.avi").unlink()
    (source / "bird" / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"bird: its video cannot be read: .*1.png"):
        ingest(source, tmp_path / "data")
    with pytest.raises(InputError, match="a folder is expected"):
        ingest(source / "drone" / "1.avi", tmp_path / "data", format="class-folders")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no video or image in folders by class"):
        ingest(tmp_path / "none", tmp_path / "data", format="class-folders")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "source"]


def test_no_source_of_another_format_is_claimed() -> None:
    if not VECTORS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    assert [path for path in VECTORS.rglob("*") if class_folders.sniff(path)] == []
