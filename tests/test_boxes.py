"""The arithmetic of boxes against torchvision, and the way into the network's input and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_area, box_iou

from seqdet import boxes
from seqdet.boxes import Letterbox

sides = st.integers(16, 4000)


def random_boxes(count: int, seed: int) -> np.ndarray:
    corners = np.random.default_rng(seed).uniform(0, 50, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def test_areas_and_overlaps_are_torchvisions():
    first, second = random_boxes(20, 0), random_boxes(7, 1)
    np.testing.assert_allclose(boxes.area(first), box_area(torch.from_numpy(first)), rtol=1e-5)
    wanted = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(boxes.iou(first, second), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shapes", [((0, 4), (3, 4)), ((3, 4), (0, 4)), ((0, 4), (0, 4))])
def test_no_boxes_are_boxes_too(shapes):
    assert boxes.iou(*(np.zeros(shape, np.float32) for shape in shapes)).shape == tuple(s[0] for s in shapes)


def test_empty_and_inverted_boxes_overlap_nothing():
    odd = np.array([[5, 5, 5, 5], [9, 9, 3, 3]], np.float32)
    assert not boxes.area(odd).any()
    assert not boxes.iou(odd, np.array([[0, 0, 20, 20]], np.float32)).any()


def test_edges_and_sizes_are_two_ways_to_say_one_thing():
    some = random_boxes(9, 2)
    np.testing.assert_allclose(boxes.xyxy_from_ltwh(boxes.ltwh_from_xyxy(some)), some, rtol=1e-5)


@given(width=sides, height=sides, input_w=st.integers(1, 20), input_h=st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_what_is_fitted_comes_home(width: int, height: int, input_w: int, input_h: int):
    source_wh, input_wh = (width, height), (32 * input_w, 32 * input_h)
    box = Letterbox.fit(source_wh, input_wh)
    scaled = np.array(box.scaled_wh)
    assert (scaled <= input_wh).all()
    assert (scaled == input_wh).any(), "as large as fits"
    assert (np.array(box.offset_xy) >= 0).all()
    assert (np.array(box.offset_xy) + scaled <= input_wh).all()
    part = np.array([[0, 0, 1, 1], [0.1, 0.3, 0.4, 0.9]])
    inside = (part * np.tile(source_wh, 2)).astype(np.float32)
    mapped = box.to_input(inside)
    np.testing.assert_allclose(mapped[0], [*box.offset_xy, *(scaled + box.offset_xy)], atol=0.01)
    tolerance = 1e-5 * max(source_wh) + 1e-4 / box.scale
    np.testing.assert_allclose(box.to_source(mapped), inside, atol=tolerance)


def test_what_lies_in_the_border_is_cut_to_the_source():
    box = Letterbox.fit((640, 320), (320, 320))
    assert box.offset_xy == (0, 80)
    np.testing.assert_array_equal(box.to_source(np.array([[-9, 0, 400, 320]])), [[0, 0, 640, 320]])
