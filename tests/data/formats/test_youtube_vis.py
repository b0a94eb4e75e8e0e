from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as oracle

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import FORMATS, choose_format, youtube_vis
from seqdet.data.formats.coco_parts import FROM_MASK, IGNORED
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
Make = Callable[..., Path]
FRAMES = ["00005.png", "00000.png", "00010.png"]


def document() -> dict[str, Any]:
    """Two videos; the first has three frames, in an order that is not that of their names, and two tracks."""
    return {
        "info": {"description": "made by hand"},
        "videos": [
            {
                "id": 1,
                "width": 64,
                "height": 48,
                "length": 3,
                "file_names": [f"0043f083b5/{name}" for name in FRAMES],
            },
            {"id": 2, "width": 32, "height": 16, "file_names": ["00f8/00000.png"]},
        ],
        "annotations": [
            {
                "id": 11,
                "video_id": 1,
                "category_id": 30,
                "bboxes": [[0, 0, 64, 48], None, [1.5, 2, 3, 4]],
                "segmentations": [{"size": [48, 64], "counts": [48 * 64]}, None, None],
                "areas": [1, None, 1],
                "iscrowd": 0,
            },
            {"id": 12, "video_id": 2, "category_id": 4, "bboxes": [[1, 2, 3, 4]], "iscrowd": 0},
            {"id": 13, "video_id": 1, "category_id": 4, "bboxes": [None, [5, 6, 7, 8], None]},
        ],
        "categories": [{"id": 30, "name": "owl"}, {"id": 4, "name": "eagle"}],
    }


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is youtube_vis
    raw = youtube_vis.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def write(source: Path, content: object, name: str = "instances.json") -> Path:
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return source


def images(folder: Path, make_images: Make) -> Path:
    make_images(folder / "0043f083b5", FRAMES)
    make_images(folder / "00f8", ["00000.png"], (32, 16))
    return folder


@pytest.fixture
def source(tmp_path: Path, make_images: Make) -> Path:
    images(tmp_path / "source" / "JPEGImages", make_images)
    return tmp_path / "source"


def test_an_annotation_is_a_track(source: Path) -> None:
    raw, problems = read(write(source, document()))
    assert raw.classes == ("eagle", "owl"), "in the order of the ids"
    first, second = raw.sequences
    assert (first.name, second.name) == ("0043f083b5", "00f8")
    assert [path.name for path in first.images or ()] == FRAMES, "in the order of the list"
    assert first.frame.tolist() == [0, 2, 1]
    assert first.track_id.tolist() == [11, 11, 13]
    assert first.class_id.tolist() == [1, 1, 0]
    assert first.boxes_xyxy_px.tolist() == [[0, 0, 64, 48], [1.5, 2, 4.5, 6], [5, 6, 12, 14]]
    assert second.boxes_xyxy_px.tolist() == [[1, 2, 4, 6]]
    assert (first.size_wh, second.size_wh) == ((64, 48), (32, 16))
    assert first.place(2).endswith("instances.json: annotations[2]")
    assert problems.dropped == ()


@pytest.mark.parametrize(
    ("labels", "folder", "split"),
    [
        ("train/instances.json", "train/JPEGImages", "train"),
        ("annotations/instances_train_sub.json", "train/JPEGImages", "train"),
        ("valid.json", "valid/JPEGImages", "val"),
        ("annotations_valid.json", "valid", "val"),
        ("annotations/youtube.json", "videos/all", None),
    ],
)
def test_where_frames_are(
    tmp_path: Path, make_images: Make, labels: str, folder: str, split: str | None
) -> None:
    images(tmp_path / folder, make_images)
    raw, _ = read(write(tmp_path, document(), labels))
    assert [sequence.video for sequence in raw.sequences] == [
        tmp_path / folder / "0043f083b5",
        tmp_path / folder / "00f8",
    ]
    assert [sequence.split for sequence in raw.sequences] == [split, split]


def test_boxes_around_masks_where_there_are_no_boxes(source: Path) -> None:
    pixels = np.zeros((48, 64), np.uint8)
    pixels[10:20, 30:35] = 1
    pixels[15, 3] = 1
    text = oracle.encode(np.asfortranarray(pixels))["counts"].decode()
    content = document()
    content["annotations"][0].pop("bboxes")
    content["annotations"][0]["segmentations"] = [
        {"size": [48, 64], "counts": text},
        {"size": [48, 64], "counts": [48 * 64]},
        {"size": [48, 64], "counts": [50, 4, 48 * 64 - 54]},
    ]
    raw, problems = read(write(source, content))
    assert raw.sequences[0].frame.tolist() == [0, 2, 1]
    assert raw.sequences[0].boxes_xyxy_px[:2].tolist() == [[3, 10, 35, 20], [1, 2, 2, 6]]
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(FROM_MASK, 2)]


def test_crowds_are_left_out_and_counted(source: Path) -> None:
    content = document()
    content["annotations"][2]["iscrowd"] = 1
    raw, problems = read(write(source, content))
    assert raw.sequences[0].track_id.tolist() == [11, 11]
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(IGNORED, 1)]


