"""Detection in sources: decode, detect, draw, encode and save rows, each stage ahead of the next.

Every source ends with an account: frames decoded against promised, frames detected, frames written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from seqdet.defaults import MAX_PIXELS, SHOWN_SCORE
from seqdet.errors import InputError, UsageError
from seqdet.results.draw import Annotator
from seqdet.results.sinks import open_sink
from seqdet.results.tracks import finish
from seqdet.runs.classify import Classifier, find_classifier
from seqdet.runs.device import threads_shared_by
from seqdet.runs.pace import every_for, with_every
from seqdet.runs.stream import Model, StreamState, load, with_score
from seqdet.types import Frame, FrameResult, SequenceResult
from seqdet.video.prefetch import prefetch
from seqdet.video.reader import VideoReader, expand_sources, open_video
from seqdet.video.rehearsal import Rehearsal, Rehearsed
from seqdet.video.writer import VideoWriter, fitted, refuse_same_file

# (label of what is worked on, frames done, frames in all where known)
Progress = Callable[[str, int, int | None], None]
VIDEO_EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv")


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


@dataclass(frozen=True, slots=True)
class DetectReport:
    """The accounts of all sources, in order."""

    sources: tuple[SourceReport, ...] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """0 when all went well; the error's own code when there was one source; else 4: done in part."""
        codes = [source.exit_code for source in self.sources]
        if not any(codes):
            return 0
        return codes[0] if len(codes) == 1 else (4 if any(s.frames for s in self.sources) else max(codes))


def detect_files(
    sources: Sequence[str],
    *,
    out: Path | None = None,
    save: Sequence[Path] = (),
    model: str | Path = "airspace",
    device: str = "auto",
    runtime: str = "auto",
    score: float = SHOWN_SCORE,
    max_frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
    every: int = 1,
    fps_target: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
    rehearsal: Rehearsal | None = None,
) -> DetectReport:
    """Detect in sources and write what was found.

    Args:
        sources: files, folders of frames, patterns, URLs, camera indices.
        out: annotated video; with several sources a folder.
        save: files of rows; the extension chooses the format.
        model: shipped name, run folder or file; of a sequence classifier, which only labels sequences, too.
        device: "auto", "cpu" or "cuda".
        runtime: "auto", "torch", "openvino" or "onnx": what computes the model.
        score: smallest score of a reported detection, 0..1.
        max_frames: stop each source after so many frames.
        max_pixels: a source with larger pictures is refused before they are decoded.
        every: the network sees every so-manyth frame, boxes between are carried.
        fps_target: instead, ``every`` is chosen so that this machine does so many frames a second.
        force: replace outputs that exist.
        progress: is told how far each source is.
        rehearsal: of these sources, where the caller has begun it while it loaded libraries.

    Raises:
        UsageError: an output exists, cannot be written, or is an input; nothing was started.
        InputError: a pattern matches nothing, or the only source cannot be read.
        OutputError: the disk is full.
    """
    names = expand_sources(sources)
    if not 0 < score < 1:
        raise UsageError(f"--score {score:g}: give a number between 0 and 1, such as 0.3")
    for name in names:
        for written in [*save, *([out] if out is not None else [])]:
            refuse_same_file(name, written)
    outs = _output_names(names, out)
    if len({str(path) for path in outs}) < len([path for path in outs if path is not None]):
        raise UsageError(f"--out {out}: two sources have the same name; detect in them one by one")
    with rehearsal or Rehearsal(sources, max_pixels) as begun:
        rehearsed = begun.outcomes()
    expected = _frames_of_all(names, rehearsed, max_frames)
    tell = partial(_told, progress)
    loaded = find_classifier(model, device) or with_score(
        load(model, device, runtime, expected_frames=expected, tell=tell), score
    )
    if isinstance(loaded, Classifier) and (every != 1 or fps_target is not None):
        raise UsageError("--every, --fps-target: a sequence classifier has no boxes to carry between frames")
    reports = []
    with ExitStack() as stack:
        stack.enter_context(threads_shared_by(2))  # the two halves of the network
        if isinstance(loaded, Model):
            if fps_target is not None:
                tell("measuring how long a frame takes")
            loaded = with_every(loaded, every if fps_target is None else every_for(loaded, fps_target))
        sinks = [
            stack.enter_context(open_sink(path, loaded.classes, overwrite=force, sources=len(names)))
            for path in save
        ]
        if len(names) > 1 and out is not None:
            out.mkdir(parents=True, exist_ok=True)
        for name, target in zip(names, outs, strict=True):
            try:
                if crash := rehearsed.get(name, Rehearsed()).crash:
                    raise InputError(crash)
                report = detect_one(name, target, sinks, loaded, max_frames, force, progress, max_pixels)
                reports.append(_against(report, fps_target))
            except InputError as error:
                if len(names) == 1:
                    raise
                reports.append(SourceReport(name, error=str(error), exit_code=error.exit_code))
    return DetectReport(tuple(reports))


def _against(report: SourceReport, fps_target: float | None) -> SourceReport:
    """The report, with a warning where the target was missed."""
    if fps_target is None or report.fps >= fps_target or not report.frames:
        return report
    missed = f"{report.source}: {report.fps:g} frames a second, below the {fps_target:g} of --fps-target"
    return replace(report, warnings=(*report.warnings, missed))


def _output_names(names: Sequence[str], out: Path | None) -> list[Path | None]:
    """The annotated video of every source."""
    if out is None:
        return [None] * len(names)
    if len(names) == 1:
        if out.is_dir():
            raise UsageError(
                f"--out {out} is a folder; give the name of a file, such as {out / 'annotated.mp4'}"
            )
        return [out]
    if out.suffix.lower() in VIDEO_EXTENSIONS or out.is_file():
        raise UsageError(
            f"--out {out}: there are {len(names)} sources, so --out names a folder for their videos"
        )
    return [out / f"{Path(name).stem or 'source'}.mp4" for name in names]


def _frames_of_all(
    names: Sequence[str], rehearsed: dict[str, Rehearsed], max_frames: int | None
) -> int | None:
    """How many frames there may be to detect in; None where a source has no end."""
    total = 0
    for name in names:
        expected = _expected_frames(rehearsed.get(name, Rehearsed()).promised, max_frames)
        if expected is None:
            return None
        total += expected
    return total


def _told(progress: Progress | None, text: str) -> None:
    if progress is not None:
        progress(text, 0, None)


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
        expected = _expected_frames(reader.info.frames_promised, max_frames)
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


def _expected_frames(promised: int | None, max_frames: int | None) -> int | None:
    """How many frames a progress bar may hope for."""
    if max_frames is None:
        return promised
    return max_frames if promised is None else min(promised, max_frames)
