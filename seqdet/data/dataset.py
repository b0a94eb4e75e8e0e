"""The data set on disk: ``dataset.json``, ``videos/`` and ``labels/``, and its reader and writer.

The form is described in docs/data.md. Loading reads ``dataset.json`` only; labels are read when asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seqdet.data.checks import is_inside, is_plain_number, name_fault, raise_problems, read_json
from seqdet.data.labels import Labels, read_labels, write_labels
from seqdet.errors import InputError, OutputError, UsageError

FORMAT = "seqdet-dataset"
VERSION = 1
SPLITS = ("train", "val", "test")
_FILE = "dataset.json"


@dataclass(frozen=True, slots=True)
class Sequence:
    """One video of a data set.

    Attributes:
        name: unique in the data set, fit to be a file name.
        video: the video file, or the folder of its frames as images.
        frames: number of frames.
        size_wh: displayed width and height in pixels.
        fps: nominal frames per second.
        class_id: class of the whole sequence, or -1 when unknown.
        recording: what it was cut from; recordings are never divided between splits.
        split: "train", "val" or "test".
        attributes: anything else that is known, such as {"sensor": "thermal"}.
        boxes_known: False where only the class of the sequence is known: a frame without a box then says
            nothing of what is in it.
    """

    name: str
    video: Path
    frames: int
    size_wh: tuple[int, int]
    fps: float
    class_id: int = -1
    recording: str = ""
    split: str = "train"
    attributes: dict[str, str] = field(default_factory=dict)
    boxes_known: bool = True


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set: its classes and sequences, or a selection of them.

    Attributes:
        root: the folder.
        classes: names of the classes; an index into it is a class id.
        sequences: in the order of ``dataset.json``.
        notes: what whoever made the data set said of it.
    """

    root: Path
    classes: tuple[str, ...]
    sequences: tuple[Sequence, ...]
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Sequence, ...]:
        """The sequences of "train", "val" or "test"; may be none.

        Raises:
            UsageError: no such split name.
        """
        if name not in SPLITS:
            raise UsageError(f"a split is one of {', '.join(SPLITS)}; got {name!r}")
        return tuple(sequence for sequence in self.sequences if sequence.split == name)

    def where(self, **attributes: str) -> Dataset:
        """The data set with only the sequences that have these attributes, such as ``sensor="thermal"``.

        Raises:
            UsageError: no sequence has an attribute of that name; the names that exist are listed.
        """
        known = {key for sequence in self.sequences for key in sequence.attributes}
        for key in attributes:
            if key not in known and self.sequences:
                raise UsageError(
                    f"no sequence of {self.root} has the attribute {key!r}; known: {sorted(known)}"
                )
        chosen = tuple(
            sequence
            for sequence in self.sequences
            if all(sequence.attributes.get(key) == value for key, value in attributes.items())
        )
        return replace(self, sequences=chosen)

    def labels_path(self, sequence: Sequence) -> Path:
        """Where the labels of a sequence are."""
        return self.root / "labels" / f"{sequence.name}.csv"

    def labels(self, sequence: Sequence) -> Labels:
        """Read and check the labels of a sequence.

        Raises:
            InputError: with file, line and column of everything that is wrong.
        """
        return read_labels(self.labels_path(sequence), self.classes, sequence.frames, sequence.size_wh)


def is_dataset(root: str | Path) -> bool:
    """True for a folder with a ``dataset.json`` of this form, valid or not."""
    try:
        with (Path(root) / _FILE).open(encoding="utf-8", errors="replace") as file:
            return f'"{FORMAT}"' in file.read(4096)
    except OSError:
        return False


