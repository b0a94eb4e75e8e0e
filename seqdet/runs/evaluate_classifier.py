"""Evaluation of a sequence classifier: is every clip named rightly, and do its controls do as well."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.data.dataset import Sequence as Recorded
from seqdet.errors import UsageError
from seqdet.results.charts import confusion_png
from seqdet.results.metrics.classification import confusion
from seqdet.runs.classify import Classifier, Named, name_sequences
from seqdet.runs.measure import Progress, rounded
from seqdet.runs.report import FIGURES, write_whole


def evaluate_classifier(
    classifier: Classifier,
    sequences: Sequence[Recorded],
    max_frames: int | None,
    controls: bool,
    out: Path | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Measure a sequence classifier; the arguments are those of ``evaluate``.

    Returns:
        ``sequence_accuracy``, ``clips``, ``frames``, ``frames_per_s``, ``per_class`` (accuracy and clips),
        ``sequence_confusion`` (row, what it is; column, what it was named), and the same for the controls:
        everything forgotten after every frame, and frames in a random order.

    Raises:
        UsageError: no sequence has a known class.
        InputError: a video of which no frame can be decoded.
        OutputError: ``out`` cannot be written.
    """
    known = [sequence for sequence in sequences if sequence.class_id >= 0]
    if not known:
        raise UsageError("none of these sequences has a class of its own; a sequence classifier needs one")
    total = sum(min(s.frames, max_frames or s.frames) for s in known)

    def measured(label: str, model: Classifier, shuffle_seed: int | None = None) -> dict[str, Any]:
        def tell(frames: int) -> None:
            if progress is not None:
                progress(label, frames, total)

        started = time.perf_counter()
        named = name_sequences(model, known, max_frames, shuffle_seed, tell)
        return _figures(named, model.classes, time.perf_counter() - started)

    figures = measured("memory", classifier)
    figures["controls"] = {}
    if controls:
        forgetful = Classifier(classifier.network, classifier.card, classifier.device, memory=False)
        figures["controls"] = {
            "memory_off": measured("memory off", forgetful),
            "shuffled": measured("shuffled", classifier, shuffle_seed=0),
        }
    figures = rounded(figures)
    if out is not None:
        write_whole(out / FIGURES, json.dumps(figures, indent=1))
        counts = np.array(figures["sequence_confusion"])
        write_whole(out / "confusion.png", confusion_png(counts, classifier.classes))
    return figures


def _figures(named: Named, classes: tuple[str, ...], seconds: float) -> dict[str, Any]:
    counts = confusion(named.wanted, named.named, len(classes))[:, : len(classes)]
    return {
        "sequence_accuracy": named.accuracy,
        "clips": len(named.wanted),
        "frames": named.frames,
        "frames_per_s": named.frames / max(seconds, 1e-9),
        "per_class": {
            name: {"accuracy": float(row[k] / row.sum()) if row.sum() else None, "clips": int(row.sum())}
            for k, (name, row) in enumerate(zip(classes, counts, strict=True))
        },
        "sequence_confusion": counts.tolist(),
    }
