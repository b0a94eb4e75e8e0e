"""What every test may count on: no network call at import, few threads, the same random start; and what whole
commands work on: a small video with a moving square, and a model that has learned nothing."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports albumentations: it asks the network for its newest version otherwise.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import numpy as np
import pytest
import torch

from seqdet.config import ModelConfig
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import build_detector
from seqdet.video.writer import VideoWriter

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _seeds_restored() -> Iterator[None]:
    """Each test starts from the same seeds and leaves no trace in the global generators."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny model with random weights; at a low score it reports boxes all the same."""
    config = ModelConfig(
        encoder="resnet10", levels=(16,), channels=8, clip_width=8, track_width=8, input_size_wh=(64, 64)
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, build_detector(config, 2), ModelCard(config, ("drone", "bird")))
    return path


@pytest.fixture(scope="session")
def sure_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, a random memory of frames, and so sure of objects that there are tracks."""
    config = ModelConfig(
        encoder="resnet10",
        levels=(8, 16),
        channels=8,
        clip_width=8,
        track_width=8,
        difference_rates=(1.0, 0.25),
        input_size_wh=(64, 64),
    )
    torch.manual_seed(0)
    detector = build_detector(config, 2)
    with torch.no_grad():
        detector.heads.geometry.weight.normal_(std=0.05)
        detector.heads.geometry.bias[0] = 1.0
    path = tmp_path_factory.mktemp("sure") / "sure.safetensors"
    save_model(path, detector, ModelCard(config, ("drone", "bird")))
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a video of a moving square: ``make_video("sky.mp4", frames=10)``."""

    def make(name: str, frames: int = 10, size_wh: tuple[int, int] = (64, 48), fps: float = 25.0) -> Path:
        path = tmp_path / name
        with VideoWriter(path, size_wh=size_wh, fps_hint=fps) as writer:
            for index in range(frames):
                picture = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
                left = 2 * index % (size_wh[0] - 8)
                picture[20:28, left : left + 8] = (250, 240, 20)
                writer.write(picture, index / fps)
        return path

    return make


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs that tests make lie in no user's cache, and none that a user made is found."""
    # torch.export writes thousands of debug lines for whoever listens, and pytest does.
    logging.getLogger("torch.__trace").propagate = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
