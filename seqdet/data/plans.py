"""What batches show, planned before anything is read: pure, a function of seed and step, exact to resume.

Legend: B clips, T frames, G objects, N sequences. The plan of a batch is that of the whole batch, also where
several processes render their own clips of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from seqdet.data.dataset import Sequence
from seqdet.data.windows import next_start, window_starts
from seqdet.errors import InputError

# A stream is cut after this many chunks, so that no recording fills the training.
MAX_CHUNKS = 6


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """What one slot of a batch shows; enough to render it again.

    Attributes:
        sequence: index into the data set's sequences, -1 for a rendered scene.
        start: first frame.
        stride: frames between two shown ones.
        chunk: 0 begins from nothing, more continues the slot's stream.
        seed: of the augmentation; one stream keeps its seed.
        donor: index of the sequence whose track is pasted, -1 for none.
        donor_start: first frame of the donor.
        chunks: how many the stream may have, 1 for a random window.
        clutter: index of the sequence whose still spots are pasted, -1 for none.
    """

    sequence: int
    start: int
    stride: int
    chunk: int
    seed: int
    donor: int = -1
    donor_start: int = 0
    chunks: int = 1
    clutter: int = -1


@dataclass(frozen=True, slots=True)
class BatchShape:
    """How a stage of the training wants its batches; field by field as in ``config.StageConfig``."""

    clips: int
    frames: int
    max_stride: int
    streamed: int
    augment: bool
    paste_probability: float
    clutter_probability: float
    synthetic_fraction: float
    corrupt_probability: float
    reverse_probability: float


class Sampler:
    """Draws sequences: a class first, then a recording by clips ** power, then a clip of it.

    Few recordings hold most clips of most data sets: drawn by clip, the scene would be learned for the class.
    With several shards each recording belongs to one, and slot s of a batch draws from shard s modulo their
    number, so that a process that has the slots of a shard reads its recordings only.
    """

    def __init__(self, sequences: tuple[Sequence, ...], recording_power: float, shards: int = 1) -> None:
        if not sequences:
            raise InputError("there is no sequence to train on: the split is empty")
        self.sequences = sequences
        self.frames = [sequence.frames for sequence in sequences]
        classes = np.array([sequence.class_id for sequence in sequences])
        recordings = np.array([sequence.recording or sequence.name for sequence in sequences])
        weights = np.zeros(len(sequences))
        for class_id in np.unique(classes):
            names, counts = np.unique(recordings[classes == class_id], return_counts=True)
            shares = counts**recording_power / (counts**recording_power).sum()
            for name, count, share in zip(names, counts, shares, strict=True):
                weights[(classes == class_id) & (recordings == name)] = share / count
        self.weights = weights / weights.sum()
        self.shards = [self._shard(members) for members in _alike(self.weights, recordings, shards)]

    def _shard(self, members: np.ndarray) -> np.ndarray:
        """Weights of the sequences of a shard; one without any draws from all."""
        weights = np.where(members, self.weights, 0)
        return weights / weights.sum() if members.any() else self.weights

    def draw(self, rng: np.random.Generator, slot: int = 0) -> int:
        """Index of a sequence for a slot of a batch."""
        return int(rng.choice(len(self.weights), p=self.shards[slot % len(self.shards)]))


def _alike(weights: np.ndarray, recordings: np.ndarray, shards: int) -> list[np.ndarray]:
    """Whole recordings in shards of about equal weight, the heaviest first: (N,) bool for each shard."""
    if shards == 1:
        return [np.ones(len(weights), bool)]
    names, index = np.unique(recordings, return_inverse=True)
    heavy = np.bincount(index, weights)
    loads, place = np.zeros(shards), np.zeros(len(names), np.int64)
    for name in np.argsort(-heavy, kind="stable"):
        place[name] = loads.argmin()
        loads[place[name]] += heavy[name]
    return [place[index] == shard for shard in range(shards)]


def plan_batch(
    previous: tuple[ClipPlan, ...], sampler: Sampler, shape: BatchShape, rng: np.random.Generator
) -> tuple[ClipPlan, ...]:
    """Plan a batch of ``shape.clips`` clips; the first ``shape.streamed`` continue those of ``previous``.

    Args:
        previous: the plan of the batch before, () at the start of a stage.
        sampler: where new clips come from.
        shape: of the batch.
        rng: the only source of chance.
    """
    plans = []
    for slot in range(shape.clips):
        if slot < shape.streamed and slot < len(previous):
            last = previous[slot]
            frames = sampler.frames[last.sequence]
            follows = next_start(frames, last.start, shape.frames, last.stride)
            if last.sequence >= 0 and follows is not None and last.chunk + 1 < last.chunks:
                donor_start = (
                    next_start(sampler.frames[last.donor], last.donor_start, shape.frames, last.stride)
                    if last.donor >= 0
                    else None
                )
                plans.append(
                    replace(
                        last,
                        start=follows,
                        chunk=last.chunk + 1,
                        donor=last.donor if donor_start is not None else -1,
                        donor_start=donor_start or 0,
                    )
                )
                continue
        plans.append(_plan_new(sampler, shape, rng, slot))
    return tuple(plans)


def _plan_new(sampler: Sampler, shape: BatchShape, rng: np.random.Generator, slot: int) -> ClipPlan:
    streams = slot < shape.streamed
    stride = int(rng.integers(1, shape.max_stride + 1))
    seed = int(rng.integers(2**31))
    chunks = MAX_CHUNKS if streams else 1
    if not streams and rng.random() < shape.synthetic_fraction:
        sequence, start = -1, 0
    else:
        sequence = sampler.draw(rng, slot)
        start = int(rng.integers(window_starts(sampler.frames[sequence], shape.frames, stride)))
    plan = ClipPlan(sequence, start, stride, 0, seed, chunks=chunks)
    if rng.random() < shape.paste_probability:
        donor = sampler.draw(rng, slot)
        donor_start = int(rng.integers(window_starts(sampler.frames[donor], shape.frames, stride)))
        plan = replace(plan, donor=donor, donor_start=donor_start)
    # Only a clip can show that something stands still.
    if shape.frames > 1 and rng.random() < shape.clutter_probability:
        plan = replace(plan, clutter=sampler.draw(rng, slot))
    return plan


def edge_noise(plans: Iterable[ClipPlan], frames: int, objects: int) -> np.ndarray:
    """Normal numbers (B, T, G, 4) float32 for the edges of boxes; those of a clip follow from its plan."""
    numbers = [
        np.random.default_rng([plan.seed, plan.chunk, 4]).standard_normal((objects, frames, 4))
        for plan in plans
    ]
    return np.stack(numbers).transpose(0, 2, 1, 3).astype(np.float32)


def describe(plans: tuple[ClipPlan, ...], sequences: tuple[Sequence, ...], shape: BatchShape) -> str:
    """Which clips a batch shows, for a message: ``name frames 10 to 24; ...``."""
    last = shape.frames - 1
    return "; ".join(
        f"{sequences[plan.sequence].name} frames {plan.start} to {plan.start + last * plan.stride}"
        if plan.sequence >= 0
        else "a rendered scene"
        for plan in plans
    )
