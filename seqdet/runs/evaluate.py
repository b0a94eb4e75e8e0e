"""Evaluation, in time order: run the model over every clip of a split, compute the figures, run the controls.

Controls are the same weights with the memory switched off after every frame, and with the frames of each clip
shuffled in time. A model that does as well without its memory has learned to ignore it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqdet.data.dataset import Dataset, load_dataset
from seqdet.data.dataset import Sequence as Recorded
from seqdet.errors import InputError, UsageError
from seqdet.results.metrics.bootstrap import interval
from seqdet.results.metrics.classification import sequence_accuracy, track_accuracy
from seqdet.results.metrics.detection import average_precision, best_f1
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.stability import stability
from seqdet.results.metrics.tracking import tracking_scores
from seqdet.runs.stream import Model, load
from seqdet.types import Detections, Frame
from seqdet.video.prefetch import prefetch
from seqdet.video.reader import open_video

Progress = Callable[[str, int, int | None], None]
# Average precision ranks everything that might be an object; the figures of a user's view (F1, tracks,
# flicker) take what ``detect`` would show.
RANKED_SCORE = 0.01
SHOWN_SCORE = 0.3
# A box is ranked under every class that has at least this much of its score, as COCO's evaluations do.
MULTI_LABEL_SHARE = 0.05
FRAMES_AT_ONCE = 8


class Measured(NamedTuple):
    """One pass over the clips.

    Attributes:
        truths: one a clip.
        ranked: every box, once for each class that it may have.
        shown: what ``detect`` shows.
        seconds: time spent in the model and what follows it, decoding included.
        frames: that were detected in.
    """

    truths: list[SequenceTruth]
    ranked: list[SequencePredictions]
    shown: list[SequencePredictions]
    seconds: float
    frames: int


def evaluate(
    data: Path,
    *,
    model: str | Path = "airspace",
    split: str = "val",
    where: dict[str, str] | None = None,
    limit: int | None = None,
    out: Path | None = None,
    device: str = "auto",
    force: bool = False,
    controls: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a model on a split of a data set.

    Args:
        data: folder of the data set.
        model: shipped name, run folder or file.
        split: "train", "val" or "test".
        where: only sequences with these attributes.
        limit: at most so many clips, taken evenly.
        out: folder for ``eval.json``.
        device: "auto", "cpu" or "cuda".
        force: replace an ``eval.json`` that exists.
        controls: also measure with the memory off and with shuffled frames (three times the work).
        progress: is told how far it is.

    Raises:
        UsageError: nothing to measure on, other classes than the model's, or ``out`` holds an evaluation.
        InputError: the data set or the model cannot be read.
    """
    target = out / "eval.json" if out is not None else None
    if target is not None and target.exists() and not force:
        raise UsageError(f"{target} exists; choose another --out, or replace it with --force")
    loaded = load(model, device)
    dataset = load_dataset(data).where(**(where or {}))
    sequences = evenly(dataset.split(split), limit)
    if not sequences:
        raise UsageError(f"{data}: no sequence in split {split!r}{f' with {where}' if where else ''}")
    if dataset.classes != loaded.classes:
        raise UsageError(
            f"the model knows {', '.join(loaded.classes)}; {data} holds {', '.join(dataset.classes)}: "
            "they must be the same classes in the same order"
        )
    measured = measure(loaded, dataset, sequences, label="memory", progress=progress)
    figures = all_figures(measured, loaded.classes)
    figures["controls"] = {}
    if controls:
        off = loaded.with_options(replace(loaded.options, memory=False))
        without = measure(off, dataset, sequences, label="memory off", progress=progress)
        shuffled = measure(loaded, dataset, sequences, shuffle_seed=0, label="shuffled", progress=progress)
        figures["controls"] = {
            "memory_off": all_figures(without, loaded.classes, intervals=False),
            "shuffled": all_figures(shuffled, loaded.classes, intervals=False),
        }
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def evenly(sequences: Sequence[Recorded], limit: int | None) -> tuple[Recorded, ...]:
    """At most ``limit`` sequences, spread evenly over their order."""
    if limit is None or len(sequences) <= limit:
        return tuple(sequences)
    return tuple(sequences[int(i)] for i in np.linspace(0, len(sequences) - 1, limit).round())


