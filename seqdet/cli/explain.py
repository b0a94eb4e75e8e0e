"""``seqdet explain``: which pixels, which frames before and which gates made a detection."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seqdet.cli.common import Force, Json, Quiet, say, show, show_json, table
from seqdet.cli.progress import Progress
from seqdet.defaults import SHOWN_SCORE

if TYPE_CHECKING:
    from seqdet.runs.explain_survey import Survey


def explain(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A shipped model, a run folder or a .safetensors file."),
    ],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Video, folder of frames or pattern.")],
    track: Annotated[
        int | None, typer.Option(min=1, metavar="ID", help="This track; the strongest one by default.")
    ] = None,
    frame: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="A single box of this frame, counted from 0.")
    ] = None,
    box: Annotated[
        int | None, typer.Option(min=0, metavar="K", help="Which box of --frame, from 0; else the surest.")
    ] = None,
    sequence: Annotated[bool, typer.Option("--sequence", help="The class of the whole sequence.")] = False,
    choices: Annotated[bool, typer.Option("--list", help="Say what can be chosen, and end.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write; named after the source.")
    ] = None,
    why: Annotated[
        Literal["object", "class"], typer.Option(help="Why there is an object, or why it is of its class.")
    ] = "object",
    boxes: Annotated[int, typer.Option(min=1, max=32, metavar="N", help="Boxes of a track or sequence.")] = 6,
    window: Annotated[
        int, typer.Option(min=2, max=128, metavar="FRAMES", help="How far back evidence is sought.")
    ] = 24,
    score: Annotated[float, typer.Option(min=0, max=1, help="Smallest score of a detection.")] = SHOWN_SCORE,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Only the first frames.")] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show why a detection was made, back through the frames.

    Where it was seen, which frames before counted, how the gates stood, what it would be without memory.
    Writes a page (explain.html), a side-by-side video, PNG strips and explain.json into one folder.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in detect
    from seqdet.runs.explain import explain as run
    from seqdet.runs.explain import survey_source
    from seqdet.runs.explain_choice import Wanted

    with Progress("frames", quiet=quiet) as progress:
        if choices:
            seen = survey_source(model, source, score=score, max_frames=max_frames, progress=progress)
            found = _choices(seen)
        else:
            report = run(
                model,
                source,
                wanted=Wanted(track, frame, box, sequence),
                out=out,
                why=why,
                boxes=boxes,
                window=window,
                score=score,
                max_frames=max_frames,
                force=force,
                progress=progress,
            )
            found = {"out": report.out, **report.document}
    if json:
        show_json(found)
    elif choices:
        show(choices_text(found))
    else:
        show(as_text(found))
        say(f"page: {Path(found['out']) / 'explain.html'}", quiet=quiet)


def _choices(seen: Survey) -> dict[str, Any]:
    tracks = []
    for one in seen.tracks:
        boxes = seen.of_track(one.track_id)
        best = max(boxes, key=lambda box: box.score) if boxes else None
        tracks.append(
            {
                "track_id": one.track_id,
                "label": one.label,
                "score": one.score,
                "first_frame": one.first_frame,
                "last_frame": one.last_frame,
                "detections": one.detections,
                "best_frame": best.frame if best else None,
                "best_box": best.box if best else None,
            }
        )
    sequence = {"label": seen.label, "score": seen.score}
    boxes_of_all = [found._asdict() for found in seen.found]
    return {"frames": seen.frames, "sequence": sequence, "tracks": tracks, "boxes": boxes_of_all}


def choices_text(found: dict[str, Any]) -> str:
    """The tracks, each with its best box."""
    sequence = found["sequence"]
    head = f"{found['frames']} frames, {len(found['boxes'])} boxes; --sequence: "
    head += f"{sequence['label']} {sequence['score']:.3f}" if sequence["label"] else "no class"
    if not found["tracks"]:
        return f"{head}\nno track was confirmed"
    columns = list(found["tracks"][0])
    return f"{head}\n{table(columns, [[track[name] for name in columns] for track in found['tracks']])}"


def as_text(found: dict[str, Any]) -> str:
    """A line for each explained box: what the memory changed, and how far back it reaches."""
    header = ["frame", "track", "label", "score", "objectness", "alone", "class", "alone", "reach", "rank"]
    rows = []
    for one in found["boxes"]:
        with_memory, without = one["changed"]["with_memory"], one["changed"]["without"]
        evidence = one["evidence"]
        rows.append(
            [
                one["frame"],
                one["track_id"],
                one["label"],
                one["score"],
                with_memory["objectness"],
                without["objectness"],
                with_memory["class_probability"],
                without["class_probability"],
                evidence["reach_frames"] if evidence else None,
                evidence["rank_correlation"] if evidence else None,
            ]
        )
    return table(header, rows) + (
        "\nalone: the frame without memory; reach: frames that the memory needs for the same answer; "
        "rank: Spearman of attributions and of what the score loses without each frame"
    )
