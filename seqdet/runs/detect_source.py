"""Detection in one source: decode, detect, draw, encode and save rows, each stage ahead of the next.

Every source ends with an account: frames decoded against promised, frames detected, frames written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seqdet.defaults import MAX_PIXELS
from seqdet.results.draw import Annotator
from seqdet.results.tracks import finish
from seqdet.runs.classify import Classifier
from seqdet.runs.stream import Model, StreamState
from seqdet.types import Frame, FrameResult, SequenceResult
from seqdet.video.prefetch import prefetch
from seqdet.video.reader import VideoReader, open_video
from seqdet.video.writer import VideoWriter, fitted

# (label of what is worked on, frames done, frames in all where known)
Progress = Callable[[str, int, int | None], None]


class RowSink(Protocol):
    """Where the rows of a source go."""

    def write(self, source: str, result: FrameResult) -> None:
        """Take what one frame holds."""

    def end_sequence(self, sequence: SequenceResult) -> None:
        """Take what the whole source held."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """The account of one source.

    Attributes:
        source: as the user named it (passwords hidden).
        frames: frames detected in.
        decoded: frames decoded.
        detections: boxes reported.
        tracks: tracks confirmed.
        fps: frames a second of the whole run over this source.
        seconds: time that it took.
        out: the annotated video, or None.
        label: class of the sequence, "" when nothing was found.
        score: its confidence, 0..1.
        warnings: sentences for the user.
        error: what went wrong with this source, or None.
        exit_code: of that error; 0 without one.
        every: the network saw every so-manyth frame; boxes between were carried.
    """

    source: str
    frames: int = 0
    decoded: int = 0
    detections: int = 0
    tracks: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    out: str | None = None
    label: str = ""
    score: float = 0.0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    exit_code: int = 0
    every: int = 1


def detect_one(
    name: str,
    out: Path | None,
    sinks: Sequence[RowSink],
    model: Model | Classifier,
    max_frames: int | None,
    force: bool,
    progress: Progress | None,
    max_pixels: int = MAX_PIXELS,
) -> SourceReport:
    """Detect in one source with a loaded model; the arguments are those of ``detect_files``."""
    started = time.perf_counter()
    with ExitStack() as stack:
        reader = stack.enter_context(open_video(name, max_pixels=max_pixels))
        writer = None
        if out is not None:
            audio = name if Path(name).is_file() else None
            writer = VideoWriter(
                out,
                size_wh=reader.info.size_wh,
                fps_hint=reader.info.fps,
                audio_from=audio,
                pixel_aspect=reader.info.pixel_aspect,
                overwrite=force,
            )
            stack.enter_context(writer)
        counts = _Counts()
        stages = prefetch(_detected(model, _limited(reader, max_frames)), depth=8)
        stack.callback(stages.close)
        annotator = Annotator(model.classes)
        expected = expected_frames(reader.info.frames_promised, max_frames)
        try:
            for result, state in stages:
                counts.take(result, state)
                for sink in sinks:
                    sink.write(reader.info.source, result)
                if writer is not None:
                    writer.write(fitted(annotator.draw(result), writer.size_wh), result.time_s)
                if progress is not None:
                    progress(reader.info.source, counts.frames, expected)
        finally:
            sequence = counts.sequence(reader.info.source, model.classes)
            if counts.frames:
                for sink in sinks:
                    sink.end_sequence(sequence)
    seconds = time.perf_counter() - started
    account = reader.report
    stopped_early = max_frames is not None and counts.frames >= max_frames
    short = account.short and not stopped_early
    warnings = (*account.warnings, *(writer.warnings if writer is not None else ()))
    return SourceReport(
        source=reader.info.source,
        frames=counts.frames,
        decoded=counts.frames if stopped_early else account.decoded,
        detections=counts.detections,
        tracks=len(sequence.tracks),
        fps=round(counts.frames / seconds, 2),
        seconds=round(seconds, 3),
        out=str(out) if out is not None else None,
        label=sequence.label,
        score=round(sequence.score, 4),
        warnings=tuple(warnings),
        error=account.message if short else None,
        exit_code=4 if short else 0,
        every=model.options.every if isinstance(model, Model) else 1,
    )


@dataclass(slots=True)
class _Counts:
    """What one source gave so far."""

    frames: int = 0
    detections: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    label: str = ""
    score: float = 0.0
    state: StreamState | None = None

    def take(self, result: FrameResult, state: StreamState | None) -> None:
        if self.frames == 0:
            self.first_s = result.time_s
        self.frames += 1
        self.detections += len(result.detections)
        self.last_s = result.time_s
        self.label, self.score, self.state = result.sequence_label, result.sequence_score, state

    def sequence(self, source: str, classes: tuple[str, ...]) -> SequenceResult:
        """The account of the whole sequence; its last frame lasts as long as the others did on average."""
        span = self.last_s - self.first_s
        duration = span * self.frames / (self.frames - 1) if self.frames > 1 else 0.0
        tracks = finish(self.state.tracks, classes) if self.state is not None else ()
        return SequenceResult(source, self.frames, duration, self.label, self.score, tracks)


def _detected(
    model: Model | Classifier, frames: Iterator[Frame]
) -> Iterator[tuple[FrameResult, StreamState | None]]:
    if isinstance(model, Classifier):  # it has no tracks that would be told at the end
        return ((result, None) for result in model.results(prefetch(frames, depth=8)))
    return model.results_and_states(prefetch(frames, depth=8), ahead=True)


def _limited(reader: VideoReader, max_frames: int | None) -> Iterator[Frame]:
    for count, frame in enumerate(reader, start=1):
        yield frame
        if max_frames is not None and count >= max_frames:
            return


def expected_frames(promised: int | None, max_frames: int | None) -> int | None:
    """How many frames a progress bar may hope for."""
    if max_frames is None:
        return promised
    return max_frames if promised is None else min(promised, max_frames)
