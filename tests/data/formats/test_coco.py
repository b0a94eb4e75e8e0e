from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seqdet.data.dataset import SPLITS, load_dataset
from seqdet.data.formats import choose_format, coco
from seqdet.data.formats.coco_parts import FROM_MASK, IGNORED, TWICE, split_of
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.data.formats.source_files import SPLIT_WORDS
from seqdet.data.formats.stills import STILLS, VIDEOS
from seqdet.errors import InputError, UsageError
from seqdet.runs.ingest import ingest

Make = Callable[..., Path]


def document() -> dict[str, Any]:
    """Two images that do not follow each other; three boxes, of which two are in the second image."""
    return {
        "images": [
            {"id": 8, "file_name": "b.png", "width": 64, "height": 48},
            {"id": 3, "file_name": "a.png", "width": 64, "height": 48},
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 7, "bbox": [0, 0, 64, 48], "iscrowd": 0, "area": 9},
            {"id": 2, "image_id": 3, "category_id": 2, "bbox": [1.5, 2, 3, 4.25], "track_id": 6},
            {"id": 3, "image_id": 8, "category_id": 2, "bbox": [10, 20, 5, 6], "segmentation": []},
        ],
        "categories": [
            {"id": 7, "name": "drone", "supercategory": "thing"},
            {"id": 2, "name": "bird", "supercategory": "bird"},
        ],
    }


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is coco
    raw = coco.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def write(source: Path, content: object, name: str = "labels.json") -> Path:
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (source / name).write_text(text, encoding="utf-8")
    return source


def boxes(raw: RawDataset) -> dict[str, list[tuple[Any, ...]]]:
    """For each sequence (frame, class, left, top, right, bottom) of its boxes."""
    return {
        sequence.name: [
            (frame, raw.classes[class_id], *box)
            for frame, class_id, box in zip(
                sequence.frame.tolist(),
                sequence.class_id.tolist(),
                sequence.boxes_xyxy_px.tolist(),
                strict=True,
            )
        ]
        for sequence in raw.sequences
    }


@pytest.fixture
def source(tmp_path: Path, make_images: Make) -> Path:
    folder = tmp_path / "source"
    make_images(folder / "images", ["a.png", "b.png"])
    return folder


def test_images_that_do_not_follow_each_other_are_sequences_of_one_frame(source: Path) -> None:
    raw, problems = read(write(source, document()))
    assert raw.classes == ("bird", "drone"), "in the order of the ids"
    assert boxes(raw) == {
        "a": [(0, "drone", 0, 0, 64, 48), (0, "bird", 1.5, 2, 4.5, 6.25)],
        "b": [(0, "bird", 10, 20, 15, 26)],
    }
    assert raw.sequences[0].track_id.tolist() == [-1, 6]
    assert raw.sequences[0].size_wh == (64, 48)
    assert raw.sequences[1].place(0).endswith("labels.json: annotations[2]")
    assert raw.notes == (STILLS,)
    assert problems.dropped == ()


def test_numbered_images_are_frames_of_a_video_with_the_tracks_of_cvat(
    tmp_path: Path, make_images: Make
) -> None:
    names = [f"frame_{index:06d}.png" for index in range(12)]
    make_images(tmp_path / "images" / "default", names)
    content = {
        "images": [{"id": 20 - index, "file_name": name} for index, name in enumerate(names)],
        "annotations": [
            {
                "image_id": 20 - frame,
                "category_id": 1,
                "bbox": [frame, 2, 3, 4],
                "attributes": {"occluded": False, "track_id": track, "keyframe": frame == 0},
            }
            for frame in (3, 0, 11)
            for track in (5, "9", "left wing")
        ],
        "categories": [{"id": 1, "name": "bird"}],
    }
    raw, _ = read(write(tmp_path, content, "annotations/instances_default.json"))
    (sequence,) = raw.sequences
    assert [path.name for path in sequence.images or ()] == names
    assert sequence.frame.tolist() == [3, 3, 3, 0, 0, 0, 11, 11, 11]
    assert sequence.track_id.tolist() == [5, 9, -1] * 3
    assert sequence.boxes_xyxy_px[:, 0].tolist() == sequence.frame.tolist()
    assert raw.notes == (VIDEOS,)


