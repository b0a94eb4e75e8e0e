"""Batches for the training: what to show is planned (pure, exact to resume), then rendered and augmented.

Legend: B clips, T frames, G objects. A batch's first slots are streams: each continues its video chunk after
chunk with one augmentation draw for the whole stream, so that the memory's state can be carried (RVT, CVPR
2023); the other slots are random windows that begin from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from seqdet.data.bursts import ClipTracks, backwards, with_burst
from seqdet.data.cache import FrameCache
from seqdet.data.dataset import Dataset, Sequence
from seqdet.data.labels import Labels
from seqdet.data.mask_windows import UNKNOWN, mask_windows, unknown_masks
from seqdet.data.paste import Placement, paste_clutter, paste_track
from seqdet.data.plans import BatchShape, ClipPlan, Sampler, plan_batch
from seqdet.data.transforms.geometry import ClipGeometry, as_rgb, in_colour, stands_still
from seqdet.data.transforms.photometric import photometric
from seqdet.data.windows import window_indices, with_gap
from seqdet.errors import InputError, UsageError
from seqdet.types import ClipBatch, Targets

# Of the corrupted clips so many lose frames, beside what ``with_burst`` does.
GAP_SHARE = 1 / 6
# (rng, (width, height), frames, stride) -> frames (T, H, W, 3), T targets, class of the sequence
RenderScene = Callable[
    [np.random.Generator, tuple[int, int], int, int], tuple[np.ndarray, tuple[Targets, ...], int]
]


class ClipRenderer:
    """Turns plans into batches: reads frames and labels, pastes, augments. Holds caches, no other state."""

    def __init__(
        self,
        dataset: Dataset,
        sequences: tuple[Sequence, ...],
        input_wh: tuple[int, int],
        cache_bytes: int,
        render_scene: RenderScene | None,
        reversible: tuple[str, ...] = (),
        masks: bool = False,
    ) -> None:
        unknown = [name for name in reversible if name not in dataset.classes]
        if unknown:
            raise UsageError(
                f"data.reversible: {', '.join(unknown)}: the classes are {', '.join(dataset.classes)}"
            )
        self.reversible = [dataset.classes.index(name) for name in reversible]
        self.dataset = dataset
        self.sequences = sequences
        self.input_wh = input_wh
        self.cache = FrameCache(cache_bytes, input_wh)
        self.render_scene = render_scene
        self.masks = masks
        self._labels: dict[int, Labels] = {}

    def batch(self, plans: tuple[ClipPlan, ...], shape: BatchShape) -> ClipBatch:
        """Render a batch: same plans, same batch."""
        width, height = self.input_wh
        frames = np.empty((len(plans), shape.frames, height, width, 3), np.uint8)
        clips = [self._clip(plan, shape, out) for plan, out in zip(plans, frames, strict=True)]
        objects = max(1, max(boxes.shape[1] for _, boxes, _, _, _, _ in clips))

        def padded(parts: list[np.ndarray], fill: int) -> np.ndarray:
            out = np.full((len(parts), shape.frames, objects, *parts[0].shape[2:]), fill, parts[0].dtype)
            for row, part in zip(out, parts, strict=True):
                row[:, : part.shape[1]] = part
            return out

        return ClipBatch(
            frames=frames,
            time_s=np.stack([clip[0] for clip in clips]),
            boxes_xyxy_px=padded([clip[1] for clip in clips], 0),
            class_ids=padded([clip[2] for clip in clips], -1),
            present=padded([clip[3] for clip in clips], 0),
            masks=padded([clip[4] for clip in clips], UNKNOWN),
            sequence_class_ids=np.array([clip[5] for clip in clips], np.int64),
            age=np.array([plan.chunk * shape.frames for plan in plans], np.int64),
            boxes_known=np.array(
                [plan.sequence < 0 or self.sequences[plan.sequence].boxes_known for plan in plans]
            ),
        )

    def _clip(
        self, plan: ClipPlan, shape: BatchShape, out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
        """Frames go to ``out`` (T, H, W, 3); times, boxes (T, G, 4), classes, present, masks, class."""
        rng = np.random.default_rng(plan.seed)
        noise = np.random.default_rng([plan.seed, plan.chunk])
        if plan.sequence < 0:
            return self._rendered(plan, shape, rng, noise, out)
        sequence = self.sequences[plan.sequence]
        indices = window_indices(sequence.frames, plan.start, shape.frames, plan.stride)
        gap = np.random.default_rng([plan.seed, 3])
        if shape.augment and plan.chunks == 1 and gap.random() < shape.corrupt_probability * GAP_SHARE:
            indices = with_gap(indices, sequence.frames, gap)
        pictures, times = self.cache.frames(sequence, indices)
        source_wh = (pictures[0].shape[1], pictures[0].shape[0])
        geometry = (
            ClipGeometry.draw(rng, source_wh, self.input_wh)
            if shape.augment
            else ClipGeometry.fit(source_wh, self.input_wh)
        )
        frames = geometry.warp_clip(pictures)
        truth = self._truth(plan.sequence, indices, source_wh)
        boxes, classes, present = _by_track(truth, len(indices), geometry)
        masks = (
            mask_windows(truth, boxes, present, geometry, source_wh, sequence.size_wh)
            if self.masks
            else unknown_masks(present.shape, wanted=False)
        )
        class_id = sequence.class_id
        if plan.clutter >= 0 or plan.donor >= 0 or not shape.augment:
            frames = in_colour(frames)
        if plan.clutter >= 0 and stands_still(frames):
            self._paste_clutter(plan, frames, boxes, present)
        if plan.donor >= 0:
            boxes, classes, present, pasted = self._paste(plan, shape, frames, boxes, classes, present)
            masks = self._with_unknown(masks, boxes.shape[1])
            if pasted not in (-1, class_id):
                class_id = -1
        if shape.augment:
            clip = ClipTracks(photometric(frames, rng, noise, out), boxes, classes, present, masks)
            if shape.frames > 1 and noise.random() < shape.corrupt_probability:
                clip = with_burst(clip, noise)
            if plan.chunks == 1 and noise.random() < shape.reverse_probability and self._may_turn(plan, clip):
                clip = backwards(clip)
            frames, boxes, classes, present, masks = clip
        if frames is not out:
            out[:] = frames
        return times, boxes, classes, present, masks, class_id

    def _with_unknown(self, masks: np.ndarray, objects: int) -> np.ndarray:
        """With columns for objects that were pasted: theirs are not known."""
        frames, before = masks.shape[:2]
        return np.concatenate([masks, unknown_masks((frames, objects - before), self.masks)], axis=1)

    def _rendered(
        self,
        plan: ClipPlan,
        shape: BatchShape,
        rng: np.random.Generator,
        noise: np.random.Generator,
        out: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
        if self.render_scene is None:
            raise InputError("a plan with a rendered scene, but nothing that renders it")
        frames, truth, class_id = self.render_scene(rng, self.input_wh, shape.frames, plan.stride)
        rendered = _in_columns(truth)
        as_it_is = ClipGeometry.fit(self.input_wh, self.input_wh)
        boxes, classes, present = _by_track(rendered, shape.frames, as_it_is)
        if plan.donor >= 0:
            boxes, classes, present, pasted = self._paste(plan, shape, frames, boxes, classes, present)
            if pasted not in (-1, class_id):
                class_id = -1
        if shape.augment:
            photometric(frames, rng, noise, out)
        else:
            out[:] = frames
        masks = unknown_masks(present.shape, self.masks)
        return np.arange(shape.frames) * plan.stride / 30, boxes, classes, present, masks, class_id

    def _paste(
        self,
        plan: ClipPlan,
        shape: BatchShape,
        frames: np.ndarray,
        boxes: np.ndarray,
        classes: np.ndarray,
        present: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Paste the donor's longest track; also returns its class, -1 when nothing was pasted.

        Track and place are drawn for the whole stream, so that the object goes on from chunk to chunk.
        """
        nothing = boxes, classes, present, -1
        donor = self.sequences[plan.donor]
        done_before = plan.chunk * shape.frames
        path = window_indices(
            donor.frames,
            plan.donor_start - done_before * plan.stride,
            plan.chunks * shape.frames,
            plan.stride,
        )
        now = slice(done_before, done_before + shape.frames)
        pictures = [as_rgb(picture) for picture in self.cache.frames(donor, path[now])[0]]
        source_wh = (pictures[0].shape[1], pictures[0].shape[0])
        truth = self._truth(plan.donor, path, source_wh)
        as_it_is = ClipGeometry(np.eye(2, 3), source_wh)
        donor_boxes, donor_classes, donor_present = _by_track(truth, len(path), as_it_is)
        if donor_boxes.shape[1] == 0:
            return nothing
        track = int(donor_present.sum(axis=0).argmax())
        there = donor_present[:, track]
        placement = Placement.draw(
            np.random.default_rng([plan.seed, 1]), donor_boxes[there, track], source_wh, self.input_wh
        )
        placed, done = paste_track(
            frames, pictures, donor_boxes[now, track], there[now], boxes[present], placement
        )
        if not done.any():
            return nothing
        pasted = int(donor_classes[:, track].max())
        boxes = np.concatenate([boxes, placed[:, None]], axis=1)
        classes = np.concatenate([classes, np.where(done, pasted, -1)[:, None]], axis=1)
        return boxes, classes, np.concatenate([present, done[:, None]], axis=1), pasted

    def _paste_clutter(
        self, plan: ClipPlan, frames: np.ndarray, boxes: np.ndarray, present: np.ndarray
    ) -> None:
        """Paste still spots, the same in all chunks of a stream."""
        rng = np.random.default_rng([plan.seed, 2])
        donor = self.sequences[plan.clutter]
        if not donor.boxes_known:  # its spots may be objects
            return
        index = int(rng.integers(donor.frames))
        picture = as_rgb(self.cache.frames(donor, np.array([index]))[0][0])
        size_wh = (picture.shape[1], picture.shape[0])
        truth = self._truth(plan.clutter, np.array([index]), size_wh)
        paste_clutter(frames, picture, truth.boxes_xyxy_px, boxes, present, rng)

    def _may_turn(self, plan: ClipPlan, clip: ClipTracks) -> bool:
        """True when every class in the clip, and its own, looks the same backwards."""
        found = [*np.unique(clip.class_ids[clip.present]), self.sequences[plan.sequence].class_id]
        return all(class_id in self.reversible for class_id in found if class_id >= 0)

    def _truth(self, index: int, frames: np.ndarray, picture_wh: tuple[int, int]) -> Labels:
        """The truth of a window of frames, in pixels of the cached picture."""
        sequence = self.sequences[index]
        if index not in self._labels:
            self._labels[index] = self.dataset.labels(sequence)
        truth = self._labels[index].window(frames)
        factors = np.tile(np.array(picture_wh) / np.array(sequence.size_wh), 2).astype(np.float32)
        return replace(truth, boxes_xyxy_px=truth.boxes_xyxy_px * factors)


