"""Cutting objects out: what is in the box is in the crop, wherever it lies; how crops are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.data.crops import Crops, beside, cut_out, drawing_weights, far_from


def sky_with(box: tuple[int, int, int, int], size_wh: tuple[int, int] = (160, 120)) -> np.ndarray:
    picture = np.full((size_wh[1], size_wh[0], 3), 40, np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = (200, 30, 90)
    return picture


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 140), st.integers(0, 100), st.integers(10, 60), st.integers(10, 60))
def test_the_box_lies_in_the_middle_at_its_share_of_the_crop(left, top, width, height):
    box = (left, top, min(left + width, 160), min(top + height, 120))
    if box[2] - box[0] < 10 or box[3] - box[1] < 10:
        return
    crop = cut_out(sky_with(box), np.array([box], np.float32), 64, 2.0)[0]
    assert crop.shape == (64, 64, 3)
    longer = max(box[2] - box[0], box[3] - box[1])
    half = np.array([box[3] - box[1], box[2] - box[0]]) / longer * 64 / 2 / 2
    inside = crop[
        int(32 - half[0] * 0.7) : int(32 + half[0] * 0.7), int(32 - half[1] * 0.7) : int(32 + half[1] * 0.7)
    ]
    np.testing.assert_allclose(inside.reshape(-1, 3).mean(axis=0), (200, 30, 90), atol=2)
    # Around it is sky, where the picture has some; at its border the picture's edge goes on.
    if box[0] > longer and box[1] > longer and box[2] < 160 - longer and box[3] < 120 - longer:
        np.testing.assert_allclose(crop[[2, 2, -3, -3], [2, -3, 2, -3]].mean(axis=0), 40, atol=2)


def test_a_larger_picture_of_the_same_scene_gives_the_same_crop():
    rng = np.random.default_rng(0)
    small = cv2.GaussianBlur(rng.integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 3)
    large = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)
    box = np.array([[50, 40, 82, 70]], np.float32)
    first, second = cut_out(small, box, 64, 2.0), cut_out(large, 4 * box, 64, 2.0)
    assert np.abs(first.astype(int) - second.astype(int)).mean() < 3


@pytest.mark.parametrize(
    "box", [[-30, -20, -10, -5], [150, 110, 400, 300], [80, 60, 80, 60], [-9e6, 0, 9e6, 1]]
)
def test_a_box_outside_of_the_picture_or_without_area_is_cut_out_all_the_same(box):
    picture = sky_with((70, 50, 90, 70))
    crop = cut_out(picture, np.array([box], np.float64), 32, 2.0)
    assert crop.shape == (1, 32, 32, 3)
    assert crop.min() >= 30
    assert crop.max() <= 200


def test_no_boxes_give_no_crops():
    assert cut_out(sky_with((0, 0, 5, 5)), np.zeros((0, 4)), 32, 2.0).shape == (0, 32, 32, 3)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60),
    st.floats(0, 1),
)
def test_every_class_is_drawn_alike_and_recordings_by_their_power(pairs, power):
    class_ids, recordings = np.array(pairs).T
    weights = drawing_weights(class_ids, recordings, power)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    shares = [weights[class_ids == k].sum() for k in np.unique(class_ids)]
    np.testing.assert_allclose(shares, 1 / len(shares))
    for k in np.unique(class_ids):
        counts = np.array(
            [(recordings[class_ids == k] == r).sum() for r in np.unique(recordings[class_ids == k])]
        )
        drawn = np.array(
            [
                weights[(class_ids == k) & (recordings == r)].sum()
                for r in np.unique(recordings[class_ids == k])
            ]
        )
        np.testing.assert_allclose(drawn / drawn.sum(), counts**power / (counts**power).sum())


def test_what_touches_an_object_or_lies_beside_it_is_not_far():
    truth = np.array([[50, 50, 70, 60]], np.float32)
    boxes = np.array([[50, 50, 70, 60], [45, 45, 60, 60], [66, 50, 86, 60], [120, 50, 140, 60]], np.float32)
    assert far_from(boxes, truth).tolist() == [False, False, False, True]
    assert far_from(boxes, np.zeros((0, 4), np.float32)).all()
    assert far_from(np.zeros((0, 4), np.float32), truth).shape == (0,)


def test_tracks_and_recordings_of_two_sources_are_told_apart():
    def crops(value: int, tracks: list[int], recordings: list[int]) -> Crops:
        pictures = np.full((len(tracks), 4, 4, 3), value, np.uint8)
        return Crops(pictures, np.full(len(tracks), value), np.array(tracks), np.array(recordings))

    both = beside(crops(1, [0, 4, -1], [0, 2, 2]), crops(2, [0, 0, -1], [1, 0, 0]))
    assert both.class_ids.tolist() == [1, 1, 1, 2, 2, 2]
    assert both.tracks.tolist() == [0, 4, -1, 5, 5, -1]
    assert both.recordings.tolist() == [0, 2, 2, 4, 3, 3]
    assert len(both.pictures) == 6
