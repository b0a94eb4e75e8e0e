"""Masks from COCO's annotations to the label file to the windows that a training sees."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as oracle

from seqdet.boxes import grown
from seqdet.data.dataset import load_dataset
from seqdet.data.labels import Labels, read_labels, write_labels
from seqdet.data.loader import ClipRenderer, batches
from seqdet.data.mask_windows import UNKNOWN, mask_windows
from seqdet.data.plans import BatchShape, Sampler
from seqdet.data.synth.shapes import SHAPE_CLASSES, render_shape_clip
from seqdet.data.transforms.geometry import ClipGeometry
from seqdet.defaults import MASK_TRUTH_SIDE, MASK_TRUTH_WINDOW
from seqdet.errors import InputError, UsageError
from seqdet.rle import decoded, encoded
from seqdet.runs.ingest import ingest
from seqdet.runs.synth import synth


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "data"
    return synth(folder, task="shapes", sequences=3, frames=4, size_wh=(96, 64), val_fraction=0).out


def test_boxes_of_rendered_shapes_are_those_of_their_masks():
    for class_id in range(len(SHAPE_CLASSES)):
        pictures, truths = render_shape_clip(np.random.default_rng(class_id), class_id, (96, 80), 5)
        assert pictures.shape == (5, 80, 96, 3)
        assert class_id in truths[0].class_ids
        for truth in truths:
            covered = np.zeros((80, 96), int)
            for box, text in zip(truth.boxes_xyxy_px, truth.masks, strict=True):
                left, top, width, height = oracle.toBbox({"size": [80, 96], "counts": text.encode()})
                assert box.tolist() == [left, top, left + width, top + height]
                covered += decoded(text, (96, 80))
            assert covered.max() <= 1, "what is hidden belongs to what lies before it"


def test_a_label_file_keeps_masks_and_one_without_is_as_before(tmp_path: Path):
    mask = encoded(np.arange(24).reshape(4, 6) % 5 == 0)
    frame, boxes = np.array([1, 0, 0]), np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 2, 5, 4]], float)
    labels = Labels.from_columns(frame, np.array([4, 5, 2]), np.zeros(3, int), boxes, [mask, "", mask])
    assert labels.masks == (mask, "", mask), "in the order of the rows: frame, then track"
    assert labels.at(1).masks == (mask,)
    path = tmp_path / "clip.csv"
    write_labels(path, labels, ("bird",))
    assert path.read_text().splitlines()[0] == "frame,track_id,class,left,top,right,bottom,mask"
    again = read_labels(path, ("bird",), 2, (6, 4))
    assert again.masks == labels.masks
    write_labels(
        path, Labels.from_columns(frame, np.arange(3), np.zeros(3, int), boxes, ["", "", ""]), ("bird",)
    )
    assert path.read_text().splitlines()[0] == "frame,track_id,class,left,top,right,bottom"
    assert read_labels(path, ("bird",), 2, (6, 4)).masks == ()
    assert Labels.empty().at(0).masks == ()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("0,1,bird,1,2,3,4,~~", ":3: mask: counts: this text is no run-length code"),
        ("0,1,bird,1,2,3,4,5", ":3: mask: counts: these runs do not make 4 by 6 pixels"),
        ("0,1,bird,1,2,3,4", ":3: 8 columns are expected, got 7"),
        ("0,1,bird,1,2,3,4,,9", ":3: 7 columns"),
    ],
)
def test_a_wrong_mask_is_named_by_file_and_line(tmp_path: Path, row: str, says: str):
    path = tmp_path / "clip.csv"
    path.write_text(f"frame,track_id,class,left,top,right,bottom,mask\n0,7,bird,0,0,1,1,\n{row}\n")
    with pytest.raises(InputError) as raised:
        read_labels(path, ("bird",), 2, (6, 4))
    assert f"{path}{says}" in str(raised.value)


def test_a_window_shows_what_the_warped_mask_shows():
    """Through turns, mirrors, scales and a picture that was read smaller; OpenCV warps the mask itself."""
    rng = np.random.default_rng(0)
    source_wh, picture_wh, input_wh = (160, 120), (80, 60), (96, 96)
    mask = np.zeros((120, 160), np.uint8)
    cv2.ellipse(mask, (80, 60), (40, 22), 30, 0, 360, 1, -1)
    ys, xs = np.nonzero(mask)
    box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
    zero = np.zeros(1, np.int64)
    truth = Labels(zero, zero + 3, zero, box / 2, (encoded(mask > 0),))
    for _ in range(10):
        geometry = ClipGeometry.draw(rng, picture_wh, input_wh)
        mapped, kept = geometry.map_boxes(box / 2)
        if not kept.all():
            continue
        (window,) = mask_windows(truth, mapped[None], np.ones((1, 1), bool), geometry, picture_wh, source_wh)[
            0
        ]
        fine = mask.repeat(4, 0).repeat(4, 1)  # eight times the picture that was read
        matrix = geometry.matrix.copy()
        matrix[:, :2] /= 8
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV's whole numbers are centres, ours are edges
        warped = cv2.warpAffine(fine, matrix, input_wh, flags=cv2.INTER_NEAREST)
        x1, y1, x2, y2 = grown(mapped, MASK_TRUTH_WINDOW)[0]
        cells = (np.arange(MASK_TRUTH_SIDE) + 0.5) / MASK_TRUTH_SIDE
        x, y = np.meshgrid(np.floor(x1 + cells * (x2 - x1)), np.floor(y1 + cells * (y2 - y1)))
        inside = (x >= 0) & (x < 96) & (y >= 0) & (y < 96)
        wanted = inside & (warped[np.clip(y, 0, 95).astype(int), np.clip(x, 0, 95).astype(int)] > 0)
        both, either = (window & wanted).sum(), (window | wanted).sum()
        assert both / either > 0.93


def shape(**changes: object) -> BatchShape:
    plain = {"clips": 2, "frames": 3, "max_stride": 1, "streamed": 0, "augment": False}
    none = ("paste_probability", "clutter_probability", "synthetic_fraction", "corrupt_probability")
    return BatchShape(**(plain | dict.fromkeys((*none, "reverse_probability"), 0.0) | changes))


def test_batches_have_masks_where_they_are_wanted_and_are_else_the_same(shapes: Path):
    dataset = load_dataset(shapes)
    sequences = dataset.split("train")

    def first(masks: bool, **changes: object):
        renderer = ClipRenderer(dataset, sequences, (96, 64), 1 << 24, None, masks=masks)
        return next(batches(renderer, Sampler(sequences, 0.5), shape(**changes), 0, 0, ()))[1]

    with_them, without = first(True), first(False)
    assert with_them.masks.shape == (*with_them.present.shape, MASK_TRUTH_SIDE, MASK_TRUTH_SIDE)
    assert without.masks.shape == (*without.present.shape, 0, 0)
    for name in ("frames", "boxes_xyxy_px", "class_ids", "present"):
        assert np.array_equal(getattr(with_them, name), getattr(without, name))
    known = with_them.masks.max(axis=(3, 4)) < UNKNOWN
    assert np.array_equal(known, with_them.present)
    filled = with_them.masks[known].mean(axis=(1, 2)) * MASK_TRUTH_WINDOW**2
    assert ((filled > 0.2) & (filled < 1)).all(), "of their boxes, shapes fill a part"
    pasted = first(
        True, paste_probability=1.0, augment=True, corrupt_probability=1.0, reverse_probability=1.0
    )
    known = pasted.masks.max(axis=(3, 4)) < UNKNOWN
    assert (known <= pasted.present).all()
    assert known.any(), "pasted objects have none, the others keep theirs"


def coco_source(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((30, 40, 3), 50 * index, np.uint8))
    square = np.zeros((30, 40), bool)
    square[5:9, 6:20] = True
    runs = {"size": [30, 40], "counts": encoded(square)}
    numbers = {"size": [30, 40], "counts": [6 * 30 + 5, 4, 40 * 30 - 6 * 30 - 9]}
    outlines = [[[2, 3, 20, 4, 10, 25.5]], runs, numbers, None]
    document = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 40, "height": 30} for k in range(3)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": k, "image_id": k % 3, "category_id": 1, "bbox": [2, 3, 18, 22], "segmentation": outline}
            for k, outline in enumerate(outlines)
        ],
    }
    document["annotations"][-1]["bbox"] = [4, 4, 8, 8]
    document["annotations"][0] |= changes
    (folder / "labels.json").write_text(json.dumps(document))
    return folder


def test_masks_of_coco_are_kept_when_they_are_asked_for(tmp_path: Path):
    source = coco_source(tmp_path / "source")
    report = ingest(source, tmp_path / "with", masks=True, val_fraction=0)
    assert any("without a mask" in entry.reason and entry.count == 1 for entry in report.dropped)
    dataset = load_dataset(tmp_path / "with")
    found = [text for one in dataset.sequences for text in dataset.labels(one).masks]
    triangle = oracle.merge(oracle.frPyObjects([[2, 3, 20, 4, 10, 25.5]], 30, 40))["counts"].decode()
    column = np.zeros((30, 40), bool)
    column[5:9, 6] = True
    square = np.zeros((30, 40), bool)
    square[5:9, 6:20] = True
    assert sorted(found) == sorted([triangle, encoded(square), encoded(column), ""])
    ingest(source, tmp_path / "without", val_fraction=0)
    plain = load_dataset(tmp_path / "without")
    assert not any(plain.labels(one).masks for one in plain.sequences)


@pytest.mark.parametrize(
    ("outline", "says"),
    [
        ({"size": [9, 9], "counts": [81]}, r"annotations\[0\]: segmentation: size: \[9, 9\], but the image"),
        ([[1, 2, 3]], r"annotations\[0\]: segmentation: a polygon of three points"),
        ({"size": [30, 40], "counts": "~"}, r"annotations\[0\]: segmentation: counts"),
    ],
)
def test_a_wrong_outline_is_named(tmp_path: Path, outline: object, says: str):
    with pytest.raises(InputError, match=says):
        ingest(coco_source(tmp_path / "source", segmentation=outline), tmp_path / "data", masks=True)
    assert not (tmp_path / "data").exists()


def test_formats_without_masks_refuse(tmp_path: Path, shapes: Path):
    for folder in ("gt", "videos"):
        (tmp_path / "mot" / folder).mkdir(parents=True)
    video = (shapes / "videos" / "shapes-0000.mp4").read_bytes()
    (tmp_path / "mot" / "videos" / "clip.mp4").write_bytes(video)
    (tmp_path / "mot" / "gt" / "clip.txt").write_text("1,1,2,3,10,10,1,1,1\n")
    with pytest.raises(UsageError, match="masks are read from COCO"):
        ingest(tmp_path / "mot", tmp_path / "data", masks=True)
