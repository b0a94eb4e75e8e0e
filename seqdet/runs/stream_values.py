"""What is remembered of a stream, and how raw predictions become results: values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from seqdet.defaults import SHOWN_SCORE
from seqdet.model.memory import DetectorState
from seqdet.results.postprocess import PostprocessOptions
from seqdet.results.tracks import TrackOptions, TrackState


class StreamState(NamedTuple):
    """Everything that is remembered of one stream.

    Attributes:
        detector: the network's memories, for a batch of one; None before the first frame.
        tracks: the track table.
        frames: frames seen so far.
        sequence_evidence: (K,) float64 summed evidence for the class of the sequence.
    """

    detector: DetectorState | None
    tracks: TrackState
    frames: int
    sequence_evidence: np.ndarray


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How raw predictions become results.

    Attributes:
        min_score: smallest score of a detection that is reported, 0..1.
        postprocess: which boxes are kept before association.
        tracks: how detections become tracks.
        class_memory: how much a track's evidence weighs in the class of its detections, 0..1.
        score_memory: how much a track's smoothed score weighs in the score of its detections, 0..1.
        size_memory_s: seconds over which the size of a track's boxes is averaged; 0: as each frame says.
        unconfirmed_factor: what the score of a detection without a confirmed track is multiplied with, 0..1.
        glimpses: how many tracks are looked at more closely in a frame, by models that were trained for it.
        realness_power: how much it costs a track to look like nothing from near; 0 switches it off.
        every: the network sees every so-manyth frame of a stream that is handed over whole; boxes between
            come from those around them (``frames_between``). ``step`` and ``advance`` see all that they get.
        memory: False forgets everything in the network after every frame: a control of every evaluation.
        track_class: what names a track: "memory", the track LSTM, or "vote", a majority vote of its boxes,
            each for the class that its frame takes it for.
    """

    min_score: float = SHOWN_SCORE
    postprocess: PostprocessOptions = field(default_factory=PostprocessOptions)
    tracks: TrackOptions = field(default_factory=TrackOptions)
    class_memory: float = 0.75
    score_memory: float = 0.7
    size_memory_s: float = 0.4
    unconfirmed_factor: float = 0.3
    glimpses: int = 1
    realness_power: float = 2.0
    every: int = 1
    memory: bool = True
    track_class: Literal["memory", "vote"] = "memory"

    def in_seen_frames(self) -> StreamOptions:
        """The same for a stream of the frames that are seen only: a track is confirmed no later for that."""
        min_hits = -(-self.tracks.min_hits // self.every)
        return replace(self, every=1, tracks=replace(self.tracks, min_hits=min_hits))
