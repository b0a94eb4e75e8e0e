from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import FORMATS, choose_format, datumaro
from seqdet.data.formats.datumaro_shapes import NO_CLASS, OUTLINE, OUTSIDE, PART, ROTATED
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.data.formats.stills import STILLS, VIDEOS
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
VECTORS = SHARED / "datumaro" / "datumaro_dataset" / "legacy"
Make = Callable[..., Path]


def box(ltwh: list[float], label: int | None = 0, **attributes: object) -> dict[str, Any]:
    return {"id": 0, "type": "bbox", "bbox": ltwh, "label_id": label, "group": 0, "attributes": attributes}


def image(name: str, annotations: list[dict[str, Any]], frame: int | None = None) -> dict[str, Any]:
    item = {"id": name, "annotations": annotations, "image": {"path": f"{name}.png", "size": [48, 64]}}
    return item if frame is None else {**item, "attr": {"frame": frame}}


def document(items: list[dict[str, Any]]) -> dict[str, Any]:
    labels = [{"name": "bird", "parent": ""}, {"name": "drone", "parent": ""}]
    return {"infos": {}, "categories": {"label": {"labels": labels}}, "items": items}


def write(folder: Path, content: object, name: str = "annotations/default.json") -> Path:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is datumaro
    raw = datumaro.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def reasons(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


def tracked() -> list[dict[str, Any]]:
    """Three images of one video, out of order; their names say nothing."""
    return [
        image("y", [box([1.5, 2, 3, 4.25], track_id=4, occluded=True), box([5, 5, 9, 9], 1)], 1),
        image("x", [box([0, 0, 64, 48], track_id=4, keyframe=True)], 0),
        image("z", [box([0, 0, 6, 6], track_id=4, outside=True)], 2),
    ]


@pytest.fixture
def source(tmp_path: Path, make_images: Make) -> Path:
    make_images(tmp_path / "source" / "images" / "default", ["x.png", "y.png", "z.png"])
    return tmp_path / "source"


def test_images_with_tracks_and_numbers_are_one_video_in_that_order(source: Path) -> None:
    raw, problems = read(write(source, document(tracked())))
    (sequence,) = raw.sequences
    assert raw.classes == ("bird", "drone")
    assert [path.name for path in sequence.images or ()] == ["x.png", "y.png", "z.png"]
    assert sequence.frame.tolist() == [1, 1, 0]
    assert sequence.track_id.tolist() == [4, -1, 4]
    assert sequence.class_id.tolist() == [0, 1, 0]
    assert sequence.boxes_xyxy_px.tolist() == [[1.5, 2, 4.5, 6.25], [5, 5, 14, 14], [0, 0, 64, 48]]
    assert (sequence.name, sequence.size_wh, sequence.split) == ("default", (64, 48), None)
    assert sequence.place(2).endswith("default.json: items[1]")
    assert reasons(problems) == {OUTSIDE: 1}


def test_a_data_set_of_it_box_by_box(source: Path, tmp_path: Path) -> None:
    report = ingest(write(source, document(tracked())), tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    (sequence,) = dataset.sequences
    labels = dataset.labels(sequence)
    assert (report.format, report.boxes, report.tracks, report.frames) == ("datumaro", 3, 2, 3)
    assert labels.frame.tolist() == [0, 1, 1]
    assert labels.at(0).boxes_xyxy_px.tolist() == [[0, 0, 64, 48]]
    assert sorted(labels.at(1).boxes_xyxy_px.tolist()) == [[1.5, 2, 4.5, 6.25], [5, 5, 14, 14]]


def test_images_without_tracks_belong_together_by_their_names(tmp_path: Path, make_images: Make) -> None:
    names = [*(f"clip_{number:03d}" for number in range(6)), "alone"]
    make_images(tmp_path / "images" / "train", [f"{name}.png" for name in names])
    items = [image(name, [box([number, 0, 9, 9])], number) for number, name in enumerate(names)]
    raw, _ = read(write(tmp_path, document(items[::-1]), "annotations/train.json"))
    alone, clip = raw.sequences
    assert (alone.name, clip.name, clip.split) == ("train_alone", "train_clip", "train")
    assert {STILLS, VIDEOS} <= set(raw.notes)
    assert clip.frame[np.argsort(clip.frame)].tolist() == list(range(6))
    assert (clip.boxes_xyxy_px[:, 0] == clip.frame).all()


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("validation", "val"), ("val", "val"), ("test", "test"), ("default", None)],
)
def test_subsets_are_splits(tmp_path: Path, make_images: Make, name: str, split: str | None) -> None:
    make_images(tmp_path / "images" / name, ["a.png"])
    write(tmp_path, document([image("a", [])]), f"annotations/{name}.json")
    assert [sequence.split for sequence in read(tmp_path)[0].sequences] == [split]