def load_dataset(root: str | Path) -> Dataset:
    """Read a data set.

    Args:
        root: the folder that ``seqdet ingest`` made.

    Raises:
        InputError: naming the file and the line or key of everything that is wrong.
    """
    root = Path(root)
    path = root / _FILE
    if not path.is_file():
        what = "no such folder" if not root.exists() else f"there is no {_FILE} in it"
        raise InputError(f"{root} is not a data set: {what}. Make one with: seqdet ingest SOURCE {root}")
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(
            f'{path}: "format" must be "{FORMAT}". Make a data set with: seqdet ingest SOURCE DATA'
        )
    if document.get("version") != VERSION:
        raise InputError(
            f"{path}: version {document.get('version')!r} of the form; this seqdet reads version {VERSION}"
        )
    problems: list[str] = []
    classes = _read_classes(document.get("classes"), problems)
    entries = document.get("sequences")
    if not isinstance(entries, list):
        problems.append("sequences: a list is expected")
        entries = []
    sequences: list[Sequence] = []
    names: set[str] = set()
    for index, entry in enumerate(entries):
        faults = _entry_faults(entry, classes)
        if not faults:
            sequence = _sequence(root, entry, classes)
            faults = _file_faults(root, sequence, names)
            names.add(sequence.name)
            sequences.append(sequence)
        problems.extend(f"sequences[{index}].{fault}" for fault in faults)
    raise_problems([f"{path}: {problem}" for problem in problems], f"{path}: the data set is not valid")
    notes = document.get("notes", [])
    return Dataset(
        root, classes, tuple(sequences), tuple(str(note) for note in notes) if isinstance(notes, list) else ()
    )


