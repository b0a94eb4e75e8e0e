"""Tiny sources of labels: videos, frame folders and label files that the tests make themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong: no test fails for the time that an example takes.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def make_video() -> Callable[..., Path]:
    """make_video(path, frames, size_wh): a file of motion JPEG, each frame of another grey."""

    def make(path: Path, frames: int = 10, size_wh: tuple[int, int] = (64, 48)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, size_wh)
        for index in range(frames):
            writer.write(np.full((size_wh[1], size_wh[0], 3), index * 9 % 255, np.uint8))
        writer.release()
        return path

    return make


@pytest.fixture
def make_images() -> Callable[..., Path]:
    """make_images(folder, names, size_wh): PNG images, each of another grey."""

    def make(folder: Path, names: list[str], size_wh: tuple[int, int] = (64, 48)) -> Path:
        for index, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), np.full((size_wh[1], size_wh[0], 3), index * 9 % 255, np.uint8))
        return folder

    return make
