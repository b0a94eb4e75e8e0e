"""Batches follow from seed and step alone: a resumed training sees what a straight one does."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from seqdet.data.dataset import Dataset, Sequence, load_dataset
from seqdet.data.loader import ClipRenderer, batches
from seqdet.data.plans import MAX_CHUNKS, BatchShape, ClipPlan, Sampler, plan_batch
from seqdet.data.transforms.geometry import ClipGeometry
from seqdet.errors import InputError, UsageError
from seqdet.runs.synth import synth
from seqdet.types import ClipBatch, Targets
from seqdet.video.reader import open_video

INPUT_WH = (96, 64)
PLAIN = BatchShape(
    clips=4,
    frames=3,
    max_stride=2,
    streamed=2,
    augment=False,
    paste_probability=0.0,
    clutter_probability=0.0,
    synthetic_fraction=0.0,
    corrupt_probability=0.0,
    reverse_probability=0.0,
)
RICH = BatchShape(4, 3, 2, 2, True, 0.7, 0.5, 0.5, 0.5, 0.5)


def a_scene(rng: np.random.Generator, size_wh: tuple[int, int], frames: int, stride: int):
    """Stands for the renderer of scenes: one object of class 1 in noise."""
    pictures = rng.integers(0, 255, (frames, size_wh[1], size_wh[0], 3), np.uint8)
    truth = Targets(np.array([[8, 8, 24, 20]], np.float32), np.array([1]), np.array([5]))
    return pictures, (truth,) * frames, 1


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("loader") / "data"
    return load_dataset(synth(out, task="discs", sequences=5, frames=20, seed=1, val_fraction=0).out)


def renderer(dataset: Dataset, cache_bytes: int = 1 << 24) -> ClipRenderer:
    return ClipRenderer(dataset, dataset.sequences, INPUT_WH, cache_bytes, a_scene)


def assert_equal(one: ClipBatch, other: ClipBatch) -> None:
    for name in ClipBatch.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def recorded(counts: dict[str, int], class_id: int = 0) -> list[Sequence]:
    return [
        Sequence(f"{name}-{n}", Path("none.mp4"), 30, (64, 64), 30.0, class_id, recording=name)
        for name, count in counts.items()
        for n in range(count)
    ]


@pytest.mark.parametrize(("power", "share"), [(0.0, 1 / 2), (0.5, 3 / 4), (1.0, 9 / 10)])
def test_a_recording_of_many_clips_does_not_crowd_out_the_others(power: float, share: float):
    """Nine clips of one recording, one of another, two of another class: classes take equal turns."""
    sequences = tuple(recorded({"long": 9, "short": 1}) + recorded({"alone": 2}, class_id=1))
    sampler = Sampler(sequences, power)
    weights = {
        name: sum(w for w, s in zip(sampler.weights, sequences, strict=True) if s.recording == name)
        for name in ("long", "short", "alone")
    }
    assert weights == pytest.approx({"long": share / 2, "short": (1 - share) / 2, "alone": 1 / 2})
    rng = np.random.default_rng(0)
    drawn = np.bincount([sampler.draw(rng) for _ in range(2000)], minlength=12)
    np.testing.assert_allclose(drawn / 2000, sampler.weights, atol=0.035)


def test_an_empty_split_is_said():
    with pytest.raises(InputError, match="empty"):
        Sampler((), 0.5)


@pytest.mark.parametrize("shape", [PLAIN, RICH])
def test_streams_go_on_where_they_stopped(shape: BatchShape):
    sampler = Sampler(tuple(recorded({"a": 3, "b": 2})), 0.5)
    previous: tuple[ClipPlan, ...] = ()
    longest = 0
    for step in range(60):
        plans = plan_batch(previous, sampler, shape, np.random.default_rng([7, step]))
        assert len(plans) == shape.clips
        for slot, plan in enumerate(plans):
            span = (shape.frames - 1) * plan.stride
            longest = max(longest, plan.chunk)
            if plan.chunk == 0:
                assert 0 <= plan.start <= 30 - 1 - span
                continue
            last = previous[slot]
            assert slot < shape.streamed, "only streams carry a state"
            assert (plan.sequence, plan.stride, plan.seed) == (last.sequence, last.stride, last.seed)
            assert (plan.chunk, plan.start) == (last.chunk + 1, last.start + shape.frames * last.stride)
            assert plan.start + span < 30, "a stream ends before its video does"
            if plan.donor >= 0:
                assert plan.donor == last.donor
                assert plan.donor_start == last.donor_start + shape.frames * last.stride
        previous = plans
    assert 2 <= longest < MAX_CHUNKS


@pytest.mark.parametrize("shape", [PLAIN, RICH])
def test_a_resumed_loader_gives_the_same_batches(dataset: Dataset, shape: BatchShape):
    """From the plan and the number of the last step alone, with caches that are cold."""
    sampler = Sampler(dataset.sequences, 0.5)
    straight = list(islice(batches(renderer(dataset), sampler, shape, 3, 0, ()), 5))
    resumed = batches(renderer(dataset, cache_bytes=0), sampler, shape, 3, 2, straight[1][0])
    for (plans, batch), (plans_again, batch_again) in zip(straight[2:], resumed, strict=False):
        assert plans == plans_again
        assert_equal(batch, batch_again)
    other, _ = next(batches(renderer(dataset), sampler, shape, 4, 0, ()))
    assert other != straight[0][0], "the seed decides"


def test_a_plan_shows_what_it_says(dataset: Dataset):
    """Frames, times and truth of a window, against the video and the labels read directly."""
    plans = (ClipPlan(2, 4, 2, 0, seed=0), ClipPlan(0, 18, 1, 3, seed=0))
    batch = renderer(dataset).batch(plans, PLAIN)
    assert batch.frames.shape == (2, 3, 64, 96, 3)
    assert batch.age.tolist() == [0, 9], "frames that the carried state has seen"
    for row, (plan, wanted) in enumerate(zip(plans, ([4, 6, 8], [18, 19, 19]), strict=True)):
        sequence = dataset.sequences[plan.sequence]
        labels = dataset.labels(sequence)
        geometry = ClipGeometry.fit((64, 64), INPUT_WH)
        with open_video(sequence.video) as reader:
            frames = list(reader)
        assert batch.sequence_class_ids[row] == sequence.class_id
        for t, index in enumerate(wanted):
            assert batch.time_s[row, t] == frames[index].time_s
            truth = labels.at(index)
            expected, kept = geometry.map_boxes(truth.boxes_xyxy_px * 64 / 96)
            present = batch.present[row, t]
            assert present.sum() == kept.sum()
            order = np.argsort(truth.track_ids[kept])
            np.testing.assert_allclose(batch.boxes_xyxy_px[row, t][present], expected[kept][order], atol=1e-3)
            for left, top, right, bottom in expected[kept].round().astype(int):
                inside = batch.frames[row, t, top + 1 : bottom - 1, left + 1 : right - 1].mean()
                assert abs(inside - np.median(batch.frames[row, t, :, 16:80])) > 12, "a disc is in its box"


def test_augmented_truth_stays_sound(dataset: Dataset):
    sampler = Sampler(dataset.sequences, 0.5)
    for plans, batch in islice(batches(renderer(dataset), sampler, RICH, 11, 0, ()), 6):
        boxes, present = batch.boxes_xyxy_px, batch.present
        width, height = INPUT_WH
        assert batch.frames.dtype == np.uint8
        assert (boxes[..., [0, 2]] <= width).all()
        assert (boxes[..., [1, 3]] <= height).all()
        assert (boxes >= 0).all()
        assert ((boxes[..., 2:] > boxes[..., :2]).all(axis=-1) == present).all(), "a box where and only where"
        assert (batch.class_ids[~present] == -1).all()
        assert (batch.class_ids[present] >= 0).all()
        assert (np.diff(batch.time_s, axis=1) >= 0).all()
        assert [plan.chunk * 3 for plan in plans] == batch.age.tolist()


def test_one_geometry_for_all_frames_of_a_stream(dataset: Dataset):
    """Flip, scale, turn and shift are drawn once: the boxes of every chunk fit one and the same map."""
    shape = replace(RICH, paste_probability=0.0, corrupt_probability=0.0)
    clips = renderer(dataset)
    for seed in range(4):
        plan = ClipPlan(1, 0, 1, 0, seed)
        geometry = ClipGeometry.draw(np.random.default_rng(seed), (64, 64), INPUT_WH)
        labels = dataset.labels(dataset.sequences[1])
        for chunk in range(3):
            here = replace(plan, start=3 * chunk, chunk=chunk)
            batch = clips.batch((here,), shape)
            for t in range(3):
                truth = labels.at(here.start + t)
                expected, kept = geometry.map_boxes(truth.boxes_xyxy_px * 64 / 96)
                got = batch.boxes_xyxy_px[0, t][batch.present[0, t]]
                order = np.argsort(truth.track_ids[kept])
                np.testing.assert_allclose(got, expected[kept][order], atol=1e-3)


def test_a_pasted_object_goes_on_from_chunk_to_chunk(dataset: Dataset):
    """As smoothly as its donor moves: the border between two chunks is a step like any other."""
    shape = replace(PLAIN, paste_probability=1.0)
    clips, pasted = renderer(dataset), 0
    hosts = dataset.labels(dataset.sequences[1])
    for seed in range(8):
        plan = ClipPlan(1, 0, 1, 0, seed, donor=2, donor_start=0, chunks=6)
        boxes, present = [], []
        for chunk in range(6):
            here = replace(plan, start=3 * chunk, donor_start=3 * chunk, chunk=chunk)
            batch = clips.batch((here,), shape)
            boxes.append(batch.boxes_xyxy_px[0, :, -1])
            of_host = [len(hosts.at(here.start + t).track_ids) for t in range(3)]
            present.append(batch.present[0].sum(axis=1) > of_host)
        track, there = np.concatenate(boxes), np.concatenate(present)
        steps = np.abs(np.diff((track[:, :2] + track[:, 2:]) / 2, axis=0)).max(axis=1)
        known = there[1:] & there[:-1]
        border = np.arange(1, 18) % 3 == 0
        if (known & border).any() and (known & ~border).any():
            pasted += 1
            assert steps[known & border].max() <= 2 * steps[known & ~border].max() + 1
    assert pasted >= 3


def test_clutter_is_no_object_and_stays_where_it_is_from_chunk_to_chunk(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    # Three discs fill the small pictures: their motion would pass for a camera's.
    monkeypatch.setattr("seqdet.data.loader.stands_still", lambda frames: True)
    clips, seen = renderer(dataset), 0
    for seed in range(12):
        changes = []
        for chunk in range(3):
            plan = ClipPlan(1, 3 * chunk, 1, chunk, seed, chunks=6)
            bare = clips.batch((plan,), PLAIN)
            batch = clips.batch((replace(plan, clutter=2),), PLAIN)
            np.testing.assert_array_equal(batch.boxes_xyxy_px, bare.boxes_xyxy_px)
            np.testing.assert_array_equal(batch.present, bare.present)
            changes.append((batch.frames[0] != bare.frames[0]).any(axis=(0, 3)))
        if all(change.any() for change in changes):
            seen += 1
            first, last = (np.argwhere(change).mean(axis=0) for change in (changes[0], changes[-1]))
            assert np.abs(first - last).max() < 5
    assert seen >= 3


def test_only_what_looks_the_same_backwards_is_turned(dataset: Dataset):
    shape = replace(PLAIN, streamed=0, augment=True, reverse_probability=1.0)
    plan = ClipPlan(1, 4, 1, 0, 7)
    class_names = tuple(dataset.classes)
    kept = renderer(dataset).batch((plan,), shape)
    all_may = ClipRenderer(dataset, dataset.sequences, INPUT_WH, 1 << 24, a_scene, class_names)
    turned = all_may.batch((plan,), shape)
    np.testing.assert_array_equal(turned.frames[:, ::-1], kept.frames)
    np.testing.assert_array_equal(turned.boxes_xyxy_px[:, ::-1], kept.boxes_xyxy_px)
    assert (np.diff(turned.time_s) > 0).all()
    streamed = replace(plan, chunks=6)
    np.testing.assert_array_equal(
        all_may.batch((streamed,), shape).frames, renderer(dataset).batch((streamed,), shape).frames
    )
    with pytest.raises(UsageError, match="reversible"):
        ClipRenderer(dataset, dataset.sequences, INPUT_WH, 0, None, ("nothing",))


def test_noise_is_new_in_every_chunk_of_a_stream(dataset: Dataset):
    """Noise that came back would be a clock that no camera has; the tone must stay the same."""
    shape = replace(RICH, paste_probability=0.0, corrupt_probability=0.0)
    clips, noisy = renderer(dataset), 0
    for seed in range(12):
        first = clips.batch((ClipPlan(1, 0, 1, 0, seed, chunks=6),), shape).frames[0].astype(int)
        second = clips.batch((ClipPlan(1, 0, 1, 1, seed, chunks=6),), shape).frames[0].astype(int)
        assert np.abs(np.median(first) - np.median(second)) <= 3
        noisy += bool(np.abs(first - second).mean() > 0.5)
    assert 2 <= noisy < 12


def test_a_scene_without_a_renderer_is_said(dataset: Dataset):
    blind = ClipRenderer(dataset, dataset.sequences, INPUT_WH, 0, None)
    with pytest.raises(InputError, match="renders"):
        blind.batch((ClipPlan(-1, 0, 1, 0, 0),), PLAIN)


def test_the_cache_keeps_its_limit_and_forgets_the_oldest(dataset: Dataset):
    clips = renderer(dataset, cache_bytes=1 << 24)
    first = [clips.cache.frames(s, np.array([0, 7]))[0] for s in dataset.sequences]
    whole = clips.cache.used_bytes
    small = renderer(dataset, cache_bytes=whole // 2)
    for sequence, wanted in zip(dataset.sequences, first, strict=True):
        got, times = small.cache.frames(sequence, np.array([0, 7, 99]))
        np.testing.assert_array_equal(got[:2], wanted)
        assert times[2] == small.cache.frames(sequence, np.array([19]))[1][0], "past the end: the last one"
        assert small.cache.used_bytes <= whole // 2


@pytest.mark.parametrize(("counts", "empty"), [({"a": 7, "b": 5}, 0), ({"a": 4}, 1), ({"a": 3, "b": 3}, 1)])
def test_recordings_are_divided_whole_and_an_empty_shard_draws_from_all(counts: dict[str, int], empty: int):
    """7 + 5 clips in two shards, 4 + 0 in two, 3 + 3 + 0 in three."""
    sequences = tuple(recorded(counts))
    shards = len(counts) + empty
    sampler = Sampler(sequences, 0.5, shards)
    rng = np.random.default_rng(0)
    drawn = [{sampler.draw(rng, slot) for _ in range(200)} for slot in range(shards)]
    members = [{sequences[i].recording for i in indices} for indices in drawn]
    assert members[-1] == set(counts) if empty else all(len(names) == 1 for names in members)
    assert set.union(*drawn) == set(range(len(sequences)))
    own = members[: len(counts)]
    assert sorted(name for names in own for name in names) == sorted(counts), "each recording in one shard"


def test_slots_are_rendered_alone_as_they_are_in_the_whole_batch(dataset: Dataset):
    sampler = Sampler(dataset.sequences, 0.5, 2)
    whole_plans, whole = next(batches(renderer(dataset), sampler, PLAIN, 3, 0, ()))
    for slots in ([0, 2], [1, 3]):
        plans, part = next(batches(renderer(dataset), sampler, PLAIN, 3, 0, (), slots))
        assert plans == whole_plans, "everybody plans all"
        np.testing.assert_array_equal(part.frames, whole.frames[slots])
