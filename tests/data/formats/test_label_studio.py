from __future__ import annotations

import cmath
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import FORMATS, choose_format, label_studio
from seqdet.data.formats.label_studio_tasks import MORE_ANNOTATIONS, MORE_LABELS, NO_LABEL, UNLABELLED
from seqdet.data.formats.label_studio_tracks import BEHIND, FRAME_RATE, SAME_KEYFRAME, track_boxes
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.data.formats.stills import STILLS
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
VECTORS = SHARED / "label-studio-converter" / "data"
Make = Callable[..., Path]


def key(frame: int, x: float, enabled: bool = True, **more: object) -> dict[str, Any]:
    return {"frame": frame, "x": x, "y": 20, "width": 10, "height": 40, "enabled": enabled, **more}


def track(sequence: list[dict[str, Any]], label: str = "bird", **more: object) -> dict[str, Any]:
    return {
        "id": f"{label}-{id(sequence)}",
        "type": "videorectangle",
        "from_name": "box",
        "to_name": "video",
        "value": {"sequence": sequence, "labels": [label], **more},
    }


def task(results: list[dict[str, Any]], url: str = "/data/upload/1/0a1b2c3d-clip.avi") -> dict[str, Any]:
    return {
        "id": 1,
        "data": {"video": url},
        "annotations": [{"id": 5, "was_cancelled": False, "result": results}],
        "predictions": [{"result": [track([key(1, 90)], "predicted")]}],
    }


def write(folder: Path, content: object, name: str = "export.json") -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is label_studio
    raw = label_studio.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def reasons(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


@pytest.fixture
def source(tmp_path: Path, make_video: Make) -> Path:
    """A clip of 20 frames of 100x50 pixels at 10 frames a second."""
    folder = tmp_path / "source"
    make_video(folder / "clip.avi", 20, (100, 50))
    return folder


SEQUENCE = [key(1, 0), key(5, 40, False), key(9, 10), key(11, 30)]


def test_boxes_move_between_keyframes_and_are_gone_after_one_that_is_not_enabled(source: Path) -> None:
    raw, problems = read(write(source, [task([track(SEQUENCE), track([key(20, 50)], "drone")])]))
    (sequence,) = raw.sequences
    assert raw.classes == ("bird", "drone"), "predictions are no labels"
    assert sequence.name == "clip"
    assert sequence.frame.tolist() == [0, 1, 2, 3, 4, *range(8, 20), 19]
    assert sequence.track_id.tolist() == [0] * 17 + [1]
    assert sequence.class_id.tolist() == [0] * 17 + [1]
    left = [0, 10, 20, 30, 40, 10, 20, *[30] * 10, 50]
    expected = [[x, 10, x + 10, 30] for x in left]
    np.testing.assert_allclose(sequence.boxes_xyxy_px, expected)
    assert sequence.place(17).endswith("export.json: [0].annotations[0].result[1]")
    assert not problems.dropped


def test_a_data_set_of_it_box_by_box(source: Path, tmp_path: Path) -> None:
    write(source, [task([track(SEQUENCE, framesCount=20, duration=2.0)])])
    report = ingest(source, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    (sequence,) = dataset.sequences
    labels = dataset.labels(sequence)
    assert (report.format, report.boxes, report.tracks, sequence.frames) == ("label-studio", 17, 1, 20)
    assert dataset.classes[sequence.class_id] == "bird"
    for frame, left in {0: 0, 2: 20, 4: 40, 8: 10, 9: 20, 19: 30}.items():
        assert labels.at(frame).boxes_xyxy_px.tolist() == [[left, 10, left + 10, 30]]
    assert len(labels.at(6).boxes_xyxy_px) == 0


def player(sequence: list[dict[str, Any]], frame: int) -> float | None:
    """x as the player of Label Studio shows it in a frame from 1, after its source: one frame at a time."""
    before = [each for each in sequence if each["frame"] <= frame]
    after = [each for each in sequence if each["frame"] > frame]
    if not before or (not before[-1]["enabled"] and before[-1]["frame"] != frame):
        return None
    if not after or before[-1]["frame"] == frame:
        return float(before[-1]["x"])
    share = (frame - before[-1]["frame"]) / (after[0]["frame"] - before[-1]["frame"])
    return float(before[-1]["x"] + (after[0]["x"] - before[-1]["x"]) * share)


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.integers(0, 90), st.booleans()),
        min_size=1,
        unique_by=lambda each: each[0],
    )
)
def test_every_frame_is_as_the_player_shows_it(chosen: list[tuple[int, int, bool]]) -> None:
    chosen.sort()
    sequence = [key(*each) for each in chosen]
    table = np.array([[frame, x, 20, 10, 40, 0, enabled] for frame, x, enabled in chosen], np.float64)
    frames, boxes = track_boxes(table, 1.0, 20, "here", Problems())
    expected = {frame - 1: x for frame in range(1, 21) if (x := player(sequence, frame)) is not None}
    assert frames.tolist() == list(expected)
    np.testing.assert_allclose(boxes[:, 0], list(expected.values()))


