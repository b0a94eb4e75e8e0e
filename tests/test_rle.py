"""Run-length codes of masks; pycocotools is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as oracle

from seqdet.rle import decoded, encoded, fault, runs_of, sampled, text_of


def text_by_oracle(mask: np.ndarray) -> str:
    return oracle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def masks(count: int):
    """Noise of every density, columns that are all on, nothing and everything."""
    rng = np.random.default_rng(0)
    for number in range(count):
        mask = rng.random(rng.integers(1, 40, 2)) < rng.choice([0, 0.02, 0.5, 0.95, 1])
        if number % 3 == 0:
            mask[:, : mask.shape[1] // 2] = True
        yield mask


def test_the_text_is_coco_s_there_and_back():
    for mask in masks(200):
        height, width = mask.shape
        text = encoded(mask)
        assert text == text_by_oracle(mask)
        assert np.array_equal(decoded(text, (width, height)), mask)
        assert text_of(runs_of(text)) == text
        assert fault(text, (width, height)) is None


def test_a_part_of_a_frame_is_the_frame_with_nothing_around_it():
    rng = np.random.default_rng(1)
    for mask in masks(200):
        height, width = mask.shape
        top, left = int(rng.integers(height)), int(rng.integers(width))
        whole = np.zeros_like(mask)
        whole[top:, left:] = mask[top:, left:]
        assert encoded(mask[top:, left:], (left, top), (width, height)) == text_by_oracle(whole)
    assert decoded(encoded(np.zeros((0, 0), bool), (3, 2), (8, 9)), (8, 9)).sum() == 0


def test_places_are_looked_up_without_drawing_the_mask():
    for mask in masks(50):
        height, width = mask.shape
        y, x = np.mgrid[-1 : height + 1, -1 : width + 1] + 0.5
        assert np.array_equal(sampled(encoded(mask), (width, height), x, y), np.pad(mask, 1))


@pytest.mark.parametrize(
    ("text", "says"), [("", "no run-length"), ("~~", "no run-length"), ("5", "do not make 4 by 3 pixels")]
)
def test_what_is_no_mask_is_said(text: str, says: str):
    assert says in fault(text, (3, 4))
    with pytest.raises(ValueError, match=says):
        decoded(text, (3, 4))
