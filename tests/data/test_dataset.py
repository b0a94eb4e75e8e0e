from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seqdet.data.checks import is_inside, name_fault
from seqdet.data.dataset import Dataset, Sequence, load_dataset, save_dataset
from seqdet.data.labels import Labels
from seqdet.errors import InputError, UsageError

CLASSES = ("bird", "drone")
LABELS = Labels.from_columns(
    np.array([3, 0]), np.array([1, 1]), np.array([1, 1]), np.array([[1, 2, 3, 4]] * 2)
)


@pytest.fixture
def made(tmp_path: Path, make_video: Callable[..., Path], make_images: Callable[..., Path]) -> Dataset:
    """Two sequences: a video file with labels, a folder of images without objects."""
    video = make_video(tmp_path / "source" / "a.avi")
    images = make_images(tmp_path / "source" / "frames", ["9.png", "10.png", "11.png"])
    first = Sequence("a", video, 10, (64, 48), 25.0, 1, "take 1", "train", {"sensor": "thermal"})
    second = Sequence("b ü", images, 3, (64, 48), 10.0, -1, "take 2", "val", {"sensor": "visible"})
    files = tuple(images / name for name in ("9.png", "10.png", "11.png"))
    return save_dataset(
        tmp_path / "data", CLASSES, [(first, None, LABELS), (second, files, Labels.empty())], notes=["a note"]
    )


def test_a_data_set_is_read_as_it_was_written(made: Dataset) -> None:
    assert made.classes == CLASSES
    assert made.notes == ("a note",)
    first, second = made.sequences
    assert (first.name, first.frames, first.size_wh, first.fps) == ("a", 10, (64, 48), 25.0)
    assert (first.class_id, first.recording, first.split) == (1, "take 1", "train")
    assert second.class_id == -1
    assert made.labels(first).frame.tolist() == [0, 3]
    assert len(made.labels(second)) == 0
    assert made.split("train") == (first,)
    assert made.split("test") == ()
    assert made.where(sensor="visible").sequences == (second,)
    assert first.video.read_bytes() == (made.root.parent / "source" / "a.avi").read_bytes()


def test_frame_k_of_a_folder_is_image_k_whatever_its_name(made: Dataset) -> None:
    folder = made.sequences[1].video
    assert [path.name for path in sorted(folder.iterdir())] == ["000000.png", "000001.png", "000002.png"]
    source = made.root.parent / "source" / "frames"
    assert (folder / "000001.png").read_bytes() == (source / "10.png").read_bytes()


def test_links_take_no_space_and_stay_in_the_folder(made: Dataset, tmp_path: Path) -> None:
    items = [(replace(made.sequences[0]), None, LABELS)]
    linked = save_dataset(tmp_path / "linked", CLASSES, items, link=True)
    assert linked.sequences[0].video.is_symlink()
    assert json.loads((linked.root / "dataset.json").read_text())["sequences"][0]["video"] == "videos/a.avi"


def test_an_unknown_split_or_attribute_is_a_usage_error(made: Dataset) -> None:
    with pytest.raises(UsageError, match="train, val, test"):
        made.split("trian")
    with pytest.raises(UsageError, match=r"'sensr'.*sensor"):
        made.where(sensr="thermal")


def test_what_exists_is_kept_without_force_and_replaced_whole_with_it(made: Dataset, tmp_path: Path) -> None:
    items = [(made.sequences[0], None, LABELS)]
    with pytest.raises(UsageError, match="--force"):
        save_dataset(made.root, CLASSES, items)
    assert len(load_dataset(made.root).sequences) == 2
    copy = save_dataset(tmp_path / "copy", CLASSES, items)
    again = save_dataset(made.root, CLASSES, [(copy.sequences[0], None, LABELS)], force=True)
    assert [sequence.name for sequence in again.sequences] == ["a"]
    assert not (made.root / "labels" / "b ü.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data", "source"]


def test_a_folder_that_is_no_data_set_is_never_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a data set"):
        save_dataset(home, CLASSES, [], force=True)
    assert (home / "thesis.txt").read_text() == "years of work"


def test_nothing_half_is_left_when_writing_fails(made: Dataset, tmp_path: Path) -> None:
    class InterruptError(Exception):
        pass

    def items():
        yield made.sequences[0], None, LABELS
        raise InterruptError

    before = sorted(path.name for path in tmp_path.iterdir())
    for out in (tmp_path / "new", made.root):
        with pytest.raises(InterruptError):
            save_dataset(out, CLASSES, items(), force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert len(load_dataset(made.root).sequences) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 2"),
        ({"format": "x"}, '"format" must be'),
        ({"classes": []}, "classes: a list"),
        ({"classes": ["a", "a"]}, "classes: a list"),
        ({"sequences": {}}, "sequences: a list"),
        ({"sequences": [3]}, r"sequences\[0\].name: an object"),
    ],
)
def test_a_wrong_head_is_named(made: Dataset, change: dict[str, object], says: str) -> None:
    path = made.root / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=says):
        load_dataset(made.root)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../b"), ("name", ""), ("name", None), ("name", "b ü"),
        ("video", "../source/a.avi"), ("video", "/etc/passwd"), ("video", "http://host/a.mp4"),
        ("video", "C:\\a.mp4"), ("video", "videos/none.mp4"), ("frames", 0), ("frames", 1.5),
        ("frames", "10"),
        ("frames", True), ("size_wh", [64]), ("size_wh", [64, -1]), ("fps", 0),
        ("fps", float("nan")), ("fps", 10**400), ("frames", 10**400),
        ("fps", None), ("label", "brid"), ("label", ["bird"]), ("recording", 3), ("split", "trian"),
        ("attributes", {"a": 1}), ("attributes", []),
    ],
)  # fmt: skip
def test_a_wrong_sequence_is_named_by_index_and_key(made: Dataset, key: str, value: object) -> None:
    path = made.root / "dataset.json"
    document = json.loads(path.read_text())
    document["sequences"][0][key] = value
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=rf"dataset.json: sequences\[[01]\].{key}: "):
        load_dataset(made.root)


def test_a_missing_label_file_and_broken_json_are_named(made: Dataset) -> None:
    (made.root / "labels" / "a.csv").unlink()
    with pytest.raises(InputError, match=r"labels/a.csv does not exist"):
        load_dataset(made.root)
    (made.root / "dataset.json").write_text('{\n"format": "seqdet-dataset",\n')
    with pytest.raises(InputError, match=r"dataset.json:3: not valid JSON"):
        load_dataset(made.root)


def test_no_data_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="seqdet ingest"):
        load_dataset(tmp_path / "none")


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../../b", "a\\..\\b", "C:a", "\\\\host\\a", "http://a/b", "a\0b"]
)
def test_paths_that_may_lead_out_are_refused(path: str) -> None:
    assert not is_inside(path)


def test_ordinary_names_are_accepted() -> None:
    assert all(is_inside(path) for path in ("a.mp4", "a/b c/ü.png", "..a/b"))
    assert all(name_fault(name) is None for name in ("a", "clip 1", "ü-2.b"))
    assert all(name_fault(name) for name in ("", ".", "..", "a/b", "a\\b", "a\nb", " a", "a" * 201))
