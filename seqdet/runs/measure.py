"""One pass of a model over recorded clips, and every figure of it (docs/evaluation.md explains each)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from seqdet.data.dataset import Dataset
from seqdet.data.dataset import Sequence as Recorded
from seqdet.defaults import SHOWN_SCORE
from seqdet.errors import InputError
from seqdet.results.metrics.classification import box_confusion, sequence_accuracy, track_accuracy
from seqdet.results.metrics.detection import average_precision, best_f1
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.masks import mask_precision
from seqdet.results.metrics.speed import precision_by_speed
from seqdet.results.metrics.stability import stability
from seqdet.results.metrics.tracking import tracking_scores
from seqdet.runs.stream import Model
from seqdet.types import Detections, Frame
from seqdet.video.prefetch import prefetch
from seqdet.video.reader import open_video

Progress = Callable[[str, int, int | None], None]
# Average precision ranks everything that might be an object; the figures of a user's view (F1, tracks,
# flicker) take what ``detect`` would show.
RANKED_SCORE = 0.01
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


def evenly(sequences: Sequence[Recorded], limit: int | None) -> tuple[Recorded, ...]:
    """At most ``limit`` sequences, spread evenly over the classes and the order within each.

    By class first: where classes take turns, every other sequence would be those of every other class.
    """
    if limit is None or len(sequences) <= limit:
        return tuple(sequences)
    by_class = sorted(sequences, key=lambda sequence: sequence.class_id)
    return tuple(by_class[int(i)] for i in np.linspace(0, len(by_class) - 1, limit).round())


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
        shuffle_seed: show the frames of each clip in a random order, each with its own truth, at the times
            of the unshuffled clip. None: as they were recorded.
        label: for the progress.
        progress: is told the frames done.

    Raises:
        InputError: a clip of which no frame can be decoded.
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
        started = time.perf_counter()
        frames = _decoded(sequence, max_frames)
        order = np.arange(len(frames))
        if shuffle_seed is not None:
            np.random.default_rng(shuffle_seed).shuffle(order)
        shown_frames = [Frame(frames[k].rgb, i, frames[i].time_s) for i, k in enumerate(order)]
        results = list(model.results(shown_frames, FRAMES_AT_ONCE))
        seconds = time.perf_counter() - started
        found = [result.detections for result in results]
        if not sequence.boxes_known:  # what was found there is neither right nor wrong
            found = [Detections.empty(len(model.classes)) for _ in results]
        last = results[-1].sequence_label
        named = model.classes.index(last) if last else -1
        measured.truths.append(
            SequenceTruth.from_targets(
                [labels.at(frames[k].index) for k in order],
                [frame.time_s for frame in frames],
                sequence.class_id,
                sequence.recording,
                sequence.name,
                sequence.size_wh,
            )
        )
        measured.ranked.append(_ranked(found, named))
        shown = SequencePredictions.from_detections(found, named)
        measured.shown.append(shown.at_least(SHOWN_SCORE))
        measured = measured._replace(seconds=measured.seconds + seconds, frames=measured.frames + len(frames))
        if progress is not None:
            progress(label, measured.frames, total)
    return measured


def in_turn(parts: Sequence[Measured]) -> Measured:
    """One pass from its parts: clip n was measured by part n modulo their number."""
    if len(parts) == 1:
        return parts[0]

    def merged(name: str) -> list[Any]:
        lists = [getattr(part, name) for part in parts]
        return [lists[n % len(lists)][n // len(lists)] for n in range(sum(map(len, lists)))]

    return Measured(
        merged("truths"),
        merged("ranked"),
        merged("shown"),
        max(part.seconds for part in parts),
        sum(part.frames for part in parts),
    )


def _decoded(sequence: Recorded, max_frames: int | None) -> list[Frame]:
    with open_video(sequence.video) as reader:
        frames = prefetch(reader)
        taken = list(islice(frames, max_frames))
        frames.close()
    if not taken:
        raise InputError(f"{sequence.video}: no frame could be decoded")
    return taken


def _ranked(found: Iterable[Detections], named: int) -> SequencePredictions:
    """Every box once for each class that it may have; its score is objectness times class probability."""
    expanded = []
    for detections in found:
        scores = detections.scores[:, None] * detections.class_scores
        box, class_id = np.nonzero(detections.class_scores >= MULTI_LABEL_SHARE)
        fields = {name: getattr(detections, name)[box] for name in Detections.__slots__}
        fields["scores"], fields["class_ids"] = scores[box, class_id], class_id
        expanded.append(Detections(**fields))
    return SequencePredictions.from_detections(expanded, named)


def all_figures(measured: Measured, classes: tuple[str, ...]) -> dict[str, Any]:
    """Every figure of one pass, controls and intervals aside."""
    truths, ranked, shown = measured.truths, measured.ranked, measured.shown
    precision = average_precision(truths, ranked, classes)
    point = best_f1(truths, ranked)
    steady = stability(truths, shown)
    following = tracking_scores(truths, shown)
    tracks = track_accuracy(truths, shown, len(classes))
    clips = sequence_accuracy(truths, shown, len(classes))
    masks: dict[str, Any] = {}
    if any(len(truth.masks) for truth in truths) and any(len(said.masks) for said in ranked):
        of_masks = mask_precision(truths, ranked, len(classes))
        masks = {"mask_map50": of_masks.map50, "mask_map50_95": of_masks.map50_95}
    return {
        "map50": precision.map50,
        "map50_95": precision.map50_95,
        "agnostic_ap50": precision.agnostic_ap50,
        **masks,
        "f1_50": point.f1,
        "precision_50": point.precision,
        "recall_50": point.recall,
        "f1_score_threshold": point.score,
        "track_accuracy": tracks.accuracy,
        "track_accuracy_after": {str(n): value for n, value in tracks.after_frames.items()},
        "tracks_after": {str(n): count for n, count in tracks.tracks_after_frames.items()},
        "sequence_accuracy": clips.accuracy,
        "hota": following.hota,
        "idf1": following.idf1,
        "mota": following.mota,
        "identity_switches": following.identity_switches,
        "flicker_per_min": steady.flicker_per_min,
        "presence_flips_per_min": steady.presence_flips_per_min,
        "label_flips_per_min": steady.label_flips_per_min,
        "centre_jitter": steady.centre_jitter,
        "size_jitter": steady.size_jitter,
        "delay_frames": steady.delay_frames,
        "tracks": steady.tracks,
        "missed_tracks": steady.missed_tracks,
        "frames": measured.frames,
        "clips": len(truths),
        "frames_per_s": measured.frames / max(measured.seconds, 1e-9),
        "per_class": precision.per_class,
        "by_size": precision.by_size,
        "by_speed": precision_by_speed(truths, ranked, len(classes)),
        "precision_at_recall": precision.curves,
        "sequence_confusion": clips.confusion.tolist(),
        "track_confusion": tracks.confusion.tolist(),
        "box_confusion": box_confusion(truths, shown, len(classes)).tolist(),
    }


def rounded(value: Any) -> Any:
    """Figures to five digits after the point, all the way down."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return value