def measure(
    model: Model,
    dataset: Dataset,
    sequences: Sequence[Recorded],
    *,
    max_frames: int | None = None,
    shuffle_seed: int | None = None,
    label: str = "",
    progress: Progress | None = None,
) -> Measured:
    """Run a model over clips.

    Args:
        model: with its options; its smallest score is lowered, so that average precision sees all ranks.
        dataset: where the labels are.
        sequences: the clips.
        max_frames: only the first frames of each.
        shuffle_seed: show the frames of each clip in a random order (the times stay in order).
        label: for the progress.
        progress: is told the frames done.
    """
    options = model.options
    model = model.with_options(
        replace(
            options, min_score=RANKED_SCORE, postprocess=replace(options.postprocess, min_score=RANKED_SCORE)
        )
    )
    total = sum(min(s.frames, max_frames or s.frames) for s in sequences)
    measured = Measured([], [], [], 0.0, 0)
    for sequence in sequences:
        labels = dataset.labels(sequence)
        with open_video(sequence.video) as reader:
            started = time.perf_counter()
            frames = _taken(prefetch(reader), max_frames)
            order = np.arange(len(frames))
            if shuffle_seed is not None:
                np.random.default_rng(shuffle_seed).shuffle(order)
            shown_frames = [Frame(frames[k].rgb, i, frames[i].time_s) for i, k in enumerate(order)]
            results = list(model.results(shown_frames, FRAMES_AT_ONCE))
            seconds = time.perf_counter() - started
        if not results:
            raise InputError(f"{sequence.video}: no frame could be decoded")
        found: list[Detections] = [Detections.empty()] * len(frames)
        for result, k in zip(results, order, strict=True):
            found[int(k)] = result.detections
        last = results[-1].sequence_label
        named = model.classes.index(last) if last else -1
        measured.truths.append(
            SequenceTruth.from_targets(
                [labels.at(frame.index) for frame in frames],
                [frame.time_s for frame in frames],
                sequence.class_id,
                sequence.recording,
                sequence.name,
            )
        )
        measured.ranked.append(_ranked(found, named))
        shown = SequencePredictions.from_detections(found, named)
        measured.shown.append(shown.at_least(SHOWN_SCORE))
        measured = measured._replace(seconds=measured.seconds + seconds, frames=measured.frames + len(frames))
        if progress is not None:
            progress(label, measured.frames, total)
    return measured


def _taken(frames: Any, max_frames: int | None) -> list[Frame]:
    taken = []
    for frame in frames:
        taken.append(frame)
        if max_frames is not None and len(taken) >= max_frames:
            frames.close()
            break
    return taken


def _ranked(found: Sequence[Detections], named: int) -> SequencePredictions:
    """Every box once for each class that it may have; its score is objectness times class probability."""
    expanded = []
    for detections in found:
        scores = detections.scores[:, None] * detections.class_scores
        box, class_id = np.nonzero(detections.class_scores >= MULTI_LABEL_SHARE)
        fields = {name: getattr(detections, name)[box] for name in Detections.__slots__}
        fields["scores"], fields["class_ids"] = scores[box, class_id], class_id
        expanded.append(Detections(**fields))
    return SequencePredictions.from_detections(expanded, named)


def all_figures(measured: Measured, classes: tuple[str, ...], intervals: bool = True) -> dict[str, Any]:
    """Every figure of the contract (docs/evaluation.md explains each)."""
    truths, ranked, shown = measured.truths, measured.ranked, measured.shown
    precision = average_precision(truths, ranked, classes)
    point = best_f1(truths, ranked)
    steady = stability(truths, shown)
    following = tracking_scores(truths, shown)
    tracks = track_accuracy(truths, shown, len(classes))
    clips = sequence_accuracy(truths, shown, len(classes))
    figures: dict[str, Any] = {
        "map50": precision.map50,
        "map50_95": precision.map50_95,
        "agnostic_ap50": precision.agnostic_ap50,
        "f1_50": point.f1,
        "precision_50": point.precision,
        "recall_50": point.recall,
        "f1_score_threshold": point.score,
        "track_accuracy": tracks.accuracy,
        "track_accuracy_after": {str(n): value for n, value in tracks.after_frames.items()},
        "sequence_accuracy": clips.accuracy,
        "hota": following.hota,
        "idf1": following.idf1,
        "mota": following.mota,
        "identity_switches": following.identity_switches,
        "flicker_per_min": steady.flicker_per_min,
        "centre_jitter": steady.centre_jitter,
        "size_jitter": steady.size_jitter,
        "delay_frames": steady.delay_frames,
        "frames": measured.frames,
        "clips": len(truths),
        "frames_per_s": measured.frames / max(measured.seconds, 1e-9),
        "per_class": precision.per_class,
        "by_size": precision.by_size,
        "sequence_confusion": clips.confusion.tolist(),
    }
    if intervals and clips.accuracy is not None:
        figures["intervals_95"] = {"sequence_accuracy": _accuracy_interval(truths, shown)}
    return rounded(figures)


def _accuracy_interval(truths: list[SequenceTruth], shown: list[SequencePredictions]) -> list[float]:
    known = [i for i, truth in enumerate(truths) if truth.sequence_class_id >= 0]
    right = np.array([truths[i].sequence_class_id == shown[i].sequence_class_id for i in known], float)
    found = interval(
        lambda chosen: float(right[chosen].mean()), [truths[i].recording for i in known], draws=2000
    )
    return [found.low, found.high]


def rounded(value: Any) -> Any:
    """Figures to five digits after the point, all the way down."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return value
