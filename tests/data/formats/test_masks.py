from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as oracle

from seqdet.data.formats.masks import box_around


@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.integers(0, 1),
        fill=st.sampled_from([0, 1]),
    )
)
def test_boxes_of_masks_are_those_of_their_pixels_and_of_pycocotools(pixels: np.ndarray) -> None:
    code = oracle.encode(np.asfortranarray(pixels))
    flat = pixels.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    counts = counts if not flat[0] else [0, *counts]
    text = box_around({"size": list(pixels.shape), "counts": code["counts"].decode()})
    assert box_around({"size": list(pixels.shape), "counts": counts}) == text
    y, x = np.nonzero(pixels)
    if not len(x):
        assert text is None
        return
    assert text == [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
    assert text == oracle.toBbox(code).tolist()


def test_large_runs_need_many_characters() -> None:
    wide = {"size": [1000, 8 * 10**6], "counts": [10**9, 3, 7 * 10**9 - 3]}
    assert box_around(wide) == [10**6, 0, 1, 3]
    counts = [100_000, 5, 300_000, 7, 599_988]
    code = oracle.frPyObjects({"size": [1000, 1000], "counts": counts}, 1000, 1000)
    assert box_around({"size": [1000, 1000], "counts": code["counts"].decode()}) == [100, 0, 301, 12]


def test_polygons() -> None:
    assert box_around([[1, 2, 5, 2.5, 3, 9], [0.5, 3, 1, 4]]) == [0.5, 2, 4.5, 7]
    assert box_around([1, 2, 5, 2.5, 3, 9]) == [1, 2, 4, 7], "one polygon that is not in a list"
    assert box_around([]) is None


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        (None, "polygons or a mask"),
        ("abc", "polygons or a mask"),
        ([[1, 2, 3]], "a polygon is a list"),
        ([[]], "a polygon is a list"),
        ([{"x": 1}], "a polygon is a list"),
        ([[1, 2, 3, "4"]], "no place in an image"),
        ([[1, 2, 3, float("nan")]], "no place in an image"),
        ([[1, 2, 3, 10**400]], "no place in an image"),
        ({}, "size: "),
        ({"size": [2, "2"], "counts": [4]}, "size: "),
        ({"size": [0, 4], "counts": []}, "size: "),
        ({"size": [-2, -2], "counts": [4]}, "size: "),
        ({"size": [10**30, 4], "counts": [4]}, "size: "),
        ({"size": [2, 2]}, "counts: "),
        ({"size": [2, 2], "counts": [1, 2]}, "do not make 2 by 2"),
        ({"size": [2, 2], "counts": [5, -1]}, "do not make 2 by 2"),
        ({"size": [2, 2], "counts": [True, 3]}, "counts: "),
        ({"size": [2, 2], "counts": [10**400]}, "counts: "),
        ({"size": [2, 2], "counts": ""}, "no run-length code"),
        ({"size": [2, 2], "counts": " "}, "no run-length code"),
        ({"size": [2, 2], "counts": "~"}, "no run-length code"),
        ({"size": [2, 2], "counts": "é"}, "no run-length code"),
        ({"size": [2, 2], "counts": "T"}, "no run-length code"),  # another character should follow
        ({"size": [2, 2], "counts": "P" * 100 + "0"}, "no run-length code"),
    ],
)
def test_what_is_no_outline_is_refused(segmentation: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        box_around(segmentation)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        box = box_around({"size": [7, 9], "counts": text})
    except ValueError:
        return
    assert box is None or (box[0] >= 0 and box[1] >= 0 and box[0] + box[2] <= 9 and box[1] + box[3] <= 7)
