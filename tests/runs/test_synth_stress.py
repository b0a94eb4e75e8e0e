"""seqdet synth writes stress sets that load, are balanced, and whose pixels survive the video file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from seqdet.cli import synth as face
from seqdet.data.dataset import load_dataset
from seqdet.data.synth.stress.axes import AXES
from seqdet.data.synth.stress.clip import Request
from seqdet.errors import UsageError
from seqdet.runs.synth import TASKS, synth
from seqdet.video.reader import open_video


@pytest.mark.parametrize("axis", AXES)
def test_a_stress_set_loads_with_every_class_and_level_in_both_splits(tmp_path: Path, axis: str) -> None:
    chosen = AXES[axis]
    rounds = len(chosen.levels)
    sequences = 2 * rounds * len(chosen.classes)
    report = synth(
        tmp_path / "data", task=f"stress-{axis}", sequences=sequences, frames=24, val_fraction=0.5, seed=3
    )
    dataset = load_dataset(report.out)
    assert dataset.classes == chosen.classes
    assert report.splits == {"train": sequences // 2, "val": sequences // 2}
    assert report.boxes == sum(len(dataset.labels(sequence)) for sequence in dataset.sequences) > 0
    for split in ("train", "val"):
        levels = Counter(sequence.attributes.get("level", "") for sequence in dataset.split(split))
        expected = chosen.train_levels if split == "train" and chosen.train_levels else chosen.levels
        assert set(levels) == set(expected)
        assert len(set(levels.values())) == 1
        if axis not in ("camera", "long"):  # where nothing may be in view, and where classes mix
            known = Counter(sequence.class_id for sequence in dataset.split(split))
            assert known == dict.fromkeys(range(len(chosen.classes)), rounds)
    for sequence in dataset.sequences:
        assert sequence.size_wh == (96, 96)
        assert sequence.fps == float(sequence.attributes["level"] if axis == "rate" else 30)


@pytest.mark.parametrize("axis", ["noise", "camouflage", "timing"])
def test_decoded_pixels_are_the_rendered_ones(tmp_path: Path, axis: str) -> None:
    """So contrast to noise and statistics are those of the rendered clips, and no codec smears motion."""
    dataset = load_dataset(synth(tmp_path / "data", task=f"stress-{axis}", sequences=2, frames=6, seed=5).out)
    for index, sequence in enumerate(dataset.sequences):
        class_id = index % len(dataset.classes)
        level = sequence.attributes.get("level", "")
        clip = AXES[axis].render(np.random.default_rng([5, index]), Request((96, 96), 6, class_id, level))
        with open_video(sequence.video) as reader:
            decoded = np.stack([frame.rgb for frame in reader]).astype(int)
        assert decoded.shape == (6, 96, 96, 3)
        # Video has 219 grey levels where a picture has 255.
        assert np.abs(decoded - clip.frames[..., None]).max() <= 2
        for number, truth in enumerate(clip.targets):
            np.testing.assert_allclose(
                dataset.labels(sequence).at(number).boxes_xyxy_px, truth.boxes_xyxy_px, atol=1e-3
            )


def test_times_in_the_file_are_those_of_the_frame_rate(tmp_path: Path) -> None:
    data = synth(
        tmp_path / "data", task="stress-rate", level="15", sequences=12, frames=5, val_fraction=0.5
    ).out
    for split, fps in (("train", 30), ("val", 15)):
        for sequence in load_dataset(data).split(split):
            with open_video(sequence.video) as reader:
                np.testing.assert_allclose([f.time_s for f in reader], np.arange(5) / fps, atol=1e-4)


def test_one_level_can_be_asked_for(tmp_path: Path) -> None:
    data = synth(tmp_path / "data", task="stress-noise", level="0.5", sequences=4, frames=2).out
    assert {sequence.attributes["level"] for sequence in load_dataset(data).sequences} == {"0.5"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "stress-noise", "level": "3"},
        {"task": "stress-motion", "level": "1"},
        {"task": "discs", "level": "1"},
        {"task": "stress-occlusion", "frames": 20},
        {"task": "stress-clean", "size_wh": (48, 96)},
        {"task": "stress-fog"},
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(UsageError, match="got"):
        synth(tmp_path / "data", **wrong)
    assert not list(tmp_path.iterdir())


def test_the_command_line_offers_every_task() -> None:
    annotated = get_type_hints(face.synth, include_extras=True)["task"]
    assert get_args(get_args(annotated)[0]) == TASKS
