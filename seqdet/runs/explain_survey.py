"""What there is to explain in a source: every detection, and what the track and clip memories were shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from seqdet.results.track_state import class_words
from seqdet.results.tracks import finish
from seqdet.runs.explain_stream import Moment, clip_input, track_inputs
from seqdet.runs.stream import Model
from seqdet.types import Track, label_of


class Found(NamedTuple):
    """One detection, as ``detect`` reports it.

    Attributes:
        frame: from 0.
        box: its number in the frame, from 0, in the order of the rows of ``detect``.
        time_s: of the frame.
        track_id: -1 while its track is not confirmed.
        class_id: as the frame and the memory see it.
        label: name of that class.
        score: 0..1.
        track_label: class of its track so far.
        track_score: 0..1.
        box_xyxy_px: in pixels of the source.
    """

    frame: int
    box: int
    time_s: float
    track_id: int
    class_id: int
    label: str
    score: float
    track_label: str
    track_score: float
    box_xyxy_px: tuple[float, ...]


@dataclass(slots=True)
class Shown:
    """What a memory of vectors was shown, in order: frame numbers and inputs (1, I)."""

    frames: list[int] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Survey:
    """A whole source, seen once.

    Attributes:
        found: all detections, frame by frame.
        tracks: all confirmed tracks, by id.
        track_shares: track id -> share of what names the sequence, 0..1.
        of_tracks: track id -> what the track memory was shown.
        of_clip: what the memory of the sequence was shown.
        frames: how many there were.
        label: class of the sequence, or "".
        score: its confidence.
    """

    found: list[Found]
    tracks: tuple[Track, ...]
    track_shares: dict[int, float]
    of_tracks: dict[int, Shown]
    of_clip: Shown
    frames: int
    label: str
    score: float

    def in_frame(self, frame: int) -> list[Found]:
        """The detections of a frame."""
        return [one for one in self.found if one.frame == frame]

    def of_track(self, track_id: int) -> list[Found]:
        """The detections of a track, in order."""
        return [one for one in self.found if one.track_id == track_id]


def survey(model: Model, moments: Iterable[Moment]) -> Survey:
    """See a source once.

    Args:
        model: of the moments.
        moments: all frames of the source.
    """
    found: list[Found] = []
    of_rows: dict[int, Shown] = {}
    of_tracks: dict[int, Shown] = {}
    of_clip = Shown()
    last: Moment | None = None
    for last in moments:
        index = last.frame.index
        found += found_in(last, model.classes)
        of_clip.frames.append(index)
        of_clip.inputs.append(clip_input(last, model.detector))
        for row, (born, embedding) in track_inputs(last, model.detector).items():
            if born or row not in of_rows:
                of_rows[row] = Shown()
            of_rows[row].frames.append(index)
            of_rows[row].inputs.append(embedding)
            if (track_id := int(last.after.tracks.track_ids[row])) >= 0:
                of_tracks[track_id] = of_rows[row]
    if last is None:
        return Survey([], (), {}, {}, of_clip, 0, "", 0.0)
    return Survey(
        found=found,
        tracks=finish(last.after.tracks, model.classes),
        track_shares=_shares(last, model.classes),
        of_tracks=of_tracks,
        of_clip=of_clip,
        frames=len(of_clip.frames),
        label=last.result.sequence_label,
        score=last.result.sequence_score,
    )


def found_in(moment: Moment, classes: tuple[str, ...]) -> list[Found]:
    """The detections of a frame, in the order of its rows."""
    of_frame = moment.result.detections
    return [
        Found(
            frame=moment.frame.index,
            box=number,
            time_s=round(moment.frame.time_s, 6),
            track_id=int(of_frame.track_ids[number]),
            class_id=int(of_frame.class_ids[number]),
            label=label_of(classes, int(of_frame.class_ids[number])),
            score=round(float(of_frame.scores[number]), 4),
            track_label=label_of(classes, int(of_frame.track_class_ids[number])),
            track_score=round(float(of_frame.track_scores[number]), 4),
            box_xyxy_px=tuple(round(float(edge), 2) for edge in of_frame.boxes_xyxy_px[number]),
        )
        for number in range(len(of_frame))
    ]


def _shares(last: Moment, classes: tuple[str, ...]) -> dict[int, float]:
    """How much of the evidence for the class of the sequence each track brought."""
    tracks, label = last.after.tracks, last.result.sequence_label
    if not label:
        return {}
    wanted = classes.index(label)
    evidence = {ended.track_id: float(ended.class_evidence[wanted]) for ended in tracks.ended}
    rows = np.flatnonzero(tracks.active & (tracks.track_ids >= 0))
    for row, words in zip(rows, class_words(tracks, rows), strict=True):
        evidence[int(tracks.track_ids[row])] = float(words[wanted])
    total = sum(evidence.values())
    return {track_id: value / total for track_id, value in evidence.items()} if total > 0 else {}
