"""What an evaluation leaves behind: the figures as JSON, a page to read, and the worst clips to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqdet.data.dataset import Sequence as Recorded
from seqdet.errors import OutputError, UsageError
from seqdet.results.draw import Annotator
from seqdet.results.metrics.inputs import SequencePredictions, SequenceTruth
from seqdet.results.metrics.mistakes import Mistakes, mistakes
from seqdet.results.page import ClipEntry, report_page
from seqdet.runs.measure import Measured, Progress
from seqdet.types import Detections, FrameResult, Targets
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter

FIGURES, PAGE, CLIPS = "eval.json", "report.html", "clips"
WORST_CLIPS = 6
SHOWN_FRAMES = 180


class Stretch(NamedTuple):
    """The part of a clip with most mistakes.

    Attributes:
        clip: position among the clips.
        first: its first frame.
        mistakes: of the whole clip.
    """

    clip: int
    first: int
    mistakes: Mistakes


def prepare_folder(out: Path, force: bool, clips: bool = True) -> None:
    """Make the folder, and one for clips in it, before the work is done; refuse one that holds an evaluation.

    Raises:
        UsageError: it holds one, and ``force`` is not given.
        OutputError: it cannot be made.
    """
    for name in (FIGURES, PAGE):
        if (out / name).exists() and not force:
            raise UsageError(f"{out / name} exists; choose another --out, or replace it with --force")
    try:
        (out / CLIPS if clips else out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error


def write_report(
    out: Path,
    figures: Mapping[str, Any],
    measured: Measured,
    sequences: Sequence[Recorded],
    classes: tuple[str, ...],
    about: Mapping[str, str],
    progress: Progress | None = None,
) -> None:
    """Write ``eval.json``, ``report.html`` and ``clips/*.mp4`` into a folder that ``prepare_folder`` made.

    Args:
        out: the folder.
        figures: of ``evaluate``.
        measured: what they were computed from.
        sequences: the clips, in the order of ``measured``.
        classes: names of the classes.
        about: what was measured, for the head of the page.
        progress: is told the frames drawn.

    Raises:
        OutputError: a file cannot be written.
    """
    write_whole(out / FIGURES, json.dumps(figures, indent=1))
    entries = []
    worst = worst_stretches(measured)
    done = 0
    for stretch in worst:
        sequence, truth = sequences[stretch.clip], measured.truths[stretch.clip]
        video = out / CLIPS / f"{sequence.name}.mp4"
        _write_clip(video, sequence, truth, measured.shown[stretch.clip], stretch.first, classes)
        entries.append(ClipEntry(sequence.name, sequence.recording, f"{CLIPS}/{video.name}", _note(stretch)))
        done += min(truth.frames, SHOWN_FRAMES)
        if progress is not None:
            progress("worst clips", done, None)
    write_whole(out / PAGE, report_page(figures, classes, about, entries))


def worst_stretches(
    measured: Measured, clips: int = WORST_CLIPS, frames: int = SHOWN_FRAMES
) -> list[Stretch]:
    """The clips with the greatest share of mistakes, at most one a recording, worst first.

    Args:
        measured: one pass over the clips.
        clips: at most so many.
        frames: length of a stretch; a shorter clip is shown whole.
    """
    counted = [mistakes(*pair) for pair in zip(measured.truths, measured.shown, strict=True)]
    chosen: dict[str, Stretch] = {}
    for clip in sorted(range(len(counted)), key=lambda clip: -counted[clip].share):
        of_frames = counted[clip].of_frames
        if not of_frames.any():
            break
        sums = np.convolve(of_frames, np.ones(min(frames, len(of_frames)), int), mode="valid")
        recording = measured.truths[clip].recording or f"clip {clip}"
        chosen.setdefault(recording, Stretch(clip, int(sums.argmax()), counted[clip]))
    return list(chosen.values())[:clips]


def _note(stretch: Stretch) -> str:
    counted = stretch.mistakes
    return (
        f"{counted.share:.0%} wrong: {counted.missed.sum()} missed, {counted.false_alarms.sum()} false "
        f"alarms, {counted.misnamed.sum()} under another name, {counted.right.sum()} right in "
        f"{len(counted.missed)} frames; shown from frame {stretch.first}"
    )


def _write_clip(
    path: Path,
    sequence: Recorded,
    truth: SequenceTruth,
    shown: SequencePredictions,
    first: int,
    classes: tuple[str, ...],
) -> None:
    """One stretch with truth and predictions drawn in."""
    last = min(first + SHOWN_FRAMES, truth.frames)
    of_truth, of_shown = list(truth.per_frame()), list(shown.per_frame(truth.frames))
    annotator = Annotator(classes, trail_length=0)
    with (
        open_video(sequence.video) as reader,
        VideoWriter(path, size_wh=sequence.size_wh, fps_hint=sequence.fps, overwrite=True) as writer,
    ):
        for position, frame in enumerate(islice(reader, last)):
            if position < first:
                continue
            result = FrameResult(frame, _detections(shown, of_shown[position], len(classes)), classes)
            targets = Targets(
                truth.boxes_xyxy_px[of_truth[position]].astype(np.float32),
                truth.class_ids[of_truth[position]],
                truth.track_ids[of_truth[position]],
            )
            writer.write(annotator.draw(result, targets), frame.time_s - truth.times_s[first])


def _detections(shown: SequencePredictions, rows: slice, classes: int) -> Detections:
    """What is drawn of one frame's predictions."""
    count = rows.stop - rows.start
    return replace(
        Detections.empty(classes),
        boxes_xyxy_px=shown.boxes_xyxy_px[rows].astype(np.float32),
        scores=shown.scores[rows].astype(np.float32),
        class_ids=shown.class_ids[rows],
        track_ids=shown.track_ids[rows],
        track_class_ids=shown.track_class_ids[rows],
        track_scores=np.zeros(count, np.float32),
        class_scores=np.zeros((count, classes), np.float32),
        features=np.zeros((count, 0), np.float32),
        motion_px=np.zeros((count, 2), np.float32),
    )


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that appears under its name only when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
