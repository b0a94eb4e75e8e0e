"""Splits by recording: what was cut from one take is never divided between train and val."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence as Items

import numpy as np

from seqdet.errors import UsageError


def find_leaks(recordings: Items[str], splits: Items[str]) -> dict[str, tuple[str, ...]]:
    """Recordings that are in more than one split, with the splits they are in."""
    seen: dict[str, set[str]] = defaultdict(set)
    for recording, split in zip(recordings, splits, strict=True):
        seen[recording].add(split)
    return {recording: tuple(sorted(found)) for recording, found in seen.items() if len(found) > 1}


def refuse_leaks(recordings: Items[str], splits: Items[str]) -> None:
    """Raise UsageError when a recording is in more than one split."""
    leaks = find_leaks(recordings, splits)
    if not leaks:
        return
    shown = ", ".join(
        f"{recording!r} ({' and '.join(found)})" for recording, found in sorted(leaks.items())[:5]
    )
    more = f" and {len(leaks) - 5} more" if len(leaks) > 5 else ""
    raise UsageError(
        f"{len(leaks)} recording{'s are' if len(leaks) > 1 else ' is'} in more than one split: "
        f"{shown}{more}. "
        "Frames of one recording look alike, so figures on val would be flattered. Put each recording into "
        "one split, or say --allow-leak"
    )


def join_recordings(recordings: Items[str], pairs: Items[tuple[int, int]]) -> list[str]:
    """The recordings of sequences after those of each pair were made one, named as the first of them.

    Args:
        recordings: of each sequence.
        pairs: positions of two sequences that show the same, as when a file is there twice.
    """
    joined = {name: name for name in recordings}

    def first_of(name: str) -> str:
        while joined[name] != name:
            name = joined[name]
        return name

    for pair in pairs:
        one, other = (first_of(recordings[index]) for index in pair)
        joined[other] = one
    return [first_of(name) for name in recordings]


def split_by_recording(
    recordings: Items[str],
    labels: Items[str | None],
    *,
    weights: Items[float] | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
) -> list[str]:
    """Assign "train" or "val" to sequences; a recording is never divided, classes are shared out evenly.

    Recordings are taken one by one, rarest class and largest first (ties in an order drawn from the seed),
    and go to val when that brings the weight of their classes in val nearer to its fraction. A class that
    only one recording shows stays in train, where it can be learned.

    Args:
        recordings: recording of each sequence.
        labels: class of each sequence, or None when unknown.
        weights: how much each sequence counts, such as its number of frames; 1 each by default.
        val_fraction: part of each class's weight that val should have, 0 to below 1.
        seed: of the order of ties.

    Returns:
        "train" or "val" for each sequence.

    Raises:
        UsageError: the fraction is out of range.
    """
    if not 0 <= val_fraction < 1:
        raise UsageError(f"the fraction for val is at least 0 and below 1, got {val_fraction}")
    if weights is None:
        weights = [1.0] * len(recordings)
    held: dict[str, Counter[str]] = defaultdict(Counter)
    for recording, label, weight in zip(recordings, labels, weights, strict=True):
        held[recording][label or ""] += weight  # type: ignore[assignment]
    total: Counter[str] = Counter()
    shown_by: Counter[str] = Counter()
    for content in held.values():
        total.update(content)
        shown_by.update(content.keys())
    names = sorted(held)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    ranked = sorted(
        (names[index] for index in order),
        key=lambda name: (min(shown_by[label] for label in held[name]), -sum(held[name].values())),
    )
    chosen: set[str] = set()
    in_val: Counter[str] = Counter()
    for name in ranked:
        content = held[name]
        if all(shown_by[label] == 1 for label in content) and len(shown_by) > 1:
            continue
        # Squared relative distance of val from its share, over the classes of this recording.
        now = sum((in_val[label] / total[label] - val_fraction) ** 2 for label in content)
        then = sum(((in_val[label] + content[label]) / total[label] - val_fraction) ** 2 for label in content)
        if then < now and len(chosen) + 1 < len(names):
            chosen.add(name)
            in_val.update(content)
    if val_fraction > 0 and not chosen and len(names) > 1:
        chosen.add(min(ranked, key=lambda name: sum(held[name].values())))
    return ["val" if recording in chosen else "train" for recording in recordings]
