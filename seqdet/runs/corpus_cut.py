"""Long videos in parts: cut at keyframes, each part primed on frames before it, and joined again.

The model sees ``warm_frames`` frames before the first of a part, so that its memories and tracks are about
what they would be. Those frames' rows are kept until the join: where the same boxes stand in the end of the
part before, the tracks are the same and get one id. Tracks that a part holds no proof of are new ones.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.boxes import iou
from seqdet.results.sinks import detection_rows, sequence_row
from seqdet.results.track_state import EndedTrack
from seqdet.results.tracks import living_tracks, named_tracks
from seqdet.runs.corpus_values import Part
from seqdet.runs.stream import FRAMES_AT_ONCE, Model, StreamState
from seqdet.runs.track_words import sequence_word
from seqdet.types import Frame, SequenceResult, label_of
from seqdet.video.probe import count_packets, probe_container
from seqdet.video.spans import SpanReader, Spans, find_spans

LEAST_TO_CUT = 1.5  # of the length of a part
SAME_BOX_IOU = 0.5
_PLAN = "plan.npz"

Row = dict[str, Any]


def plan_parts(path: Path, cut_s: float, warm_frames: int, folder: Path) -> tuple[Part, ...]:
    """Parts of about ``cut_s`` seconds that begin at keyframes; () where the video is short or cannot be cut.

    Args:
        path: a video file.
        cut_s: seconds of a part.
        warm_frames: frames that prime a part.
        folder: where the plan is noted for those who read the parts.

    Raises:
        InputError: it cannot be read.
    """
    if not path.is_file():
        return ()
    duration_s = probe_container(str(path)).duration_s
    if duration_s is None or duration_s < LEAST_TO_CUT * cut_s:
        return ()
    frames = count_packets(path).packets
    spans = find_spans(path, frames)
    step = cut_s * frames / duration_s
    starts = [0]
    for start in spans.starts.tolist():
        if start - starts[-1] >= 0.9 * step and frames - start >= step / 2:
            starts.append(start)
    if len(starts) == 1 or not len(spans.ticks):
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / _PLAN,
        ticks=spans.ticks,
        time_base=np.array(spans.time_base.as_integer_ratio()),
        rotation_degrees=spans.rotation_degrees,
        size_wh=spans.size_wh,
    )
    return tuple(
        Part(max(0, first - warm_frames), first, last)
        for first, last in itertools.pairwise([*starts, frames])
    )


def read_part(path: Path, part: Part, folder: Path) -> Iterator[Frame]:
    """The frames of a part, those that prime it first, numbered as in the whole video.

    Raises:
        InexactError: they are not those that the plan found.
    """
    with np.load(folder / _PLAN, allow_pickle=False) as plan:
        ticks = plan["ticks"]
        starts = np.array([part.warm, part.last] if part.last < len(ticks) else [part.warm])
        spans = Spans(
            path,
            starts,
            (),
            ticks,
            Fraction(*plan["time_base"].tolist()),
            int(plan["rotation_degrees"]),
            tuple(plan["size_wh"].tolist()),
        )
    return (Frame(picture.rgb, picture.index, picture.time_s) for picture in SpanReader().read(spans, 0))


def detect_part(
    model: Model, frames: Iterable[Frame], part: Part, shown: str, out: Path, tell: Callable[[int], None]
) -> None:
    """Write the rows of a part and of what primes it, and as last line what the join needs to know.

    Args:
        model: with the score from which on boxes are reported.
        frames: of ``read_part``.
        part: which they are.
        shown: name of the source in rows.
        out: a .jsonl file to write.
        tell: is told how many frames are done.
    """
    state = model.initial_state()
    primed = state
    count = detections = 0
    times_s: list[float] = []
    with out.open("w", encoding="utf-8") as file:
        for group in _groups(frames, part.first):
            if group[0].index == part.first:
                primed = state
            results, state = model.advance(group, state)
            for result in results:
                file.writelines(_line(row) for row in detection_rows(shown, result))
            if group[0].index >= part.first:
                count += len(group)
                detections += sum(len(result.detections) for result in results)
                times_s = [times_s[0] if times_s else group[0].time_s, group[-1].time_s]
            tell(count)
        file.write(
            _line(
                {
                    "frames": count,
                    "detections": detections,
                    "times_s": times_s,
                    "evidence": (state.sequence_evidence - primed.sequence_evidence).tolist(),
                    "tracks": _new_of_tracks(primed, state),
                }
            )
        )


def _groups(frames: Iterable[Frame], boundary: int) -> Iterator[list[Frame]]:
    """A few frames at once, none of which holds both sides of the boundary."""
    for _, some in itertools.groupby(frames, lambda frame: frame.index >= boundary):
        while group := list(itertools.islice(some, FRAMES_AT_ONCE)):
            yield group


def _new_of_tracks(primed: StreamState, state: StreamState) -> list[Row]:
    """What the frames after priming say of each track: evidence and hits of frames that count twice go."""
    before = {each.track_id: each for each in (*primed.tracks.ended, *living_tracks(primed.tracks))}
    found = []
    for track in sorted((*state.tracks.ended, *living_tracks(state.tracks)), key=lambda each: each.track_id):
        old = before.get(track.track_id)
        hits = track.hits - (old.hits if old else 0)
        evidence = track.class_evidence - (old.class_evidence if old else 0)
        row = {"id": track.track_id, "hits": hits, "first": track.first_frame, "last": track.last_frame}
        found.append({**row, "score": track.score, "evidence": evidence.tolist()})
    return found


def join_parts(
    files: Iterable[tuple[Part, Path]], shown: str, classes: tuple[str, ...], out: Path
) -> tuple[SequenceResult, int]:
    """Write the rows of a whole video from those of its parts.

    Args:
        files: parts in order, with what ``detect_part`` wrote.
        shown: name of the source in rows.
        classes: of the model.
        out: a .jsonl file to write.

    Returns:
        The account of the whole sequence, and the number of detections.
    """
    parts = list(files)
    tracks: dict[int, EndedTrack] = {}
    evidence = np.zeros(len(classes))
    frames = detections = 0
    times_s: list[float] = []
    tail: list[Row] = []
    with out.open("w", encoding="utf-8") as file:
        for number, (part, path) in enumerate(parts):
            summary = _summary(path)
            primes_next = parts[number + 1][0].warm if number + 1 < len(parts) else part.last
            ids = _ids(summary["tracks"], _rows(path, part.warm, part.first), tail, len(tracks))
            tail = []
            for row in _rows(path, part.first, part.last):
                row["track_id"] = ids.get(row["track_id"], -1)
                file.write(_line(row))
                if row["frame"] >= primes_next:
                    tail.append(row)
            _add(tracks, summary["tracks"], ids, part.first)
            evidence += np.array(summary["evidence"])
            frames, detections = frames + summary["frames"], detections + summary["detections"]
            times_s = [*times_s[:1], *summary["times_s"]]
        of_tracks = sum((track.class_evidence for track in tracks.values()), np.zeros(len(classes)))
        label, score = sequence_word(evidence, of_tracks)
        sequence = SequenceResult(
            shown,
            frames,
            (times_s[-1] - times_s[0]) * frames / max(frames - 1, 1),
            label_of(classes, label),
            score,
            named_tracks(tracks.values(), classes),
        )
        file.write(_line(sequence_row(sequence)))
    return sequence, detections


def _rows(path: Path, first: int, last: int) -> Iterator[Row]:
    """The detection rows of some frames of a part."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "frame" in row and first <= row["frame"] < last:
                yield row