def test_keyframes_of_another_frame_rate_are_placed_by_time(source: Path) -> None:
    """Label Studio counted 20 frames a second, the clip has 10."""
    sequence = [key(1, 0, time=0.05), key(21, 40, False, time=1.05)]
    raw, problems = read(write(source, [task([track(sequence, framesCount=40, duration=2.0)])]))
    assert raw.sequences[0].frame.tolist() == list(range(11))
    np.testing.assert_allclose(raw.sequences[0].boxes_xyxy_px[:, 0], np.arange(11) * 4)
    assert reasons(problems) == {FRAME_RATE: 1}


@pytest.mark.parametrize(("count", "duration"), [(20, 2.0), (21, 2.04), (20, None), (None, None)])
def test_a_length_that_was_rounded_up_is_the_same_length(
    source: Path, count: int | None, duration: float | None
) -> None:
    raw, problems = read(write(source, [task([track(SEQUENCE, framesCount=count, duration=duration)])]))
    assert raw.sequences[0].frame.tolist() == [0, 1, 2, 3, 4, *range(8, 20)]
    assert not problems.dropped


@pytest.mark.parametrize(("count", "duration"), [(200, 20.0), (200, None), (10, 1.0)])
def test_labels_of_another_cut_are_refused(source: Path, count: int, duration: float | None) -> None:
    write(source, [task([track([key(1, 0, False)], framesCount=count, duration=duration)])])
    with pytest.raises(InputError, match=r"\[0\]: framesCount: the labels are of .* the video has 20"):
        read(source)


def test_keyframes_just_behind_the_end_are_used_as_far_as_the_video_goes(source: Path) -> None:
    raw, problems = read(write(source, [task([track([key(19, 0), key(21, 20, False)])])]))
    assert raw.sequences[0].frame.tolist() == [18, 19]
    np.testing.assert_allclose(raw.sequences[0].boxes_xyxy_px[:, 0], [0, 10])
    assert reasons(problems) == {BEHIND: 1}


def test_a_second_keyframe_of_a_frame_is_counted(source: Path) -> None:
    raw, problems = read(write(source, [task([track([key(3, 7, False), key(3, 9, False)])])]))
    assert raw.sequences[0].boxes_xyxy_px[:, 0].tolist() == [7]
    assert reasons(problems) == {SAME_KEYFRAME: 1}


def test_a_rotated_box_becomes_the_upright_box_around_it(source: Path) -> None:
    """20 by 5 pixels at (50, 25), a quarter turn clockwise around that corner."""
    box = {"frame": 1, "x": 50, "y": 50, "width": 20, "height": 10, "rotation": 90, "enabled": False}
    raw, problems = read(write(source, [task([track([box])])]))
    np.testing.assert_allclose(raw.sequences[0].boxes_xyxy_px, [[45, 25, 50, 45]])
    assert reasons(problems) == {label_studio.ROTATED: 1}


def test_the_first_annotation_that_is_not_cancelled_counts(source: Path, make_video: Make) -> None:
    make_video(source / "other.avi", 3)
    first = task([track([key(1, 3, False)])])
    first["annotations"].insert(0, {"was_cancelled": True, "result": [track([key(1, 1, False)])]})
    first["annotations"].append({"result": [track([key(1, 2, False)])]})
    skipped = {"data": {"video": "other.avi"}, "annotations": [{"was_cancelled": True, "result": []}]}
    raw, problems = read(write(source, [first, skipped]))
    assert [sequence.boxes_xyxy_px[0, 0] for sequence in raw.sequences] == [3]
    assert reasons(problems) == {MORE_ANNOTATIONS: 1, UNLABELLED: 1}


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("/data/upload/1/0a1b2c3d-clip.mp4", "clip.mp4"),
        ("/data/upload/1/0a1b2c3d-clip.mp4", "videos/0a1b2c3d-clip.mp4"),
        ("/data/local-files/?d=day%201/clip.mp4", "day 1/clip.mp4"),
        ("/data/local-files/?d=C:\\films\\clip.mp4", "clip.mp4"),
        ("s3://bucket/a/b/c/clip.mp4", "a/b/c/clip.mp4"),
        ("https://host:8080/x/d%C3%A9j%C3%A0.mp4?token=1", "déjà.mp4"),
        ("a film #1.mp4", "a film #1.mp4"),
    ],
)
def test_a_url_of_the_server_is_a_file_beside_the_export(
    tmp_path: Path, make_video: Make, url: str, file: str
) -> None:
    make_video(tmp_path / "clip.avi", 2).rename(tmp_path / "made")
    (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / "made").rename(tmp_path / file)
    raw, _ = read(write(tmp_path, [task([track([key(1, 0, False)])], url)]))
    assert raw.sequences[0].video == tmp_path / file