def test_crowds_are_left_out_and_counted(source: Path) -> None:
    content = document()
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][2]["ignore"] = True
    raw, problems = read(write(source, content))
    assert {name: len(found) for name, found in boxes(raw).items()} == {"a": 1, "b": 0}
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(IGNORED, 2)]
    assert problems.dropped[0].examples[1].endswith("labels.json: annotations[2]")


def test_segmentations_without_box_give_one(source: Path) -> None:
    content = document()
    for annotation, segmentation in zip(
        content["annotations"],
        (
            [[1, 2, 5, 2.5, 3, 9]],
            {"size": [48, 64], "counts": [48 * 2 + 5, 3, 45, 4, 48 * 64 - 153]},
            {"size": [48, 64], "counts": [48 * 64]},
        ),
        strict=True,
    ):
        annotation["segmentation"] = segmentation
        annotation.pop("bbox")
    raw, problems = read(write(source, content))
    assert boxes(raw) == {"a": [(0, "drone", 1, 2, 5, 9), (0, "bird", 2, 5, 4, 9)], "b": []}
    counts = {entry.reason: entry.count for entry in problems.dropped}
    assert counts == {FROM_MASK: 2, coco.EMPTY_MASK: 1}


@pytest.mark.parametrize(
    ("labels", "images"),
    [
        ("labels.json", ""),
        ("labels.json", "data"),
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/instances_val2017.json", "images/val"),
        ("annotations/person_keypoints_val.json", "valid/images"),
        ("annotations/instances_val.json", ""),
        ("valid/_annotations.coco.json", "valid"),
        ("val/annotations/boxes.json", "val"),
        ("val.json", "elsewhere/deep"),
    ],
)
def test_where_images_are(tmp_path: Path, make_images: Make, labels: str, images: str) -> None:
    make_images(tmp_path / "train", ["c.png", "d.png"])
    make_images(tmp_path / images, ["a.png", "b.png"])
    raw, _ = read(write(tmp_path, document(), labels))
    folders = {image.parent for sequence in raw.sequences for image in sequence.images or ()}
    assert folders == {tmp_path / images}
    assert [sequence.split for sequence in raw.sequences] == [None if "labels" in labels else "val"] * 2


def test_each_file_has_the_images_of_its_split(tmp_path: Path, make_images: Make) -> None:
    for split in ("train", "val"):
        make_images(tmp_path / split, ["a.png", "b.png"])
        write(tmp_path, document(), f"annotations/{split}.json")
    raw, _ = read(tmp_path)
    assert [sequence.name for sequence in raw.sequences] == ["train_a", "train_b", "val_a", "val_b"]
    assert [sequence.split for sequence in raw.sequences] == ["train", "train", "val", "val"]


def test_the_word_of_a_split() -> None:
    assert set(SPLIT_WORDS.values()) == set(SPLITS)
    found = {
        "annotations/instances_train2017.json": "train",
        "x/valid/_annotations.coco.json": "val",
        "x/test/annotations/a.json": "test",
        "my_test_data/labels.json": None,
        "latest/trains.json": None,
    }
    assert {name: split_of(Path(name)) for name in found} == found


def test_a_category_that_only_groups_others_is_left_out(source: Path) -> None:
    content = document()
    content["categories"] = [
        {"id": 0, "name": "bird", "supercategory": "none"},
        {"id": 2, "name": "bird", "supercategory": "bird"},
        {"id": 7, "name": "drone", "supercategory": "bird"},
        {"id": 9, "name": "kite", "supercategory": "bird"},
    ]
    raw, _ = read(write(source, content))
    assert raw.classes == ("bird", "drone", "kite"), "a class without boxes stays"
    assert any("'bird' is only the supercategory" in note for note in raw.notes)
    content["annotations"][0]["category_id"] = 0
    with pytest.raises(InputError, match=r"categories\[1\]: the id 2 or the name 'bird' occurs twice"):
        read(write(source, content))


def test_altered_copies_of_roboflow_are_one_recording(tmp_path: Path, make_images: Make) -> None:
    names = ["sky_jpg.rf.0a1b.png", "sky_jpg.rf.77ff.png"]
    make_images(tmp_path / "train", names)
    content = document()
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name
    raw, _ = read(write(tmp_path, content, "train/_annotations.coco.json"))
    assert len(raw.sequences) == 2
    assert {sequence.recording for sequence in raw.sequences} == {"train_sky_jpg"}


