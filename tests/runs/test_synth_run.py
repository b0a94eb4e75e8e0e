"""seqdet synth writes data sets that load, with every class in every split and truth where the pixels are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from seqdet.data.dataset import load_dataset
from seqdet.errors import UsageError
from seqdet.runs.synth import synth


@pytest.mark.parametrize(("task", "classes"), [("airspace", 4), ("discs", 3), ("discs-appearance", 3)])
def test_data_set_loads_and_holds_every_class_in_both_splits(tmp_path: Path, task: str, classes: int) -> None:
    out = tmp_path / "data"
    report = synth(out, task=task, sequences=2 * classes, frames=4, size_wh=(96, 64), seed=4)
    dataset = load_dataset(out)
    assert dataset.classes == report.classes
    assert len(dataset.classes) == classes
    assert report.splits == {"train": classes, "val": classes}
    assert report.frames == 2 * classes * 4
    assert report.boxes == sum(len(dataset.labels(sequence)) for sequence in dataset.sequences) > 0
    if task != "airspace":  # an airspace scene may be empty
        for split in ("train", "val"):
            assert {sequence.class_id for sequence in dataset.split(split)} == set(range(classes))
    assert len({sequence.recording for sequence in dataset.sequences}) == 2 * classes


def test_discs_survive_the_codec(tmp_path: Path) -> None:
    """Within its box a disc stands out of the decoded picture as it did of the rendered one."""
    dataset = load_dataset(synth(tmp_path / "data", task="discs", sequences=3, frames=8, val_fraction=0).out)
    contrasts = []
    for sequence in dataset.sequences:
        labels = dataset.labels(sequence)
        capture = cv2.VideoCapture(str(sequence.video))
        for index in range(sequence.frames):
            ok, bgr = capture.read()
            assert ok
            for left, top, right, bottom in labels.at(index).boxes_xyxy_px.round().astype(int):
                inside = bgr[top + 2 : bottom - 2, left + 2 : right - 2].mean()
                contrasts.append(abs(inside - np.median(bgr)))
        capture.release()
    assert np.median(contrasts) > 25


def test_the_seed_decides(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synth(tmp_path / name, task="discs", sequences=1, frames=3, seed=seed)
        texts.append("".join(path.read_text() for path in sorted((tmp_path / name / "labels").iterdir())))
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "sea"},
        {"sensor": "radar"},
        {"sequences": 0},
        {"frames": 0},
        {"val_fraction": 1.0},
        {"size_wh": (8, 8)},
        {"seed": -1},
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(UsageError, match="got"):
        synth(tmp_path / "data", **wrong)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        synth(tmp_path, sequences=1, frames=1, force=True)
    assert (tmp_path / "mine.txt").read_text() == "keep"
