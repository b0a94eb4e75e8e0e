"""Boxes of frames that the network did not see, from those of the frames before and after that it saw.

An object that both frames show, by its track, went straight from the one to the other. What only one of them
shows moves on, or has come, by its track's velocity, and is shown in the half of the gap that is nearer.

Legend: N detections.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from seqdet.boxes import clip
from seqdet.results.track_state import TrackState
from seqdet.types import Detections, FrameResult


class Seen(NamedTuple):
    """A frame that the network saw.

    Attributes:
        detections: what it found, labelled.
        velocities_px_per_s: (N, 2) float64 of their tracks; 0 without one.
        time_s: presentation time.
        size_wh: width and height of the picture, in pixels.
    """

    detections: Detections
    velocities_px_per_s: np.ndarray
    time_s: float
    size_wh: tuple[int, int]


def seen(result: FrameResult, tracks: TrackState) -> Seen:
    """What a frame showed, with what its tracks know after it."""
    detections = result.detections
    row_of = {int(tracks.track_ids[row]): row for row in np.flatnonzero(tracks.track_ids >= 0)}
    rows = np.array([row_of.get(int(track_id), -1) for track_id in detections.track_ids], np.int64)
    known = (rows >= 0)[:, None]
    velocities = np.where(known, tracks.velocities_px_per_s[rows], 0.0)
    return Seen(detections, velocities, result.time_s, result.frame.size_wh)


def moved(frame: Seen, time_s: float) -> Detections:
    """What a frame shows, where it is, or was, at another time if nothing turns; what left is gone."""
    shift = frame.velocities_px_per_s * (time_s - frame.time_s)
    boxes_xyxy = clip(frame.detections.boxes_xyxy_px + np.tile(shift, 2), frame.size_wh)
    inside = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1, initial=np.inf) > 0.5
    return _with_boxes(frame.detections, boxes_xyxy).where(inside)


def between(before: Seen, after: Seen, time_s: float) -> Detections:
    """What a frame between two that were seen shows.

    Boxes, scores and class scores of an object that both show are theirs, weighted by nearness in time; ids
    and track classes are those of the frame before.
    """
    share = (time_s - before.time_s) / max(after.time_s - before.time_s, 1e-9)
    old, new = before.detections, after.detections
    index_of = {int(track_id): index for index, track_id in enumerate(new.track_ids) if track_id >= 0}
    partner = np.array([index_of.get(int(track_id), -1) for track_id in old.track_ids], np.int64)
    both, partner = np.flatnonzero(partner >= 0), partner[partner >= 0]
    nearer = before if share <= 0.5 else after
    alone = np.ones(len(nearer.detections), bool)
    alone[both if nearer is before else partner] = False
    of_one = nearer._replace(
        detections=nearer.detections.where(alone), velocities_px_per_s=nearer.velocities_px_per_s[alone]
    )
    parts = [_mixed(old.where(both), new.where(partner), share), moved(of_one, time_s)]
    joined = Detections(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in Detections.__slots__}
    )
    return joined.where(np.argsort(-joined.scores, kind="stable"))


def _mixed(old: Detections, new: Detections, share: float) -> Detections:
    """Pairs of detections, ``share`` of the way from the first to the second."""

    def mix(name: str) -> np.ndarray:
        return ((1 - share) * getattr(old, name) + share * getattr(new, name)).astype(np.float32)

    class_scores = mix("class_scores")
    class_ids = class_scores.argmax(axis=1) if len(class_scores) else old.class_ids
    mixed = replace(old, scores=mix("scores"), class_scores=class_scores, class_ids=class_ids)
    return _with_boxes(mixed, mix("boxes_xyxy_px"))


def _with_boxes(detections: Detections, boxes_xyxy_px: np.ndarray) -> Detections:
    """At other places, where nobody has seen the outline: without masks."""
    masks = np.full(len(detections), "", object)
    return replace(detections, boxes_xyxy_px=boxes_xyxy_px.astype(np.float32), masks=masks)
