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
from dataclasses import replace
from pathlib import Path, PurePosixPath

from seqdet.errors import InputError, OutputError, UsageError
from seqdet.results.parquet import write_parquet
from seqdet.results.sinks import Sink, open_sink
from seqdet.runs.classify import Classifier, find_classifier
from seqdet.runs.corpus_store import SCHEMES, fetch
from seqdet.runs.corpus_values import Fingerprint, Job, Outcome, Unit
from seqdet.runs.detect import detect_one
from seqdet.runs.stream import Model, load, with_score
from seqdet.types import FrameResult, SequenceResult

RUN_FILE = "run.json"
RUN_ID_FILE = "run.id"
WORK, ROWS = "work", "rows"
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
        classifier = find_classifier(job.model, job.device)
        self._model: Model | Classifier = classifier or with_score(
            load(job.model, job.device, job.runtime, expected_frames=None), job.score
        )

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
