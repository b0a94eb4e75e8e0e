"""Bursts and clips played backwards: the boxes say what the pictures show, and the first frame is sound."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.data.bursts import ClipTracks, backwards, with_burst
from seqdet.data.mask_windows import unknown_masks


@pytest.fixture
def clip() -> ClipTracks:
    """Nine frames of noise in which a white square of 8 px moves by 3 px a frame."""
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 120, (9, 64, 96, 3)).astype(np.uint8)
    boxes = np.stack([[10 + 3 * t, 20, 18 + 3 * t, 28] for t in range(9)]).astype(np.float32)[:, None]
    for t, (x1, y1, x2, y2) in enumerate(boxes[:, 0].astype(int)):
        frames[t, y1:y2, x1:x2] = 255
    present = np.ones((9, 1), bool)
    return ClipTracks(frames, boxes, np.full((9, 1), 2), present, unknown_masks((9, 1), wanted=False))


def white_share(frame: np.ndarray, box: np.ndarray) -> float:
    x1, y1, x2, y2 = box.astype(int)
    return float((frame[y1:y2, x1:x2] == 255).all(axis=-1).mean())


def test_a_burst_is_short_spares_the_first_frame_and_is_one_of_five(clip: ClipTracks) -> None:
    before = clip.frames.copy()
    kinds = set()
    for seed in range(60):
        burst = with_burst(clip, np.random.default_rng(seed))
        again = with_burst(clip, np.random.default_rng(seed))
        for part, other in zip(burst, again, strict=True):
            np.testing.assert_array_equal(part, other)
        np.testing.assert_array_equal(burst.frames[0], clip.frames[0])
        changed = np.flatnonzero((burst.frames != clip.frames).any(axis=(1, 2, 3)))
        assert 1 <= len(changed) <= 3
        assert (np.diff(changed) == 1).all(), "one run"
        moved = (burst.boxes_xyxy_px != clip.boxes_xyxy_px).any()
        hidden = all(white_share(burst.frames[t], burst.boxes_xyxy_px[t, 0]) < 0.2 for t in changed)
        elsewhere = (burst.frames[changed][:, 40:] != clip.frames[changed][:, 40:]).any()
        kinds.add("freeze" if moved else "hide" if hidden and not elsewhere else "other")
        if moved:  # the picture stands, and so do its boxes
            for t in range(9):
                assert white_share(burst.frames[t], burst.boxes_xyxy_px[t, 0]) == 1
    np.testing.assert_array_equal(clip.frames, before)
    assert kinds == {"freeze", "hide", "other"}


@pytest.mark.parametrize("frames", [2, 3])
def test_the_shortest_clips(clip: ClipTracks, frames: int) -> None:
    short = ClipTracks(*(part[:frames] for part in clip))
    for seed in range(20):
        burst = with_burst(short, np.random.default_rng(seed))
        assert burst.frames.shape == short.frames.shape
        np.testing.assert_array_equal(burst.frames[0], short.frames[0])


def test_backwards_twice_is_forwards_and_boxes_stay_on_their_objects(clip: ClipTracks) -> None:
    turned = backwards(clip)
    for t in range(9):
        assert white_share(turned.frames[t], turned.boxes_xyxy_px[t, 0]) == 1
    np.testing.assert_array_equal(turned.frames[0], clip.frames[-1])
    for part, other in zip(backwards(turned), clip, strict=True):
        np.testing.assert_array_equal(part, other)


def test_a_picture_full_of_objects_cannot_hide_them(clip: ClipTracks) -> None:
    full = clip._replace(boxes_xyxy_px=np.tile(np.array([0, 0, 96, 64], np.float32), (9, 1, 1)))
    for seed in range(20):
        assert with_burst(full, np.random.default_rng(seed)).frames.shape == clip.frames.shape
