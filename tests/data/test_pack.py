"""Packing loses nothing, whatever the picture; and a cache that packs shows what one that does not shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.cache import FrameCache
from seqdet.data.dataset import Sequence, load_dataset
from seqdet.data.pack import pack, unpack
from seqdet.runs.synth import synth


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    colour=st.booleans(),
    levels=st.sampled_from([1, 3, 256]),
    seed=st.integers(0, 2**31),
)
def test_a_packed_picture_comes_back(height: int, width: int, colour: bool, levels: int, seed: int):
    shape = (height, width, 3) if colour else (height, width)
    picture = np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint8)
    before = picture.copy()
    again = unpack(pack(picture))
    np.testing.assert_array_equal(again, before)
    np.testing.assert_array_equal(picture, before)
    assert again.dtype == np.uint8


def test_a_smooth_picture_takes_less():
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[:, None], 300, axis=1)
    assert pack(ramp).nbytes < ramp.nbytes / 10


@pytest.mark.parametrize("task", ["discs", "stress-clean"])
def test_what_is_kept_does_not_change_what_is_shown(tmp_path: Path, task: str):
    data = load_dataset(synth(tmp_path / "data", task=task, sequences=4, frames=12, seed=5).out)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 3)).tolist()

    def seen(cache: FrameCache, sequence: Sequence) -> list[np.ndarray]:
        return cache.frames(sequence, np.array([0, 5, 11]))[0]

    open_cache = FrameCache(1 << 30, (64, 64))
    raw = sum(picture.nbytes for s in data.sequences for picture in open_cache.frames(s, np.arange(12))[0])
    for limit in (0, raw // 3, int(raw * 0.8)):
        cache = FrameCache(limit, (64, 64))
        for index in order:
            wanted = seen(open_cache, data.sequences[index])
            for one, other in zip(seen(cache, data.sequences[index]), wanted, strict=True):
                np.testing.assert_array_equal(one, other)
            assert cache.used_bytes <= max(limit, raw // 4 + 1)