def save_dataset(
    root: str | Path,
    classes: tuple[str, ...],
    items: Iterable[tuple[Sequence, tuple[Path, ...] | None, Labels]],
    *,
    notes: Iterable[str] = (),
    link: bool = False,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Write a data set; it appears under its name only when whole.

    Args:
        root: the folder to make. One that exists and is not empty is refused without ``force``, and one that
            is not a data set is refused always.
        classes: names of the classes.
        items: for each sequence the sequence with ``video`` where it is now, its image files in time order
            when it is not one file (None otherwise), and its labels.
        notes: lines to keep in ``dataset.json``.
        link: make symbolic links to the videos and images instead of copies.
        force: replace an existing data set.
        progress: called with the number of sequences done.

    Returns:
        The data set as written.

    Raises:
        UsageError: the folder exists.
        OutputError: it could not be written; what was there before is unharmed.
    """
    root = Path(root)
    refuse_existing(root, force)
    root = root.absolute()
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    except OSError as error:
        raise OutputError(f"{root}: cannot be written: {error.strerror}") from error
    try:
        work.chmod(0o755)  # mkdtemp's 0700 would stay with the data set
        (work / "videos").mkdir()
        (work / "labels").mkdir()
        sequences = []
        for done, (sequence, images, labels) in enumerate(items, 1):
            place = _place_video(work / "videos", sequence, images, link)
            write_labels(work / "labels" / f"{sequence.name}.csv", labels, classes)
            sequences.append(replace(sequence, video=place))
            if progress:
                progress(done)
        (work / _FILE).write_text(_document(classes, sequences, list(notes), work), encoding="utf-8")
        swap_in(work, root)
    except OSError as error:
        raise OutputError(f"{root}: the data set could not be written: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load_dataset(root)


def refuse_existing(root: Path, force: bool) -> None:
    """Raise UsageError when ``root`` may not be written: it exists and is not empty, or is not a data set."""
    if root.is_symlink() or (root.exists() and not root.is_dir()):
        raise UsageError(f"{root} exists and is not a folder; choose another name for the data set")
    if not root.exists() or not any(root.iterdir()):
        return
    if not is_dataset(root):
        raise UsageError(f"{root} exists, is not empty and is not a data set; choose another folder")
    if not force:
        raise UsageError(f"{root} exists; add --force to replace it, or choose another folder")


def _place_video(videos: Path, sequence: Sequence, images: tuple[Path, ...] | None, link: bool) -> Path:
    """Copy or link a video file or a list of images; image k becomes the k-th file of a folder."""

    def put(source: Path, target: Path) -> Path:
        if link:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)
        return target

    if images is None:
        return put(sequence.video, videos / f"{sequence.name}{sequence.video.suffix.lower()}")
    folder = videos / sequence.name
    folder.mkdir()
    for index, image in enumerate(images):
        put(image, folder / f"{index:06d}{image.suffix.lower()}")
    return folder


def swap_in(work: Path, root: Path) -> None:
    """Give the finished folder its name; an old data set goes last, and comes back if the rename fails."""
    if not root.exists():
        os.rename(work, root)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{root.name}.old-", dir=root.parent)) / "old"
    os.rename(root, old)
    try:
        os.rename(work, root)
    except OSError:
        os.rename(old, root)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _document(classes: tuple[str, ...], sequences: list[Sequence], notes: list[str], root: Path) -> str:
    """The text of ``dataset.json``: one line a sequence, so that a diff is readable."""

    def dump(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    entries = [
        {
            "name": sequence.name,
            "video": sequence.video.relative_to(root).as_posix(),
            "frames": sequence.frames,
            "size_wh": list(sequence.size_wh),
            "fps": sequence.fps,
            "label": classes[sequence.class_id] if sequence.class_id >= 0 else None,
            "recording": sequence.recording,
            "split": sequence.split,
            "attributes": sequence.attributes,
            **({} if sequence.boxes_known else {"boxes_known": False}),
        }
        for sequence in sequences
    ]
    lines = ",\n  ".join(dump(entry) for entry in entries)
    return (
        f'{{\n"format": "{FORMAT}",\n"version": {VERSION},\n"classes": {dump(list(classes))},\n'
        f'"sequences": [\n  {lines}\n],\n"notes": {json.dumps(notes, ensure_ascii=False, indent=2)}\n}}\n'
    )


def _read_classes(value: Any, problems: list[str]) -> tuple[str, ...]:
    """The class names, or () with a problem."""
    good = isinstance(value, list) and all(
        isinstance(name, str) and name.strip() == name != "" for name in value
    )
    if not good or not value or len(set(value)) != len(value):
        problems.append("classes: a list of one or more different names is expected")
        return ()
    return tuple(value)


def _entry_faults(entry: Any, classes: tuple[str, ...]) -> list[str]:
    """What is wrong with one element of "sequences", as "key: message"."""
    if not isinstance(entry, dict):
        return ["name: an object with name, video, frames, size_wh, fps, ... is expected"]
    name, video, label, size = (entry.get(key) for key in ("name", "video", "label", "size_wh"))
    frames, fps, attributes = entry.get("frames"), entry.get("fps"), entry.get("attributes", {})
    checks = (
        (isinstance(name, str) and name_fault(name) is None, f"name: {name!r} cannot be a file name"),
        (
            isinstance(video, str) and is_inside(video),
            f"video: a path inside the data set is expected, got {video!r}",
        ),
        (
            type(frames) is int and 0 < frames < 2**31,
            f"frames: a whole number above 0 is expected, got {frames!r}",
        ),
        (
            isinstance(size, list)
            and len(size) == 2
            and all(type(side) is int and 0 < side < 2**31 for side in size),
            f"size_wh: [width, height] in pixels is expected, got {size!r}",
        ),
        (is_plain_number(fps) and fps > 0, f"fps: a number above 0 is expected, got {fps!r}"),  # type: ignore[operator]
        (
            label is None or label in classes,
            f"label: {label!r} is not one of the classes {', '.join(classes)}",
        ),
        (isinstance(entry.get("recording"), str), "recording: a name is expected"),
        (
            entry.get("split") in SPLITS,
            f"split: one of {', '.join(SPLITS)} is expected, got {entry.get('split')!r}",
        ),
        (
            isinstance(attributes, dict) and all(isinstance(value, str) for value in attributes.values()),
            "attributes: an object of texts is expected",
        ),
        (type(entry.get("boxes_known", True)) is bool, "boxes_known: true or false is expected"),
    )
    return [message for good, message in checks if not good]


def _sequence(root: Path, entry: dict[str, Any], classes: tuple[str, ...]) -> Sequence:
    """One checked element of "sequences"."""
    return Sequence(
        name=entry["name"],
        video=root / entry["video"],
        frames=entry["frames"],
        size_wh=(entry["size_wh"][0], entry["size_wh"][1]),
        fps=float(entry["fps"]),
        class_id=-1 if entry["label"] is None else classes.index(entry["label"]),
        recording=entry["recording"],
        split=entry["split"],
        attributes=dict(entry.get("attributes", {})),
        boxes_known=entry.get("boxes_known", True),
    )


def _file_faults(root: Path, sequence: Sequence, names: set[str]) -> list[str]:
    """What is missing on disk, and names that occur twice."""
    checks = (
        (sequence.name not in names, f"name: {sequence.name!r} occurs twice"),
        (sequence.video.exists(), f"video: {sequence.video} does not exist"),
        (
            (root / "labels" / f"{sequence.name}.csv").is_file(),
            f"name: labels/{sequence.name}.csv does not exist",
        ),
    )
    return [message for good, message in checks if not good]