def test_a_video_without_frames_is_left_out_and_counted(source: Path) -> None:
    content = document()
    content["videos"][1]["file_names"] = []
    raw, problems = read(write(source, content))
    assert [sequence.name for sequence in raw.sequences] == ["0043f083b5"]
    assert [(entry.reason, entry.count) for entry in problems.dropped] == [(youtube_vis.NO_FRAMES, 1)]


@pytest.mark.parametrize(
    ("key", "index", "change", "says"),
    [
        ("annotations", 0, {"id": None}, "annotations[0]: id: a whole number"),
        ("annotations", 0, {"id": -1}, "annotations[0]: id: a whole number"),
        ("annotations", 0, {"id": 13}, "annotations[2]: id: 13 occurs twice"),
        ("annotations", 0, {"video_id": 3}, "annotations[0]: video_id: there is no video"),
        ("annotations", 0, {"category_id": 5}, "annotations[0]: category_id: there is no category"),
        ("annotations", 0, {"bboxes": [None, None]}, "annotations[0]: bboxes: a list of 3 is expected"),
        ("annotations", 0, {"bboxes": "abc"}, "annotations[0]: bboxes: a list of 3 is expected"),
        ("annotations", 1, {"bboxes": None}, "annotations[1]: segmentations: a list of 1 is expected"),
        ("annotations", 0, {"bboxes": [None, [1, 2, 3], None]}, "annotations[0].bboxes[1]: [left, top"),
        ("annotations", 0, {"bboxes": [None, None, [1, 2, 3, "4"]]}, "annotations[0].bboxes[2]: [left, top"),
        ("annotations", 1, {"bboxes": [], "segmentations": ["x"]}, "annotations[1].segmentations[0]: "),
        ("videos", 0, {"id": 2}, "videos[1]: id: 2 occurs twice"),
        ("videos", 0, {"id": 1.5}, "videos[0]: id: a whole number"),
        ("videos", 0, {"length": 4}, "videos[0]: length: 4, but there are 3 file_names"),
        ("videos", 0, {"file_names": "abc"}, "videos[0]: file_names: a list of texts"),
        ("videos", 1, {"file_names": ["00f8/1.png"]}, "videos[1].file_names[0]: there is no image"),
        ("videos", 1, {"file_names": ["../00000.png"]}, "videos[1].file_names[0]: '../00000.png' leads out"),
        ("videos", 1, {"file_names": ["/etc/passwd"]}, "videos[1].file_names[0]: '/etc/passwd' leads out"),
        ("videos", 1, {"file_names": ["00f8/00000.png"] * 2}, "videos[1].file_names[1]: "),
        ("videos", 0, {"width": 640}, "the labels say 640x48 pixels, the video has 64x48"),
        ("categories", 0, {"name": None}, "categories[0]: an id (whole number) and a name"),
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
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ['{"videos": [],\n "annotations": [', "[" * 100_000, "", "[]", "\0"])
def test_broken_json_is_an_input_error(source: Path, tmp_path: Path, text: str) -> None:
    write(source, text)
    with pytest.raises(InputError, match=r"instances.json"):
        ingest(source / "instances.json", tmp_path / "out", format="youtube-vis")


def test_a_file_without_annotations_is_refused(source: Path) -> None:
    content = document()
    content.pop("annotations")
    with pytest.raises(InputError, match=r"instances.json: a list is expected under annotations"):
        read(write(source, content))


VALUES = st.sampled_from(
    [None, True, -1, 0, 2.5, float("nan"), 10**400, "", "../a", "b.png", [], [1], [None] * 3, {}, {"a": 1}]
)
PLACES = [
    (key, index, field)
    for key in ("videos", "annotations", "categories")
    for index, entry in enumerate(document()[key])
    for field in (*entry, "segmentations", "fps", "name")
]


@example(changes=[(("videos", 0, "fps"), 10**400), (("videos", 1, "name"), "../a")])
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
    report = ingest(write(source, document()), tmp_path / "out")
    assert (report.format, report.sequences, report.frames, report.tracks) == ("youtube-vis", 2, 4, 3)
    dataset = load_dataset(tmp_path / "out")
    rows = {
        (sequence.name, frame, track_id, dataset.classes[class_id], *box)
        for sequence in dataset.sequences
        for labels in [dataset.labels(sequence)]
        for frame, track_id, class_id, box in zip(
            labels.frame.tolist(),
            labels.track_id.tolist(),
            labels.class_id.tolist(),
            labels.boxes_xyxy_px.tolist(),
            strict=True,
        )
    }
    assert rows == {
        ("0043f083b5", 0, 11, "owl", 0, 0, 64, 48),
        ("0043f083b5", 2, 11, "owl", 1.5, 2, 4.5, 6),
        ("0043f083b5", 1, 13, "eagle", 5, 6, 12, 14),
        ("00f8", 0, 12, "eagle", 1, 2, 4, 6),
    }


def test_no_other_format_is_taken_for_it(source: Path) -> None:
    write(source, document())
    assert [name for name, form in FORMATS.items() if form.sniff(source)] == ["youtube-vis"]
    if not VECTORS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    for folder in (path for path in VECTORS.rglob("*") if path.is_dir()):
        assert not youtube_vis.sniff(folder), folder
