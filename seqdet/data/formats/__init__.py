"""One file per label format behind one protocol; see `protocol`."""

from __future__ import annotations

from pathlib import Path

from seqdet.data.formats import (
    class_folders,
    coco,
    coco_vid,
    csv_rows,
    cvat,
    datumaro,
    kitti,
    label_studio,
    mot,
    voc,
    yolo,
    youtube_vis,
)
from seqdet.data.formats.protocol import LabelFormat
from seqdet.data.formats.source_files import walk
from seqdet.data.formats.unfinished import refuse_unfinished
from seqdet.data.formats.unread import name_of_unread
from seqdet.errors import InputError, UsageError

FORMATS: dict[str, LabelFormat] = {
    mot.NAME: mot,
    coco_vid.NAME: coco_vid,
    label_studio.NAME: label_studio,
    datumaro.NAME: datumaro,
    youtube_vis.NAME: youtube_vis,
    coco.NAME: coco,
    cvat.NAME: cvat,
    yolo.NAME: yolo,
    voc.NAME: voc,
    kitti.NAME: kitti,
    csv_rows.NAME: csv_rows,
    class_folders.NAME: class_folders,
}


def looks_like(source: Path, name: str = "auto") -> bool:
    """True when a source looks like the format of that name, or for "auto" like any."""
    return any(each.sniff(source) for key, each in FORMATS.items() if name in ("auto", key))


def choose_format(source: Path, name: str = "auto") -> LabelFormat:
    """The format of a source, found by its content, or the one of that name.

    Raises:
        UsageError: no format has that name.
        InputError: the source does not exist, or looks like no format, or like several.
    """
    if name != "auto" and name not in FORMATS:
        raise UsageError(f"--format {name}: the formats are auto, {', '.join(FORMATS)}")
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if name != "auto":
        return FORMATS[name]
    found = [each for each in FORMATS if FORMATS[each].sniff(source)]
    if len(found) > 1:
        raise InputError(
            f"{source}: looks like several formats; choose one: "
            + " or ".join(f"--format {each}" for each in found)
        )
    if not found:
        if source.is_dir():
            refuse_unfinished(walk(source, 10_000))
        looks = "".join(f"\n  {each}: {FORMATS[each].LOOKS}" for each in FORMATS)
        said = "no label format that seqdet reads is recognised here"
        if unread := name_of_unread(source):
            said = f"it looks like {unread}; seqdet does not read it"
        raise InputError(f"{source}: {said}. It knows:{looks}")
    return FORMATS[found[0]]
