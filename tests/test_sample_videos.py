"""The films of the repository: small, playable, in step with their truth and the tool that makes them."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import pytest

from seqdet.data.synth.scene import render_scene

ROOT = Path(__file__).resolve().parents[1]
FILMS = {"airspace_thermal": (360, (320, 256)), "airspace_visible": (300, (640, 512))}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "make_sample_videos.py"
    spec = importlib.util.spec_from_file_location("make_sample_videos", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_sample_videos"] = module
    spec.loader.exec_module(module)
    return module


def _rows(name: str) -> np.ndarray:
    return np.loadtxt(ROOT / "sample_videos" / f"{name}.mot.txt", delimiter=",", ndmin=2)


@pytest.mark.parametrize("name", FILMS)
def test_film_is_small_and_decodes_to_what_the_truth_says(name: str) -> None:
    frames, size_wh = FILMS[name]
    path = ROOT / "sample_videos" / f"{name}.mp4"
    assert path.stat().st_size < 1_000_000
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) == frames
    assert {(picture.width, picture.height) for picture in pictures} == {size_wh}
    rows = _rows(name)
    assert rows[:, 0].min() >= 1
    assert rows[:, 0].max() <= frames
    edges = np.concatenate([rows[:, 2:4] - 1, rows[:, 2:4] - 1 + rows[:, 4:6]], axis=1)
    assert edges.min() >= -0.02
    assert (edges[:, 2:] <= np.array(size_wh) + 0.02).all()


@pytest.mark.parametrize("name", FILMS)
def test_film_tells_a_story_of_all_classes(name: str) -> None:
    """Each class for two seconds at least; a track is of one class; cloud hides one for a while."""
    rows = _rows(name)
    for kind in (1, 2, 3, 4):
        assert (rows[:, 7] == kind).sum() >= 60
    returns = 0
    for track in np.unique(rows[:, 1]):
        mine = rows[rows[:, 1] == track]
        assert len(np.unique(mine[:, 7])) == 1
        returns += int((np.diff(mine[:, 0]) > 5).any())
    assert returns >= 1 or name == "airspace_visible"


@pytest.mark.parametrize("name", FILMS)
def test_film_is_what_the_tool_renders_today(name: str, tool: ModuleType) -> None:
    """Guards against a change of the renderer without new films; compression alone may differ."""
    sample = next(sample for sample in tool.samples(0) if sample.name == name)
    lines = (ROOT / "sample_videos" / f"{name}.mot.txt").read_text(encoding="utf-8").splitlines()
    capture = cv2.VideoCapture(str(ROOT / "sample_videos" / f"{name}.mp4"))
    rendered: list[str] = []
    for index, (rgb, truth) in enumerate(itertools.islice(render_scene(sample.options), 20)):
        rendered += tool.mot_lines(index, truth)
        ok, bgr = capture.read()
        assert ok
        assert np.abs(bgr[..., ::-1].astype(int) - rgb).mean() < 6
    capture.release()
    written = np.array([line.split(",") for line in lines[: len(rendered)]], float)
    expected = np.array([line.split(",") for line in rendered], float)
    # Another build of OpenCV may round a pixel at the rim otherwise.
    np.testing.assert_array_equal(written[:, [0, 1, 7]], expected[:, [0, 1, 7]])
    np.testing.assert_allclose(written[:, 2:6], expected[:, 2:6], atol=1.1)


def test_no_training_seed_makes_a_film(tool: ModuleType) -> None:
    """`render_clip` and `seqdet synth` draw seeds below 2**62."""
    assert all(sample.options.seed >= 2**62 for sample in tool.samples(0))