def _summary(path: Path) -> Row:
    """The last line of a part."""
    with path.open(encoding="utf-8") as lines:
        (last,) = deque(lines, maxlen=1)
    return dict(json.loads(last))


def _ids(found: list[Row], primers: Iterable[Row], tail: list[Row], known: int) -> dict[int, int]:
    """Ids in the whole video of a part's tracks: of the track on whose boxes each lies, or a new one."""
    by_frame: dict[int, list[Row]] = {}
    for row in tail:
        if row["track_id"] >= 1:
            by_frame.setdefault(row["frame"], []).append(row)
    votes: Counter[tuple[int, int]] = Counter()
    for row in primers:
        others = by_frame.get(row["frame"], [])
        if row["track_id"] >= 1 and others:
            box = np.array([row["box_xyxy_px"]])
            overlaps = iou(box, np.array([each["box_xyxy_px"] for each in others]))[0]
            if overlaps.max() >= SAME_BOX_IOU:
                votes[row["track_id"], others[int(overlaps.argmax())]["track_id"]] += 1
    ids: dict[int, int] = {}
    for (own, other), _ in votes.most_common():
        if own not in ids and other not in ids.values():
            ids[own] = other
    for track in found:
        if track["hits"] > 0 and track["id"] not in ids:
            known += 1
            ids[track["id"]] = known
    return ids


def _add(tracks: dict[int, EndedTrack], found: list[Row], ids: dict[int, int], first: int) -> None:
    for row in found:
        if row["hits"] <= 0 or row["id"] not in ids:
            continue
        track_id, evidence = ids[row["id"]], np.array(row["evidence"])
        new = EndedTrack(track_id, max(row["first"], first), row["last"], row["hits"], row["score"], evidence)
        old = tracks.get(track_id)
        if old is not None:
            new = new._replace(
                first_frame=old.first_frame,
                hits=old.hits + new.hits,
                class_evidence=old.class_evidence + evidence,
            )
        tracks[track_id] = new


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
