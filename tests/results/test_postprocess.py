"""From raw numbers to boxes in the source: the best ones, once each, where the object was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou, nms

from seqdet.data.transforms.geometry import preprocess
from seqdet.results.postprocess import PostprocessOptions, RawPicture, postprocess, to_source

# Neither a limit nor the rule for nested boxes.
PLAIN = PostprocessOptions(min_score=0.05, nested_threshold=1.1, max_detections=10_000)


def raw_picture(cells: int, seed: int = 0) -> RawPicture:
    """A crowd: many boxes of 8 to 40 pixels in 100 x 100."""
    rng = np.random.default_rng(seed)
    corner, sides = rng.uniform(0, 60, (cells, 2)), rng.uniform(8, 40, (cells, 2))
    return RawPicture(
        objectness=rng.normal(-1, 2, cells).astype(np.float32),
        class_logits=rng.normal(0, 1, (cells, 3)).astype(np.float32),
        boxes_xyxy=np.concatenate([corner, corner + sides], axis=1).astype(np.float32),
        motion=rng.normal(0, 1, (cells, 2)).astype(np.float32),
    )


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_what_is_kept_is_what_torchvision_keeps(threshold: float):
    raw = raw_picture(400)
    scores = torch.from_numpy(raw.objectness).sigmoid()
    order = nms(torch.from_numpy(raw.boxes_xyxy), scores, threshold)
    order = order[scores[order] >= 0.05].numpy()
    found = postprocess(raw, PostprocessOptions(0.05, 1.1, threshold, 10_000))
    np.testing.assert_array_equal(found.boxes_xyxy_px, raw.boxes_xyxy[order])
    np.testing.assert_allclose(found.scores, scores[order], rtol=1e-5)
    np.testing.assert_array_equal(found.class_ids, raw.class_logits[order].argmax(axis=1))
    np.testing.assert_allclose(found.class_scores.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.motion_px, raw.motion[order])
    assert (found.track_ids == -1).all()


def test_no_box_is_reported_twice_and_none_is_lost():
    """By the definition: survivors do not overlap, and what is gone overlapped a better one."""
    raw = raw_picture(300, seed=1)
    found = postprocess(raw, PLAIN)
    kept = torch.from_numpy(found.boxes_xyxy_px)
    overlaps = box_iou(kept, kept) - torch.eye(len(kept))
    assert overlaps.max() <= 0.5
    assert (np.diff(found.scores) <= 0).all()
    scores = 1 / (1 + np.exp(-raw.objectness))
    covered = box_iou(torch.from_numpy(raw.boxes_xyxy), kept).numpy()
    better = (covered > 0.5) & (found.scores[None] >= scores[:, None] - 1e-6)
    assert better.any(axis=1)[scores >= 0.05].all()


def test_parts_and_surroundings_of_an_object_are_dropped():
    boxes = np.array([[10, 10, 30, 30], [12, 12, 18, 18], [0, 0, 60, 60], [70, 70, 90, 90]], np.float32)
    raw = RawPicture(np.array([3.0, 2, 1, 0]), np.zeros((4, 2), np.float32), boxes, np.zeros((4, 2)))
    found = postprocess(raw, PostprocessOptions())
    np.testing.assert_array_equal(found.boxes_xyxy_px, boxes[[0, 3]])
    assert len(postprocess(raw, PLAIN)) == 4


def test_at_most_so_many_and_the_best():
    raw = raw_picture(3000, seed=2)
    found = postprocess(raw, PostprocessOptions(iou_threshold=0.99, nested_threshold=1.1, max_detections=7))
    best = np.sort(1 / (1 + np.exp(-raw.objectness)))[::-1][:7]
    np.testing.assert_allclose(found.scores, best, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["objectness", "class_logits", "boxes_xyxy", "motion"])
def test_numbers_that_are_not_finite_never_come_out(bad: float, where: str):
    raw = raw_picture(50)
    getattr(raw, where)[::2] = bad
    found = postprocess(raw, PLAIN)
    assert len(found)
    for name in ("boxes_xyxy_px", "scores", "class_scores", "motion_px"):
        assert np.isfinite(getattr(found, name)).all(), name


@pytest.mark.parametrize("objectness", [-20.0, np.nan])
def test_nothing_found_is_no_detections(objectness: float):
    raw = raw_picture(30)
    raw.objectness[:] = objectness
    found = postprocess(raw, PostprocessOptions())
    assert (len(found), found.class_scores.shape, found.boxes_xyxy_px.shape) == (0, (0, 3), (0, 4))
    source, stayed = to_source(found, preprocess(np.zeros((48, 64, 3), np.uint8), (96, 96))[1])
    assert (len(source), stayed.shape) == (0, (0,))


@pytest.mark.parametrize("source_wh", [(320, 256), (641, 479), (97, 200), (1280, 1024), (160, 128)])
def test_preprocessing_is_undone_to_half_a_pixel(source_wh: tuple[int, int]):
    """A bright rectangle, found in the network's input by its sums of light, is back where it was."""
    width, height = source_wh
    truth = np.array([width // 4, height // 3, width // 4 + width // 5, height // 3 + height // 4])
    picture = np.zeros((height, width, 3), np.uint8)
    picture[truth[1] : truth[3], truth[0] : truth[2]] = 255
    fitted, geometry = preprocess(picture, (320, 256))
    assert fitted.shape == (256, 320, 3)
    x, y = geometry.offset_xy
    light = fitted[y : y + geometry.scaled_wh[1], x : x + geometry.scaled_wh[0], 0].astype(float) / 255
    edges = []
    for axis, offset in ((0, x), (1, y)):
        profile = light.sum(axis=axis)
        side = profile.sum() / profile.max()
        centre = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum() + offset
        edges.append((centre - side / 2, centre + side / 2))
    box = np.array([[edges[0][0], edges[1][0], edges[0][1], edges[1][1]]], np.float32)
    raw = RawPicture(np.array([5.0]), np.zeros((1, 2), np.float32), box, np.array([[3.0, 0]], np.float32))
    found, stayed = to_source(postprocess(raw, PostprocessOptions()), geometry)
    assert stayed.tolist() == [True]
    np.testing.assert_allclose(found.boxes_xyxy_px[0], truth, atol=0.5 + 0.1 / geometry.scale)
    assert found.motion_px[0, 0] == pytest.approx(3 / geometry.scale)


def test_what_lies_outside_of_the_source_is_dropped():
    _, geometry = preprocess(np.zeros((128, 320, 3), np.uint8), (320, 256))
    boxes = np.array([[10, 5, 40, 60], [10, 70, 40, 100]], np.float32)  # the picture fills rows 64 to 192
    raw = RawPicture(np.array([5.0, 4.0]), np.zeros((2, 2), np.float32), boxes, np.zeros((2, 2)))
    found, stayed = to_source(postprocess(raw, PostprocessOptions()), geometry)
    assert stayed.tolist() == [False, True]
    np.testing.assert_array_equal(found.boxes_xyxy_px, [[10, 6, 40, 36]])
