"""What named a box: its cell, the memory of its track, the looks from near, and what came second.

Legend: K classes, S side of a crop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqdet.data.crops import cut_out
from seqdet.results.track_state import TrackState, class_words, realness
from seqdet.runs.explain_stream import Moment
from seqdet.runs.explain_survey import Found
from seqdet.runs.stream import Model

NOTHING = "nothing"
# So many looks of a track are shown with a box, the newest.
SHOWN_LOOKS = 8


class Look(NamedTuple):
    """One look at a track from near.

    Attributes:
        frame: in which.
        crop: (S, S, 3) uint8, what the look saw.
        probabilities: K + 1; the last is that of nothing.
    """

    frame: int
    crop: np.ndarray
    probabilities: tuple[float, ...]


class Named(NamedTuple):
    """How a box came by its class.

    Attributes:
        label: its class.
        rival: the class that came second; "" where there is one class only.
        lead: probability of the class minus that of the rival, as they are shown.
        cell: class -> probability at the cell of the box, the network's own word on this frame.
        memory: class -> share of what the memory of the track has said so far; None without a track.
        looks: class, and "nothing" -> mean of what the looks at the track said; None without any.
        shown: class -> what came of it.
        looked: how many looks there were so far.
        without_looks: the class that the box would have without them.
        by_looks: that is another one: the class came from the second look.
        score_factor: what the looks multiplied the score with.
    """

    label: str
    rival: str
    lead: float
    cell: dict[str, float]
    memory: dict[str, float] | None
    looks: dict[str, float] | None
    shown: dict[str, float]
    looked: int
    without_looks: str
    by_looks: bool
    score_factor: float


class Looks:
    """Collects the looks at every track, moment by moment."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._of_rows: dict[int, list[Look]] = {}

    def see(self, moment: Moment) -> None:
        """Take in the next moment: a look adds what it said to the evidence of its track."""
        glimpse = self._model.detector.glimpse
        if glimpse is None:
            return
        before, tracks = moment.before.tracks, moment.after.tracks
        index = moment.frame.index
        for row in np.flatnonzero(tracks.active & (tracks.last_frames == index) & (tracks.hits > 0)).tolist():
            born = tracks.first_frames[row] == index
            if born:
                self._of_rows[row] = []
            said = tracks.glimpse_evidence[row] - (0 if born else before.glimpse_evidence[row])
            if said.sum() > 0.5:
                box = tracks.boxes_xyxy_px[row : row + 1]
                crop = cut_out(moment.frame.rgb, box, glimpse.crop_px, glimpse.context)[0]
                look = Look(index, crop, tuple(float(value) for value in said))
                self._of_rows.setdefault(row, []).append(look)

    def at(self, moment: Moment, track_id: int) -> list[Look]:
        """The looks at a track so far, the newest SHOWN_LOOKS; none without a confirmed track."""
        row = row_of(moment.after.tracks, track_id)
        return [] if row is None else self._of_rows.get(row, [])[-SHOWN_LOOKS:]


def row_of(tracks: TrackState, track_id: int) -> int | None:
    """The row of the table that a confirmed track has."""
    rows = np.flatnonzero(tracks.active & (tracks.track_ids == track_id) & (track_id >= 0))
    return int(rows[0]) if len(rows) else None


def named(model: Model, moment: Moment, found: Found, cell: int) -> Named:
    """How a detection of a moment came by its class.

    Args:
        model: of the moment.
        moment: the detection's frame.
        found: the detection.
        cell: number of the cell that its box was read from, among those of all levels.
    """
    classes, options = model.classes, model.options
    logits = moment.output.heads.class_logits[0, cell].double().numpy()
    of_cell = np.exp(logits - logits.max())
    of_cell /= of_cell.sum()
    tracks = moment.after.tracks
    row = row_of(tracks, found.track_id)
    detection = moment.result.detections.where(np.array([found.box]))
    shown = detection.class_scores[0].astype(np.float64)
    order = np.argsort(-shown)
    evidence = np.zeros(0) if row is None else tracks.class_evidence[row]
    of_looks = np.zeros(0) if row is None else tracks.glimpse_evidence[row]
    without, factor = classes[int(of_cell.argmax())], 1.0
    if row is not None:
        rows = np.array([row])
        blind = tracks._replace(glimpse_evidence=np.zeros_like(tracks.glimpse_evidence))
        words = [class_words(state, rows)[0] for state in (tracks, blind)]
        share, share_blind = (word / word.sum() if word.sum() > 0 else shown for word in words)
        # What is shown is a mixture of the frame's own word and the track's: take the looks out of it.
        mixed = shown + options.class_memory * (share_blind - share)
        without = classes[int(mixed.argmax())]
        factor = float(realness(tracks, rows)[0] ** options.realness_power)
    return Named(
        label=classes[int(order[0])],
        rival=classes[int(order[1])] if len(order) > 1 else "",
        lead=float(shown[order[0]] - shown[order[1]]) if len(order) > 1 else 1.0,
        cell=_by_name(classes, of_cell),
        memory=_by_name(classes, evidence / evidence.sum()) if evidence.sum() > 0 else None,
        looks=_by_name((*classes, NOTHING), of_looks / of_looks.sum()) if of_looks.sum() > 0 else None,
        shown=_by_name(classes, shown),
        looked=round(float(of_looks.sum())),
        without_looks=without,
        by_looks=without != classes[int(order[0])],
        score_factor=factor,
    )


def _by_name(names: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