def _in_columns(truth: tuple[Targets, ...]) -> Labels:
    """T truths, one for each frame."""
    return Labels(
        np.repeat(np.arange(len(truth)), [len(targets) for targets in truth]),
        np.concatenate([targets.track_ids for targets in truth]),
        np.concatenate([targets.class_ids for targets in truth]),
        np.concatenate([targets.boxes_xyxy_px for targets in truth]),
    )


def _by_track(truth: Labels, time: int, geometry: ClipGeometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth of T frames -> boxes (T, G, 4) float32 in input pixels, classes and present (T, G), by track."""
    ids, columns = np.unique(truth.track_id, return_inverse=True)
    boxes = np.zeros((time, len(ids), 4), np.float32)
    classes = np.full((time, len(ids)), -1, np.int64)
    present = np.zeros((time, len(ids)), bool)
    mapped, kept = geometry.map_boxes(truth.boxes_xyxy_px)
    place = truth.frame[kept], columns[kept]
    boxes[place] = mapped[kept]
    classes[place] = truth.class_id[kept]
    present[place] = True
    return boxes, classes, present


def batches(
    renderer: ClipRenderer,
    sampler: Sampler,
    shape: BatchShape,
    seed: int,
    first_step: int,
    previous: tuple[ClipPlan, ...],
    slots: Iterable[int] | None = None,
) -> Iterator[tuple[tuple[ClipPlan, ...], ClipBatch]]:
    """Endless batches from ``first_step`` on, each with its plan; step s of a seed is always the same batch.

    Args:
        renderer: decodes and augments.
        sampler: draws sequences.
        shape: of the batches.
        seed: of the whole training.
        first_step: number of the first batch.
        previous: plan of the batch before, () at the start of a stage.
        slots: which clips are rendered, in a process that has others beside it; the plan is of all.
    """
    shown = tuple(range(shape.clips) if slots is None else slots)
    step = first_step
    while True:
        previous = plan_batch(previous, sampler, shape, np.random.default_rng([seed, step]))
        yield previous, renderer.batch(tuple(previous[slot] for slot in shown), shape)
        step += 1
