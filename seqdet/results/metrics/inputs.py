"""What every metric is computed from: one recorded clip's truth, and what was predicted on it.

Legend: T frames of the clip, M truth boxes, N predicted boxes. Boxes of all frames lie in one flat array, in
time order; ``frame_ids`` says to which frame (0..T-1, the position within the clip) each belongs.

Metrics take two sequences of equal length, ``truths[i]`` belonging to ``predictions[i]``:

    truths = [SequenceTruth.from_targets(targets, times_s, sequence_class_id, recording), ...]
    predictions = [SequencePredictions.from_detections(detections, sequence_class_id), ...]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from seqdet.types import Detections, Targets


@dataclass(frozen=True, slots=True)
class SequenceTruth:
    """The truth for one clip of T frames with M boxes.

    Attributes:
        times_s: (T,) float64 presentation times, ascending; its length is the number of frames of the clip.
        frame_ids: (M,) int64 in 0..T-1, ascending.
        boxes_xyxy_px: (M, 4) float64.
        class_ids: (M,) int64 from 0.
        track_ids: (M,) int64, unique within a frame.
        sequence_class_id: class of the whole clip; -1 when unknown (left out of sequence accuracy).
        recording: clips of one recording are not independent; the bootstrap draws recordings.
        name: of the clip, for messages.
        size_wh: of its frames, where there are masks.
        masks: (M,) texts of `seqdet.rle`, "" where not known; empty where none is.
    """

    times_s: np.ndarray
    frame_ids: np.ndarray
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    track_ids: np.ndarray
    sequence_class_id: int = -1
    recording: str = ""
    name: str = ""
    size_wh: tuple[int, int] = (0, 0)
    masks: np.ndarray = field(default_factory=lambda: np.zeros(0, object))

    def __post_init__(self) -> None:
        _check_columns(
            self.name,
            self.frame_ids,
            len(self.times_s),
            self.boxes_xyxy_px,
            {"class_ids": self.class_ids, "track_ids": self.track_ids},
        )

    @property
    def frames(self) -> int:
        """Number of frames of the clip, with and without objects."""
        return len(self.times_s)

    @classmethod
    def from_targets(
        cls,
        targets: Sequence[Targets],
        times_s: Sequence[float] | np.ndarray,
        sequence_class_id: int = -1,
        recording: str = "",
        name: str = "",
        size_wh: tuple[int, int] = (0, 0),
    ) -> SequenceTruth:
        """Join the truths of T frames, one ``Targets`` a frame, empty ones included."""
        if len(targets) != len(times_s):
            raise ValueError(f"clip {name!r}: {len(targets)} targets with {len(times_s)} times")
        return cls(
            times_s=np.asarray(times_s, np.float64),
            frame_ids=_frame_ids(targets),
            boxes_xyxy_px=_joined([t.boxes_xyxy_px for t in targets], np.float64, (0, 4)),
            class_ids=_joined([t.class_ids for t in targets], np.int64, (0,)),
            track_ids=_joined([t.track_ids for t in targets], np.int64, (0,)),
            sequence_class_id=sequence_class_id,
            recording=recording,
            name=name,
            size_wh=size_wh,
            masks=_masks([one.masks or ("",) * len(one) for one in targets]),
        )

    def per_frame(self) -> Iterator[slice]:
        """For each of the T frames, where its boxes lie in the flat arrays."""
        return _slices(self.frame_ids, self.frames)


@dataclass(frozen=True, slots=True)
class SequencePredictions:
    """What was predicted on one clip: N boxes.

    Attributes:
        frame_ids: (N,) int64 in 0..T-1, ascending.
        boxes_xyxy_px: (N, 4) float64.
        scores: (N,) float64 in 0..1.
        class_ids: (N,) int64: the class as frame and memory see it.
        track_ids: (N,) int64 from 1; -1 for a box without a track (tracking metrics leave it out).
        track_class_ids: (N,) int64: class of the whole track so far; -1: unknown, ``class_ids`` counts.
        sequence_class_id: predicted class of the whole clip; -1 for none, which counts as wrong.
        masks: (N,) texts of `seqdet.rle`; empty where the model makes none.
    """

    frame_ids: np.ndarray
    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    track_ids: np.ndarray
    track_class_ids: np.ndarray
    sequence_class_id: int = -1
    masks: np.ndarray = field(default_factory=lambda: np.zeros(0, object))

    def __post_init__(self) -> None:
        _check_columns(
            "",
            self.frame_ids,
            None,
            self.boxes_xyxy_px,
            {
                "scores": self.scores,
                "class_ids": self.class_ids,
                "track_ids": self.track_ids,
                "track_class_ids": self.track_class_ids,
            },
        )

    @classmethod
    def from_detections(
        cls, detections: Sequence[Detections], sequence_class_id: int = -1
    ) -> SequencePredictions:
        """Join the detections of T frames, one ``Detections`` a frame, empty ones included."""
        return cls(
            frame_ids=_frame_ids(detections),
            boxes_xyxy_px=_joined([d.boxes_xyxy_px for d in detections], np.float64, (0, 4)),
            scores=_joined([d.scores for d in detections], np.float64, (0,)),
            class_ids=_joined([d.class_ids for d in detections], np.int64, (0,)),
            track_ids=_joined([d.track_ids for d in detections], np.int64, (0,)),
            track_class_ids=_joined([d.track_class_ids for d in detections], np.int64, (0,)),
            sequence_class_id=sequence_class_id,
            masks=_masks([d.masks for d in detections]),
        )

    @property
    def label_ids(self) -> np.ndarray:
        """(N,) int64: the label that a user sees: the track's class, or the frame's where there is none."""
        return np.where(self.track_class_ids >= 0, self.track_class_ids, self.class_ids)

    def where(self, keep: np.ndarray) -> SequencePredictions:
        """Only the boxes for which ``keep``, (N,) bool, holds."""
        return SequencePredictions(
            frame_ids=self.frame_ids[keep],
            boxes_xyxy_px=self.boxes_xyxy_px[keep],
            scores=self.scores[keep],
            class_ids=self.class_ids[keep],
            track_ids=self.track_ids[keep],
            track_class_ids=self.track_class_ids[keep],
            sequence_class_id=self.sequence_class_id,
            masks=self.masks[keep] if len(self.masks) else self.masks,
        )

    def at_least(self, score: float) -> SequencePredictions:
        """Only the boxes that score at least so much."""
        return self.where(self.scores >= score)

    def per_frame(self, frames: int) -> Iterator[slice]:
        """For each of ``frames`` frames, where its boxes lie in the flat arrays."""
        return _slices(self.frame_ids, frames)


def _masks(of_frames: Sequence[Sequence[str] | np.ndarray]) -> np.ndarray:
    """All texts in one array; empty where every one is ""."""
    texts = [text for masks in of_frames for text in masks]
    return np.array(texts if any(texts) else [], object)


def paired(
    truths: Sequence[SequenceTruth],
    predictions: Sequence[SequencePredictions],
) -> Iterator[tuple[SequenceTruth, SequencePredictions]]:
    """Go through both together.

    Raises:
        ValueError: when the numbers of clips differ, or a prediction lies in a frame that its clip lacks.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} truths with {len(predictions)} predictions")
    for truth, prediction in zip(truths, predictions, strict=True):
        if len(prediction.frame_ids) and prediction.frame_ids[-1] >= truth.frames:
            raise ValueError(
                f"clip {truth.name!r} has {truth.frames} frames, "
                f"a prediction is for frame {int(prediction.frame_ids[-1])}"
            )
        yield truth, prediction


