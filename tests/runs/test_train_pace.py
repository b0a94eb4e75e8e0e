"""Frames a second of loader and step: each counts its own time, and every line of the log begins anew."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.runs import train_pace
from seqdet.runs.train_pace import Pace
from seqdet.types import ClipBatch


def a_batch(clips: int, frames: int) -> ClipBatch:
    return ClipBatch(
        frames=np.zeros((clips, frames, 4, 4, 3), np.uint8),
        time_s=np.zeros((clips, frames)),
        boxes_xyxy_px=np.zeros((clips, frames, 1, 4), np.float32),
        class_ids=np.full((clips, frames, 1), -1, np.int64),
        present=np.zeros((clips, frames, 1), bool),
        sequence_class_ids=np.zeros(clips, np.int64),
        age=np.zeros(clips, np.int64),
        boxes_known=np.ones(clips, bool),
    )


def test_each_counts_its_own_time(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 2.0, 10.0, 11.0, 20.0, 20.0])
    monkeypatch.setattr(train_pace.time, "monotonic", lambda: next(clock))
    pace, batch = Pace(), a_batch(2, 3)
    assert pace.since_last() == {"loader_frames_per_s": None, "step_frames_per_s": None}
    shown = list(pace.reading(iter([((), batch), ((), batch)])))
    assert [each[1] for each in shown] == [batch, batch], "nothing is changed"
    pace.learned(batch, 0.5)
    assert pace.since_last() == {"loader_frames_per_s": 4.0, "step_frames_per_s": 12.0}
    assert pace.since_last() == {"loader_frames_per_s": None, "step_frames_per_s": None}
