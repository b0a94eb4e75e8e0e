from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seqdet.data.formats import choose_format, coco_vid
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations" / "mmtracking"
Make = Callable[..., Path]


def document() -> dict[str, Any]:
    """One video of three frames, listed out of order, one object in each of the first two."""
    return {
        "categories": [{"id": 7, "name": "drone"}, {"id": 2, "name": "bird"}],
        "videos": [{"id": 5, "name": "clip", "fps": 12.5}],
        "images": [
            {"id": 31, "video_id": 5, "frame_id": 1, "file_name": "b.png", "width": 64, "height": 48},
            {"id": 30, "video_id": 5, "frame_id": 0, "file_name": "a.png", "width": 64, "height": 48},
            {"id": 32, "video_id": 5, "frame_id": 2, "file_name": "c.png", "width": 64, "height": 48},
        ],
        "annotations": [
            {"id": 1, "image_id": 30, "category_id": 7, "bbox": [0, 0, 64, 48], "track_id": 4},
            {
                "id": 2,
                "image_id": 31,
                "category_id": 2,
                "bbox": [1.5, 2, 3, 4.25],
                "instance_id": 9,
                "video_id": 5,
            },
        ],
    }


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is coco_vid
    raw = coco_vid.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


@pytest.fixture
def source(tmp_path: Path, make_images: Make) -> Path:
    make_images(tmp_path / "images" / "clip", ["a.png", "b.png", "c.png"])
    return tmp_path


def write(source: Path, content: object, name: str = "labels.json") -> Path:
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return source


def test_frames_are_in_the_order_of_their_ids_and_boxes_count_from_zero(source: Path) -> None:
    raw, _ = read(write(source, document()))
    (sequence,) = raw.sequences
    assert raw.classes == ("bird", "drone"), "in the order of the ids"
    assert [path.name for path in sequence.images or ()] == ["a.png", "b.png", "c.png"]
    assert sequence.frame.tolist() == [0, 1]
    assert sequence.track_id.tolist() == [4, 9]
    assert sequence.class_id.tolist() == [1, 0]
    assert sequence.boxes_xyxy_px.tolist() == [[0, 0, 64, 48], [1.5, 2, 4.5, 6.25]]
    assert (sequence.name, sequence.size_wh, sequence.fps) == ("clip", (64, 48), 12.5)
    assert sequence.place(1).endswith("labels.json: annotations[1]")


def test_a_file_in_annotations_names_the_split_and_may_be_given_itself(source: Path) -> None:
    write(source, document(), "annotations/instances_val.json")
    assert [sequence.split for sequence in read(source)[0].sequences] == ["val"]
    assert len(read(source / "annotations" / "instances_val.json")[0].sequences) == 1


def test_frames_of_a_video_file(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "videos" / "clip.avi", 5)
    raw, problems = read(write(tmp_path, document()))
    (sequence,) = raw.sequences
    assert sequence.images is None
    assert sequence.video.name == "clip.avi"
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(coco_vid.UNLISTED, 2)]


def test_frame_ids_of_a_video_file_that_count_from_one(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "clip.avi", 3)
    content = document()
    for image in content["images"]:
        image["frame_id"] += 1
    raw, _ = read(write(tmp_path, content))
    assert raw.sequences[0].frame.tolist() == [0, 1]
    assert raw.notes == ("frame_id counts from 1 in the source",)


def test_crowds_are_left_out_and_counted(source: Path) -> None:
    content = document()
    content["annotations"][0]["iscrowd"] = 1
    raw, problems = read(write(source, content))
    assert raw.sequences[0].frame.tolist() == [1]
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(coco_vid.IGNORED, 1)]


def test_gaps_in_frame_ids_are_said(source: Path) -> None:
    content = document()
    content["images"][2]["frame_id"] = 20
    raw, _ = read(write(source, content))
    assert raw.sequences[0].frame.tolist() == [0, 1]
    assert "gaps" in raw.notes[0]