def test_an_image_in_two_splits_is_a_leak(source: Path, tmp_path: Path) -> None:
    write(source, document(), "annotations/train.json")
    write(source, document(), "annotations/val.json")
    with pytest.raises(UsageError, match="recording"):
        ingest(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = ingest(source, tmp_path / "out", allow_leak=True)
    assert report.boxes == 6
    (source / "annotations" / "val.json").rename(source / "annotations" / "train2.json")
    with pytest.raises(InputError, match=r"train2.json: images\[0\]: 'b.png' is in train.json too"):
        read(source)


def test_an_image_listed_twice_is_one(source: Path) -> None:
    content = document()
    content["images"].append({"id": "text", "file_name": "./a.png"})
    content["annotations"].append({"image_id": "text", "category_id": 7, "bbox": [1, 1, 2, 2]})
    raw, problems = read(write(source, content))
    assert len(boxes(raw)["a"]) == 3
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(TWICE, 1)]


@pytest.mark.parametrize(
    ("key", "index", "change", "says"),
    [
        ("annotations", 0, {"image_id": 99}, "annotations[0]: image_id: there is no image"),
        ("annotations", 0, {"image_id": [1]}, "annotations[0]: image_id: there is no image"),
        ("annotations", 0, {"image_id": True}, "annotations[0]: image_id: there is no image"),
        ("annotations", 0, {"category_id": -1}, "annotations[0]: category_id: there is no category"),
        ("annotations", 0, {"bbox": [1, 2, 3]}, "annotations[0]: bbox: [left, top, width, height]"),
        ("annotations", 0, {"bbox": []}, "annotations[0]: bbox: "),
        ("annotations", 0, {"bbox": [1, 2, "3", 4]}, "annotations[0]: bbox: "),
        ("annotations", 0, {"bbox": [10**400, 2, 3, 4]}, "annotations[0]: bbox: "),
        ("annotations", 0, {"bbox": None, "segmentation": [[1]]}, "annotations[0]: segmentation: a polygon"),
        ("annotations", 0, {"bbox": None, "segmentation": {"size": 1}}, "annotations[0]: segmentation: size"),
        ("annotations", 0, {"track_id": "4"}, "annotations[0]: track_id: "),
        ("annotations", 0, {"track_id": -2}, "annotations[0]: track_id: "),
        ("images", 0, {"id": None}, "images[0]: id: a whole number"),
        ("images", 0, {"id": 3}, "images[1]: id: 3 occurs twice"),
        ("images", 0, {"file_name": None}, "images[0]: file_name: a text"),
        ("images", 0, {"file_name": "c.png"}, "images[0]: file_name: there is no image 'c.png'"),
        ("images", 0, {"file_name": "../secret.png"}, "images[0]: file_name: '../secret.png' leads out"),
        ("images", 0, {"file_name": "/etc/passwd"}, "images[0]: file_name: '/etc/passwd' leads out"),
        ("images", 0, {"file_name": "http://a/b.png"}, "leads out"),
        ("images", 0, {"file_name": "C:\\b.png"}, "leads out"),
        ("images", 0, {"file_name": "\ud800.png"}, "half of a character"),
        ("categories", 0, {"id": 2}, "categories[1]: the id 2 or the name 'bird' occurs twice"),
        ("categories", 0, {"id": "7"}, "categories[0]: an id (whole number) and a name"),
        ("categories", 0, {"name": "a\nb"}, "categories[0]: the name 'a\\nb' holds control characters"),
    ],
)
def test_a_wrong_element_is_named(
    source: Path, tmp_path: Path, key: str, index: int, change: dict[str, Any], says: str
) -> None:
    content = document()
    content[key][index] |= change
    with pytest.raises(InputError) as caught:
        ingest(write(source, content), tmp_path / "out")
    assert says in str(caught.value)
    assert "labels.json" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_sizes_other_than_those_of_the_images_are_refused(source: Path, tmp_path: Path) -> None:
    content = document()
    content["images"][1]["width"] = 65
    with pytest.raises(InputError, match="the labels say 65x48 pixels, the video has 64x48"):
        ingest(write(source, content), tmp_path / "out")
    content["images"][1]["width"] = 0
    assert ingest(write(source, content), tmp_path / "out").boxes == 3, "0 is no size"


