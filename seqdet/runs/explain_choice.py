"""What is to be explained: a detection, a track or the whole sequence, and which boxes stand for it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from seqdet.errors import InputError, UsageError
from seqdet.runs.explain_survey import Found, Survey

NAMED_AT_MOST = 12


class Wanted(NamedTuple):
    """What somebody asked for; the strongest track when nothing.

    Attributes:
        track: id of a track.
        frame: number of a frame; its surest box, or ``box``.
        box: number of a box in that frame.
        sequence: the class of the whole sequence.
    """

    track: int | None = None
    frame: int | None = None
    box: int | None = None
    sequence: bool = False


class Choice(NamedTuple):
    """What is explained.

    Attributes:
        kind: "detection", "track" or "sequence".
        boxes: the detections that stand for it, in order; the one that is asked for, if it is one.
        tracks: ids of the tracks that they belong to.
    """

    kind: Literal["detection", "track", "sequence"]
    boxes: list[Found]
    tracks: list[int]


def check_wanted(wanted: Wanted) -> None:
    """Refuse a question that contradicts itself.

    Raises:
        UsageError: more than one thing is asked for.
    """
    asked = [
        name
        for name, given in (
            ("--track", wanted.track is not None),
            ("--frame", wanted.frame is not None),
            ("--sequence", wanted.sequence),
        )
        if given
    ]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)}: choose one of them")
    if wanted.box is not None and wanted.frame is None:
        raise UsageError("--box is the number of a box in a frame: give --frame too")


def choose(survey: Survey, wanted: Wanted, source: str, boxes: int) -> Choice:
    """The boxes that are explained.

    Args:
        survey: of the source.
        wanted: what was asked for.
        source: for messages.
        boxes: of a track or sequence, at most so many.

    Raises:
        InputError: nothing was found in the source.
        UsageError: no such track, frame or box; what there is is listed.
    """
    if not survey.found:
        raise InputError(
            f"{source}: nothing was found in {survey.frames} frames, so there is nothing to explain; "
            "try a lower --score"
        )
    if wanted.frame is not None:
        one = _box(survey, wanted.frame, wanted.box, source)
        return Choice("detection", [one], [one.track_id] if one.track_id >= 0 else [])
    if wanted.sequence:
        strongest = sorted(survey.track_shares, key=lambda track_id: -survey.track_shares[track_id])[:boxes]
        chosen = [max(survey.of_track(track_id), key=lambda one: one.score) for track_id in strongest]
        chosen = chosen or [max(survey.found, key=lambda one: one.score)]
        return Choice("sequence", sorted(chosen), strongest)
    if wanted.track is None and not survey.tracks:  # the best box, where no track was confirmed
        best = max(survey.found, key=lambda one: one.score)
        return Choice("detection", [best], [])
    track_id = wanted.track if wanted.track is not None else strongest_track(survey)
    of_track = survey.of_track(track_id)
    if not of_track:
        raise UsageError(f"{source}: there is no track {track_id}; {_tracks(survey)}")
    places = np.unique(np.linspace(0, len(of_track) - 1, min(boxes, len(of_track))).round().astype(int))
    best_place = int(np.argmax([one.score for one in of_track]))
    nearest = int(np.abs(places[:-1] - best_place).argmin()) if len(places) > 1 else 0
    places[nearest] = best_place  # the surest box is one of them, and so is the last
    return Choice("track", [of_track[place] for place in np.unique(places)], [track_id])


def strongest_track(survey: Survey) -> int:
    """The track with the greatest sum of scores: long and sure."""
    sums: dict[int, float] = {}
    for one in survey.found:
        if one.track_id >= 0:
            sums[one.track_id] = sums.get(one.track_id, 0.0) + one.score
    return max(sums, key=lambda track_id: (sums[track_id], -track_id))


def _box(survey: Survey, frame: int, box: int | None, source: str) -> Found:
    if not 0 <= frame < survey.frames:
        raise UsageError(f"{source}: there is no frame {frame}; it has frames 0 to {survey.frames - 1}")
    there = survey.in_frame(frame)
    if not there:
        nearest = min((one.frame for one in survey.found), key=lambda other: abs(other - frame))
        raise UsageError(
            f"{source}: nothing was found in frame {frame}; the nearest box is in frame {nearest}"
        )
    if box is None:
        return max(there, key=lambda one: one.score)
    if box >= len(there):
        listed = "; ".join(f"{one.box} {one.label} {one.score:.2f}" for one in there[:NAMED_AT_MOST])
        raise UsageError(f"{source}: frame {frame} has no box {box}; it has {listed}")
    return there[box]


def _tracks(survey: Survey) -> str:
    if not survey.tracks:
        return "no track was confirmed; --frame chooses a single box"
    listed = ", ".join(str(track.track_id) for track in survey.tracks[:NAMED_AT_MOST])
    more = len(survey.tracks) - NAMED_AT_MOST
    return f"it has {listed}{f' and {more} more' if more > 0 else ''} (--list tells of each)"
