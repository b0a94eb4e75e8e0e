"""Label writers: what they write, held against the readers and by hand, and what they say is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from seqdet.data.dataset import Sequence
from seqdet.data.export import WRITERS, cvat, mot, protocol, yolo
from seqdet.data.export.protocol import Item, place_media
from seqdet.data.formats import FORMATS, choose_format
from seqdet.data.formats.clean import clean_labels
from seqdet.data.formats.protocol import Problems
from seqdet.data.labels import Labels
from seqdet.errors import InputError

Make = Callable[..., Path]
CLASSES = ('bird & "co" <é>', "drone")
SIZE = (64, 48)


def labels(*boxes: tuple[Any, ...]) -> Labels:
    """Labels from (frame, track, class, left, top, right, bottom)."""
    table = np.array(boxes, np.float64).reshape(-1, 7)
    return Labels.from_columns(table[:, 0], table[:, 1], table[:, 2], table[:, 3:])


def item(name: str, video: Path, found: Labels, frames: int = 10, **more: Any) -> Item:
    split, images = more.pop("split", None), more.pop("images", None)
    return Item(Sequence(name, video, frames, SIZE, 10.0, **more), found, images, split)


@pytest.fixture
def items(tmp_path: Path, make_video: Make, make_images: Make) -> list[Item]:
    """Tracks that come, go and come back, id 0, boxes at all edges, a sequence without object, images."""
    names = [f"{number:06d}.png" for number in range(8)]
    folder = make_images(tmp_path / "in" / "frames", names)
    random = np.random.default_rng(0)
    corner, side = random.uniform(0, 30, (8, 2)), random.uniform(0.5, 17, (8, 2))
    moving = [(f, 3, 0, *corner[f], *(corner[f] + side[f])) for f in range(8)]
    return [
        item(
            "sky & sea's", make_video(tmp_path / "in" / "a.avi"),
            labels(
                (0, 0, 1, 0, 0, 64, 48), (1, 0, 1, 0.125, 0.001, 63.999, 47.5), (4, 0, 1, 1, 2, 3, 4),
                (9, 0, 1, 60, 40, 64, 48), (3, 12, 0, 5.55, 6.66, 7.77, 8.88), (8, 12, 0, 5, 6, 7, 8),
            ),
            split="train",
        ),
        item("empty", make_video(tmp_path / "in" / "b.avi", 5), Labels.empty(), 5, split="val"),
        item("frames", folder, labels(*moving), 8, split="val", images=tuple(sorted(folder.iterdir()))),
    ]  # fmt: skip


def written(out: Path, format_name: str, items: list[Item], link: bool = False) -> list[str]:
    out.mkdir()
    notes = WRITERS[format_name].write(items, CLASSES, out)
    return notes + place_media(items, out, WRITERS[format_name].media_path, link)


def read_back(out: Path, format_name: str) -> tuple[dict[str, tuple[Any, Labels]], tuple[str, ...], Problems]:
    problems = Problems()
    assert format_name == choose_format(out).NAME, "found by content, and by no other format"
    raw = FORMATS[format_name].read(out, problems)
    problems.raise_if_failed(out)
    found = {}
    for sequence in raw.sequences:
        frames = 8 if sequence.images else (5 if "empty" in sequence.name else 10)
        found[sequence.name] = (sequence, clean_labels(sequence, frames, SIZE, problems))
    problems.raise_if_failed(out)
    return found, raw.classes, problems


@pytest.mark.parametrize("format_name", WRITERS)
def test_what_is_written_is_read_as_it_was(items: list[Item], tmp_path: Path, format_name: str) -> None:
    if format_name not in FORMATS:
        pytest.skip(f"there is no reader of {format_name} yet")
    written(tmp_path / "out", format_name, items)
    found, classes, problems = read_back(tmp_path / "out", format_name)
    of_yolo = format_name == "yolo"
    names = [f"{each.split}_{each.sequence.name}" if of_yolo else each.sequence.name for each in items]
    assert sorted(found) == sorted(names)
    for name, expected in zip(names, items, strict=True):
        raw, actual = found[name]
        assert (raw.images is None) == (expected.images is None)
        assert len(raw.images or ()) == len(expected.images or ())
        assert raw.split == expected.split
        order = np.lexsort((*actual.boxes_xyxy_px.T, actual.frame))
        want = expected.labels
        wanted = np.lexsort((*want.boxes_xyxy_px.T, want.frame))
        np.testing.assert_array_equal(actual.frame[order], want.frame[wanted])
        np.testing.assert_allclose(actual.boxes_xyxy_px[order], want.boxes_xyxy_px[wanted], atol=0.0011)
        assert [classes[k] for k in actual.class_id[order]] == [CLASSES[k] for k in want.class_id[wanted]]
        if of_yolo:
            assert len(np.unique(actual.track_id)) == len(actual)
        else:
            np.testing.assert_array_equal(actual.track_id[order], want.track_id[wanted])
    reasons = [entry.reason.split(":")[0] for entry in problems.dropped]
    assert reasons == (["no track id"] if of_yolo else []), "nothing to repair"


@pytest.mark.parametrize(
    ("format_name", "lost"),
    [
        ("mot", []),
        ("coco-vid", ["sequence class dropped (1 sequence)", "attributes dropped (1 sequence)"]),
        ("cvat", ["sequence class", "recording", "attributes", "frame rate of images"]),
        ("yolo", ["track ids", "sequence class", "recording", "attributes", "frame rate of images"]),
    ],
)
def test_what_a_format_cannot_hold_is_said(tmp_path: Path, format_name: str, lost: list[str]) -> None:
    known = item(
        "a", tmp_path / "a.mp4", labels((0, 1, 0, 1, 1, 2, 2)), class_id=1, recording="take-1",
        attributes={"sensor": "thermal"}, split="val",
    )  # fmt: skip
    images = tuple(tmp_path / f"{k}.png" for k in range(10))
    plain = item("b", tmp_path, Labels.empty(), recording="b", images=images, split="val")
    (tmp_path / "out").mkdir()
    notes = WRITERS[format_name].write([known, plain], CLASSES, tmp_path / "out")
    assert [note for note in notes if note != yolo.FRAMES_NEEDED.format(folder="images/val")] == [
        note if "dropped" in note else f"{note} dropped (1 sequence)" for note in lost
    ]


def test_mot_lines_count_from_one_and_clips_hold_the_rest(tmp_path: Path) -> None:
    known = item(
        "a", tmp_path / "a.MP4", labels((0, 7, 1, 0, 0.5, 64, 48)), class_id=0, recording="take, 1",
        attributes={"sensor": "thermal", "frames": "many"}, split="val",
    )  # fmt: skip
    (tmp_path / "out").mkdir()
    notes = mot.write([known], CLASSES, tmp_path / "out")
    assert (tmp_path / "out" / "gt" / "a.txt").read_text() == "1,7,1,1.5,64,47.5,1,2,1\n"
    assert (tmp_path / "out" / "classes.txt").read_text("utf-8") == "".join(f"{name}\n" for name in CLASSES)
    assert (tmp_path / "out" / "clips.csv").read_text("utf-8").splitlines() == [
        "clip,label,recording,split,frames,width,height,fps,sensor",
        'a,"bird & ""co"" <é>","take, 1",val,10,64,48,10.0,thermal',
    ]
    assert notes == ["attribute 'frames' dropped: clips.csv has another column of that name"]
    assert mot.media_path(known, None) == "videos/a.mp4"


def test_coco_is_what_pycocotools_reads(items: list[Item], tmp_path: Path) -> None:
    written(tmp_path / "out", "coco-vid", items)
    paths = sorted((tmp_path / "out" / "annotations").iterdir())
    assert [path.name for path in paths] == ["instances_train.json", "instances_val.json"]
    for path, members in zip(paths, ([items[0]], items[1:]), strict=True):
        coco = COCO(str(path))
        assert len(coco.getImgIds()) == sum(each.sequence.frames for each in members)
        assert len(coco.getAnnIds()) == sum(len(each.labels) for each in members)
        for annotation in coco.anns.values():
            left, top, width, height = annotation["bbox"]
            assert annotation["area"] == pytest.approx(width * height, abs=0.001)
            assert left + width <= 64
            assert top + height <= 48
    first = json.loads(paths[0].read_text("utf-8"))
    assert first["videos"] == [
        {"id": 1, "name": "sky & sea's", "width": 64, "height": 48, "length": 10, "fps": 10.0}
    ]
    assert [image["frame_id"] for image in first["images"]] == list(range(10))


def test_coco_keeps_a_name_that_ends_like_a_file(tmp_path: Path, make_video: Make) -> None:
    odd = item("a.mp4", make_video(tmp_path / "x.avi"), labels((2, 1, 0, 1, 1, 2, 2)))
    written(tmp_path / "out", "coco-vid", [odd])
    assert list(read_back(tmp_path / "out", "coco-vid")[0]) == ["a.mp4"]


def test_cvat_ends_each_visible_run_with_an_outside_box(items: list[Item], tmp_path: Path) -> None:
    written(tmp_path / "out", "cvat", items)
    root = ElementTree.parse(tmp_path / "out" / "sky & sea's.xml").getroot()
    tracks = {track.get("id"): track for track in root.iter("track")}
    seen = {
        key: [(int(box.get("frame", "")), box.get("outside")) for box in track]
        for key, track in tracks.items()
    }
    assert seen == {
        "0": [(0, "0"), (1, "0"), (2, "1"), (4, "0"), (5, "1"), (9, "0")],
        "12": [(3, "0"), (4, "1"), (8, "0"), (9, "1")],
    }
    assert [tracks["0"].get("label"), tracks["12"].get("label")] == [CLASSES[1], CLASSES[0]]
    box = tracks["0"][1].attrib
    assert [box[key] for key in ("xtl", "ytl", "xbr", "ybr")] == ["0.125", "0.001", "63.999", "47.5"]
    assert {each.get("keyframe") for each in root.iter("box")} == {"1"}
    assert {each.get("occluded") for each in root.iter("box")} == {"0"}, "CVAT demands it"
    assert tuple(each.findtext("name") for each in root.iter("label")) == CLASSES
    task = root.find("meta/task")
    assert task is not None
    said = [task.findtext(key) for key in ("name", "size", "start_frame", "stop_frame", "mode", "subset")]
    assert said == ["sky & sea's", "10", "0", "9", "interpolation", "train"]
    assert (task.findtext("original_size/width"), task.findtext("original_size/height")) == ("64", "48")
    assert root.findtext("meta/source") == "sky & sea's.avi"


def test_a_track_that_changes_class_is_two_in_cvat(tmp_path: Path) -> None:
    changing = labels(
        (0, 1, 0, 1, 1, 5, 5), (1, 1, 1, 1, 1, 5, 5), (2, 1, 0, 1, 1, 5, 5), (0, 4, 1, 9, 9, 11, 11)
    )
    (tmp_path / "out").mkdir()
    notes = cvat.write([item("a", tmp_path / "a.mp4", changing)], CLASSES, tmp_path / "out")
    assert notes == [f"{cvat.CLASS_CHANGES} (1 track more)"]
    root = ElementTree.parse(tmp_path / "out" / "a.xml").getroot()
    found = {
        track.get("id"): (
            track.get("label"),
            [box.get("frame") for box in track if box.get("outside") == "0"],
        )
        for track in root.iter("track")
    }
    assert found == {"1": (CLASSES[0], ["0", "2"]), "5": (CLASSES[1], ["1"]), "4": (CLASSES[1], ["0"])}


def test_yolo_has_a_file_for_every_frame(items: list[Item], tmp_path: Path) -> None:
    notes = written(tmp_path / "out", "yolo", items)
    folder = tmp_path / "out" / "labels"
    assert sorted(path.name for path in (folder / "train").iterdir()) == [
        f"sky & sea's_{number:06d}.txt" for number in range(1, 11)
    ]
    row = (folder / "train" / "sky & sea's_000001.txt").read_text()
    assert row == "1 0.500000000 0.500000000 1.000000000 1.000000000\n"
    assert (folder / "train" / "sky & sea's_000003.txt").read_text() == ""
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text("utf-8")) == {
        "train": "images/train", "val": "images/val", "names": dict(enumerate(CLASSES)),
    }  # fmt: skip
    assert "track ids dropped (2 sequences)" in notes
    assert yolo.NO_VAL not in notes
    assert yolo.NO_VAL in written(tmp_path / "other", "yolo", items[:1])


@pytest.mark.parametrize(
    ("format_name", "name", "classes"),
    [
        ("mot", "gt", CLASSES),
        ("mot", "labels", CLASSES),
        ("mot", "a", ("a\u2028b",)),
        ("cvat", "a", ("a\x01",)),
    ],
)
def test_names_that_a_format_cannot_hold_are_refused(
    tmp_path: Path, format_name: str, name: str, classes: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="rename"):
        WRITERS[format_name].write([item(name, tmp_path / "a.mp4", Labels.empty())], classes, tmp_path)


def test_videos_are_linked_or_copied(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert written(tmp_path / "copied", "coco-vid", items) == []
    assert written(tmp_path / "linked", "coco-vid", items, link=True) == []
    source = items[0].sequence.video
    same = {name: (tmp_path / name / "videos" / "sky & sea's.avi") for name in ("copied", "linked")}
    assert same["linked"].samefile(source)
    assert not same["linked"].is_symlink()
    assert not same["copied"].samefile(source)
    assert same["copied"].read_bytes() == source.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    notes = written(tmp_path / "other", "coco-vid", items, link=True)
    assert notes == [f"{protocol.COPIED}: 10"], "two videos and eight images"
