from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.split import find_leaks, join_recordings, refuse_leaks, split_by_recording
from seqdet.errors import UsageError

PAIRS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([None, "x", "y"])), min_size=1, max_size=30
)


@given(pairs=PAIRS, fraction=st.floats(0, 0.9), seed=st.integers(0, 5))
def test_a_recording_is_never_divided_and_train_never_empty(
    pairs: list[tuple[str, str | None]], fraction: float, seed: int
) -> None:
    recordings, labels = zip(*pairs, strict=True)
    splits = split_by_recording(recordings, labels, val_fraction=fraction, seed=seed)
    assert not find_leaks(recordings, splits)
    assert "train" in splits
    assert splits == split_by_recording(recordings, labels, val_fraction=fraction, seed=seed)
    if fraction == 0:
        assert "val" not in splits
    elif len(set(recordings)) > 1:
        assert "val" in splits or fraction < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_each_class_gets_its_share(seed: int) -> None:
    recordings = [f"r{number}" for number in range(100)]
    labels = ["rare" if number < 10 else "common" for number in range(100)]
    splits = split_by_recording(recordings, labels, val_fraction=0.2, seed=seed)
    assert [splits[:10].count("val"), splits[10:].count("val")] == [2, 18]


def test_the_seed_matters_and_a_class_of_one_recording_stays_in_train() -> None:
    recordings = [f"r{number}" for number in range(20)]
    labels = ["only"] + ["common"] * 19
    found = {tuple(split_by_recording(recordings, labels, seed=seed)) for seed in range(5)}
    assert len(found) > 1
    assert {splits[0] for splits in found} == {"train"}


def test_a_leak_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"'take' \(train and val\).*--allow-leak"):
        refuse_leaks(["take", "take", "other"], ["train", "val", "val"])
    refuse_leaks(["take", "take"], ["val", "val"])


def test_recordings_with_something_in_common_become_one_also_by_way_of_a_third() -> None:
    assert join_recordings(["a", "b", "c", "a", "d"], [(1, 3), (1, 2)]) == ["b", "b", "b", "b", "d"]
    assert join_recordings(["a", "b"], [(0, 1), (1, 0), (0, 1)]) == ["a", "a"]
    assert join_recordings(["a", "b"], []) == ["a", "b"]


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction"):
        split_by_recording(["a"], [None], val_fraction=fraction)
