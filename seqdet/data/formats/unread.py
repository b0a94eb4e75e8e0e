"""Formats that are not read, by the look of them, so that a person hears their name and what to do."""

from __future__ import annotations

from pathlib import Path

from seqdet.data.formats.source_files import walk

_SEARCHED_FILES, _SEARCHED_BYTES = 2000, 1 << 16


def name_of_unread(source: Path) -> str | None:
    """What a source looks like that no format reads, as words that follow "it looks like"; or None."""
    files = walk(source, _SEARCHED_FILES) if source.is_dir() else [source]
    for path in files:
        suffix, folder = path.suffix.lower(), path.parent.name.lower()
        if path.name == "tracklet_labels.xml":
            return "KITTI raw (tracklets in 3D): convert them to KITTI tracking"
        if suffix == ".png" and folder == "instance":
            return "KITTI segmentation (masks as pictures): convert them to COCO"
        if suffix == ".png" and folder == "instances":
            return "MOTS (masks as pictures): convert them to MOT Challenge or COCO"
        if suffix == ".xml" and _holds(path, b"<annotation", b"<polygon"):
            return "LabelMe (polygons in XML): convert them to COCO"
        if suffix == ".json" and _holds(path, b'"shapes"', b'"imagePath"'):
            return "LabelMe (polygons in JSON): convert them to COCO"
        if suffix == ".json" and _holds(path, b'"image_id"', b'"score"'):
            return "detections with scores, as a detector writes them, not labels"
    return None


def _holds(path: Path, *words: bytes) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_SEARCHED_BYTES)
    except OSError:
        return False
    return all(word in head for word in words)