def test_files_of_one_name_are_told_apart_by_their_folder(source: Path, make_video: Make) -> None:
    make_video(source / "day" / "clip.avi", 5)
    raw, _ = read(write(source, [task([track([key(1, 0, False)])], "gs://bucket/day/clip.avi")]))
    assert raw.sequences[0].video == source / "day" / "clip.avi"
    with pytest.raises(InputError, match=r"may be any of clip\.avi, day.clip\.avi"):
        read(write(source, [task([track([key(1, 0, False)])])]))


def test_a_video_that_is_not_there_says_what_was_looked_for(source: Path) -> None:
    write(source, [task([track([key(1, 0, False)])], "/data/upload/3/0123abcd-lost.mp4")])
    with pytest.raises(InputError, match=r"\[0\]: data: there is no 0123abcd-lost.mp4, lost.mp4 in"):
        read(source)


def test_a_link_out_of_the_folder_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "clip.avi").rename(tmp_path / "secret.avi")
    (source / "clip.avi").symlink_to(tmp_path / "secret.avi")
    with pytest.raises(InputError, match=r"'clip\.avi' is a link out of"):
        read(write(source, [task([track([key(1, 0)])])]))


def image_task(name: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"image": f"/data/upload/1/{name}"}, "annotations": [{"result": results}], "meta": {}}


