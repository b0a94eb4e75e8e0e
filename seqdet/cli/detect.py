"""``seqdet detect``: annotated video and rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from seqdet.cli.common import (
    Device,
    Every,
    Force,
    Json,
    Model,
    Quiet,
    Runtime,
    say,
    say_error,
    say_warnings,
    show,
    show_json,
    table,
)
from seqdet.cli.corpus import run_corpus
from seqdet.cli.progress import Progress
from seqdet.defaults import MAX_PIXELS, SHOWN_SCORE
from seqdet.errors import UsageError
from seqdet.video.rehearsal import Rehearsal

_CORPUS = "Options of --corpus"
COLUMNS = ["source", "frames", "detections", "tracks", "fps", "label", "score", "out"]


def detect(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE...", help="Video, folder of frames, pattern, stream URL, camera."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Annotated video to write; with several sources, a folder for them.", metavar="FILE"
        ),
    ] = None,
    save: Annotated[
        list[Path] | None,
        typer.Option(
            help="Rows to write: .jsonl, .csv, .mot.txt or .coco.json by extension. May be repeated. "
            "A box whose track is not confirmed yet has track_id -1 and no track_label.",
            metavar="FILE",
        ),
    ] = None,
    model: Model = "airspace",
    device: Device = "auto",
    runtime: Runtime = "auto",
    score: Annotated[float, typer.Option(min=0, max=1, help="Smallest score of a detection.")] = SHOWN_SCORE,
    every: Every = 1,
    fps_target: Annotated[
        float | None,
        typer.Option(
            help="Choose --every, as this machine measures now, for so many frames a second.", metavar="FPS"
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="So many sources at once, each in a process of its own; on the CPU.")
    ] = 1,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Stop each source after so many frames.")
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse sources with larger pictures; raise it for those you trust.")
    ] = MAX_PIXELS,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Instead of sources: a list of many, .txt, .csv or .parquet (docs/scale.md). The same "
            "command again goes on where it was stopped.",
            metavar="MANIFEST",
            rich_help_panel=_CORPUS,
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of the run: rows per video, ledger, account.", rich_help_panel=_CORPUS),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Workers: processes here, or a Ray cluster.", rich_help_panel=_CORPUS),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Of a Ray cluster, or auto; not given: Ray is started here.",
            rich_help_panel=_CORPUS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="How many; one a core if not given.", rich_help_panel=_CORPUS),
    ] = None,
    parquet: Annotated[
        bool, typer.Option(help="Rows as Parquet beside JSONL.", rich_help_panel=_CORPUS)
    ] = True,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Annotated videos, too.", rich_help_panel=_CORPUS)
    ] = False,
    streams: Annotated[
        int,
        typer.Option(
            min=1,
            help="Videos at once in one worker: on a GPU they share each step.",
            rich_help_panel=_CORPUS,
        ),
    ] = 1,
    cut_minutes: Annotated[
        float,
        typer.Option(
            min=0,
            help="Cut longer videos at keyframes into parts of about so many minutes; 0: never.",
            rich_help_panel=_CORPUS,
        ),
    ] = 0.0,
    warm_frames: Annotated[
        int,
        typer.Option(min=0, help="Frames before each part that prime the model.", rich_help_panel=_CORPUS),
    ] = 128,
    attempts: Annotated[
        int,
        typer.Option(
            min=1,
            help="So many workers may die over one video before it is given up.",
            rich_help_panel=_CORPUS,
        ),
    ] = 5,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed.", rich_help_panel=_CORPUS)
    ] = False,
    extend: Annotated[
        bool,
        typer.Option("--extend", help="The manifest has new entries; add them.", rich_help_panel=_CORPUS),
    ] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find objects in video: boxes, tracks and labels.

    An annotated video (--out), rows (--save) and a summary on stdout; or a whole corpus (--corpus).
    """
    if corpus is not None or out_dir is not None:
        if corpus is None or out_dir is None:
            raise UsageError("--corpus and --out-dir belong together")
        if sources or out or save or force or max_frames or max_pixels != MAX_PIXELS:
            raise UsageError("--corpus takes no SOURCE, --out, --save, --max-frames, --max-pixels or --force")
        if every != 1 or fps_target is not None or jobs != 1:
            raise UsageError("--corpus takes no --every, --fps-target or --jobs; it has --workers")
        run_corpus(
            corpus,
            out_dir,
            model,
            {
                "engine": engine,
                "workers": workers,
                "address": address,
                "device": device,
                "runtime": runtime,
                "score": score,
                "parquet": parquet,
                "annotate": annotate,
                "streams": streams,
                "cut_minutes": cut_minutes,
                "warm_frames": warm_frames,
                "attempts": attempts,
                "retry_failed": retry_failed,
                "extend": extend,
            },
            json=json,
            quiet=quiet,
        )
    if not sources:
        raise UsageError("missing SOURCE: a video, a folder of frames, a stream; or --corpus MANIFEST")
    if every != 1 and fps_target is not None:
        raise UsageError("--fps-target chooses --every: give one of the two")
    if fps_target is not None and not 0 < fps_target < 1e4:
        raise UsageError(f"--fps-target {fps_target:g}: give frames a second, such as 30")
    # Decoding and encoding share the cores with the model: its waiting threads must sleep, not spin. OpenMP
    # reads this when torch is imported, and only then.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with Progress("frames", quiet=quiet) as progress, Rehearsal(sources, max_pixels) as rehearsal:
        if len(sources) == 1:
            rehearsal.refuse_early(sources[0])
            if out is not None and not out.is_dir():
                from seqdet.video.writer import refuse_same_file, require_free

                refuse_same_file(sources[0], out)
                require_free(out, force)
            if save:
                from seqdet.results.sinks import require_free as require_free_rows

                for path in save:
                    require_free_rows(path, force)
        from seqdet.runs.detect import detect_files
        from seqdet.runs.device import keep_freed_memory

        keep_freed_memory()
        report = detect_files(
            sources,
            out=out,
            save=save or [],
            model=model,
            device=device,
            runtime=runtime,
            score=score,
            max_frames=max_frames,
            max_pixels=max_pixels,
            every=every,
            fps_target=fps_target,
            jobs=jobs,
            force=force,
            progress=progress,
            rehearsal=rehearsal,
        )
    for one in report.sources:
        say_warnings(one.warnings, quiet=quiet)
        if one.error:
            say_error(one.error)
    if fps_target is not None and report.sources:
        say(f"--fps-target chose --every {report.sources[0].every}", quiet=quiet)
    if json:
        show_json({"sources": report.sources})
    else:
        show(table(COLUMNS, [[getattr(one, column) for column in COLUMNS] for one in report.sources]))
    raise typer.Exit(report.exit_code)
