"""Pictures that are alike, and such as only seem to be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seqdet.data.likeness import (
    LEAST_LOOKS,
    MOST_LOOKS,
    correlation,
    dhash,
    find_alike,
    glimpse,
    hash_frames,
    is_left_behind,
    look_at,
    looks_each,
    shrink_grey,
)


def scene(seed: int, size_wh: tuple[int, int] = (160, 120)) -> np.ndarray:
    """A picture of soft blobs."""
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC)


def compressed(rgb: np.ndarray, quality: int = 30) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def differing(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.count_nonzero(dhash(first) != dhash(second)))


def test_shrinking_takes_means():
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:2, :3] = 90
    rgb[2:, 3:, 0] = 30
    assert shrink_grey(rgb, (2, 2)).tolist() == [[90, 0], [0, 10]]
    np.testing.assert_allclose(shrink_grey(rgb, (1, 1)), [[25]])


@pytest.mark.parametrize("size_wh", [(9, 8), (16, 16), (1, 1), (5, 40)])
def test_shrinking_agrees_with_opencv_where_sizes_divide_and_takes_any_size(size_wh: tuple[int, int]):
    rgb = scene(0, (size_wh[0] * 7, size_wh[1] * 5))
    expected = cv2.resize(rgb.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
    expected = expected.reshape(size_wh[1], size_wh[0], 3).mean(axis=2)
    np.testing.assert_allclose(shrink_grey(rgb, size_wh), expected, atol=0.02)
    tiny = np.full((2, 3, 3), 77, np.uint8)
    np.testing.assert_allclose(shrink_grey(tiny, size_wh), np.full(size_wh[::-1], 77))


def test_a_hash_says_which_greys_rise():
    ramp = np.tile(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], (40, 1, 3))
    assert dhash(ramp).all()
    assert not dhash(ramp[:, ::-1]).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_hash_stands_compression_scaling_and_brightness(seed: int):
    picture = scene(seed)
    assert differing(picture, compressed(picture)) <= 3
    assert differing(picture, cv2.resize(picture, (320, 256))) <= 3
    assert differing(picture, (picture * 0.8 + 20).astype(np.uint8)) <= 3
    assert differing(picture, scene(seed + 100)) > 12


def looks_of(pictures: list[list[np.ndarray]]):
    found = [
        look_at(rgb, group, frame) for group, clip in enumerate(pictures) for frame, rgb in enumerate(clip)
    ]
    return [look for look in found if look is not None]


def test_alike_pairs_are_those_of_different_splits():
    clips = [[scene(1), scene(2)], [scene(3)], [scene(4), compressed(scene(2))], [scene(3)]]
    (pair,) = find_alike(looks_of(clips), ["train", "train", "val", "train"])
    assert (pair.first, pair.second, pair.first_frame, pair.second_frame) == (0, 2, 1, 1)
    assert (pair.distance_bits <= 3, pair.pictures) == (True, 1)
    assert find_alike(looks_of(clips), ["train"] * 4) == []
    assert find_alike([], []) == []


def test_a_whole_clip_twice_counts_its_pictures():
    clip = [scene(seed) for seed in range(5)]
    (pair,) = find_alike(looks_of([clip, [compressed(rgb) for rgb in clip]]), ["val", "test"])
    assert (pair.first, pair.second, pair.pictures) == (0, 1, 5)


def test_more_looks_than_one_block_holds_are_compared_too():
    clips = [[scene(seed, (32, 24))] for seed in range(1100)] + [
        [scene(0, (32, 24))],
        [scene(1099, (32, 24))],
    ]
    pairs = find_alike(looks_of(clips), ["train"] * 1100 + ["val"] * 2)
    assert {(pair.first, pair.second) for pair in pairs} == {(0, 1100), (1099, 1101)}


def test_a_clear_sky_is_like_nothing():
    rng = np.random.default_rng(0)
    skies = [rng.normal(120, 4, (120, 160, 3)).astype(np.uint8) for _ in range(2)]
    assert look_at(skies[0], 0, 0) is None
    assert find_alike(looks_of([[skies[0]], [skies[0]]]), ["train", "val"]) == []


def test_nor_is_one_that_gets_brighter_towards_the_sun():
    y, x = np.mgrid[-1:1:120j, -1:1:160j]
    glow = 130 + 40 * x - 25 * y - 20 * (x * x + y * y)
    skies = [np.repeat((glow + part)[:, :, None], 3, axis=2).astype(np.uint8) for part in (0, 9)]
    assert skies[0].std() > 20
    assert looks_of([[sky] for sky in skies]) == []


def test_frames_to_hash_are_spread_and_exist():
    assert hash_frames(100, 5) == [10, 30, 50, 70, 90]
    assert hash_frames(3, 5) == [0, 1, 2]
    assert hash_frames(1, 5) == [0]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([], LEAST_LOOKS),
        ([1] * 30, LEAST_LOOKS),
        ([40, 300], 300),
        ([MOST_LOOKS * 2], MOST_LOOKS),
        ([1] * 1000 + [10**6] * 10, (MOST_LOOKS - 1000) // 10),
        ([1000] * 40_000, LEAST_LOOKS),
    ],
)
def test_all_frames_are_looked_at_where_there_is_room_and_few_of_each_otherwise(
    frames: list[int], expected: int
):
    assert looks_each(frames) == expected


def test_correlation():
    one = scene(1)[:, :, 0].astype(np.float32)
    assert correlation(one, one * 0.5 + 9) == pytest.approx(1)
    assert correlation(one, 255 - one) == pytest.approx(-1)
    assert correlation(one, np.full_like(one, 7)) == 0


def test_a_resting_box_is_left_behind_when_picture_and_content_change():
    box = np.array([60, 40, 90, 70])
    wide = scene(5, (480, 120))
    before, moved = wide[:, :160].copy(), wide[:, 250:410].copy()
    assert is_left_behind(glimpse(before, box), glimpse(moved, box))
    assert not is_left_behind(glimpse(before, box), glimpse(compressed(before), box)), "the camera rests"
    followed = moved.copy()
    followed[40:70, 60:90] = before[40:70, 60:90]
    assert not is_left_behind(glimpse(before, box), glimpse(followed, box)), "the camera follows the object"
    flat = np.full_like(before, 100)
    assert not is_left_behind(glimpse(flat, box), glimpse(moved, box)), "nothing shows that it moves"


def test_a_glimpse_of_a_box_thinner_than_a_pixel_at_the_edge():
    assert glimpse(scene(1), np.array([159.9, 119.9, 160, 120])).inside.shape == (8, 8)
