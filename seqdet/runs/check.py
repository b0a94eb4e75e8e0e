"""The check of a data set: what is in it, what is wrong with it, a page to read, and a repaired copy.

Labels are read first, then each video once from end to end, then all sequences are held against each other.
The data set itself is never changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from pathlib import Path

from seqdet.data.check import Inspection, check_video, find_recording_leaks, inspect_labels
from seqdet.data.check_counts import Counts, sum_counts
from seqdet.data.check_rows import UNREPAIRABLE, Finding
from seqdet.data.dataset import Dataset, Sequence, load_dataset, refuse_existing, save_dataset
from seqdet.data.likeness import AlikePair, find_alike, looks_each
from seqdet.errors import UsageError
from seqdet.results.check_page import Picture
from seqdet.runs.check_page import PICTURES_A_KIND, Shown, choose_frames, prepare_page, write_page
from seqdet.runs.check_video import (
    VideoLook,
    glance,
    look_through,
    picture_at,
)
from seqdet.runs.twins import twin_findings
from seqdet.video.folder import list_images

Progress = Callable[[str, int, int], None]
ALLOWED_LEAK = "LEAK, allowed by the user"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found and did.

    Attributes:
        data: the data set.
        quick: no video was decoded.
        counts: of each split, and of "all".
        found: everything that is wrong or odd.
        errors: findings of severity "error".
        errors_left: those that the repaired copy has still; all of them where none was written.
        fixed: the repaired copy, or None.
        repairs: what was done in it: how often.
        blocked: findings that must be corrected by hand before a repaired copy can be written.
        page: the HTML page, or None.
    """

    data: Path
    quick: bool
    counts: dict[str, Counts]
    found: tuple[Finding, ...]
    errors: int
    errors_left: int
    fixed: Path | None
    repairs: dict[str, int]
    blocked: int
    page: Path | None


