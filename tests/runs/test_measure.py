"""What is measured on, where not on everything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import seqdet
from seqdet.data.dataset import Sequence, load_dataset
from seqdet.runs.measure import all_figures, evenly, in_turn, measure
from seqdet.runs.synth import synth


@pytest.mark.parametrize("classes", [1, 3, 4, 6])
@pytest.mark.parametrize("limit", [12, 24, 40])
def test_some_of_the_clips_hold_all_classes_alike(classes: int, limit: int):
    """Classes that take turns met a fixed step: 40 of 60 clips of three classes held two of them."""
    clips = [
        Sequence(f"{i}", Path("x.mp4"), 10, (64, 64), 30.0, i % classes, f"{i}", "val", {}) for i in range(60)
    ]
    chosen = evenly(clips, limit)
    assert len({clip.name for clip in chosen}) == limit
    counts = Counter(clip.class_id for clip in chosen)
    assert len(counts) == classes
    assert max(counts.values()) - min(counts.values()) <= 1
    assert evenly(clips, None) == evenly(clips, 60) == tuple(clips)


def test_clips_measured_in_turn_by_several_give_the_figures_of_one(tmp_path: Path):
    sky = load_dataset(synth(tmp_path / "data", task="airspace", sequences=7, frames=4, val_fraction=0).out)
    model = seqdet.load("airspace", device="cpu", runtime="torch")
    clips = sky.split("train")
    figures = all_figures(measure(model, sky, clips), sky.classes)
    shared = all_figures(in_turn([measure(model, sky, clips[rank::3]) for rank in range(3)]), sky.classes)
    assert figures["map50"] > 0
    assert {**shared, "frames_per_s": 0} == {**figures, "frames_per_s": 0}
