"""Detection in a corpus of videos: a manifest, workers, a ledger, and results per video.

What lies in the folder of a run:
    ledger.sqlite           what is done and what is not (``corpus_ledger``)
    rows/XX/KEY-NAME.jsonl  rows of one video, and the same as .parquet; annotated video where asked for
    problems.jsonl          every entry that is not done whole, with its line and the reason
    summary.json            the account
    parts/                  of long videos, until they are joined
    work/                   unfinished things; cleared when the run goes on

The same command again goes on where the last one ended, however that was: what is done is skipped when its
source and its results are still the same, by size and time, else by SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from seqdet.defaults import SHOWN_SCORE
from seqdet.errors import InputError, OutputError, UsageError
from seqdet.runs.classify import find_classifier
from seqdet.runs.corpus_account import CorpusReport, take_account
from seqdet.runs.corpus_ledger import NAME, Ledger, Record
from seqdet.runs.corpus_local import LocalEngine
from seqdet.runs.corpus_manifest import Entry, manifest_digest, read_manifest
from seqdet.runs.corpus_ray import RayEngine
from seqdet.runs.corpus_store import SCHEMES, need, need_scheme
from seqdet.runs.corpus_values import Beat, Died, Engine, Fingerprint, Finished, Job
from seqdet.runs.corpus_worker import PARTS, RUN_ID_FILE, WORK
from seqdet.runs.exported import is_exported
from seqdet.runs.shipped import find_model
from seqdet.runs.stream import load

# (label, done, of how many)
Progress = Callable[[str, int, int | None], None]
WARM_FRAMES = 128
LEASE_S = 900.0  # a unit that shows no sign of life for so long is taken from its worker
_POLL_S = 0.5
_LOOKED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """How a corpus is worked through.

    Attributes:
        engine: "local", processes here, or "ray".
        workers: how many; None: one a core (Ray: one a GPU of the cluster, or one a core).
        address: of a Ray cluster; None: one is started here.
        device: "auto", "cpu" or "cuda".
        runtime: what computes the model.
        streams: videos at once in one worker, which share the steps of a network computed by PyTorch.
        score: smallest score of a reported detection, 0..1.
        parquet: write rows as Parquet as well.
        annotate: write annotated videos as well.
        cut_minutes: longer videos are cut into parts of about so many minutes; 0: never.
        warm_frames: shown to the model before the first frame of a part.
        attempts: how many workers may die over one video before it is given up.
        retry_failed: take up again what failed before.
        extend: the manifest may have grown since the run was begun.
    """

    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    device: str = "auto"
    runtime: str = "auto"
    streams: int = 1
    score: float = SHOWN_SCORE
    parquet: bool = True
    annotate: bool = False
    cut_minutes: float = 0.0
    warm_frames: int = WARM_FRAMES
    attempts: int = 5
    retry_failed: bool = False
    extend: bool = False


def detect_corpus(
    manifest: Path,
    out_dir: Path,
    model: str | Path = "airspace",
    options: CorpusOptions = CorpusOptions(),
    progress: Progress | None = None,
) -> CorpusReport:
    """Detect in all videos of a manifest, or go on with it.

    Args:
        manifest: .txt, .csv or .parquet of paths and URLs; see ``corpus_manifest``.
        out_dir: the folder of the run: new, empty, or that of the same run.
        model: shipped name, run folder, file or exported folder.
        options: how.
        progress: is told how many videos are finished.

    Raises:
        UsageError: another run has the folder, or works in it; nothing was changed.
        InputError: the manifest or the model cannot be read, or the manifest is empty.
        MissingDependencyError: a package of the extra "cluster" is needed.
        OutputError: the disk is full; what is done is kept.
    """
    started_s = time.monotonic()
    if not 0 < options.score < 1:
        raise UsageError(f"--score {options.score:g}: give a number between 0 and 1, such as 0.3")
    if options.parquet:
        need(["pyarrow"], "--parquet")
    if options.engine == "ray":
        need(["ray"], "--engine ray")
    elif options.address is not None:
        raise UsageError("--address is of a Ray cluster; add --engine ray")
    if options.streams > 1 and options.runtime not in ("auto", "torch"):
        raise UsageError(f"--streams {options.streams} is for --runtime torch, not {options.runtime}")
    if options.cut_minutes and options.annotate:
        raise UsageError("--annotate needs whole videos; leave --cut-minutes away")
    settings = _settings(manifest, model, options)
    _check_model(model, options)
    _check_folder(out_dir)
    with Ledger(out_dir) as ledger:
        run_id = _begin(ledger, manifest, out_dir, settings, options, progress)
        skipped = ledger.counts()["done"]
        job = Job(
            folder=str(out_dir.resolve()),
            run_id=run_id,
            model=str(model),
            device=options.device,
            runtime=options.runtime,
            score=options.score,
            parquet=options.parquet,
            annotate=options.annotate,
            cut_s=60 * options.cut_minutes,
            warm_frames=options.warm_frames,
            streams=options.streams,
        )
        pending = ledger.waiting()
        if pending:
            with closing(_engine(job, options, pending)) as engine:
                drive(ledger, engine, attempts=options.attempts, progress=progress)
        for name in (WORK, PARTS):
            shutil.rmtree(out_dir / name, ignore_errors=True)
        return take_account(ledger, out_dir, skipped, time.monotonic() - started_s)


def drive(
    ledger: Ledger,
    engine: Engine,
    *,
    attempts: int,
    lease_s: float = LEASE_S,
    clock: Callable[[], float] = time.time,
    progress: Progress | None = None,
) -> None:
    """Give units to workers until none is left, and note what comes back.

    Args:
        ledger: what is to be done.
        engine: the workers.
        attempts: how many may die over one video.
        lease_s: how long a unit may be silent.
        clock: seconds; a simulation has its own.
        progress: is told how many videos are finished.
    """
    counts = ledger.counts()
    finished, videos = counts["done"] + counts["failed"], sum(counts[s] for s in _STATES)
    running: set[int] = set()
    alive: set[int] = set()
    look_at_s = clock() + lease_s / 4
    while True:
        while engine.free() > 0 and (unit := ledger.claim(clock() + lease_s)) is not None:
            running.add(unit.unit_id)
            engine.give(unit)
        if not running and not ledger.waiting():
            return
        for event in engine.wait(_POLL_S):
            if isinstance(event, Beat):
                alive.add(event.unit_id)
            elif isinstance(event, Finished):
                running.discard(event.unit_id)
                finished += ledger.finish(event.unit_id, event.outcome)
            elif isinstance(event, Died):
                running.difference_update(event.unit_ids)
                finished += sum(ledger.crashed(one, event.reason, attempts) for one in event.unit_ids)
            if progress is not None:
                progress("corpus", finished, videos)
        if clock() >= look_at_s:
            look_at_s = clock() + lease_s / 4
            ledger.renew(alive & running, clock() + lease_s)
            alive.clear()
            for unit_id in ledger.expired(clock()):
                engine.stop(unit_id)


_STATES = ("pending", "running", "cut", "done", "failed")


def _settings(manifest: Path, model: str | Path, options: CorpusOptions) -> dict[str, str]:
    """What two commands must have in common to be of one run."""
    path = Path(model) if is_exported(model) else find_model(model)
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return {
        "manifest": manifest_digest(manifest),
        "model": digest.hexdigest(),
        "score": f"{options.score:g}",
        "parquet": str(options.parquet),
        "annotate": str(options.annotate),
        "cut_minutes": f"{options.cut_minutes:g}",
        "warm_frames": str(options.warm_frames),
    }


def _check_model(model: str | Path, options: CorpusOptions) -> None:
    """Fail here rather than in every worker; a graph that a runtime needs is made once."""
    if find_classifier(model, "cpu") is None:
        is_local = options.engine == "local"
        load(
            model,
            options.device if is_local else "cpu",
            options.runtime if is_local else "torch",
            expected_frames=None,
        )


def _check_folder(out_dir: Path) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in out_dir.iterdir()}
    except OSError as error:
        raise UsageError(
            f"--out-dir {out_dir}: {error.strerror or error}; give a folder that may be written to"
        ) from error
    if names and NAME not in names:
        raise UsageError(f"--out-dir {out_dir} holds other things and no {NAME}; give a new folder")


def _begin(
    ledger: Ledger,
    manifest: Path,
    out_dir: Path,
    settings: dict[str, str],
    options: CorpusOptions,
    progress: Progress | None,
) -> str:
    """Take the folder: begin a run in it, or go on with the one that it holds; returns its id."""
    before = ledger.settings()
    other = [key for key, value in settings.items() if before and before.get(key) != value]
    if other == ["manifest"] and not options.extend:
        raise UsageError(
            f"--out-dir {out_dir} is the run of another manifest; give a new folder, or --extend to add "
            "the new entries to this run"
        )
    if other and other != ["manifest"]:
        name = next(key for key in other if key != "manifest")
        raise UsageError(
            f"--out-dir {out_dir} is another run's: its {name} differs (it was {before.get(name)!r:.40}); "
            "give a new folder"
        )
    run_id = before.get("run_id", uuid.uuid4().hex)
    if not before or other:
        ledger.begin({**settings, "run_id": run_id}, _checked(read_manifest(manifest), manifest, progress))
    ledger.recover()
    shutil.rmtree(out_dir / WORK, ignore_errors=True)
    try:
        (out_dir / WORK).mkdir()
        (out_dir / RUN_ID_FILE).write_text(run_id + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"--out-dir {out_dir}: cannot be written to ({error.strerror or error})") from error
    _look(ledger, out_dir, options.retry_failed)
    return run_id


def _checked(entries: Iterator[Entry], manifest: Path, progress: Progress | None) -> Iterator[Entry]:
    """The entries; what they need is installed, and there are any."""
    schemes: set[str] = set()
    number = 0
    for number, entry in enumerate(entries, start=1):
        scheme = entry.scheme.lower()
        if scheme in SCHEMES and scheme not in schemes:
            need_scheme(scheme)
            schemes.add(scheme)
        if progress is not None and number % 10_000 == 0:
            progress("reading the manifest", number, None)
        yield entry
    if number == 0:
        raise InputError(f"{manifest}: the manifest has no entry")


def _look(ledger: Ledger, out_dir: Path, retry_failed: bool) -> None:
    """Look at every file before any work: what is missing, what changed, what is done and still whole."""
    looked: list[tuple[int, str, Fingerprint | None, str]] = []
    for record in ledger.records("pending", "done", "failed"):
        judged = _judged(record, out_dir, retry_failed)
        if judged is not None:
            looked.append((record.unit_id, *judged))
        if len(looked) == _LOOKED_AT_ONCE:
            ledger.look(looked)
            looked.clear()
    if looked:
        ledger.look(looked)


def _judged(record: Record, out_dir: Path, retry_failed: bool) -> tuple[str, Fingerprint | None, str] | None:
    """New state, file and reason of one video; None: as it is."""
    outcome = record.outcome
    if record.state == "done" and outcome is not None:
        whole = all(seen.still_of(out_dir / name) for name, seen in outcome.outputs.items())
        # A source that is gone after its results were made is no reason to give them up.
        changed = outcome.source is not None and outcome.source.again(Path(record.source)) is False
        if whole and ("://" in record.source or not changed):
            return None
    if "://" in record.source:
        return ("pending", None, "") if record.state == "done" or retry_failed else None
    try:
        status = os.stat(record.source)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return "failed", None, "no such file" if missing else f"cannot be opened ({error.strerror})"
    seen = Fingerprint(status.st_size, status.st_mtime_ns)
    if record.state == "failed" and record.seen == seen and not retry_failed:
        return None
    return "pending", seen, ""


def _engine(job: Job, options: CorpusOptions, units: int) -> LocalEngine | RayEngine:
    if options.engine == "ray":
        return RayEngine(job, options.workers, options.address)
    return LocalEngine(job, min(options.workers or os.cpu_count() or 1, units))
