"""Exports of Label Studio that are wrong: each is an InputError that names the place."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.data.formats import choose_format, label_studio
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

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


@pytest.fixture
def source(tmp_path: Path, make_video: Make) -> Path:
    """A clip of 20 frames of 100x50 pixels at 10 frames a second."""
    folder = tmp_path / "source"
    make_video(folder / "clip.avi", 20, (100, 50))
    return folder


SEQUENCE = [key(1, 0), key(5, 40, False), key(9, 10), key(11, 30)]


def image_task(name: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"image": f"/data/upload/1/{name}"}, "annotations": [{"result": results}], "meta": {}}


def rectangle(x: float, label: str = "bird", **more: object) -> dict[str, Any]:
    value = {"x": x, "y": 50, "width": 25, "height": 10, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": 64, "original_height": 48}
    return {"type": "rectanglelabels", "from_name": "label", "value": value, **size, **more}


def choice(answer: str | list[str], question: str = "kind") -> dict[str, Any]:
    said = [answer] if isinstance(answer, str) else answer
    return {"id": question, "type": "choices", "from_name": question, "value": {"choices": said}}


RESULT = "[0].annotations[0].result[0]"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.update(data=None), "[0]: data: an object"),
        (lambda t: t["data"].update(video=7), '[0]: data: the URL of a "video" or an "image"'),
        (lambda t: t["data"].update(video="../clip.avi"), "[0]: data: '../clip.avi' leads out"),
        (lambda t: t["data"].update(video="/data/local-files/?d=../x.mp4"), "leads out"),
        (lambda t: t["data"].update(video="/etc/passwd"), "[0]: data: there is no passwd in"),
        (lambda t: t["data"].update(video="http://[::clip.mp4"), "[0]: data: there is no"),
        (lambda t: t.update(annotations={}), "[0]: annotations: a list of objects"),
        (lambda t: t["annotations"][0].update(result=[3]), "[0].annotations[0]: result: a list of objects"),
        (lambda t: t["annotations"][0]["result"][0].update(value=[]), f"{RESULT}: a type and a value"),
        (lambda t: t["annotations"][0]["result"][0]["value"].update(sequence=3), f"{RESULT}: value.sequence"),
    ],
)
def test_a_wrong_task_is_named(source: Path, change: Callable[[Any], None], says: str) -> None:
    content = task([track(SEQUENCE)])
    change(content)
    with pytest.raises(InputError) as caught:
        ingest(write(source, [content]), source.parent / "out", format="label-studio")
    assert says in str(caught.value)
    assert "export.json" in str(caught.value)
    assert not (source.parent / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frame": 0}, "frame: a whole number from 1 is expected, got 0"),
        ({"frame": -3}, "frame: a whole number from 1"),
        ({"frame": 2.5}, "frame: a whole number from 1"),
        ({"frame": "2"}, "frame: a whole number from 1"),
        ({"frame": True}, "frame: a whole number from 1"),
        ({"frame": 10**400}, "frame: a whole number from 1"),
        ({"x": float("nan")}, "x: a number (percent of the frame) is expected, got nan"),
        ({"width": None}, "width: a number"),
        ({"height": "10"}, "height: a number"),
        ({"rotation": "90"}, "rotation: a number (degrees)"),
        ({"enabled": "no"}, "enabled: true or false"),
    ],
)
def test_a_wrong_keyframe_is_named(source: Path, change: dict[str, object], says: str) -> None:
    write(source, [task([track([key(1, 0), {**key(2, 5), **change}])])])
    with pytest.raises(InputError) as caught:
        read(source)
    assert f"export.json: {RESULT}.value.sequence[1]: {says}" in str(caught.value)


def test_a_keyframe_of_no_frame_of_the_video_is_refused(source: Path) -> None:
    write(source, [task([track([key(500, 0)])])])
    with pytest.raises(
        InputError, match=r"result\[0\]: frame: 500 is not a frame of the video, which has 20"
    ):
        read(source)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"original_width": "64"}, "original_width"),
        ({"original_width": 32}, "the labels say 32x48 pixels, the video has 64x48"),
        ({"image_rotation": 90}, "image_rotation"),
        ({"value": {"x": 1, "rectanglelabels": ["a"]}}, "value.x, y, width, height, rotation: numbers"),
    ],
)
def test_a_wrong_box_of_an_image_is_named(
    tmp_path: Path, make_images: Make, change: dict[str, Any], says: str
) -> None:
    make_images(tmp_path, ["a.png"])
    write(tmp_path, [image_task("a.png", [{**rectangle(3), **change}])])
    with pytest.raises(InputError) as caught:
        ingest(tmp_path, tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text", ["", '[{"data": {"video": "clip.avi"}, "annotations": [', "[" * 100_000, "{}"]
)
def test_a_broken_file_is_an_input_error(source: Path, text: str) -> None:
    write(source, text)
    with pytest.raises(InputError, match=r"export.json"):
        ingest(source / "export.json", source.parent / "out", format="label-studio")
    assert not (source.parent / "out").exists()


def test_a_byte_order_mark_and_other_line_ends_are_read(source: Path) -> None:
    text = json.dumps([task([track(SEQUENCE, "птица")])], indent=1, ensure_ascii=False)
    (source / "export.json").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    raw, _ = read(source / "export.json")
    assert raw.classes == ("птица",)


VALUES = st.sampled_from(
    [None, True, -1, 0, 2.5, float("nan"), 10**400, "", "../a", "clip.avi", [], [1], {}, {"a": 1}]
)
PATHS: list[tuple[Any, ...]] = [
    (0,), (0, "data"), (0, "data", "video"), (0, "annotations"), (0, "annotations", 0),
    (0, "annotations", 0, "result"), (0, "annotations", 0, "was_cancelled"), (0, "file_upload"),
    *((0, "annotations", 0, "result", 0, *more) for more in [
        (), ("type",), ("id",), ("value",), ("value", "sequence"), ("value", "labels"),
        ("value", "framesCount"), ("value", "duration"), ("value", "sequence", 1),
        ("value", "sequence", 1, "time"),
        ("value", "sequence", 1, "rotation"), ("value", "sequence", 1, "enabled"),
    ]),
    (0, "annotations", 0, "result", 1, "value", "choices"),
    (0, "annotations", 0, "result", 1, "from_name"),
]  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3))
def test_any_value_is_read_or_refused(source: Path, changes: list[tuple[tuple[Any, ...], object]]) -> None:
    content: Any = [task([track([key(1, 0), key(9, 5)], framesCount=20, duration=2.0), choice("x")])]
    for path, value in changes:
        place = content
        with contextlib.suppress(KeyError, TypeError, IndexError):
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = copy.deepcopy(value)
    problems = Problems()
    with contextlib.suppress(InputError):
        write(source, content)
        label_studio.read(source / "export.json", problems)
        problems.raise_if_failed(source)