def check(
    data: str | Path,
    *,
    fix: str | Path | None = None,
    out: str | Path | None = None,
    quick: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Check a data set.

    Args:
        data: the data set.
        fix: where to write a copy with the safe repairs; its videos are links.
        out: a folder for the page.
        quick: decode no video: nothing is said of likeness and of frames that cannot be decoded.
        force: replace ``fix`` and the page.
        progress: called as ``progress(stage, done, total)`` with the stages "labels" and "videos".

    Raises:
        UsageError: ``fix`` or ``out`` exists, or is in the data set.
        InputError: ``data`` is no data set.
        OutputError: something cannot be written.
    """
    data = Path(data)
    dataset = load_dataset(data)
    _refuse_places(data, Path(fix) if fix else None, Path(out) if out else None, force)
    inspections = []
    for done, sequence in enumerate(dataset.sequences, 1):
        inspections.append(inspect_labels(dataset.labels_path(sequence), sequence, dataset.classes))
        if progress:
            progress("labels", done, len(dataset.sequences))
    shown = choose_frames(dataset, inspections) if out and not quick else []
    repaired, looked = _videos(dataset, inspections, shown, quick, progress)

    leaks = find_recording_leaks(dataset.sequences)
    if any(note.startswith(ALLOWED_LEAK) for note in dataset.notes):
        leaks = [replace(leak, severity="warning") for leak in leaks]
    pairs = find_alike(
        [look for entry in looked for look in entry.looks], [s.split for s in dataset.sequences]
    )
    found = [*leaks, *twin_findings(dataset.sequences, data), *_alike(dataset, pairs, looked)]
    for inspection, entry in zip(inspections, looked, strict=True):
        found += [*inspection.found, *entry.found]

    counted = [inspection.counts for inspection in inspections]
    counts = sum_counts(counted, dataset.classes)
    page = None
    if out:
        pictures = _pictures(dataset, inspections, looked, shown, pairs)
        page = write_page(Path(out), dataset, _facts(dataset, quick), counts, counted, found, pictures)
    blocked = sum(finding.kind in UNREPAIRABLE for finding in found)
    written = fix is not None and not blocked
    repairs = Counter(f"{f.kind}: {f.repair}" for f in found if f.repair) if written else Counter()
    if written:
        _write_fixed(Path(fix or ""), dataset, repaired, inspections, repairs, force)
    errors = [finding for finding in found if finding.severity == "error"]
    return CheckReport(
        data=data,
        quick=quick,
        counts=counts,
        found=tuple(found),
        errors=len(errors),
        errors_left=sum(not (written and finding.repair) for finding in errors),
        fixed=Path(fix) if fix and written else None,
        repairs=dict(repairs),
        blocked=blocked,
        page=page,
    )


def _refuse_places(data: Path, fix: Path | None, out: Path | None, force: bool) -> None:
    """Refuse what would change the data set, or replace something, before any work is done."""
    for option, place in (("--fix", fix), ("--out", out)):
        if place is not None and place.resolve().is_relative_to(data.resolve()):
            raise UsageError(f"{option} {place} is in the data set, which a check never changes")
    if fix is not None:
        if data.resolve().is_relative_to(fix.resolve()):
            raise UsageError(f"--fix {fix} holds the data set {data}; choose another folder")
        refuse_existing(fix, force)
    if out is not None:
        prepare_page(out, force)


def _videos(
    dataset: Dataset,
    inspections: Items[Inspection],
    shown: Items[Shown],
    quick: bool,
    progress: Progress | None,
) -> tuple[list[Sequence], list[VideoLook]]:
    """Hold each sequence against its video; the sequences come back as repaired."""
    captions: dict[int, dict[int, str]] = defaultdict(dict)
    for entry in shown:
        captions[entry.sequence].setdefault(entry.frame, entry.caption)
    repaired, looked = [], []
    looks = looks_each([sequence.frames for sequence in dataset.sequences])
    for index, (sequence, inspection) in enumerate(zip(dataset.sequences, inspections, strict=True)):
        file = sequence.video.relative_to(dataset.root).as_posix()
        if quick:
            look = glance(sequence, file)
        else:
            look = look_through(
                sequence, file, index, inspection.usable, captions[index], dataset.classes, looks
            )
        if look.facts is not None:
            last = int(inspection.rows.frame.max(initial=-1))
            sequence, more = check_video(sequence, file, look.facts, last)
            look.found.extend(more)
        repaired.append(sequence)
        looked.append(look)
        if progress:
            progress("videos", index + 1, len(dataset.sequences))
    return repaired, looked


def _alike(dataset: Dataset, pairs: Items[AlikePair], looked: Items[VideoLook]) -> list[Finding]:
    found = []
    for pair in pairs:
        one, other = dataset.sequences[pair.second], dataset.sequences[pair.first]
        looks = len(looked[pair.second].looks)
        message = (
            f"looks like frame {pair.first_frame} of {other.name}, in {one.split} and {other.split}: "
            f"{pair.distance_bits} of 64 bits differ; so do {pair.pictures} of {looks} frames"
        )
        file = one.video.relative_to(dataset.root).as_posix()
        found.append(Finding("alike", "warning", file, None, pair.second_frame, message))
    return found


def _pictures(
    dataset: Dataset,
    inspections: Items[Inspection],
    looked: Items[VideoLook],
    shown: Items[Shown],
    pairs: Items[AlikePair],
) -> list[tuple[str, Picture]]:
    """Kind and picture of all that the page shows; some videos are opened again for what came up late."""
    pictures = []
    for entry in shown:
        picture = looked[entry.sequence].pictures.get(entry.frame)
        if picture is not None:
            pictures.append((entry.kind, picture._replace(caption=entry.caption)))
    late: list[tuple[str, int, int, str]] = []
    for pair in pairs[:PICTURES_A_KIND]:
        for index, frame in ((pair.first, pair.first_frame), (pair.second, pair.second_frame)):
            sequence = dataset.sequences[index]
            late.append(("alike", index, frame, f"{sequence.name} ({sequence.split}), frame {frame}"))
    still = [
        (index, finding)
        for index, look in enumerate(looked)
        for finding in look.found
        if finding.kind == "still-box"
    ]
    for index, finding in still[:PICTURES_A_KIND]:
        late.append(("still-box", index, finding.frame or 0, f"{finding.file}: {finding.message}"))
    for kind, index, frame, caption in late:
        rows = inspections[index].usable
        picture = picture_at(dataset.sequences[index], frame, rows, dataset.classes, caption)
        if picture is not None:
            pictures.append((kind, picture))
    return pictures


def _facts(dataset: Dataset, quick: bool) -> list[str]:
    """Sentences for the head of the page."""
    count = len(dataset.sequences)
    facts = [f"{count} sequence{'s' * (count > 1)}, classes {', '.join(dataset.classes)}."]
    if quick:
        facts.append(
            "Quick: no video was decoded, so there are no pictures, and likeness was not looked for."
        )
    return facts + [f"Note of the data set: {note}" for note in dataset.notes]


def _write_fixed(
    fix: Path,
    dataset: Dataset,
    repaired: Items[Sequence],
    inspections: Items[Inspection],
    repairs: Counter[str],
    force: bool,
) -> None:
    """Write the copy; what was done stays with it as notes."""
    said = [f"seqdet check --fix, {what} ({count})" for what, count in repairs.items()]
    save_dataset(
        fix,
        dataset.classes,
        (
            (
                sequence,
                tuple(list_images(sequence.video)) if sequence.video.is_dir() else None,
                inspection.rows.labels(),
            )
            for sequence, inspection in zip(repaired, inspections, strict=True)
        ),
        notes=[*dataset.notes, *said],
        link=True,
        force=force,
    )
