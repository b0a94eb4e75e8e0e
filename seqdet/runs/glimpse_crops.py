"""Crops to train a glimpse on: the true objects of a data set, and what a detector takes for objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from seqdet.config import GlimpseConfig
from seqdet.data.crops import Crops, cut_out, far_from
from seqdet.data.dataset import Dataset, Sequence
from seqdet.errors import InputError
from seqdet.runs.stream import Model, with_score
from seqdet.types import Frame, Targets
from seqdet.video.reader import open_video

# Crops are kept so much wider than the network sees them, for shifts and zooms.
MARGIN = 1.5
# False detections: from this score on, at most so many a frame, in every so-many-th frame.
FALSE_SCORE = 0.01
FALSE_A_FRAME = 8
FALSE_EVERY = 3

# (sequences done, sequences in all)
Progress = Callable[[int, int], None]


def collect_crops(
    dataset: Dataset,
    sequences: Iterable[Sequence],
    shape: GlimpseConfig,
    crops_per_sequence: int,
    *,
    detector: Model | None = None,
    detector_frames: int = 0,
    progress: Progress | None = None,
) -> Crops:
    """Cut out what a glimpse is to learn.

    Args:
        dataset: where the labels are.
        sequences: videos to go through.
        shape: of the glimpse.
        crops_per_sequence: most crops of objects, spread evenly over each sequence.
        detector: whose false detections are to be told from objects; None for none.
        detector_frames: how many first frames of each sequence it sees.
        progress: is told the sequences done.

    Returns:
        Crops MARGIN times as wide as the glimpse sees, ``MARGIN * shape.crop_px`` pixels a side.

    Raises:
        InputError: a video cannot be read, or there is no object of known class at all.
    """
    chosen = tuple(sequence for sequence in sequences if sequence.boxes_known)
    names = sorted({sequence.recording for sequence in chosen})
    nothing = len(dataset.classes)
    parts: list[Crops] = []
    tracks = 0
    for number, sequence in enumerate(chosen):
        labels = dataset.labels(sequence)
        truth = [labels.at(index) for index in range(sequence.frames)]
        every = -(-sum(map(len, truth)) // crops_per_sequence) or 1
        ids: dict[int, int] = {}
        with open_video(sequence.video) as reader:
            for frame in reader:
                there = truth[frame.index] if frame.index < len(truth) else Targets.empty()
                known = np.flatnonzero(there.class_ids >= 0)
                if frame.index % every == 0 and len(known):
                    of = [ids.setdefault(int(track), tracks + len(ids)) for track in there.track_ids[known]]
                    cut = _cut(frame, there.boxes_xyxy_px[known], shape)
                    parts.append(_crops(cut, there.class_ids[known], of, names.index(sequence.recording)))
        tracks += len(ids)
        if detector is not None:
            for frame, boxes in _false_detections(detector, sequence, truth, detector_frames):
                cut = _cut(frame, boxes, shape)
                nothings = np.full(len(cut), nothing)
                parts.append(_crops(cut, nothings, nothings * 0 - 1, names.index(sequence.recording)))
        if progress is not None:
            progress(number + 1, len(chosen))
    if not any((part.class_ids < nothing).any() for part in parts):
        raise InputError(f"{dataset.root}: no labelled object of known class in {len(chosen)} sequences")
    return Crops(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _cut(frame: Frame, boxes_xyxy_px: np.ndarray, shape: GlimpseConfig) -> np.ndarray:
    return cut_out(frame.rgb, boxes_xyxy_px, round(MARGIN * shape.crop_px), MARGIN * shape.context)


def _crops(pictures: np.ndarray, class_ids: np.ndarray, tracks: Iterable[int], recording: int) -> Crops:
    return Crops(
        pictures,
        np.asarray(class_ids, np.int64),
        np.fromiter(tracks, np.int64),
        np.full(len(pictures), recording, np.int64),
    )


def _false_detections(
    detector: Model, sequence: Sequence, truth: list[Targets], frames: int
) -> Iterable[tuple[Frame, np.ndarray]]:
    """Frames, and (N, 4) boxes of what the detector finds in them far from any true object; best first."""
    eager = with_score(detector, FALSE_SCORE)
    with open_video(sequence.video) as reader:
        first = (frame for frame, _ in zip(reader, range(min(frames, len(truth))), strict=False))
        for result in eager.results(first):
            if result.frame.index % FALSE_EVERY:
                continue
            found = result.detections
            far = np.flatnonzero(far_from(found.boxes_xyxy_px, truth[result.frame.index].boxes_xyxy_px))
            best = far[np.argsort(-found.scores[far], kind="stable")][:FALSE_A_FRAME]
            if len(best):
                yield result.frame, found.boxes_xyxy_px[best]
