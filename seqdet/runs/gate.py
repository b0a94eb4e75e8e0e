"""The gate of a smaller precision: what it may lose in accuracy, against the same model in float32.

With a data set: at most ``MAX_MAP50_LOSS`` and ``MAX_FLICKER_RISE`` on it. Without one, what the float32
model finds in the clips is taken for the truth, which is stricter and says nothing of flicker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdet.data.dataset import load_dataset
from seqdet.errors import UsageError
from seqdet.results.metrics.detection import average_precision
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.stability import stability
from seqdet.runs.measure import Progress, evenly, measure
from seqdet.runs.stream import Model
from seqdet.types import Frame, Targets

MAX_MAP50_LOSS = 0.01
MAX_FLICKER_RISE = 0.10


@dataclass(frozen=True, slots=True)
class GateRow:
    """One candidate.

    Attributes:
        precision: "fp32", "bf16" or "int8".
        groups: the layers that have it; () for all.
        map50: mean average precision at IoU .5.
        flicker_per_min: changes of presence or label per track and minute; None without labels.
        passed: whether it may be used.
    """

    precision: str
    groups: tuple[str, ...]
    map50: float
    flicker_per_min: float | None
    passed: bool


@dataclass(frozen=True, slots=True)
class GateData:
    """What is measured on.

    Attributes:
        dataset: folder of a data set, or None: the clips.
        clips: frames of recordings, for where there is no data set.
        limit: at most so many clips of the data set.
        max_frames: only the first frames of each.
    """

    dataset: Path | None
    clips: Sequence[Sequence[Frame]]
    limit: int | None = None
    max_frames: int | None = None


class Gate:
    """Measures the float32 model once, then lets candidates pass or not."""

    def __init__(self, data: GateData, reference: Model, progress: Progress | None = None) -> None:
        self._data, self._reference, self._progress = data, reference, progress
        self.rows = [GateRow("fp32", (), *self._figures(reference, "fp32"), True)]

    def lets_pass(self, model: Model, precision: str, groups: Sequence[str] = ()) -> bool:
        """Measure a candidate; its row is kept whether it passes or not."""
        map50, flicker = self._figures(model, f"{precision} {', '.join(groups)}".strip())
        first = self.rows[0]
        passed = map50 >= first.map50 - MAX_MAP50_LOSS
        if flicker is not None and first.flicker_per_min is not None:
            passed &= flicker <= first.flicker_per_min * (1 + MAX_FLICKER_RISE)
        self.rows.append(GateRow(precision, tuple(groups), map50, flicker, passed))
        return passed

    def _figures(self, model: Model, label: str) -> tuple[float, float | None]:
        if self._data.dataset is not None:
            return self._on_data_set(self._data.dataset, model, label)
        truths, ranked = [], []
        for number, clip in enumerate(self._data.clips):
            wanted = [result.detections for result in self._reference.results(clip)]
            found = [result.detections for result in model.results(clip)]
            targets = [Targets(one.boxes_xyxy_px, one.class_ids, np.arange(len(one))) for one in wanted]
            times = [frame.time_s for frame in clip]
            truths.append(SequenceTruth.from_targets(targets, times, -1, f"clip {number}", f"clip {number}"))
            ranked.append(SequencePredictions.from_detections(found, -1))
        return _figure(average_precision(truths, ranked, model.classes).map50), None

    def _on_data_set(self, folder: Path, model: Model, label: str) -> tuple[float, float | None]:
        dataset = load_dataset(folder)
        sequences = evenly(dataset.split("val"), self._data.limit)
        if not sequences or dataset.classes != model.classes:
            raise UsageError(
                f"--gate {folder}: it needs a val split and the model's classes ({', '.join(model.classes)})"
            )
        measured = measure(
            model,
            dataset,
            sequences,
            max_frames=self._data.max_frames,
            label=label,
            progress=self._progress,
        )
        map50 = average_precision(measured.truths, measured.ranked, model.classes).map50
        flicker = stability(measured.truths, measured.shown).flicker_per_min
        return _figure(map50), _figure(flicker)


def _figure(value: float | None) -> float:
    """Five digits; nothing to measure on (no object in the truth) is 0."""
    return 0.0 if value is None else round(value, 5)
