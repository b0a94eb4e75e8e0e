"""One worker of a corpus: a model, and what it makes of one unit. Results appear whole or not at all.

A unit is worked on in a folder of its own attempt (``work/``); finished files are renamed into ``rows/``. A
worker that is killed leaves a folder there, which the next run clears, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path, PurePosixPath

from seqdet.errors import InputError, OutputError, UsageError
from seqdet.results.parquet import write_parquet
from seqdet.results.sinks import Sink, open_sink
from seqdet.runs.classify import Classifier, find_classifier
from seqdet.runs.corpus_cut import detect_part, join_parts, plan_parts, read_part
from seqdet.runs.corpus_store import SCHEMES, fetch
from seqdet.runs.corpus_values import Fingerprint, Job, Outcome, Part, Unit
from seqdet.runs.detect_source import detect_one
from seqdet.runs.shared_network import SharedNetwork
from seqdet.runs.stream import Model, load, with_score
from seqdet.types import FrameResult, SequenceResult
from seqdet.video.prefetch import prefetch
from seqdet.video.spans import InexactError

RUN_ID_FILE = "run.id"
WORK, ROWS, PARTS = "work", "rows", "parts"
_STEM_CHARACTERS = 60

Tell = Callable[[int], None]


class Worker:
    """A loaded model at work in the folder of a run.

    Raises:
        UsageError: the folder is not the run's: it is not shared with this machine; or no such model.
        InputError: the model cannot be read.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._folder = Path(job.folder)
        _check_folder(job)
        self._model: Model | Classifier
        self._shared: SharedNetwork | None = None
        classifier = find_classifier(job.model, job.device)
        if classifier is not None:
            self._model = classifier
        elif job.streams == 1:
            self._model = with_score(
                load(job.model, job.device, job.runtime, expected_frames=None), job.score
            )
        else:
            alone = with_score(load(job.model, job.device, "torch"), job.score)
            self._shared = SharedNetwork(alone.network)
            self._model = Model(alone.detector, alone.card, alone.device, alone.options, self._shared)

    def run(self, unit: Unit, tell: Tell) -> Outcome:
        """Work on a unit.

        Args:
            unit: what to do.
            tell: is told how many frames are done.

        Returns:
            What came of it; also that its input cannot be used.

        Raises:
            OutputError: the disk is full: no other unit can do better.
        """
        started_s = time.process_time()
        work = self._folder / WORK / f"{unit.unit_id}-{unit.attempt}-{os.getpid()}"
        try:
            work.mkdir(parents=True)
            with nullcontext() if self._shared is None else self._shared.stream():
                outcome = self._outcome(unit, work, tell)
        except InputError as error:
            outcome = Outcome(failed=str(error).replace(unit.source, unit.shown), exit_code=error.exit_code)
        except OSError as error:
            raise OutputError(
                f"{self._folder}: cannot be written to ({error.strerror or error}); what is done is kept"
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return replace(outcome, processor_s=round(time.process_time() - started_s, 3))

    def _outcome(self, unit: Unit, work: Path, tell: Tell) -> Outcome:
        path, seen = _fetched(unit, work)
        parts_folder = self._folder / PARTS / Path(output_name(unit.source)).name
        if unit.part is not None:
            return self._part(unit, unit.part, Path(path), parts_folder, work, tell)
        if unit.parts:
            outcome = self._join(unit, parts_folder, work)
        else:
            if unit.may_cut and self.job.cut_s and isinstance(self._model, Model):
                parts = plan_parts(Path(path), self.job.cut_s, self.job.warm_frames, parts_folder)
                if parts:
                    return Outcome(source=seen, parts=parts)
            outcome = self._whole(unit, path, work, tell)
        if seen is not None and not seen.still_of(Path(path)):
            raise InputError(f"{unit.shown}: the file changed while it was read; run the command again")
        return replace(outcome, source=seen, outputs=self._moved(work, unit.source))

    def _whole(self, unit: Unit, path: str, work: Path, tell: Tell) -> Outcome:
        rows, video = work / "whole.jsonl", work / "whole.mp4" if self.job.annotate else None
        with open_sink(rows, self._model.classes) as sink:
            named = _NamedRows(sink, unit.shown)
            report = detect_one(
                path, video, [named], self._model, None, False, lambda _, frames, total: tell(frames)
            )
        if self.job.parquet:
            write_parquet(rows, rows.with_suffix(".parquet"))
        return Outcome(
            frames=report.frames,
            decoded=report.decoded,
            detections=report.detections,
            tracks=report.tracks,
            video_s=named.duration_s,
            label=report.label,
            score=report.score,
            short=(report.error or "").replace(path, unit.shown),
            exit_code=report.exit_code,
        )

    def _part(self, unit: Unit, part: Part, path: Path, folder: Path, work: Path, tell: Tell) -> Outcome:
        assert isinstance(self._model, Model), "a classifier's videos are not cut"
        rows = work / "part.jsonl"
        try:
            with closing(prefetch(read_part(path, part, folder), depth=8)) as frames:
                detect_part(self._model, frames, part, unit.shown, rows, tell)
        except InexactError:
            return Outcome(exact=False)
        os.replace(rows, folder / f"{unit.number}.jsonl")
        return Outcome()

    def _join(self, unit: Unit, folder: Path, work: Path) -> Outcome:
        files = [(part, folder / f"{number}.jsonl") for number, part in enumerate(unit.parts)]
        rows = work / "whole.jsonl"
        sequence, detections = join_parts(files, unit.shown, self._model.classes, rows)
        if self.job.parquet:
            write_parquet(rows, rows.with_suffix(".parquet"))
        return Outcome(
            frames=sequence.frames,
            decoded=sequence.frames,
            detections=detections,
            tracks=len(sequence.tracks),
            video_s=sequence.duration_s,
            label=sequence.label,
            score=round(sequence.score, 4),
        )

    def _moved(self, work: Path, source: str) -> dict[str, Fingerprint]:
        """Give the finished files their names; each is replaced whole."""
        outputs = {}
        for path in sorted(work.glob("whole.*")):
            name = f"{output_name(source)}{path.suffix}"
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            outputs[name] = Fingerprint.of(path)
            os.replace(path, self._folder / name)
        return outputs


class _NamedRows:
    """Rows under the name that the manifest has, wherever the file was read from."""

    def __init__(self, sink: Sink, shown: str) -> None:
        self._sink, self._shown = sink, shown
        self.duration_s = 0.0

    def write(self, source: str, result: FrameResult) -> None:
        self._sink.write(self._shown, result)

    def end_sequence(self, sequence: SequenceResult) -> None:
        self.duration_s = sequence.duration_s
        self._sink.end_sequence(replace(sequence, source=self._shown))


def output_name(source: str) -> str:
    """Where the results of a source lie in the run's folder, without extension; no source leads elsewhere."""
    key = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(source).stem)[:_STEM_CHARACTERS].strip("._")
    return f"{ROWS}/{key[:2]}/{key}-{stem or 'video'}"


def _fetched(unit: Unit, work: Path) -> tuple[str, Fingerprint | None]:
    """The file to read, and what it is; of a URL that FFmpeg reads there is no fingerprint."""
    scheme, separator, _ = unit.source.partition("://")
    if separator and scheme.lower() not in SCHEMES:
        return unit.source, None
    if separator:
        return str(fetch(unit.source, work)), None
    try:
        return unit.source, Fingerprint.of(Path(unit.source))
    except OSError as error:
        raise InputError(f"{unit.shown}: cannot be opened ({error.strerror or error})") from error


def _check_folder(job: Job) -> None:
    path = Path(job.folder) / RUN_ID_FILE
    try:
        seen = path.read_text(encoding="utf-8").strip()
    except OSError:
        seen = ""
    if seen != job.run_id:
        raise UsageError(
            f"{job.folder}: a worker does not see the folder of this run; "
            "--out-dir must lie on a file system that all machines share"
        )
