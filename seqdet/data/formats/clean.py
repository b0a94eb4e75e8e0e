"""Holds the labels of a sequence against its video: what can be repaired is, and is counted; the rest fails.

Fails: a coordinate that is not finite, a frame that the video does not have.
Repaired: a box partly outside (clipped), fully outside or of no size (dropped), twice the same (dropped
once), a second box of one track in a frame and a box without a track id (kept, each as a track of its own).
"""

from __future__ import annotations

import numpy as np

from seqdet import boxes
from seqdet.data.formats.protocol import EXAMPLES, Problems, RawSequence
from seqdet.data.labels import DECIMALS, Labels

CLIPPED = "box partly outside the frame: clipped to it"
OUTSIDE = "box fully outside the frame: dropped"
NO_SIZE = "box of zero or negative width or height: dropped"
SAME_TWICE = "the same box twice: kept once"
SECOND_BOX = "a second box of one track in a frame: kept as a track of its own"
NO_TRACK = "no track id: each box is a track of its own"


def clean_labels(raw: RawSequence, frames: int, size_wh: tuple[int, int], problems: Problems) -> Labels:
    """Labels of a sequence that a video of ``frames`` frames of ``size_wh`` pixels can have.

    Args:
        raw: the sequence as read.
        frames: true number of frames.
        size_wh: true width and height in pixels.
        problems: receives what is wrong and what was done about it.
    """
    box = np.round(raw.boxes_xyxy_px, DECIMALS)
    finite = np.isfinite(box).all(axis=1)
    inside = (raw.frame >= 0) & (raw.frame < frames)
    first, last = raw.first_frame, raw.first_frame + frames - 1
    for index in np.flatnonzero(~finite).tolist():
        problems.fail(raw.place(index), "box: a coordinate is not a finite number")
    for index in np.flatnonzero(~inside).tolist():
        problems.fail(
            raw.place(index),
            f"frame: {int(raw.frame[index]) + first} is not a frame of {raw.video.name}, which has {frames} "
            f"frames, numbered {first} to {last}; are these the labels of this video?",
        )
    keep = finite & inside

    def drop(wrong: np.ndarray, reason: str) -> None:
        found = np.flatnonzero(wrong)
        shown = found if problems.strict else found[:EXAMPLES]
        problems.drop(reason, (raw.place(index) for index in shown.tolist()), len(found))

    sized = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
    drop(keep & ~sized, NO_SIZE)
    keep &= sized
    clipped = boxes.clip(box, size_wh)
    visible = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    drop(keep & ~visible, OUTSIDE)
    keep &= visible
    drop(keep & (clipped != box).any(axis=1), CLIPPED)

    same, second = _repeats(raw, clipped, keep)
    drop(same, SAME_TWICE)
    keep &= ~same
    drop(keep & second, SECOND_BOX)
    nameless = keep & (raw.track_id < 0)
    drop(nameless, NO_TRACK)
    track_id = raw.track_id.copy()
    renamed = nameless | (keep & second)
    next_id = int(track_id[keep].max(initial=0)) + 1
    track_id[renamed] = next_id + np.arange(np.count_nonzero(renamed))
    masks = [raw.masks[index] for index in np.flatnonzero(keep).tolist()] if raw.masks else []
    return Labels.from_columns(raw.frame[keep], track_id[keep], raw.class_id[keep], clipped[keep], masks)


def _repeats(raw: RawSequence, box: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) masks: a copy of an earlier box; another box of a track that the frame has already."""
    rows = np.flatnonzero(keep)
    same = np.zeros(len(keep), bool)
    second = np.zeros(len(keep), bool)
    order = rows[np.lexsort((*box[rows].T[::-1], raw.class_id[rows], raw.track_id[rows], raw.frame[rows]))]
    alike = (np.diff(raw.frame[order]) == 0) & (np.diff(raw.track_id[order]) == 0)
    equal = alike & (np.diff(raw.class_id[order]) == 0) & (np.diff(box[order], axis=0) == 0).all(axis=1)
    same[order[1:][equal]] = True
    left = rows[~same[rows]]
    order = left[
        np.lexsort((left, raw.track_id[left], raw.frame[left]))
    ]  # the first in the file keeps the id
    alike = (np.diff(raw.frame[order]) == 0) & (np.diff(raw.track_id[order]) == 0)
    second[order[1:][alike]] = True
    return same, second & (raw.track_id >= 0)