@pytest.mark.parametrize(
    ("key", "index", "change", "says"),
    [
        ("annotations", 0, {"image_id": 99}, "annotations[0]: image_id: there is no image 99"),
        ("annotations", 0, {"image_id": [1]}, "annotations[0]: image_id: there is no image [1]"),
        ("annotations", 0, {"category_id": 1}, "annotations[0]: category_id: there is no category 1"),
        (
            "annotations",
            0,
            {"bbox": [1, 2, 3]},
            "annotations[0]: bbox: [left, top, width, height] is expected",
        ),
        ("annotations", 0, {"bbox": "1 2 3 4"}, "annotations[0]: bbox: "),
        ("annotations", 0, {"bbox": [1, 2, "3", 4]}, "annotations[0]: bbox: "),
        ("annotations", 0, {"bbox": [1, 2, True, 4]}, "annotations[0]: bbox: "),
        ("annotations", 0, {"bbox": [10**400, 2, 3, 4]}, "annotations[0]: bbox: "),
        ("annotations", 0, {"track_id": "4"}, "annotations[0]: track_id: "),
        ("annotations", 0, {"track_id": -2}, "annotations[0]: track_id: "),
        ("annotations", 1, {"video_id": 6}, "annotations[1]: video_id: 6, but its image is of video 5"),
        ("images", 0, {"id": None}, "images[0]: id: a whole number"),
        ("images", 0, {"id": 32}, "images[2]: id: 32 occurs twice"),
        ("images", 0, {"video_id": 6}, "images[0]: video_id: there is no video 6"),
        ("images", 0, {"frame_id": -1}, "images[0]: frame_id: a whole number, 0 or more"),
        ("images", 0, {"frame_id": 0}, "frame_id: 0 occurs twice in video 'clip'"),
        ("images", 0, {"frame_id": "1"}, "images[0]: frame_id: a whole number"),
        ("images", 0, {"file_name": None}, "images[0]: file_name: a text"),
        ("images", 0, {"file_name": "none.png"}, "images[0]: file_name: there is no 'none.png'"),
        ("images", 0, {"file_name": "../secret.png"}, "images[0]: file_name: '../secret.png' leads out"),
        ("images", 0, {"file_name": "/etc/passwd"}, "images[0]: file_name: '/etc/passwd' leads out"),
        (
            "images",
            0,
            {"file_name": "file:///etc/passwd"},
            "images[0]: file_name: 'file:///etc/passwd' leads out",
        ),
        ("images", 0, {"file_name": "\\\\host\\a.png"}, "leads out"),
        ("videos", 0, {"id": "5"}, "videos[0]: id: a whole number"),
        ("videos", 0, {"name": "../clip"}, "videos[0]: name: "),
        ("videos", 0, {"name": 3}, "videos[0]: name: "),
        ("categories", 0, {"id": 2}, "categories[1]: the id 2 or the name 'bird' occurs twice"),
        ("categories", 0, {"name": None}, "categories[0]: an id (whole number) and a name"),
    ],
)
def test_a_wrong_element_is_named(
    source: Path, key: str, index: int, change: dict[str, Any], says: str
) -> None:
    content = document()
    content[key][index] |= change
    with pytest.raises(InputError) as caught:
        read(write(source, content))
    assert says in str(caught.value)
    assert "labels.json" in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(source: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("secret") / "b.png"
    secret.write_bytes(b"secret")
    (source / "images" / "clip" / "b.png").unlink()
    (source / "images" / "clip" / "b.png").symlink_to(secret)
    with pytest.raises(InputError, match=r"images\[0\]: file_name: 'b.png' is a link out of"):
        read(write(source, document()))


@pytest.mark.parametrize(
    "text", ['{"videos": [], "images": [], "annotations": [], "categories": [', "[" * 100_000]
)
def test_broken_json_is_an_input_error(source: Path, text: str) -> None:
    write(source, text)
    with pytest.raises(InputError, match=r"labels.json"):
        coco_vid.read(source / "labels.json", Problems())


def test_lists_of_another_type_are_named(source: Path) -> None:
    with pytest.raises(InputError, match=r"labels.json: a list is expected under videos, annotations"):
        read(write(source, document() | {"videos": {}, "annotations": None}))


VALUES = st.sampled_from(
    [None, True, -1, 0, 2.5, float("nan"), 10**400, "", "../a", "b.png", [], [1], {}, {"a": 1}]
)
PLACES = [
    (key, index, field)
    for key, entries in document().items()
    for index, entry in enumerate(entries)
    for field in entry
]


@example(changes=[(("videos", 0, "fps"), 10**400)])
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


@pytest.mark.parametrize(("name", "frames", "boxes"), [("demo_cocovid_data", 8, 10), ("demo_vis_data", 1, 1)])
def test_files_of_mmtracking(tmp_path: Path, make_images: Make, name: str, frames: int, boxes: int) -> None:
    path = VECTORS / name / "ann.json"
    if not path.is_file():
        pytest.skip("shared/vectors is not beside this checkout")
    content = json.loads(path.read_text())
    make_images(
        tmp_path / "train", [image["file_name"].replace(".jpg", ".png") for image in content["images"]]
    )
    for image in (tmp_path / "train").rglob("*.png"):
        image.rename(image.with_suffix(".jpg"))
    (tmp_path / "ann.json").write_bytes(path.read_bytes())
    raw, problems = read(tmp_path)
    (sequence,) = raw.sequences
    assert len(sequence.images or ()) == frames
    ignored = sum(entry.count for entry in problems.dropped)
    assert len(sequence.frame) + ignored == boxes
    for row, frame in zip(sequence.row.tolist(), sequence.frame.tolist(), strict=True):
        annotation = content["annotations"][row]
        image = next(image for image in content["images"] if image["id"] == annotation["image_id"])
        assert image["frame_id"] == frame
