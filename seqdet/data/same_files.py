"""Files that are byte for byte others: videos and pictures that are in a data set twice.

Files of one length are held against each other by their first bytes, and only what agrees in both by all of
them: of pictures of one kind hundreds may have one length, but few begin alike.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SameFiles:
    """Two sequences with files in common.

    Attributes:
        first, second: their positions.
        pairs: the files, one of the first and one of the second each; a file of the second occurs once.
    """

    first: int
    second: int
    pairs: tuple[tuple[Path, Path], ...]


def find_same_files(files: Items[Items[Path]]) -> list[SameFiles]:
    """Which sequences have files in common; those that have the same one are each held against the first.

    Args:
        files: of each sequence, its video or its pictures. What cannot be read is passed over; files that one
            sequence has twice, as a camera that stands still gives them, are no finding.
    """
    by_length: dict[int, list[tuple[int, Path]]] = defaultdict(list)
    for owner, own in enumerate(files):
        for path in own:
            try:
                by_length[path.stat().st_size].append((owner, path))
            except OSError:
                continue  # that it cannot be read is said where it is opened
    found: dict[tuple[int, int], list[tuple[Path, Path]]] = defaultdict(list)
    for length, members in by_length.items():
        for near in _alike(members, _HEAD_BYTES):
            for same in _alike(near, None) if length > _HEAD_BYTES else [near]:
                first_owner, first = same[0]
                for owner, path in same[1:]:
                    if owner != first_owner:
                        found[first_owner, owner].append((first, path))
    return [SameFiles(*owners, tuple(pairs)) for owners, pairs in sorted(found.items())]


def _alike(members: list[tuple[int, Path]], head: int | None) -> list[list[tuple[int, Path]]]:
    """Those of several owners with the same content, in groups; by the first ``head`` bytes, or by all."""
    if len({owner for owner, _ in members}) < 2:
        return []
    groups: dict[bytes, list[tuple[int, Path]]] = defaultdict(list)
    for member in members:
        try:
            with member[1].open("rb") as file:
                digest = hashlib.sha256(file.read(head)) if head else hashlib.file_digest(file, "sha256")
        except OSError:
            continue
        groups[digest.digest()].append(member)
    return [group for group in groups.values() if len({owner for owner, _ in group}) > 1]
