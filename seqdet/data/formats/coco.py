"""COCO labels of images: ``images`` (id, file_name), ``annotations``, ``categories`` (id, name).

An annotation has image_id, category_id and ``bbox``: left, top, width, height from 0; one that has only a
segmentation gets the box around it. COCO does not say which images are frames of one video: `stills` finds
out. Track ids are kept where a tool adds them (``track_id``, ``instance_id``, or CVAT's
``attributes.track_id``).

Files of one folder, of ``annotations/`` and of folders named like splits (``train/_annotations.coco.json``,
as Roboflow writes it) are one data set. Of the kinds of files that COCO has, those with boxes are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqdet.data.formats.coco_parts import (
    FROM_MASK,
    IGNORED,
    TRACK_KEYS,
    TWICE,
    Rows,
    box_fault,
    find_image,
    image_fault,
    image_folder,
    is_id,
    keys_in,
    label_files,
    read_categories,
    read_document,
    refuse_other_classes,
    root_of,
    size_of,
    split_of,
    track_fault,
    words_of,
)
from seqdet.data.formats.masks import box_around
from seqdet.data.formats.protocol import EXAMPLES, Problems, RawDataset, RawSequence
from seqdet.data.formats.stills import STILLS, VIDEOS, FrameGroup, frame_groups
from seqdet.data.formats.unfinished import refuse_unfinished
from seqdet.errors import InputError

NAME = "coco"
LOOKS = 'a .json file with "images", "annotations" and "categories" (no "videos"), or a folder that holds one'
EMPTY_MASK = "annotation without a box, whose segmentation covers no pixel: dropped"
LISTS = ("images", "annotations", "categories")
BOXES, KEYPOINTS = "boxes", "keypoints"
WITHOUT_BOXES = {
    "captions": "sentences about images",
    "panoptic": "images that are cut into segments",
    "labels": "classes of whole images",
    "stuff": "regions such as sky or grass; if its boxes are of objects, give the file another name",
    "image_info": "images without labels",
}
_SEARCHED = ("videos", *LISTS, "bbox", "segmentation", "category_id", "caption", "segments_info")
_AUGMENTED = re.compile(r"\.rf\.[0-9a-zA-Z]+$")  # Roboflow writes several altered copies of one image


@dataclass(frozen=True, slots=True)
class _Image:
    """One element of "images" whose file was found."""

    index: int
    file: Path
    size_wh: tuple[int, int] | None


@dataclass(slots=True)
class _Part:
    """One label file."""

    path: Path
    categories: list[Any]
    split: str | None
    images: list[_Image] = field(default_factory=list)
    groups: list[FrameGroup] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)


def sniff(source: Path) -> bool:
    """True for such a file, or a folder with one in it, in ``annotations`` or in a folder of a split."""
    return any(_kind(path) for path in label_files(source))


def read(source: Path, problems: Problems) -> RawDataset:
    """Read all files with boxes; several become one data set.

    Raises:
        InputError: there is no file with boxes, one is not JSON or lacks a list, or their classes differ.
    """
    notes: list[str] = []
    if source.is_dir():
        refuse_unfinished(label_files(source))
    files = _choose_files(source, notes)
    root = root_of(source)
    parts = [_read_file(path, root, problems) for path in files]
    used = set().union(*(part.rows.categories() for part in parts))
    classes = []
    for part in parts:
        roots = _unused_roots(part.categories, used)
        notes += (
            f"category {name!r} is only the supercategory of others: left out" for name in roots.values()
        )
        classes.append(read_categories(part.path, part.categories, frozenset(roots)))
    refuse_other_classes(files, [names for names, _ in classes])
    _refuse_shared_images(parts, problems)
    sequences: list[RawSequence] = []
    taken: set[str] = set()
    for part, (_, class_of) in zip(parts, classes, strict=True):
        sequences += _sequences(part, class_of, taken, problems)
    lengths = {len(sequence.images or ()) > 1 for sequence in sequences}
    notes += ([VIDEOS] if True in lengths else []) + ([STILLS] if False in lengths else [])
    return RawDataset(classes[0][0], sequences, tuple(dict.fromkeys(notes)))


def _kind(path: Path) -> str | None:
    """BOXES, KEYPOINTS (it has boxes too), a key of WITHOUT_BOXES, or None for a file that is not COCO."""
    keys = keys_in(path, _SEARCHED)
    if "images" not in keys or "videos" in keys or not keys & {"annotations", "categories"}:
        return None
    words = words_of(path)
    if "segments_info" in keys:
        return "panoptic"
    if words[:1] == ["stuff"]:
        return "stuff"
    if keys & {"bbox", "segmentation"}:
        return KEYPOINTS if "keypoints" in words else BOXES
    if "caption" in keys:
        return "captions"
    if "category_id" in keys:
        return "labels"
    return "image_info" if "annotations" not in keys or words[:2] == ["image", "info"] else BOXES


def _choose_files(source: Path, notes: list[str]) -> list[Path]:
    """The files with boxes, and a note on those that are left out beside them."""
    kinds = {path: kind for path in label_files(source) if (kind := _kind(path))}
    if not kinds and source.is_file():
        return [source]  # the format is forced: reading says what is wrong
    if not kinds:
        raise InputError(f"{source}: there is no .json file with {', '.join(LISTS)} in it")
    places = {(path.parent, split_of(path)) for path, kind in kinds.items() if kind == BOXES}
    chosen = [
        path
        for path, kind in kinds.items()
        if kind == BOXES or (kind == KEYPOINTS and (path.parent, split_of(path)) not in places)
    ]
    others = [path for path in kinds if path not in chosen]
    if not chosen:
        raise InputError(
            f"{source}: there are no boxes in "
            + "; ".join(f"{path.name} ({kinds[path]}: {WITHOUT_BOXES[kinds[path]]})" for path in others)
        )
    if others:
        read_, left = (", ".join(path.name for path in paths) for paths in (chosen, others))
        notes.append(f"boxes are read from {read_}; left out beside them: {left}")
    return chosen


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Of an annotation only what is read, in the fewest keys; any other object unchanged."""
    if "image_id" not in entry or "category_id" not in entry:
        return entry
    kept = {key: entry[key] for key in ("image_id", "category_id", "bbox", *TRACK_KEYS) if key in entry}
    if entry.get("iscrowd") or entry.get("ignore"):
        kept["ignore"] = True
    if not kept.get("bbox") and entry.get("segmentation"):
        kept["segmentation"] = entry["segmentation"]
    attributes = entry.get("attributes")
    if isinstance(attributes, dict) and not any(key in kept for key in TRACK_KEYS):
        track_id = attributes.get("track_id")  # attributes are free text in some tools
        if isinstance(track_id, str) and re.fullmatch(r"[0-9]{1,15}", track_id):
            track_id = int(track_id)
        if type(track_id) is int:
            kept["track_id"] = track_id
    return kept


