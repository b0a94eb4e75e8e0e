"""``seqdet detect --corpus``: many videos, an account that survives everything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from seqdet.cli.common import say_error, say_warnings, show, show_json, table
from seqdet.cli.progress import Progress

COLUMNS = [
    "entries",
    "done",
    "skipped",
    "failed",
    "refused",
    "duplicates",
    "short",
    "frames",
    "detections",
    "video_hours",
]
_SHOWN = 10


def run_corpus(
    manifest: Path, out_dir: Path, model: str, options: dict[str, Any], *, json: bool, quiet: bool
) -> None:
    """Detect in a corpus, show the account and end with its exit code; ``options`` of ``CorpusOptions``."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for the workers, before torch is imported
    from seqdet.runs.corpus import CorpusOptions, detect_corpus

    with Progress("videos", quiet=quiet) as progress:
        report = detect_corpus(manifest, out_dir, model, CorpusOptions(**options), progress)
    for problem in report.problems[:_SHOWN]:
        say_error(f"{manifest}:{problem.line}: {problem.source}: {problem.reason}")
    others = report.failed + report.refused + report.short - len(report.problems[:_SHOWN])
    if others > 0:
        say_error(f"and {others} more; all of them are in {out_dir / 'problems.jsonl'}")
    if report.duplicates:
        say_warnings(
            [f"{report.duplicates} entries name a video a second time; they are in problems.jsonl"],
            quiet=quiet,
        )
    if json:
        show_json({"corpus": report})
    else:
        show(table(COLUMNS, [[getattr(report, name) for name in COLUMNS]]))
    raise typer.Exit(report.exit_code)
