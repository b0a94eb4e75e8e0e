"""What is measured on, where not on everything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from seqdet.data.dataset import Sequence
from seqdet.runs.measure import evenly


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
