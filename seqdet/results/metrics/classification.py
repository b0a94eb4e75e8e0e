"""Is the name right: of every box, of every track, after how many frames, and of the whole clip.

Legend: K classes. A truth track is one object's boxes in one clip.

In every frame predictions and truths are matched at IoU .5, best score first, without regard to class. What a
truth track is called in a frame is the label of the prediction that found it there (its track's class, or the
frame's where the prediction has no track):

    track accuracy             share of truth tracks whose most frequent name over all frames is right; of
                               equally frequent names the one that was used last counts; a track that was
                               never found is wrong
    accuracy after n frames    share of the truth tracks of at least n frames whose most recent name, n frames
                               after their first, is right; not found until then is wrong
    sequence accuracy          share of clips of known class whose predicted class is right
    confusion of boxes         how often a truth box of class i was called j; misses and false alarms included
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth, paired
from seqdet.results.metrics.matching import TruthTrack, matched_truths, truth_tracks

FRAMES_AFTER = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class TrackAccuracy:
    """Names of tracks; None where there is no track to name.

    Attributes:
        accuracy: share of truth tracks whose name is right.
        found_accuracy: the same among the tracks that were found at all.
        after_frames: n -> share of right names after n frames.
        tracks_after_frames: n -> how many truth tracks are that long.
        tracks: how many truth tracks there are.
        found_tracks: how many of them were found in one frame at least.
        confusion: (K, K + 1) int64: truth tracks of class i that were named j; the last column: never found.
    """

    accuracy: float | None
    found_accuracy: float | None
    after_frames: dict[int, float | None]
    tracks_after_frames: dict[int, int]
    tracks: int
    found_tracks: int
    confusion: np.ndarray


@dataclass(frozen=True, slots=True)
class SequenceAccuracy:
    """Names of clips.

    Attributes:
        accuracy: share of right ones among the clips of known class; None when there is none.
        clips: how many clips have a known class.
        confusion: (K, K + 1) int64: clips of class i that were named j; the last column: no name.
    """

    accuracy: float | None
    clips: int
    confusion: np.ndarray


def track_accuracy(
    truths: Sequence[SequenceTruth],
    predictions: Sequence[SequencePredictions],
    classes: int,
    frames_after: Sequence[int] = FRAMES_AFTER,
) -> TrackAccuracy:
    """Share of truth tracks that get the right name.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order, at the score threshold that a user would see.
        classes: K, how many classes there are.
        frames_after: after how many frames to look.
    """
    tracks = [track for pair in paired(truths, predictions) for track in truth_tracks(*pair)]
    names = np.array([_usual_name(track) for track in tracks], np.int64)
    wanted = np.array([track.class_id for track in tracks], np.int64)
    right, found = names == wanted, names >= 0
    after: dict[int, float | None] = {}
    counts: dict[int, int] = {}
    for n in frames_after:
        long_enough = [
            track for track in tracks if track.present_frames[-1] - track.present_frames[0] >= n - 1
        ]
        counts[n] = len(long_enough)
        after[n] = _share([_recent_name(track, n) == track.class_id for track in long_enough])
    return TrackAccuracy(
        accuracy=_share(right),
        found_accuracy=_share(right[found]),
        after_frames=after,
        tracks_after_frames=counts,
        tracks=len(tracks),
        found_tracks=int(found.sum()),
        confusion=confusion(wanted, names, classes),
    )


def sequence_accuracy(
    truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions], classes: int
) -> SequenceAccuracy:
    """Share of clips of known class whose predicted class is right.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order.
        classes: K, how many classes there are.
    """
    pairs = [(t.sequence_class_id, p.sequence_class_id) for t, p in paired(truths, predictions)]
    known = np.array([pair for pair in pairs if pair[0] >= 0], np.int64).reshape(-1, 2)
    return SequenceAccuracy(
        accuracy=_share(known[:, 0] == known[:, 1]),
        clips=len(known),
        confusion=confusion(known[:, 0], known[:, 1], classes),
    )


def box_confusion(
    truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions], classes: int
) -> np.ndarray:
    """(K + 1, K + 1) int64 counts of boxes: row, what is there; column, what it was called.

    The last row is what was found where nothing is (false alarms), the last column what was not found.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order, at the score threshold that a user would see.
        classes: K, how many classes there are.
    """
    table = np.zeros((classes + 1, classes + 1), np.int64)
    for truth, prediction in paired(truths, predictions):
        taken = matched_truths(truth, prediction)
        wanted = np.append(truth.class_ids, classes)  # its last entry is what -1 points to
        np.add.at(table, (wanted[taken], prediction.label_ids), 1)
        missed = np.setdiff1d(np.arange(len(truth.class_ids)), taken)
        np.add.at(table[:, classes], truth.class_ids[missed], 1)
    return table


def confusion(wanted: np.ndarray, named: np.ndarray, classes: int) -> np.ndarray:
    """(K, K + 1) int64 counts: row, what it is; column, what it was named; the last column: -1, no name."""
    table = np.zeros((classes, classes + 1), np.int64)
    np.add.at(table, (wanted, named), 1)
    return table


def _usual_name(track: TruthTrack) -> int:
    """The most frequent label, the most recent of equals; -1 for a track that was never found or named."""
    named = track.label_ids[track.label_ids >= 0]
    if not len(named):
        return -1
    counts = np.bincount(named)
    most = np.flatnonzero(counts == counts.max())
    return int(named[np.flatnonzero(np.isin(named, most))[-1]])


def _recent_name(track: TruthTrack, frames: int) -> int:
    """The last label within so many frames of the track's first; -1 when there is none."""
    early = (track.label_ids >= 0) & (track.present_frames < track.present_frames[0] + frames)
    return int(track.label_ids[early][-1]) if early.any() else -1


def _share(right: Sequence[bool] | np.ndarray) -> float | None:
    return float(np.mean(right)) if len(right) else None