def test_files_with_other_classes_are_refused(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images", ["a.png"])
    write(tmp_path, document([image("a", [])]), "annotations/train.json")
    other = document([])
    other["categories"]["label"]["labels"].pop()
    write(tmp_path, other, "annotations/val.json")
    with pytest.raises(InputError, match=r"val.json: its labels are not those of .*train.json"):
        read(tmp_path)


def test_frames_of_video_files(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "videos" / "train" / "clip.avi", 5)
    items = [
        {
            "id": f"clip_{index}",
            "annotations": [{**box([index, 1, 2, 3]), "object_id": 7}],
            "video_frame": {"video_path": "clip.avi", "frame_index": index},
        }
        for index in (4, 2)
    ]
    raw, problems = read(write(tmp_path, document(items), "annotations/train.json"))
    (sequence,) = raw.sequences
    assert (sequence.name, sequence.images) == ("train_clip", None)
    assert (sequence.frame.tolist(), sequence.track_id.tolist()) == ([4, 2], [7, 7])
    assert sequence.boxes_xyxy_px[:, 0].tolist() == [4, 2]
    assert reasons(problems) == {datumaro.UNLISTED: 3}
    items[0]["video_frame"]["frame_index"] = 2  # type: ignore[index]
    with pytest.raises(InputError, match=r"items\[1\]: frame 2 of clip.avi is that of an earlier item"):
        read(write(tmp_path, document(items), "annotations/train.json"))


def test_a_cvat_export_without_images_beside_its_video(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "film.avi", 3)
    items = [
        {
            "id": f"frame_{index:06d}",
            "annotations": [box([index, 1, 2, 3], track_id=0)],
            "attr": {"frame": index},
        }
        for index in range(3)
    ]
    items[0]["image"] = {"path": ""}
    items[1]["image"] = {"path": "frame_000001.png", "size": [48, 64]}
    items[2]["point_cloud"] = {"path": ""}
    raw, _ = read(write(tmp_path, document(items)))
    (sequence,) = raw.sequences
    assert (sequence.video.name, sequence.frame.tolist()) == ("film.avi", [0, 1, 2])
    assert "film.avi" in raw.notes[0]


def test_whole_videos_and_images_have_classes(source: Path, make_video: Make) -> None:
    make_video(source / "videos" / "clip.avi", 5)
    label = {"id": 0, "type": "label", "label_id": 1}
    items = [
        {"id": "clip", "annotations": [label, box([1, 1, 2, 2])], "video": {"path": "clip.avi", "step": 1}},
        image("x", [label]),
        image("y", [label, {**label, "label_id": 0}]),
        image("z", []),
    ]
    raw, problems = read(write(source, document(items)))
    assert {sequence.name: sequence.label for sequence in raw.sequences} == {
        "clip": "drone",
        "default_x": "drone",
        "default_y": None,
        "default_z": None,
    }
    assert reasons(problems) == {datumaro.NO_FRAME: 1, datumaro.OTHER_LABEL: 1}


def test_outlines_become_the_boxes_around_them(source: Path) -> None:
    drawn = np.zeros((48, 64), np.uint8, order="F")
    drawn[10:20, 30:35] = 1
    drawn[15:17, 40] = 1
    rle = coco_mask.encode(drawn)
    mask = {"size": [48, 64], "counts": rle["counts"].decode()}
    shapes: list[dict[str, Any]] = [
        {"type": "polygon", "points": [10, 10, 20, 15, 12, 30], "label_id": 1, "attributes": {"track_id": 3}},
        {"type": "ellipse", "points": [1, 2, 5, 9], "label_id": 0},
        {"type": "mask", "rle": mask, "label_id": 0},
        {"type": "polyline", "points": [1, 2, 5, 9], "label_id": 0},
        # Two parts of one object, and the outline of one that has a box.
        {"type": "polygon", "points": [0, 0, 4, 0, 4, 4], "label_id": 0, "group": 5},
        {"type": "polygon", "points": [9, 9, 12, 9, 12, 11], "label_id": 0, "group": 5},
        {**box([50, 30, 5, 5]), "group": 6},
        {"type": "polygon", "points": [50, 30, 55, 30, 55, 35], "label_id": 0, "group": 6},
        box([1, 1, 1, 1], None),
        box([20, 20, 10, 20], rotation=90.0),
    ]
    raw, problems = read(write(source, document([image("x", shapes)])))
    left, top, width, height = coco_mask.toBbox(rle).tolist()
    expected = [
        [50, 30, 55, 35], [15, 25, 35, 35], [10, 10, 20, 30], [1, 2, 5, 9],
        [left, top, left + width, top + height], [0, 0, 12, 11],
    ]  # fmt: skip
    np.testing.assert_allclose(raw.sequences[0].boxes_xyxy_px, expected)
    assert raw.sequences[0].track_id.tolist() == [-1, -1, 3, -1, -1, -1]
    assert reasons(problems) == {
        "annotation of type polyline: left out": 1, NO_CLASS: 1, ROTATED: 1, PART: 1, OUTLINE: 4
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bbox": [1, 2, 3]}, "bbox: [left, top, width, height] is expected"),
        ({"bbox": [1, 2, "3", 4]}, "bbox: "),
        ({"bbox": [1, 2, True, 4]}, "bbox: "),
        ({"bbox": [1, float("nan"), 3, 4]}, "bbox: "),
        ({"bbox": [10**400, 2, 3, 4]}, "bbox: "),
        ({"bbox": None}, "bbox: "),
        ({"label_id": 2}, "label_id: there is no label 2"),
        ({"label_id": -1}, "label_id: there is no label -1"),
        ({"label_id": "bird"}, "label_id: there is no label bird"),
        ({"attributes": []}, None),
        ({"attributes": [1]}, "attributes: an object"),
        ({"attributes": {"track_id": "4"}}, "track_id: a whole number"),
        ({"attributes": {"track_id": -2}}, "track_id: a whole number"),
        ({"attributes": {"track_id": 2.5}}, "track_id: a whole number"),
        ({"attributes": {"track_id": float("nan")}}, "track_id: a whole number"),
        ({"attributes": {"rotation": "90"}}, "bbox: rotation: a number"),
        ({"group": "a"}, "attributes: an object, and group"),
        ({"type": 3}, "an annotation (an object with a type)"),
        ({"type": "polygon", "points": [1, 2, 3]}, "polygon: "),
        ({"type": "mask", "rle": {"size": [4, 4], "counts": "zz"}}, "mask: "),
    ],
)
def test_a_wrong_annotation_is_named(source: Path, change: dict[str, Any], says: str | None) -> None:
    items = [image("x", [box([1, 1, 2, 2]), {**box([1, 1, 2, 2]), **change}])]
    write(source, document(items))
    if says is None:
        assert len(read(source)[0].sequences[0].frame) == 2
        return
    with pytest.raises(InputError) as caught:
        read(source)
    assert f"default.json: items[0].annotations[1]: {says}" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotations": {}}, "an object with a list of annotations"),
        ({"image": "x.png"}, "image: an object"),
        ({"image": {"path": 3}}, "path: a text"),
        ({"image": {"path": "../x.png"}}, "path: '../x.png' leads out"),
        ({"image": {"path": "/etc/passwd"}}, "path: '/etc/passwd' leads out"),
        ({"image": {"path": "none.png"}}, "path: there is no 'none.png' in images/default"),
        ({"image": {"path": "x" * 5000}}, "path: there is no 'xxx"),
        ({"image": {"path": ""}, "id": 3}, "path: a text"),
        ({"image": {"path": "x.png", "size": [48, "64"]}}, "image.size: [height, width]"),
        ({"image": {"path": "x.png", "size": [64, 48]}}, None),
        ({"attr": {"frame": -1}}, "attr.frame: a whole number, 0 or more"),
        ({"image": {"path": "y.png"}}, "its image is that of an earlier item"),
        ({"video_frame": {"video_path": "x.avi"}}, "video_frame.frame_index: a whole number"),
        ({"video": {"path": "x.avi", "start_frame": 3}}, "video: it is a part of a video"),
    ],
)
def test_a_wrong_item_is_named(source: Path, change: dict[str, Any], says: str | None) -> None:
    items = [image("y", []), {**image("x", []), **change}]
    with pytest.raises(InputError) as caught:
        ingest(write(source, document(items)), source.parent / "out")
    if says is None:  # only the images themselves tell
        assert "the labels say 48x64 pixels, the video has 64x48" in str(caught.value)
    else:
        assert f"default.json: items[1]: {says}" in str(caught.value)
    assert not (source.parent / "out").exists()


