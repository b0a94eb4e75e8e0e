"""Detection in many sources, one after the other or in several processes; ``detect_source`` does each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from seqdet.defaults import MAX_PIXELS, SHOWN_SCORE
from seqdet.errors import InputError, UsageError
from seqdet.results.sinks import open_sink
from seqdet.runs.classify import Classifier, find_classifier
from seqdet.runs.detect_jobs import Job, detect_in_processes
from seqdet.runs.detect_source import Progress, SourceReport, detect_one, expected_frames
from seqdet.runs.device import threads_shared_by
from seqdet.runs.pace import every_for, with_every
from seqdet.runs.stream import Model, load, with_score
from seqdet.video.reader import expand_sources
from seqdet.video.rehearsal import Rehearsal, Rehearsed
from seqdet.video.writer import refuse_same_file

VIDEO_EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv")


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
    jobs: int = 1,
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
        jobs: so many sources at once, each in a process of its own, on the CPU.
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
    if isinstance(loaded, Classifier) and (every != 1 or fps_target is not None or jobs > 1):
        raise UsageError("--every, --fps-target and --jobs are for detectors, not for a sequence classifier")
    known = {
        number: SourceReport(name, error=crash, exit_code=InputError.exit_code)
        for number, name in enumerate(names)
        if (crash := rehearsed.get(name, Rehearsed()).crash)
    }
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(open_sink(path, loaded.classes, overwrite=force, sources=len(names)))
            for path in save
        ]
        if len(names) > 1 and out is not None:
            out.mkdir(parents=True, exist_ok=True)
        if jobs > 1 and len(names) > 1 and isinstance(loaded, Model):
            if fps_target is not None:
                raise UsageError("--fps-target is for one stream at a time; give --every with --jobs")
            if loaded.device.type != "cpu":
                raise UsageError("--jobs is for CPUs; on a GPU use --corpus with --streams, or --device cpu")
            threads = max(1, torch.get_num_threads() // jobs)
            limits = max_frames, max_pixels
            job = Job(str(model), runtime, expected, score, every, *limits, force, threads)
            return DetectReport(tuple(detect_in_processes(names, outs, known, sinks, job, jobs, progress)))
        stack.enter_context(threads_shared_by(2))  # the two halves of the network
        if isinstance(loaded, Model):
            if fps_target is not None:
                tell("measuring how long a frame takes")
            loaded = with_every(loaded, every if fps_target is None else every_for(loaded, fps_target))
        reports = []
        for number, (name, target) in enumerate(zip(names, outs, strict=True)):
            try:
                if number in known:
                    raise InputError(known[number].error or name)
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
        expected = expected_frames(rehearsed.get(name, Rehearsed()).promised, max_frames)
        if expected is None:
            return None
        total += expected
    return total


def _told(progress: Progress | None, text: str) -> None:
    if progress is not None:
        progress(text, 0, None)
