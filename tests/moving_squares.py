"""Small labelled sequences as folders of pictures: ``ROOT/SPLIT/CLASS/NAME/0.png``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIDE_PX = 32


def moving(rng: np.random.Generator, rightwards: bool, frames: int) -> np.ndarray:
    """(T, 32, 32, 3) uint8: a bright square that crosses the picture, two pixels a frame."""
    pictures = np.full((frames, SIDE_PX, SIDE_PX, 3), 40, np.uint8)
    top, start = rng.integers(2, SIDE_PX - 10, 2)
    for t, picture in enumerate(pictures):
        left = (start + (2 if rightwards else -2) * t) % (SIDE_PX - 8)
        picture[top : top + 8, left : left + 8] = 230
    return pictures


def textured(rng: np.random.Generator, stripes: bool) -> np.ndarray:
    """(1, 32, 32, 3) uint8: a patch of stripes or of checks somewhere, of any phase, in noise."""
    picture = rng.normal(90, 12, (SIDE_PX, SIDE_PX))
    rows, columns = (np.mgrid[:12, :12] + rng.integers(0, 4, (2, 1, 1))) // 2
    pattern = columns % 2 if stripes else (rows + columns) % 2
    top, left = rng.integers(0, SIDE_PX - 12, 2)
    picture[top : top + 12, left : left + 12] += 70.0 * pattern
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[None, :, :, None], 3, axis=3)


def write_folders(root: Path, counts: dict[str, int], kind: str, frames: int = 5, seed: int = 0) -> Path:
    """Write ``counts[split]`` sequences of each of two classes; ``kind`` is "moving" or "textured"."""
    rng = np.random.default_rng(seed)
    names = {"moving": ("left", "right"), "textured": ("checks", "stripes")}[kind]
    for split, count in counts.items():
        for number in range(count):
            for first, name in enumerate(names):
                pictures = (
                    moving(rng, bool(first), frames) if kind == "moving" else textured(rng, bool(first))
                )
                folder = root / split / name / f"{name}{number}"
                folder.mkdir(parents=True)
                for t, picture in enumerate(pictures):
                    cv2.imwrite(str(folder / f"{t}.png"), picture)
    return root
