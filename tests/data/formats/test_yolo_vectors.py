"""YOLO files that other projects test their own readers with."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from seqdet.data.formats import choose_format, yolo
from seqdet.data.formats.protocol import Problems, RawDataset
from seqdet.errors import InputError
from seqdet.video.folder import image_size

VECTORS = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors" / "annotations" / "datumaro"


def read(source: Path) -> tuple[RawDataset, Problems]:
    problems = Problems()
    assert choose_format(source) is yolo
    raw = yolo.read(source, problems)
    problems.raise_if_failed(source)
    return raw, problems


def counts(problems: Problems) -> dict[str, int]:
    return {entry.reason: entry.count for entry in problems.dropped}


@pytest.mark.parametrize(
    ("folder", "splits", "count"),
    [("strict", ["train"], 2), ("labels", ["train", "val"], 4), ("annotations", [None], 2)],
)
def test_files_of_datumaro(folder: str, splits: list[str | None], count: int) -> None:
    source = VECTORS / "yolo_dataset" / folder
    if not source.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    raw, problems = read(source)
    assert [each.split for each in raw.sequences] == splits
    assert raw.classes == tuple(f"label_{number}" for number in range(10))
    for each in raw.sequences:  # datumaro: Bbox(0, 2, 4, 2, label=2) and Bbox(3, 3, 2, 3, label=4)
        assert each.class_id.tolist() == [2, 4]
        assert np.allclose(each.boxes_xyxy_px, [[0, 2, 4, 4], [3, 3, 5, 6]], atol=1e-4)
    assert sum(len(each.frame) for each in raw.sequences) == count
    assert counts(problems) == {}


def test_files_of_label_studio() -> None:
    source = VECTORS.parent / "label-studio-converter" / "data"
    if not source.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    folder = source / "test_import_yolo_data_unif_dims"
    raw, problems = read(folder)
    assert raw.classes == ("closed_door", "opened_door", "bus", "number")
    assert counts(problems) == {}
    boxes = {}
    for each in raw.sequences:
        for index, image in enumerate(each.images or ()):
            boxes[image.stem] = (each.class_id[each.frame == index], each.boxes_xyxy_px[each.frame == index])
    assert sorted(boxes) == [f"img_{number}" for number in range(1, 6)]
    for stem, (class_id, got) in boxes.items():
        rows = np.loadtxt(folder / "labels" / f"{stem}.txt", ndmin=2)
        (image,) = (folder / "images").glob(f"{stem}.*")
        width, height = image_size(image, 10**8)
        assert class_id.tolist() == rows[:, 0].tolist()
        assert np.allclose((got[:, 0] + got[:, 2]) / 2, rows[:, 1] * width)
        assert np.allclose(got[:, 3] - got[:, 1], rows[:, 4] * height)
    with pytest.raises(InputError, match="3 problems"):  # labels of three images that are not there
        read(source / "test_import_yolo_data")


def test_other_formats_are_not_taken_for_this_one() -> None:
    if not VECTORS.is_dir():
        pytest.skip("shared/vectors is not beside this checkout")
    folders = itertools.chain(VECTORS.glob("*"), VECTORS.glob("*/*"), VECTORS.parent.glob("[!d]*/*/*"))
    taken = [path for path in folders if path.is_dir() and "yolo" not in str(path) and yolo.sniff(path)]
    assert taken == []
