"""A detector at work frame by frame, with everything that an explanation needs of each frame kept beside it.

Legend: C channels, H W cells of a map, S state width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqdet.boxes import Letterbox
from seqdet.model.detector import Detector, DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.lstm import CellState
from seqdet.model.memory import DetectorState, box_features
from seqdet.runs.stream import Model, StreamState
from seqdet.runs.track_words import velocity
from seqdet.types import Frame, FrameResult


class Moment(NamedTuple):
    """One frame on its way through a model.

    Attributes:
        frame: the picture.
        result: what was found in it.
        before: what was remembered of the frames before.
        after: what is remembered with it.
        pyramid: L maps (1, C, H, W): what the memory was shown of it.
        output: what the network said.
        geometry: how the picture was fitted into the network's input.
    """

    frame: Frame
    result: FrameResult
    before: StreamState
    after: StreamState
    pyramid: list[Tensor]
    output: DetectorOutput
    geometry: Letterbox


class _Watched:
    """A detector as a network, whose last word can be read again."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.said: list[tuple[list[Tensor], DetectorOutput]] = []

    def embed(
        self, frames: Tensor, averages: FrameAverages | None
    ) -> tuple[list[Tensor], FrameAverages | None]:
        return self.detector.embed(frames, averages)

    def remember(
        self, maps: list[Tensor], averages: FrameAverages | None, batch: int, state: DetectorState | None
    ) -> tuple[DetectorOutput, DetectorState]:
        output, after = self.detector.remember(maps, averages, batch, state)
        self.said = [(maps, output)]
        return output, after


def moments(model: Model, frames: Iterable[Frame]) -> Iterator[Moment]:
    """Frames through a model, one by one, from nothing remembered; results are those of ``model.results``."""
    watched = _Watched(model.detector)
    watching = Model(model.detector, model.card, model.device, model.options, watched)
    state = watching.initial_state()
    for frame in frames:
        before = state
        results, state = watching.advance([frame], before)
        pyramid, output = watched.said.pop()
        geometry = Letterbox.fit(frame.size_wh, model.card.config.input_size_wh)
        yield Moment(frame, results[0], before, state, pyramid, output, geometry)


def plain(state: CellState) -> CellState:
    """A copy that gradients may pass through, which what inference has made may not."""
    return CellState(*(part.clone() for part in state))


def detector_state_before(moment: Moment, model: Model) -> DetectorState:
    """What the network remembered before a frame, as copies that gradients may pass through."""
    state = moment.before.detector
    if state is None:
        return model.detector.initial_state(1, model.card.config.input_size_wh)
    frames = FrameAverages(*(part.clone() for part in state.frames)) if state.frames is not None else None
    maps = tuple(plain(cell) for cell in state.maps)
    return DetectorState(maps, plain(state.clip), plain(state.tracks), frames)


@torch.no_grad()
def track_inputs(moment: Moment, detector: Detector) -> dict[int, tuple[bool, Tensor]]:
    """What the track memory was shown in a frame: row of the track -> (whether it began, (1, S)).

    It is computed again from the tracks' table; where a box reaches over the border of the picture, the table
    holds what is inside.
    """
    tracks = moment.after.tracks
    index = moment.frame.index
    rows = np.flatnonzero(tracks.active & (tracks.last_frames == index) & (tracks.hits > 0))
    rows = rows[rows < detector.max_tracks]
    if not len(rows):
        return {}
    born = np.zeros(len(tracks.active), bool)
    born[rows] = tracks.first_frames[rows] == index
    boxes_px = tracks.boxes_xyxy_px[rows].astype(np.float32)
    speed = velocity(moment.before.tracks, born, rows, boxes_px, moment.frame.time_s)
    boxes = torch.from_numpy(moment.geometry.to_input(boxes_px))
    maps = [feature.clone() for feature in moment.output.maps]
    features = box_features(maps, detector.levels, boxes[None])[0]
    embedding = detector.tracks.embedding(features, boxes, torch.from_numpy(speed))
    return {int(row): (bool(born[row]), embedding[n : n + 1]) for n, row in enumerate(rows)}


@torch.no_grad()
def clip_input(moment: Moment, detector: Detector) -> Tensor:
    """(1, C + K + 3): what the memory of the sequence was shown in a frame."""
    maps = [feature.clone() for feature in moment.output.maps]
    heads = type(moment.output.heads)(*(part.clone() for part in moment.output.heads))
    return detector.clip.pool(maps, heads)