def test_a_coordinate_that_is_no_number_is_refused(source: Path, tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["bbox"][2] = float("nan")
    with pytest.raises(InputError, match=r"labels.json: annotations\[1\]: box: a coordinate is not a finite"):
        ingest(write(source, content), tmp_path / "out")


def test_a_link_out_of_the_folder_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((source / "images" / "b.png").read_bytes())
    (source / "images" / "b.png").unlink()
    (source / "images" / "b.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match=r"images\[0\]: file_name: 'b.png' is a link out of"):
        read(write(source, document()))


@pytest.mark.parametrize(
    "text", ['{"images": [],\n "annotations": [], "categories": [', "[" * 100_000, "", "[]", '"', "\0"]
)
def test_broken_json_is_an_input_error(source: Path, tmp_path: Path, text: str) -> None:
    write(source, text)
    with pytest.raises(InputError, match=r"labels.json"):
        ingest(source / "labels.json", tmp_path / "out", format="coco")
    assert not (tmp_path / "out").exists()


def test_the_line_of_broken_json_is_named(source: Path) -> None:
    with pytest.raises(InputError, match=r"labels.json:2: not valid JSON"):
        read(write(source, '{"images": [],\n "annotations": [, "categories": ['))


def test_lists_of_another_type_are_named(source: Path) -> None:
    with pytest.raises(InputError, match=r"labels.json: a list is expected under annotations, categories"):
        read(write(source, document() | {"annotations": {}, "categories": None}))


def test_byte_order_mark_and_line_ends_of_windows_and_unicode(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images" / "día", ["鳥.png", "b.png"])
    content = document()
    content["images"][1]["file_name"] = "día\\鳥.png"
    content["images"][0]["file_name"] = "día/b.png"
    content["categories"][0]["name"] = "дрон"
    text = "\ufeff" + json.dumps(content, ensure_ascii=False, indent=1).replace("\n", "\r\n")
    (tmp_path / "labels.json").write_bytes(text.encode("utf-8"))
    raw, _ = read(tmp_path)
    assert raw.classes == ("bird", "дрон")
    assert [sequence.name for sequence in raw.sequences] == ["día_b", "día_鳥"]


VALUES = st.sampled_from(
    [None, True, -1, 0, 2.5, float("nan"), 10**400, "", "../a", "b.png", "\ud800", [], [1], {}, {"a": 1}]
)
PLACES = [
    (key, index, field)
    for key, entries in document().items()
    for index, entry in enumerate(entries)
    for field in (*entry, "segmentation", "attributes")
]


@example(changes=[(("annotations", 0, "bbox"), []), (("annotations", 0, "segmentation"), {"a": 1})])
@example(changes=[(("categories", 0, "supercategory"), []), (("categories", 0, "id"), [1])])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_value_is_read_or_refused(
    source: Path, changes: list[tuple[tuple[str, int, str], object]]
) -> None:
    content = document()
    for (key, index, field), value in changes:
        content[key][index][field] = value
    with contextlib.suppress(InputError):
        read(write(source, content))


def test_a_whole_data_set_box_by_box(source: Path, tmp_path: Path) -> None:
    report = ingest(write(source, document(), "annotations/instances_train.json"), tmp_path / "out")
    assert (report.format, report.sequences, report.boxes) == ("coco", 2, 3)
    dataset = load_dataset(tmp_path / "out")
    assert dataset.classes == ("bird", "drone")
    rows = {
        (sequence.name, dataset.classes[class_id], *box)
        for sequence in dataset.sequences
        for labels in [dataset.labels(sequence)]
        for class_id, box in zip(labels.class_id.tolist(), labels.boxes_xyxy_px.tolist(), strict=True)
    }
    assert rows == {
        ("a", "drone", 0, 0, 64, 48),
        ("a", "bird", 1.5, 2, 4.5, 6.25),
        ("b", "bird", 10, 20, 15, 26),
    }
    assert STILLS in report.notes
    pixels = cv2.imread(str(next((tmp_path / "out" / "videos" / "b").iterdir())))
    assert np.array_equal(pixels, cv2.imread(str(source / "images" / "b.png")))
