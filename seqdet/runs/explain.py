"""Why a model sees what it sees, in time order: survey the source, choose, explain, write.

The source is read twice: what is worth an explanation is known at its end only, and pictures and states of
all frames are too much to keep.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from seqdet.defaults import SHOWN_SCORE
from seqdet.errors import UsageError
from seqdet.model.explain_boxes import Why
from seqdet.runs.classify import find_classifier
from seqdet.runs.explain_box import BoxExplained, VectorExplained, explain_box, explain_vector
from seqdet.runs.explain_choice import Choice, Wanted, check_wanted, choose
from seqdet.runs.explain_document import document
from seqdet.runs.explain_folder import refuse_what_exists, write_folder
from seqdet.runs.explain_names import Looks
from seqdet.runs.explain_stream import Moment, moments
from seqdet.runs.explain_survey import Found, Survey, survey
from seqdet.runs.explain_video import HeatVideo
from seqdet.runs.stream import Model, load, with_score
from seqdet.runs.whole_folder import partial_folder, put_in_place
from seqdet.types import Frame
from seqdet.video.reader import open_video

Progress = Callable[[str, int, int | None], None]
VIDEO_FRAMES = 300


@dataclass(frozen=True, slots=True)
class ExplainReport:
    """What was explained.

    Attributes:
        out: the folder.
        document: what ``explain.json`` holds.
    """

    out: Path
    document: dict[str, Any]


def survey_source(
    model: str | Path,
    source: str,
    *,
    score: float = SHOWN_SCORE,
    max_frames: int | None = None,
    progress: Progress | None = None,
) -> Survey:
    """What there is to explain in a source; the arguments are those of ``explain``."""
    return survey(*_surveyed(open_model(model, score), source, max_frames, progress))


def explain(
    model: str | Path,
    source: str,
    *,
    wanted: Wanted = Wanted(),
    out: Path | None = None,
    why: Why = "object",
    boxes: int = 6,
    window: int = 24,
    score: float = SHOWN_SCORE,
    max_frames: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ExplainReport:
    """Explain a detection, a track or the class of a sequence.

    Args:
        model: shipped name, run folder, file or exported folder; its weights are computed by PyTorch.
        source: a video file, folder of frames or pattern.
        wanted: what is to be explained; the strongest track if nothing is said.
        out: folder to write; named after the source without it.
        why: "object", why there is one, or "class", why it is of its class.
        boxes: of a track or sequence, so many detections are explained.
        window: frames that the evidence is sought in, the last one being that of the box.
        score: smallest score of a detection.
        max_frames: only the first frames of the source.
        force: replace an explanation that is there.
        progress: is told how far it is.

    Raises:
        UsageError: no such model, track, frame or box, or ``out`` exists.
        InputError: the source cannot be read, or nothing was found in it.
        OutputError: ``out`` cannot be written.
    """
    check_wanted(wanted)
    target = out if out is not None else Path(f"explain-{Path(source).stem or 'source'}")
    refuse_what_exists(target, force)
    loaded = open_model(model, score)
    seen = survey(*_surveyed(loaded, source, max_frames, progress))
    choice = choose(seen, wanted, source, boxes)
    partial = partial_folder(target)
    try:
        windows, explained = _explained(loaded, source, seen, choice, why, window, partial, progress)
        of_tracks = {track_id: _track(loaded, seen, track_id) for track_id in choice.tracks}
        of_clip = _clip(loaded, seen)
        about = {"model": str(model), "source": str(source), "why": why, "window_frames": window}
        geometries = [moments_of[-1].geometry for moments_of in windows]
        written = document(about, loaded, seen, choice, explained, of_tracks, of_clip, geometries)
        write_folder(partial, written, windows, explained)
        put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ExplainReport(target, written)


def open_model(model: str | Path, score: float) -> Model:
    """A detector on the CPU whose results can be explained.

    Raises:
        UsageError: a sequence classifier, or no model of that name, or ``score`` is no score.
    """
    if not 0 < score < 1:
        raise UsageError(f"--score {score:g}: give a number between 0 and 1, such as 0.3")
    if find_classifier(model, "cpu") is not None:
        raise UsageError(
            f"{model} is a sequence classifier: it has no boxes, and explain explains detectors only"
        )
    loaded = with_score(load(model, "cpu", "torch"), score)
    loaded.detector.requires_grad_(False)
    return loaded


def _surveyed(
    model: Model, source: str, max_frames: int | None, progress: Progress | None
) -> tuple[Model, Iterator[Moment]]:
    return model, moments(model, _frames(source, max_frames, "survey", progress))


def _frames(source: str, most: int | None, label: str, progress: Progress | None) -> Iterator[Frame]:
    with open_video(source) as reader:
        if reader.info.is_live and most is None:
            raise UsageError(
                f"{source}: a stream has no end to look back from; record it, or use --max-frames"
            )
        expected = most if most is not None else reader.info.frames_promised
        for done, frame in enumerate(islice(reader, most), start=1):
            yield frame
            if progress is not None:
                progress(label, done, expected)


def _explained(
    model: Model,
    source: str,
    seen: Survey,
    choice: Choice,
    why: Why,
    window: int,
    folder: Path,
    progress: Progress | None,
) -> tuple[list[list[Moment]], list[BoxExplained]]:
    """The second reading: each chosen box with its window, and the video beside them."""
    last = max(one.frame for one in choice.boxes)
    first = max(min(one.frame for one in choice.boxes) - window + 1, last + 1 - VIDEO_FRAMES, 0)
    shown, looks = _shown_boxes(seen, choice), Looks(model)
    ring: deque[Moment] = deque(maxlen=window)
    windows: list[list[Moment]] = []
    explained: list[BoxExplained] = []
    with ExitStack() as stack:
        video = stack.enter_context(HeatVideo(folder / "explain.mp4", model, why))
        for moment in moments(model, _frames(source, last + 1, "explaining", progress)):
            ring.append(moment)
            looks.see(moment)
            index = moment.frame.index
            for one in choice.boxes:
                if one.frame == index:
                    places = {other.frame: other.box_xyxy_px for other in seen.of_track(one.track_id)}
                    places = places if one.track_id >= 0 else {index: one.box_xyxy_px}
                    of_track = looks.at(moment, one.track_id)
                    explained.append(explain_box(model, list(ring), one, places, of_track, why))
                    windows.append(list(ring))
            if index >= first:
                video.write(moment, shown.get(index))
    return windows, explained


def _shown_boxes(seen: Survey, choice: Choice) -> dict[int, Found]:
    """Frame -> the detection whose heat the video shows: of the tracks that are explained, the surest."""
    shown: dict[int, Found] = {}
    for one in seen.found:
        chosen = one.track_id in choice.tracks or one in choice.boxes
        if chosen and (one.frame not in shown or one.score > shown[one.frame].score):
            shown[one.frame] = one
    return shown


def _track(model: Model, seen: Survey, track_id: int) -> VectorExplained | None:
    memory = model.detector.tracks
    label = next((track.label for track in seen.tracks if track.track_id == track_id), "")
    if not label or track_id not in seen.of_tracks:
        return None
    class_id = model.classes.index(label)
    return explain_vector(memory.lstm, memory.classes, seen.of_tracks[track_id], class_id, label)


def _clip(model: Model, seen: Survey) -> VectorExplained | None:
    memory = model.detector.clip
    if not seen.label:
        return None
    return explain_vector(
        memory.lstm, memory.classes, seen.of_clip, model.classes.index(seen.label), seen.label
    )
