"""A scene cut is seen once; flicker, gain, flashes, noise and a camera that turns are none."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pytest

from seqdet.video.scene import SceneState, see_scene

SIZE_WH = (320, 240)


def landscape(seed: int, width: int = 900, height: int = 400) -> np.ndarray:
    """A wide picture with structures of all sizes."""
    rng = np.random.default_rng(seed)
    rgb = np.zeros((height, width, 3), np.float32)
    for cell in (200, 80, 40, 20, 8):
        coarse = rng.normal(0, 1, (height // cell + 2, width // cell + 2, 1)).astype(np.float32)
        rgb += cell**0.5 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    rgb += np.linspace(30, -30, height)[:, None, None]  # the sky is brighter
    return np.clip(110 + 5 * rgb, 0, 255).astype(np.uint8)


def view(wide: np.ndarray, left: int = 100, top: int = 80, blur: int = 1) -> np.ndarray:
    rgb = wide[top : top + SIZE_WH[1], left : left + SIZE_WH[0]]
    return cv2.blur(rgb, (blur, 1))


def cuts(pictures: Iterable[np.ndarray]) -> list[int]:
    state, found = SceneState(), []
    for index, rgb in enumerate(pictures):
        cut, state = see_scene(rgb, state)
        if cut:
            found.append(index)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_another_place_is_a_cut_told_once_and_one_picture_late(seed: int) -> None:
    first, second = view(landscape(seed)), view(landscape(seed + 100))
    assert cuts([first] * 4 + [second] * 4 + [first] * 4) == [5, 9]


def brighter(rgb: np.ndarray, gain: float, offset: float = 0) -> np.ndarray:
    return np.clip(rgb.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)


WIDE = landscape(7)
HERE = view(WIDE)
NOISE = np.random.default_rng(0)
NONE_OF_THESE = {
    "standing": [HERE] * 6,
    "flicker": [brighter(HERE, gain) for gain in (1, 0.6, 1.2, 0.7, 1, 0.5)],
    "gain": [brighter(HERE, gain) for gain in np.linspace(1, 0.3, 6)],
    "offset": [brighter(HERE, 1, offset) for offset in (0, 40, -60, 30)],
    "flash": [HERE, HERE, np.full_like(HERE, 255), HERE, HERE],
    "one damaged picture": [HERE, HERE, view(landscape(55)), HERE, HERE],
    "shutter of a thermal camera": [HERE, *[np.full_like(HERE, 118)] * 5, HERE, HERE],
    "noise": [brighter(HERE, 1) + NOISE.integers(0, 40, HERE.shape, np.uint8) // 2 for _ in range(6)],
    "noise on nothing": [NOISE.integers(90, 110, HERE.shape, np.uint8) for _ in range(6)],
    "slow pan": [view(WIDE, left) for left in range(0, 300, 10)],
    "fast pan": [view(WIDE, left, blur=25) for left in range(0, 560, 70)],
    "fast tilt": [view(WIDE, 100, top, blur=1) for top in (0, 50, 100, 150, 100, 50)],
    "zoom": [cv2.resize(HERE[z : 240 - z, z : 320 - z], SIZE_WH) for z in range(0, 60, 6)],
    "an object across": [
        cv2.rectangle(HERE.copy(), (x, 90), (x + 60, 150), (250, 20, 20), -1) for x in range(0, 250, 40)
    ],
}


@pytest.mark.parametrize("pictures", NONE_OF_THESE.values(), ids=NONE_OF_THESE)
def test_what_is_no_cut(pictures: list[np.ndarray]) -> None:
    assert cuts(pictures) == []


def test_another_place_behind_a_shutter_is_a_cut() -> None:
    flat = np.full_like(HERE, 118)
    assert cuts([HERE, HERE, flat, flat, *[view(landscape(31))] * 3]) == [5]