def _read_file(path: Path, root: Path, problems: Problems) -> _Part:
    document = read_document(path, LISTS, _slim)
    part = _Part(path, document["categories"], split_of(path))
    known = _read_images(part, document["images"], root, problems)
    part.groups = frame_groups({image.file for image in part.images}, root)
    frames = {
        file: (sequence, frame)
        for sequence, group in enumerate(part.groups)
        for frame, file in enumerate(group.images)
    }
    places = {key: frames[image.file] if image else None for key, image in known.items()}
    _read_annotations(part, document["annotations"], places, problems)
    return part


def _read_images(
    part: _Part, entries: list[Any], root: Path, problems: Problems
) -> dict[int | str, _Image | None]:
    """The image of each id; None for one that cannot be used, which is said."""
    named = [entry.get("file_name") for entry in entries if isinstance(entry, dict)]
    folder = image_folder(root, part.path, [name for name in named if isinstance(name, str)]) or root
    known: dict[int | str, _Image | None] = {}
    seen: set[Path] = set()
    for index, entry in enumerate(entries):
        place = f"{part.path}: images[{index}]"
        identity = entry.get("id") if isinstance(entry, dict) else None
        if not is_id(identity):
            problems.fail(place, "id: a whole number or a text is expected")
            continue
        if identity in known:
            problems.fail(place, f"id: {identity!r} occurs twice")
            continue
        name, width, height = (entry.get(key) for key in ("file_name", "width", "height"))
        file = find_image(root, folder, name) if isinstance(name, str) else None
        known[identity] = None
        if file is None:
            problems.fail(place, f"file_name: {image_fault(root, folder, name)}")
            continue
        image = _Image(index, file, size_of(width, height))
        known[identity] = image
        if file in seen:
            problems.drop(TWICE, [f"{place} ({file.name})"])
        else:
            seen.add(file)
            part.images.append(image)
    return known


