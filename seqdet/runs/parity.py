"""Two networks of one model on the same stream, compared number by number and track by track."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from seqdet.data.transforms.geometry import preprocess
from seqdet.model.memory import DetectorState
from seqdet.runs.stream import Model
from seqdet.types import Frame

# Boxes of cells with smaller scores in both are nobody's, and far from everything.
LOOKED_AT_SCORE = 0.05


@dataclass(frozen=True, slots=True)
class Parity:
    """How far one network is from another over a stream, each with its own state.

    Attributes:
        frames: how many were streamed.
        score_difference: the largest of a cell's score (its objectness), 0..1.
        class_difference: the largest of a class probability, where an object may be.
        box_difference_px: the largest of a box edge there, in pixels of the network's input.
        detections: how many were found, by the one and by the other.
        same_tracks: whether all detections have the same tracks in the same frames.
    """

    frames: int
    score_difference: float
    class_difference: float
    box_difference_px: float
    detections: tuple[int, int]
    same_tracks: bool


def compare(one: Model, other: Model, frames: Sequence[Frame]) -> Parity:
    """Stream frames of one size through both."""
    raw = [list(_raw(model, frames)) for model in (one, other)]
    worst = np.zeros(3)
    for (score, classes, boxes), (score_2, classes_2, boxes_2) in zip(*raw, strict=True):
        seen = np.maximum(score, score_2) >= LOOKED_AT_SCORE
        pairs = ((score, score_2), (classes[seen], classes_2[seen]), (boxes[seen], boxes_2[seen]))
        worst = np.maximum(worst, [np.abs(a - b).max(initial=0) for a, b in pairs])
    found = [[result.detections.track_ids for result in model.results(frames, 1)] for model in (one, other)]
    return Parity(
        frames=len(frames),
        score_difference=float(worst[0]),
        class_difference=float(worst[1]),
        box_difference_px=float(worst[2]),
        detections=(sum(map(len, found[0])), sum(map(len, found[1]))),
        same_tracks=all(np.array_equal(a, b) for a, b in zip(*found, strict=True)),
    )


def _raw(model: Model, frames: Sequence[Frame]) -> Iterator[tuple[np.ndarray, ...]]:
    """Scores (P,), class probabilities (P, K) and boxes (P, 4) of every frame."""
    state: DetectorState | None = None
    for frame in frames:
        picture, _ = preprocess(frame.rgb, model.card.config.input_size_wh)
        pictures = torch.from_numpy(picture).permute(2, 0, 1)[None, None]
        with torch.inference_mode():
            averages = state.frames if state is not None else None
            maps, averages = model.network.embed(pictures, averages)
            output, state = model.network.remember(maps, averages, 1, state)
            heads = output.heads
            parts = heads.objectness.sigmoid(), heads.class_logits.softmax(-1), heads.boxes_xyxy
        yield tuple(part[0].numpy() for part in parts)
