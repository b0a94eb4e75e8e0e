"""Where it goes wrong: what a user would call a mistake, frame by frame.

Legend: T frames of a clip.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.matching import matched_truths


class Mistakes(NamedTuple):
    """Counts of one clip at IoU .5.

    Attributes:
        missed: (T,) int64: truths that nothing found.
        false_alarms: (T,) int64: boxes that found nothing.
        misnamed: (T,) int64: truths that were found under another name.
        right: (T,) int64: truths that were found under their name.
    """

    missed: np.ndarray
    false_alarms: np.ndarray
    misnamed: np.ndarray
    right: np.ndarray

    @property
    def of_frames(self) -> np.ndarray:
        """(T,) int64: mistakes of any kind."""
        return self.missed + self.false_alarms + self.misnamed

    @property
    def share(self) -> float:
        """Mistakes among all that was there or was found, 0..1; 0 for a clip without either."""
        wrong = int(self.of_frames.sum())
        return wrong / max(wrong + int(self.right.sum()), 1)


def mistakes(truth: SequenceTruth, prediction: SequencePredictions) -> Mistakes:
    """Count the mistakes of one clip.

    Args:
        truth: a clip.
        prediction: what was predicted on it, at the score threshold that a user would see.
    """
    taken = matched_truths(truth, prediction)
    found = taken >= 0
    named = prediction.label_ids[found] == truth.class_ids[taken[found]]
    missed = np.setdiff1d(np.arange(len(truth.frame_ids)), taken)

    def by_frame(frame_ids: np.ndarray) -> np.ndarray:
        return np.bincount(frame_ids, minlength=truth.frames)

    return Mistakes(
        missed=by_frame(truth.frame_ids[missed]),
        false_alarms=by_frame(prediction.frame_ids[~found]),
        misnamed=by_frame(prediction.frame_ids[found][~named]),
        right=by_frame(prediction.frame_ids[found][named]),
    )
