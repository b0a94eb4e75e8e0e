"""Videos and pictures that two sequences of a data set have in common: byte for byte the same files."""

from __future__ import annotations

from collections.abc import Sequence as Items
from pathlib import Path

from seqdet.data.check_rows import Finding
from seqdet.data.dataset import Sequence
from seqdet.data.likeness import look_at
from seqdet.data.same_files import SameFiles, find_same_files
from seqdet.errors import InputError
from seqdet.video.folder import list_images
from seqdet.video.reader import open_video


def find_twins(files: Items[Items[Path]]) -> list[SameFiles]:
    """Sequences with files in common; where all of these are blank (a black frame) they are no twins.

    Args:
        files: of each sequence, its video or its pictures.
    """
    blank: dict[Path, bool] = {}
    found = []
    for same in find_same_files(files):
        for path, _ in same.pairs:
            if path not in blank:
                blank[path] = _is_blank(path)
        pairs = tuple(pair for pair in same.pairs if not blank[pair[0]])
        if pairs:
            found.append(SameFiles(same.first, same.second, pairs))
    return found


def is_much(same: SameFiles, files: Items[Items[Path]]) -> bool:
    """Whether half of the shorter sequence is in the other: one picture of a video may be a coincidence."""
    return 2 * len(same.pairs) >= min(len(files[same.first]), len(files[same.second]))


def _is_blank(path: Path) -> bool:
    """Whether the picture, or the first of the video, shows nothing; one that cannot be read is not blank."""
    try:
        with open_video(path) as reader:
            frame = next(iter(reader), None)
    except InputError:
        return False
    return frame is not None and look_at(frame.rgb, 0, 0) is None


def twin_findings(sequences: Items[Sequence], root: Path) -> list[Finding]:
    """What two sequences have in common, for ``seqdet check``; an error where it is much, and in two splits.

    In one split a file twice is a finding where it is all of the second sequence.
    """
    files = [_files(sequence) for sequence in sequences]
    found = []
    for same in find_twins(files):
        one, other = sequences[same.second], sequences[same.first]
        leak = one.split != other.split
        if not leak and len(same.pairs) < len(files[same.second]):
            continue
        theirs, mine = (path.relative_to(root).as_posix() for path in same.pairs[0])
        message = f"the same file as {theirs}, in {one.split} and {other.split}"
        if len(files[same.second]) > 1:
            message += f"; so are {len(same.pairs)} of its {len(files[same.second])} pictures"
        found.append(
            Finding(
                "same-file",
                "error" if leak and is_much(same, files) else "warning",
                mine,
                None,
                None,
                message,
            )
        )
    return found


def _files(sequence: Sequence) -> list[Path]:
    if not sequence.video.is_dir():
        return [sequence.video]
    try:
        return list_images(sequence.video)
    except InputError:
        return []  # that is said where it is opened