def rectangle(x: float, label: str = "bird", **more: object) -> dict[str, Any]:
    value = {"x": x, "y": 50, "width": 25, "height": 10, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": 64, "original_height": 48}
    return {"type": "rectanglelabels", "from_name": "label", "value": value, **size, **more}


def test_boxes_and_polygons_of_images(tmp_path: Path, make_images: Make) -> None:
    make_images(tmp_path / "images", ["a.png", "b.png", "c.png"])
    corners = {"points": [[10, 10], [60, 30], [20, 50]], "polygonlabels": ["drone", "bird"]}
    pair: list[dict[str, Any]] = [
        {"id": "r", "type": "rectangle", "value": {"x": 0, "y": 0, "width": 50, "height": 50}},
        {"id": "r", "type": "labels", "value": {"x": 0, "y": 0, "labels": ["bird"]}},
        {"type": "rectangle", "value": {"x": 0, "y": 0, "width": 50, "height": 50}},
    ]
    brush = {"type": "brushlabels", "value": {"rle": [1, 2], "brushlabels": ["bird"]}}
    tasks = [
        image_task("b.png", [rectangle(25), {**rectangle(0), "type": "polygonlabels", "value": corners}]),
        image_task("0a1b2c3d-a.png", [*pair, brush]),
        image_task("c.png", []),
    ]
    raw, problems = read(write(tmp_path, [{**each, "predictions": []} for each in tasks]))
    assert [sequence.name for sequence in raw.sequences] == ["a", "b", "c"]
    assert raw.classes == ("bird", "drone")
    assert STILLS in raw.notes
    first, second, third = raw.sequences
    assert first.boxes_xyxy_px.tolist() == [[0, 0, 32, 24]]
    np.testing.assert_allclose(second.boxes_xyxy_px, [[16, 24, 32, 28.8], [6.4, 4.8, 38.4, 24]])
    assert second.class_id.tolist() == [0, 1]
    assert second.track_id.tolist() == [-1, -1]
    assert (second.size_wh, second.place(0)) == ((64, 48), f"{tmp_path}/export.json: [0]")
    assert len(third.frame) == 0
    assert reasons(problems) == {
        "result of type brushlabels: left out": 1,
        label_studio.POLYGON: 1,
        MORE_LABELS: 1,
        NO_LABEL: 1,
    }


def test_numbered_images_are_one_sequence(tmp_path: Path, make_images: Make) -> None:
    names = [f"f_{number:03d}.png" for number in range(6)]
    make_images(tmp_path / "images", names)
    write(tmp_path, [image_task(name, [rectangle(number)]) for number, name in enumerate(names)][::-1])
    report = ingest(tmp_path, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    labels = dataset.labels(dataset.sequences[0])
    assert (report.sequences, report.frames, report.boxes) == (1, 6, 6)
    np.testing.assert_allclose(labels.boxes_xyxy_px[:, 0], np.arange(6) * 0.64, atol=1e-3)


def choice(answer: str | list[str], question: str = "kind") -> dict[str, Any]:
    said = [answer] if isinstance(answer, str) else answer
    return {"id": question, "type": "choices", "from_name": question, "value": {"choices": said}}


def test_choices_are_the_classes_of_videos_without_boxes(source: Path, make_video: Make) -> None:
    make_video(source / "b.avi", 4)
    make_video(source / "c.avi", 4)
    answers: list[str | list[str]] = ["drone", "bird", ["bird", "drone"]]
    urls = ["clip.avi", "b.avi", "c.avi"]
    tasks = [task([choice(answer)], url) for answer, url in zip(answers, urls, strict=True)]
    raw, problems = read(write(source, tasks))
    assert raw.classes == ("bird", "drone")
    assert [sequence.label for sequence in raw.sequences] == ["drone", "bird", None]
    assert reasons(problems) == {label_studio.MORE_CHOICES: 1}
    report = ingest(source, source.parent / "out")
    assert (report.sequences, report.boxes) == (3, 0)


def test_a_choice_that_names_no_class_of_boxes_is_an_attribute(source: Path) -> None:
    results = [track([key(1, 0, False)]), choice("night", "light"), choice("bird", "what")]
    raw, _ = read(write(source, [task(results)]))
    assert raw.classes == ("bird",)
    assert (raw.sequences[0].label, raw.sequences[0].attributes) == ("bird", {"light": "night"})
    assert "light" in raw.notes[0]


def test_json_min(source: Path) -> None:
    entry = {
        "id": 3,
        "video": "/data/upload/1/0a1b2c3d-clip.avi",
        "box": [{"sequence": [key(2, 30, False)], "labels": ["bird"], "framesCount": 20, "duration": 2.0}],
        "choice": "bird",
        "annotator": 1,
        "annotation_id": 7,
        "lead_time": 2.5,
    }
    raw, _ = read(write(source, [entry]))
    (sequence,) = raw.sequences
    assert (sequence.frame.tolist(), sequence.label) == ([1], "bird")
    assert sequence.boxes_xyxy_px.tolist() == [[30, 10, 40, 30]]
    assert sequence.place(0).endswith("export.json: [0]")


@pytest.mark.skipif(not VECTORS.is_dir(), reason="shared/vectors is not beside this checkout")
def test_only_its_own_files_look_like_it() -> None:
    for path in sorted(SHARED.rglob("*.json")):
        mine = VECTORS in path.parents and "label_config" not in path.name
        assert label_studio.sniff(path) == mine, path
        others = [name for name in FORMATS if name != label_studio.NAME and FORMATS[name].sniff(path)]
        assert not (mine and others), path
    for folder in [path for path in SHARED.rglob("*") if path.is_dir() and VECTORS not in path.parents]:
        assert not label_studio.sniff(folder), folder


@pytest.mark.skipif(not VECTORS.is_dir(), reason="shared/vectors is not beside this checkout")
@pytest.mark.parametrize("name", ["data", "data_obb", "data_polygons"])
def test_exports_of_label_studio_itself(tmp_path: Path, name: str) -> None:
    content = json.loads((VECTORS / "test_export_yolo" / f"{name}.json").read_text())
    (tmp_path / "export.json").write_text(json.dumps(content))
    expected = []
    for index, each in enumerate(content):
        results = each["annotations"][0]["result"]
        width, height = results[0]["original_width"], results[0]["original_height"]
        file = each["file_upload"] if name == "data_polygons" else Path(each["data"]["image"]).name
        each["data"]["image"] = file if Path(file).suffix else f"{file}.png"
        assert cv2.imwrite(str(tmp_path / each["data"]["image"]), np.zeros((height, width, 3), np.uint8))
        for result in results:
            value = result["value"]
            if "points" in value:
                corners = [complex(x * width, y * height) / 100 for x, y in value["points"]]
            else:
                corner = complex(value["x"] * width, value["y"] * height) / 100
                turn = cmath.rect(1, math.radians(value["rotation"]))
                across, down = value["width"] * width / 100, value["height"] * height / 100 * 1j
                corners = [corner + turn * side for side in (0, across, down, across + down)]
            x, y = [point.real for point in corners], [point.imag for point in corners]
            expected.append((index, min(x), min(y), max(x), max(y)))
    write(tmp_path, content)
    raw, _ = read(tmp_path)
    found = [
        (row, *box)
        for sequence in raw.sequences
        for row, box in zip(sequence.row.tolist(), sequence.boxes_xyxy_px.tolist(), strict=True)
    ]
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-6)