def _frame_ids(values: Sequence[Targets] | Sequence[Detections]) -> np.ndarray:
    return np.repeat(np.arange(len(values), dtype=np.int64), [len(value) for value in values])


def _joined(parts: list[np.ndarray], dtype: type, empty: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(empty, dtype)


def _slices(frame_ids: np.ndarray, frames: int) -> Iterator[slice]:
    edges = np.searchsorted(frame_ids, np.arange(frames + 1)).tolist()
    return (slice(edges[t], edges[t + 1]) for t in range(frames))


def _check_columns(
    name: str,
    frame_ids: np.ndarray,
    frames: int | None,
    boxes_xyxy_px: np.ndarray,
    columns: dict[str, np.ndarray],
) -> None:
    count = len(frame_ids)
    if boxes_xyxy_px.shape != (count, 4):
        raise ValueError(f"clip {name!r}: {count} frame ids with boxes of shape {boxes_xyxy_px.shape}")
    for column, values in columns.items():
        if values.shape != (count,):
            raise ValueError(f"clip {name!r}: {count} boxes with {column} of shape {values.shape}")
    if count and (np.any(np.diff(frame_ids) < 0) or frame_ids[0] < 0):
        raise ValueError(f"clip {name!r}: frame ids must ascend from 0")
    if count and frames is not None and frame_ids[-1] >= frames:
        raise ValueError(f"clip {name!r}: a box in frame {int(frame_ids[-1])} of {frames} frames")
