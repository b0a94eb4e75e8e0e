from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqdet.data.dataset import load_dataset
from seqdet.data.formats import FORMATS, choose_format, coco
from seqdet.data.formats.coco_parts import IGNORED
from seqdet.data.formats.protocol import Problems
from seqdet.errors import InputError
from seqdet.runs.ingest import ingest

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations"
Make = Callable[..., Path]


def vectors(name: str) -> Path:
    path = VECTORS / name
    if not path.exists():
        pytest.skip("shared/vectors is not beside this checkout")
    return path


@pytest.mark.parametrize(
    "name", ["coco", "mmdet_coco", "coco_instances", "coco_roboflow", "coco_person_keypoints"]
)
def test_data_sets_of_datumaro(name: str) -> None:
    """The test assets of datumaro, whose importer finds these boxes; its images are of other sizes."""
    folder = vectors("datumaro/coco_dataset") / name
    problems = Problems()
    raw = choose_format(folder).read(folder, problems)
    problems.raise_if_failed(folder)
    classes = ("a", "b") if name == "coco_person_keypoints" else ("a", "b", "c")
    assert raw.classes == classes
    found = {
        (sequence.split, frame, raw.classes[class_id], *box)
        for sequence in raw.sequences
        for frame, class_id, box in zip(
            sequence.frame.tolist(),
            sequence.class_id.tolist(),
            sequence.boxes_xyxy_px.tolist(),
            strict=True,
        )
    }
    assert found == {("train", 0, "b", 2, 2, 5, 3), ("val", 0, "a", 0, 0, 1, 2)}
    assert {sequence.size_wh for sequence in raw.sequences} == {(10, 5), (5, 10)}
    (crowd,) = problems.dropped
    assert (crowd.reason, crowd.count) == (IGNORED, 1)
    left_out = [note for note in raw.notes if "left out beside them" in note]
    assert bool(left_out) == (name == "coco")
    assert all("person_keypoints_val.json" in note and "stuff_val.json" in note for note in left_out)


@pytest.mark.parametrize("name", ["captions", "labels", "panoptic", "stuff", "image_info"])
def test_files_without_boxes_are_refused_by_name(name: str) -> None:
    folder = vectors("datumaro/coco_dataset") / f"coco_{name}"
    for source in (folder, folder / "annotations" / f"{name}_val.json"):
        with pytest.raises(InputError, match=rf"there are no boxes in .*{name}_val.json \({name}: "):
            choose_format(source).read(source, Problems())


def test_boxes_of_coco_are_those_that_pycocotools_finds(
    tmp_path: Path, make_images: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO

    path = vectors("faster_coco_eval/dataset/cocoapi/instances_val2014_100.json")
    oracle = COCO(str(path))
    for image in oracle.imgs.values():
        make_images(tmp_path / "source" / "val2014", [image["file_name"]], (image["width"], image["height"]))
    (tmp_path / "source" / "annotations").mkdir()
    (tmp_path / "source" / "annotations" / path.name).write_bytes(path.read_bytes())
    report = ingest(tmp_path / "source", tmp_path / "out", link=True)
    assert report.sequences == 100
    crowds = len(oracle.getAnnIds(iscrowd=True))
    assert [entry.count for entry in report.dropped if entry.reason == IGNORED] == [crowds]
    dataset = load_dataset(tmp_path / "out")
    names = {entry["id"]: entry["name"] for entry in oracle.loadCats(oracle.getCatIds())}
    assert dataset.classes == tuple(names[identity] for identity in sorted(names))
    for sequence in dataset.sequences:
        identity = int(sequence.name.rpartition("_")[2])
        truth = oracle.loadAnns(oracle.getAnnIds([identity], iscrowd=False))
        expected = []
        for each in truth:
            left, top, width, height = each["bbox"]
            right, bottom = np.minimum((left + width, top + height), sequence.size_wh).tolist()
            row = (dataset.classes.index(names[each["category_id"]]), left, top, right, bottom)
            expected.append(np.round(row, 2).tolist())
        labels = dataset.labels(sequence)
        found = np.column_stack((labels.class_id, labels.boxes_xyxy_px)).round(2).tolist()
        assert sorted(found) == sorted(expected)


def test_only_coco_is_taken_for_it() -> None:
    """No other format reads these sources, and this one reads none of the others'."""
    vectors("datumaro")
    own = {path for path in VECTORS.rglob("annotations") if "coco_dataset" in path.parts}
    own |= {path.parent for path in own}
    own |= {path.parent for name in ("gt_dataset", "instances*100") for path in VECTORS.rglob(f"{name}.json")}
    own |= {path.parent for path in VECTORS.rglob("_annotations.coco.json")}
    own.add(VECTORS / "datumaro" / "coco_dataset" / "coco_roboflow")
    for folder in (path for path in VECTORS.rglob("*") if path.is_dir()):
        assert coco.sniff(folder) == (folder in own), folder
        if folder in own:
            others = [name for name, form in FORMATS.items() if name != coco.NAME and form.sniff(folder)]
            assert others == [], folder
