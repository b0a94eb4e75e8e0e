"""The account of a corpus: what was done, what was not and why; every entry of the manifest is in it once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from seqdet.errors import OutputError
from seqdet.runs.corpus_ledger import Ledger

PROBLEMS, SUMMARY = "problems.jsonl", "summary.json"
SHOWN_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry that is not done, or not whole.

    Attributes:
        line: of the manifest.
        source: as the manifest has it.
        kind: "failed", "short" (done, but the video gave less than it promised), "refused" or "duplicate".
        reason: in words.
        attempts: how often it was begun.
    """

    line: int
    source: str
    kind: str
    reason: str
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """The account of a run: ``entries`` = ``done`` + ``failed`` + ``refused`` + ``duplicates``.

    Attributes:
        out_dir: the run's folder.
        entries: of the manifest.
        done: videos with results, ``skipped`` of them by an earlier command.
        skipped: done before.
        failed: videos without.
        refused: entries that name no video.
        duplicates: entries that name a video of an earlier line.
        short: done, but of videos that gave less than they promised.
        frames: detected in.
        decoded: from the sources; equal to ``frames``.
        detections: boxes.
        tracks: confirmed.
        video_hours: of all that is done.
        processor_hours: that it took.
        seconds: of this command.
        problems: the first few of ``problems.jsonl``.
    """

    out_dir: str
    entries: int
    done: int
    skipped: int
    failed: int
    refused: int
    duplicates: int
    short: int
    frames: int
    decoded: int
    detections: int
    tracks: int
    video_hours: float
    processor_hours: float
    seconds: float
    problems: tuple[Problem, ...] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """0: all is done and whole; 4: some of it; 3: nothing is."""
        if not self.failed + self.refused + self.short:
            return 0
        return 4 if self.done else 3


def take_account(ledger: Ledger, out_dir: Path, skipped: int, seconds: float) -> CorpusReport:
    """Sum up a ledger, and write ``problems.jsonl`` and ``summary.json``.

    Raises:
        OutputError: they cannot be written.
    """
    sums = dict.fromkeys(("frames", "decoded", "detections", "tracks", "short"), 0)
    video_s = processor_s = 0.0
    for record in ledger.records("done"):
        outcome = record.outcome
        assert outcome is not None
        for name in ("frames", "decoded", "detections", "tracks"):
            sums[name] += getattr(outcome, name)
        sums["short"] += bool(outcome.short)
        video_s += outcome.video_s
        processor_s += outcome.processor_s
    counts = ledger.counts()
    first: list[Problem] = []

    def lines() -> Iterator[str]:
        for problem in _problems(ledger):
            if len(first) < SHOWN_PROBLEMS and problem.kind != "duplicate":
                first.append(problem)
            yield json.dumps(asdict(problem), ensure_ascii=False) + "\n"

    write_whole(out_dir / PROBLEMS, lines())
    videos = sum(counts[state] for state in ("pending", "running", "cut", "done", "failed"))
    report = CorpusReport(
        out_dir=str(out_dir),
        entries=videos + counts["refused"] + counts["duplicate"],
        done=counts["done"],
        skipped=skipped,
        failed=counts["failed"],
        refused=counts["refused"],
        duplicates=counts["duplicate"],
        video_hours=round(video_s / 3600, 6),
        processor_hours=round(processor_s / 3600, 6),
        seconds=round(seconds, 3),
        problems=tuple(first),
        **sums,
    )
    write_whole(out_dir / SUMMARY, [json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n"])
    return report


def _problems(ledger: Ledger) -> Iterator[Problem]:
    for record in ledger.records("failed", "done"):
        if record.state == "failed":
            yield Problem(record.line, record.shown, "failed", record.reason, record.attempts)
        elif record.outcome is not None and record.outcome.short:
            yield Problem(record.line, record.shown, "short", record.outcome.short, record.attempts)
    for line, shown, reason, duplicate in ledger.refused():
        yield Problem(line, shown, "duplicate" if duplicate else "refused", reason)


def write_whole(path: Path, pieces: Iterator[str] | list[str]) -> None:
    """Write a text file that appears under its name only when whole.

    Raises:
        OutputError: it cannot be written; what was there before stays.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
