"""Crops to train a glimpse on: the true objects of a data set, and what a detector takes for objects."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from seqdet.config import GlimpseConfig
from seqdet.data.crops import Crops, cut_out, far_from, joined
from seqdet.data.dataset import Dataset, Sequence
from seqdet.data.synth.scene import CLASSES as SCENE_CLASSES
from seqdet.data.synth.scene import render_clip, scene_class_ids
from seqdet.errors import InputError
from seqdet.runs.stream import NOMINAL_FPS, Model, with_score
from seqdet.types import Frame, Targets
from seqdet.video.reader import open_video

# Crops are kept so much wider than the network sees them, for shifts and zooms.
MARGIN = 1.5
# False detections: from this score on, at most so many a frame, in every so-many-th frame.
FALSE_SCORE = 0.01
FALSE_A_FRAME = 8
FALSE_EVERY = 3
# Rendered scenes: so many frames of each, every so-many-th.
RENDERED_SIZES_WH = {"thermal": (320, 256), "visible": (640, 512)}
RENDERED_FRAMES = 12
RENDERED_STRIDE = 4

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
        recording = names.index(sequence.recording)
        labels = dataset.labels(sequence)
        truth = [labels.at(index) for index in range(sequence.frames)]
        every = -(-sum(map(len, truth)) // crops_per_sequence) or 1
        with open_video(sequence.video) as reader:
            parts += _of_objects(reader, truth, every, shape, tracks, recording)
        tracks += _tracks_in(truth)
        if detector is not None:
            with open_video(sequence.video) as reader:
                first = itertools.islice(reader, min(detector_frames, len(truth)))
                parts += _of_nothing(detector, first, truth, shape, nothing, recording)
        if progress is not None:
            progress(number + 1, len(chosen))
    if not any((part.class_ids < nothing).any() for part in parts):
        raise InputError(f"{dataset.root}: no labelled object of known class in {len(chosen)} sequences")
    return joined(parts)


def rendered_crops(
    classes: tuple[str, ...], shape: GlimpseConfig, clips: int, seed: int, *, detector: Model | None = None
) -> Crops:
    """Cut objects out of rendered scenes, every class alike; all of one sensor count as one recording.

    Args:
        classes: of the data set, the scenes' among them.
        shape: of the glimpse.
        clips: how many scenes.
        seed: of all chance.
        detector: as ``collect_crops``.

    Raises:
        UsageError: the data set lacks a class of scenes.
    """
    ids = scene_class_ids(classes, "data.rendered_clips")
    rng = np.random.default_rng(seed)
    parts: list[Crops] = []
    tracks = 0
    for number in range(clips):
        kind, recording = divmod(number, len(RENDERED_SIZES_WH))
        sensor = tuple(RENDERED_SIZES_WH)[recording]
        label = SCENE_CLASSES[kind % len(SCENE_CLASSES)]
        pictures, scenes, _ = render_clip(
            rng, sensor, RENDERED_SIZES_WH[sensor], RENDERED_FRAMES, RENDERED_STRIDE, label=label
        )
        truth = [replace(there, class_ids=ids[there.class_ids]) for there in scenes]
        step_s = RENDERED_STRIDE / NOMINAL_FPS
        frames = [Frame(picture, index, index * step_s) for index, picture in enumerate(pictures)]
        parts += _of_objects(frames, truth, 1, shape, tracks, recording)
        tracks += _tracks_in(truth)
        if detector is not None:
            parts += _of_nothing(detector, frames, truth, shape, len(classes), recording)
    return joined(parts)


def _tracks_in(truth: Iterable[Targets]) -> int:
    return len({int(track) for there in truth for track in there.track_ids[there.class_ids >= 0]})


def _of_objects(
    frames: Iterable[Frame],
    truth: list[Targets],
    every: int,
    shape: GlimpseConfig,
    first_track: int,
    recording: int,
) -> list[Crops]:
    """The true objects of every so-many-th frame; tracks are numbered from ``first_track``."""
    numbers: dict[int, int] = {}
    parts = []
    for frame in frames:
        there = truth[frame.index] if frame.index < len(truth) else Targets.empty()
        known = np.flatnonzero(there.class_ids >= 0)
        of = [numbers.setdefault(int(track), first_track + len(numbers)) for track in there.track_ids[known]]
        if frame.index % every == 0 and len(known):
            cut = _cut(frame, there.boxes_xyxy_px[known], shape)
            parts.append(_crops(cut, there.class_ids[known], of, recording))
    return parts


def _of_nothing(
    detector: Model,
    frames: Iterable[Frame],
    truth: list[Targets],
    shape: GlimpseConfig,
    nothing: int,
    recording: int,
) -> list[Crops]:
    """What the detector finds in frames far from any true object, the best of each frame."""
    parts = []
    for result in with_score(detector, FALSE_SCORE).results(frames):
        if result.frame.index % FALSE_EVERY:
            continue
        found = result.detections
        far = np.flatnonzero(far_from(found.boxes_xyxy_px, truth[result.frame.index].boxes_xyxy_px))
        best = far[np.argsort(-found.scores[far], kind="stable")][:FALSE_A_FRAME]
        if len(best):
            cut = _cut(result.frame, found.boxes_xyxy_px[best], shape)
            parts.append(_crops(cut, [nothing] * len(cut), [-1] * len(cut), recording))
    return parts


def _cut(frame: Frame, boxes_xyxy_px: np.ndarray, shape: GlimpseConfig) -> np.ndarray:
    return cut_out(frame.rgb, boxes_xyxy_px, round(MARGIN * shape.crop_px), MARGIN * shape.context)


def _crops(pictures: np.ndarray, class_ids: npt.ArrayLike, tracks: list[int], recording: int) -> Crops:
    return Crops(
        pictures,
        np.asarray(class_ids, np.int64),
        np.asarray(tracks, np.int64),
        np.full(len(pictures), recording, np.int64),
    )
