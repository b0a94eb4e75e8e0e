"""What ingestion counts in the sources of other projects, against a count by other means.

The oracles know the files, not seqdet: pycocotools, ElementTree, and lines that are split by hand. The table
that a person reads is in docs/data.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"


class Counts(NamedTuple):
    """Images or frames, boxes of each class that has any, and tracks (None: none in the format)."""

    frames: int
    boxes: dict[str, int]
    tracks: int | None = None


def by_pycocotools(files: Iterable[Path]) -> Counts:
    boxes: Counter[str] = Counter()
    frames = 0
    for path in files:
        oracle = COCO(str(path))
        frames += len(oracle.imgs)
        names = {entry["id"]: entry["name"] for entry in oracle.loadCats(oracle.getCatIds())}
        for entry in oracle.loadAnns(oracle.getAnnIds(iscrowd=False)):
            boxes[names[entry["category_id"]]] += not entry.get("ignore")
    return Counts(frames, dict(boxes))


def by_json_of_coco_vid(path: Path) -> Counts:
    said = json.loads(path.read_text())
    names = {entry["id"]: entry["name"] for entry in said["categories"]}
    kept = [entry for entry in said["annotations"] if not entry.get("iscrowd") and not entry.get("ignore")]
    boxes = Counter(names[entry["category_id"]] for entry in kept)
    tracks = {(entry.get("video_id"), entry.get("instance_id", entry.get("track_id"))) for entry in kept}
    return Counts(len(said["images"]), dict(boxes), len(tracks))


def by_cells(files: Iterable[Path], names: list[str] | None, cell: int, between: str | None) -> Counts:
    """Lines of text: the class is in this cell, a number from 0 where ``names`` are given."""
    paths = list(files)
    boxes: Counter[str] = Counter()
    for path in paths:
        for line in path.read_text().splitlines():
            if line.strip():
                said = line.split(between)[cell]
                boxes[names[int(said)] if names else said] += 1
    boxes.pop("DontCare", None)
    return Counts(len(paths), dict(boxes))


def by_elements_of_voc(files: Iterable[Path]) -> Counts:
    paths = list(files)
    found = [ElementTree.parse(path).findall("object/name") for path in paths]
    return Counts(len(paths), dict(Counter(name.text or "" for names in found for name in names)))


def by_elements_of_cvat_images(files: Iterable[Path]) -> Counts:
    roots = [ElementTree.parse(path).getroot() for path in files]
    boxes: Counter[str] = Counter()
    frames = 0
    for root in roots:
        frames += len(root.findall("image"))
        boxes.update(each.get("label", "") for kind in ("box", "polygon") for each in root.iter(kind))
    boxes.pop("", None)
    return Counts(frames, dict(boxes))


def by_elements_of_cvat_video(folder: Path) -> Counts:
    """Entries that are not outside count. Of four frames three have an image; the fourth has no object."""
    root = ElementTree.parse(next(folder.glob("*.xml"))).getroot()
    boxes: Counter[str] = Counter()
    tracks = 0
    for track in root.findall("track"):
        seen = sum(each.get("outside") == "0" for kind in ("box", "polygon") for each in track.findall(kind))
        boxes[track.get("label", "")] += seen
        tracks += seen > 0
    return Counts(len(list(folder.glob("images/*"))), dict(+boxes), tracks)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


D, L = "datumaro", "label-studio-converter/data"
Count = Callable[[Path], Counts]
SOURCES: dict[str, Count] = {
    **{
        f"{D}/coco_dataset/{name}": lambda folder: by_pycocotools(folder.rglob("*instances*.json"))
        for name in ("coco", "coco_instances", "mmdet_coco")
    },
    f"{D}/coco_dataset/coco_roboflow": lambda folder: by_pycocotools(folder.rglob("*.json")),
    f"{D}/coco_dataset/coco_person_keypoints": lambda folder: by_pycocotools(folder.rglob("*.json")),
    "faster_coco_eval/dataset/gt_dataset.json": lambda path: by_pycocotools([path]),
    f"{D}/mot_dataset/mot_seq": lambda folder: by_cells(
        [folder / "gt" / "gt.txt"], ["", *lines(folder / "gt" / "labels.txt")], 7, ","
    ),
    f"{D}/kitti_dataset/kitti_detection": lambda folder: by_cells(folder.rglob("*.txt"), None, 0, None),
    f"{D}/voc_dataset/voc_dataset1": lambda folder: by_elements_of_voc(folder.glob("Annotations/*.xml")),
    f"{D}/voc_dataset/voc_dataset3": lambda folder: by_elements_of_voc(folder.glob("Annotations/*.xml")),
    f"{D}/cvat_dataset/for_images/export_project": lambda folder: by_elements_of_cvat_images(
        folder.glob("*.xml")
    ),
    f"{D}/cvat_dataset/for_images/export_task": lambda folder: by_elements_of_cvat_images(
        folder.glob("*.xml")
    ),
    f"{D}/cvat_dataset/for_video": by_elements_of_cvat_video,
    f"{L}/test_import_yolo_data_unif_dims": lambda folder: by_cells(
        folder.glob("labels/*.txt"), lines(folder / "classes.txt"), 0, None
    ),
}


# Labels whose images are not there: blank ones of the size that the labels say are made.
WITHOUT_IMAGES: dict[str, Count] = {
    "mmtracking/demo_cocovid_data/ann.json": by_json_of_coco_vid,
    "mmtracking/demo_vis_data/ann.json": by_json_of_coco_vid,
    "faster_coco_eval/dataset/cocoapi/instances_val2014_100.json": lambda path: by_pycocotools([path]),
    "faster_coco_eval/keypoints_dataset/gt_dataset.json": lambda path: by_pycocotools([path]),
    "faster_coco_eval/dataset/example_crowdpose_val.json": lambda path: by_pycocotools([path]),
}


def vectors(name: str) -> Path:
    source = VECTORS / name
    if not source.exists():
        pytest.skip("shared/vectors is not beside this checkout")
    return source


def holds(source: Path, out: Path, expected: Counts) -> None:
    report = ingest(source, out, link=True, allow_leak=True)
    found = {name: count for name, count in report.boxes_per_class.items() if count}
    assert found == {name: count for name, count in expected.boxes.items() if count}
    assert report.frames == expected.frames
    assert report.boxes == sum(expected.boxes.values())
    assert report.tracks == (report.boxes if expected.tracks is None else expected.tracks)


@pytest.mark.parametrize("name", SOURCES)
def test_as_many_as_another_counts(name: str, tmp_path: Path) -> None:
    source = vectors(name)
    holds(source, tmp_path / "out", SOURCES[name](source))


@pytest.mark.parametrize("name", WITHOUT_IMAGES)
def test_as_many_as_another_counts_where_images_are_made(name: str, tmp_path: Path) -> None:
    path = vectors(name)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / path.name).write_bytes(path.read_bytes())
    for image in json.loads(path.read_text())["images"]:
        file = tmp_path / "source" / image["file_name"]
        file.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(file), np.zeros((image["height"], image["width"]), np.uint8))
    holds(tmp_path / "source", tmp_path / "out", WITHOUT_IMAGES[name](path))


NOT_READ = {
    "coco_dataset/coco_captions": r"no boxes in captions_train\.json \(captions: sentences",
    "coco_dataset/coco_image_info": r"no boxes in image_info_train\.json \(image_info: images without labels",
    "coco_dataset/coco_labels": r"no boxes in labels_train\.json \(labels: classes of whole images",
    "coco_dataset/coco_panoptic": r"no boxes in panoptic_train\.json \(panoptic: ",
    "coco_dataset/coco_stuff": r"no boxes in stuff_train\.json \(stuff: ",
    "labelme_dataset": "looks like LabelMe",
    "mots_dataset": "looks like MOTS",
    "kitti_dataset/kitti_raw": "looks like KITTI raw",
    "kitti_dataset/kitti_segmentation": "looks like KITTI segmentation",
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_not_read_is_said_by_its_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=NOT_READ[name]):
        ingest(vectors(f"datumaro/{name}"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_detections_are_not_taken_for_labels(tmp_path: Path) -> None:
    source = vectors("faster_coco_eval/dataset/dt_dataset.json")
    with pytest.raises(InputError, match="looks like detections with scores"):
        ingest(source, tmp_path / "out")