def test_a_link_out_of_the_folder_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "images" / "default" / "x.png").rename(tmp_path / "secret.png")
    (source / "images" / "default" / "x.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match=r"items\[0\]: path: 'x.png' is a link out of"):
        read(write(source, document([image("x", [])])))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (None, "categories.label.labels: a list"),
        ([], "categories.label.labels: a list"),
        ([{"name": 3}], "categories.label.labels[0]: a name"),
        ([{"name": "a"}, {"name": "a"}], "categories.label.labels[1]: a name"),
        ([3], "categories.label.labels[0]: a name"),
        (3, "categories.label.labels: a list"),
    ],
)
def test_wrong_classes_are_named(source: Path, labels: object, says: str) -> None:
    content = document([])
    content["categories"]["label"]["labels"] = labels
    with pytest.raises(InputError) as caught:
        read(write(source, content))
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", '{"categories": {"label": {}}, "items": [', "[" * 100_000, "[]", "3"])
def test_a_broken_file_is_an_input_error(source: Path, text: str) -> None:
    write(source, text)
    with pytest.raises(InputError, match=r"default.json"):
        ingest(source / "annotations" / "default.json", source.parent / "out", format="datumaro")
    assert not (source.parent / "out").exists()


def test_a_byte_order_mark_and_other_line_ends_are_read(source: Path) -> None:
    content = document(tracked())
    content["categories"]["label"]["labels"][0]["name"] = "птица"
    text = json.dumps(content, indent=1, ensure_ascii=False).replace("\n", "\r\n")
    path = write(source, "") / "annotations" / "default.json"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(path)[0].classes == ("птица", "drone")


VALUES = st.sampled_from(
    [None, True, -1, 0, 2.5, float("nan"), 10**400, "", "../a", "x.png", [], [1], {}, {"a": 1}]
)
PATHS: list[tuple[Any, ...]] = [
    *((key,) for key in ("items", "categories", "infos")),
    ("categories", "label"), ("categories", "label", "labels", 0),
    *(("items", 0, *more) for more in [
        (), ("id",), ("attr",), ("attr", "frame"), ("image",), ("image", "path"), ("image", "size"),
        ("video_frame",), ("video",), ("media",), ("point_cloud",), ("annotations",), ("annotations", 0),
        *(("annotations", 0, key) for key in ("type", "bbox", "label_id", "attributes", "group")),
        ("annotations", 0, "attributes", "track_id"), ("annotations", 0, "bbox", 0),
    ]),
]  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3))
def test_any_value_is_read_or_refused(source: Path, changes: list[tuple[tuple[Any, ...], object]]) -> None:
    content: Any = document(tracked())
    for path, value in changes:
        place = content
        with contextlib.suppress(KeyError, TypeError, IndexError):
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = copy.deepcopy(value)
    problems = Problems()
    write(source, content)
    with contextlib.suppress(InputError):
        datumaro.read(source / "annotations" / "default.json", problems)
        problems.raise_if_failed(source)


@pytest.mark.skipif(not VECTORS.is_dir(), reason="shared/vectors is not beside this checkout")
def test_only_its_own_files_look_like_it() -> None:
    for path in sorted(SHARED.rglob("*")):
        mine = path == VECTORS or (VECTORS / "annotations") in (path, path.parent)
        assert datumaro.sniff(path) == mine, path
        others = [name for name in FORMATS if name != datumaro.NAME and mine and FORMATS[name].sniff(path)]
        assert not others, path


@pytest.mark.skipif(not VECTORS.is_dir(), reason="shared/vectors is not beside this checkout")
def test_the_data_set_of_datumaro_itself(tmp_path: Path) -> None:
    report = ingest(VECTORS, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert (report.classes, report.boxes) == (("car", "bicycle", "tom", "mary"), 0)
    assert report.splits == {"test": 1, "train": 2, "val": 1}
    named = {sequence.name: sequence.class_id for sequence in dataset.sequences}
    assert named == {"test_c": -1, "train_a": 0, "train_b": -1, "validation_d": -1}