def _read_annotations(
    part: _Part,
    entries: list[Any],
    places: dict[int | str, tuple[int, int] | None],
    problems: Problems,
) -> None:
    """Fill ``part.rows``; ``places`` has sequence and frame of each image id."""
    categories = {
        entry.get("id")
        for entry in part.categories
        if isinstance(entry, dict) and type(entry.get("id")) is int
    }
    ignored: list[int] = []
    masked: list[int] = []
    for index, entry in enumerate(entries):
        fault = _fault(entry, places, categories)
        if fault:
            problems.fail(f"{part.path}: annotations[{index}]", fault)
            continue
        place = places[entry["image_id"]]
        if entry.get("ignore"):
            ignored.append(index)
            continue
        if place is None:
            continue  # its image is a problem already
        box = entry.get("bbox")
        if not box:
            try:
                box = box_around(entry["segmentation"])
            except ValueError as error:
                problems.fail(f"{part.path}: annotations[{index}]", f"segmentation: {error}")
                continue
            if box is None:
                problems.drop(EMPTY_MASK, [f"{part.path}: annotations[{index}]"])
                continue
            masked.append(index)
        track = next((entry[key] for key in TRACK_KEYS if key in entry), -1)
        part.rows.add(place[0], index, place[1], track, entry["category_id"], box)
    for reason, found in ((IGNORED, ignored), (FROM_MASK, masked)):
        places_found = [f"{part.path}: annotations[{index}]" for index in found[:EXAMPLES]]
        problems.note(reason, places_found, len(found))


def _fault(entry: Any, places: dict[int | str, Any], categories: set[Any]) -> str | None:
    """What makes one annotation unusable, or None."""
    if not isinstance(entry, dict):
        return "an object is expected"
    image_id, category_id, box = entry.get("image_id"), entry.get("category_id"), entry.get("bbox")
    if not is_id(image_id) or image_id not in places:
        return f"image_id: there is no image {str(image_id)[:40]!r}"
    if type(category_id) is not int or category_id not in categories:
        return f"category_id: there is no category {str(category_id)[:40]!r}"
    if box or "segmentation" not in entry:
        fault = box_fault(box)
        if fault:
            return f"bbox: {fault}"
    return track_fault(entry)


def _unused_roots(categories: list[Any], used: Iterable[int]) -> dict[int, str]:
    """Categories without a box that others name as their supercategory, as Roboflow's id 0: id and name."""
    parents = {
        (entry["supercategory"], entry.get("id"))
        for entry in categories
        if isinstance(entry, dict)
        and isinstance(entry.get("supercategory"), str)
        and type(entry.get("id")) is int
    }
    roots = {}
    for entry in categories:
        identity, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if type(identity) is not int or not isinstance(name, str) or identity in used:
            continue
        if (name, identity) not in parents and any(parent == name for parent, _ in parents):
            roots[identity] = name
    return roots


def _refuse_shared_images(parts: list[_Part], problems: Problems) -> None:
    """Two files of one split must not share an image: each has only some of its boxes."""
    seen: dict[tuple[str | None, Path], Path] = {}
    for part in parts:
        for image in part.images:
            other = seen.setdefault((part.split, image.file), part.path)
            if other is not part.path:
                problems.fail(
                    f"{part.path}: images[{image.index}]",
                    f"{image.file.name!r} is in {other.name} too; ingest the files one by one",
                )


def _sequences(
    part: _Part, class_of: dict[int, int], taken: set[str], problems: Problems
) -> list[RawSequence]:
    """The sequences of one file; ``taken`` are names of earlier files."""
    sizes = {image.file: image for image in part.images}
    made = []
    for group, columns in zip(part.groups, part.rows.columns(len(part.groups), class_of), strict=True):
        first, *others = (sizes[file] for file in group.images)
        for image in others:
            if image.size_wh != first.size_wh:
                problems.fail(
                    f"{part.path}: images[{image.index}]",
                    f"width, height: {image.size_wh}, but images[{first.index}] of the same sequence has "
                    f"{first.size_wh}",
                )
        name = group.name
        while name.lower() in taken:  # the same image in two splits: a leak, which ingestion refuses
            name = f"{name}_{part.split or 2}"
        taken.add(name.lower())
        made.append(
            RawSequence(
                name=name,
                video=group.images[0].parent,
                images=group.images,
                labels_file=part.path,
                row_form="{file}: annotations[{row}]",
                **columns._asdict(),
                size_wh=first.size_wh,
                recording=_AUGMENTED.sub("", group.name),
                split=part.split,
            )
        )
    return made
