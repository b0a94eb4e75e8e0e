"""How steady the picture is for who looks at it: flicker, jitter and delay.

Legend: a truth track is present in L frames; in some of them a prediction found it (IoU .5, best score first,
whatever the class). Take the predictions at the score threshold that a user would see.

    presence flips      changes between found and not found from one frame of the track to the next, from its
                        first found frame on (finding it late is delay, not flicker)
    label flips         changes of its name from one found frame to the next found one
    flicker per minute  (presence flips + label flips) / minutes during which truth tracks are present
    centre jitter       with e_t = (predicted - true centre) / sqrt(true width * true height) and
                        d_t = e_t - e_(t-1) over consecutive found frames: sqrt(mean(d_x^2 + d_y^2) / 4). For
                        an error that is independent from frame to frame this is its standard deviation on
                        one axis, in box sizes; an offset that stays is not jitter and cancels
    size jitter         the same with e_t = (log(predicted / true width), log(predicted / true height))
    delay               frames from the first of a truth track to the first in which it was found

After "On the Stability of Video Detection and Tracking" (Zhang and Wang, 2016: fragment error, centre and
scale error), but with differences in place of deviations: slow drift and a constant offset do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqdet import boxes
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth, paired
from seqdet.results.metrics.matching import TruthTrack, truth_tracks


@dataclass(frozen=True, slots=True)
class Stability:
    """Steadiness over all truth tracks; None where there is nothing to measure.

    Attributes:
        flicker_per_min: flips of presence and label per minute of truth track.
        presence_flips_per_min: of presence alone.
        label_flips_per_min: of the label alone.
        centre_jitter: in box sizes.
        size_jitter: in units of log side; .1 is about 10 %.
        delay_frames: mean delay, where a track that was never found counts with its whole length: leaving out
            the misses would reward them.
        delay_frames_found: mean delay of the tracks that were found.
        delay_frames_median: median delay where a miss is later than anything; None when that is a miss.
        tracks: how many truth tracks there are.
        missed_tracks: how many of them were never found.
        flips: of presence and label together.
        minutes: during which truth tracks are present.
    """

    flicker_per_min: float | None
    presence_flips_per_min: float | None
    label_flips_per_min: float | None
    centre_jitter: float | None
    size_jitter: float | None
    delay_frames: float | None
    delay_frames_found: float | None
    delay_frames_median: float | None
    tracks: int
    missed_tracks: int
    flips: int
    minutes: float


def stability(truths: Sequence[SequenceTruth], predictions: Sequence[SequencePredictions]) -> Stability:
    """Flicker, jitter and delay over all clips.

    Args:
        truths: one a clip.
        predictions: one a clip, in the same order, at the score threshold that a user would see.
    """
    presence_flips = label_flips = 0
    minutes = 0.0
    centre_steps, size_steps, delays, lengths = [], [], [], []
    for truth, prediction in paired(truths, predictions):
        frame_s = _frame_durations_s(truth.times_s)
        for track in truth_tracks(truth, prediction):
            minutes += float(frame_s[track.present_frames].sum()) / 60
            presence_flips += _presence_flips(track)
            label_flips += int(np.count_nonzero(np.diff(track.label_ids[track.found])))
            centre, size = _steps(track)
            centre_steps.append(centre)
            size_steps.append(size)
            first = track.present_frames[0]
            delays.append(
                float(track.present_frames[track.found][0] - first) if track.found.any() else np.inf
            )
            lengths.append(float(track.present_frames[-1] - first + 1))
    delay, length = np.array(delays), np.array(lengths)
    found = np.isfinite(delay)
    # The upper of the two middle values, when their number is even: inf has no mean with a number.
    median = float(np.sort(delay)[len(delay) // 2]) if len(delay) else np.inf

    def per_minute(flips: int) -> float | None:
        return flips / minutes if minutes > 0 else None

    return Stability(
        flicker_per_min=per_minute(presence_flips + label_flips),
        presence_flips_per_min=per_minute(presence_flips),
        label_flips_per_min=per_minute(label_flips),
        centre_jitter=_jitter(centre_steps),
        size_jitter=_jitter(size_steps),
        delay_frames=float(np.where(found, delay, length).mean()) if len(delay) else None,
        delay_frames_found=float(delay[found].mean()) if found.any() else None,
        delay_frames_median=median if np.isfinite(median) else None,
        tracks=len(delay),
        missed_tracks=int(np.count_nonzero(~found)),
        flips=presence_flips + label_flips,
        minutes=minutes,
    )


def _frame_durations_s(times_s: np.ndarray) -> np.ndarray:
    """(T,) how long each frame is shown; the last one as long as the median."""
    if len(times_s) < 2:
        return np.zeros(len(times_s))
    intervals = np.diff(times_s)
    return np.append(intervals, np.median(intervals))


def _presence_flips(track: TruthTrack) -> int:
    if not track.found.any():
        return 0
    since_found = track.found[int(np.argmax(track.found)) :]
    return int(np.count_nonzero(since_found[1:] != since_found[:-1]))


def _steps(track: TruthTrack) -> tuple[np.ndarray, np.ndarray]:
    """Changes of the centre's and the size's error between consecutive found frames: two arrays (n, 2)."""
    width_height = np.maximum(track.truth_boxes_xyxy_px[:, 2:] - track.truth_boxes_xyxy_px[:, :2], 1e-6)
    predicted_wh = np.maximum(track.boxes_xyxy_px[:, 2:] - track.boxes_xyxy_px[:, :2], 1e-6)
    offset = boxes.centres(track.boxes_xyxy_px) - boxes.centres(track.truth_boxes_xyxy_px)
    centre_error = offset / np.sqrt(width_height.prod(axis=1, keepdims=True))
    size_error = np.log(predicted_wh / width_height)
    consecutive = track.found[1:] & track.found[:-1] & (np.diff(track.present_frames) == 1)
    return np.diff(centre_error, axis=0)[consecutive], np.diff(size_error, axis=0)[consecutive]


def _jitter(steps: list[np.ndarray]) -> float | None:
    joined = np.concatenate(steps) if steps else np.zeros((0, 2))
    return float(np.sqrt((joined**2).sum(axis=1).mean() / 4)) if len(joined) else None
