from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.formats import clean
from seqdet.data.formats.protocol import Problems, RawSequence
from seqdet.data.labels import Labels
from seqdet.errors import InputError

SIZE = (64, 48)


def cleaned(rows: list[tuple[float, ...]], strict: bool = False) -> tuple[Labels, Problems]:
    """Rows of (frame, track, class, left, top, right, bottom) of a video of 10 frames of 64x48."""
    values = np.array(rows, np.float64).reshape(-1, 7)
    ids = values[:, :3].astype(np.int64)
    raw = RawSequence(
        "a", Path("a.mp4"), None, Path("a.txt"), "{file}:{row}", np.arange(len(values)) + 1, ids[:, 0],
        ids[:, 1], ids[:, 2], values[:, 3:], first_frame=1,
    )  # fmt: skip
    problems = Problems(strict)
    return clean.clean_labels(raw, 10, SIZE, problems), problems


GOOD = (0, 1, 0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("row", "reason", "box"),
    [
        ((1, 1, 0, -5, 2, 3, 4), clean.CLIPPED, [0, 2, 3, 4]),
        ((1, 1, 0, 60, 40, 70, 50), clean.CLIPPED, [60, 40, 64, 48]),
        ((1, 1, 0, 64, 2, 70, 4), clean.OUTSIDE, None),
        ((1, 1, 0, -5, -5, 0, 0), clean.OUTSIDE, None),
        ((1, 1, 0, 3, 2, 3, 4), clean.NO_SIZE, None),
        ((1, 1, 0, 5, 2, 3, 4), clean.NO_SIZE, None),
        ((1, 1, 0, 3, 2, 3.0001, 4), clean.NO_SIZE, None),
        ((0, 1, 0, 1, 2, 3, 4), clean.SAME_TWICE, None),
        ((0, 1, 0, 9, 9, 12, 12), clean.SECOND_BOX, [9, 9, 12, 12]),
        ((1, -1, 0, 9, 9, 12, 12), clean.NO_TRACK, [9, 9, 12, 12]),
    ],
)
def test_what_can_be_repaired_is_and_is_counted(
    row: tuple[float, ...], reason: str, box: list[float] | None
) -> None:
    labels, problems = cleaned([GOOD, row])
    (entry,) = problems.dropped
    assert (entry.reason, entry.count, entry.examples) == (reason, 1, ("a.txt:2",))
    assert labels.boxes_xyxy_px.tolist() == [[1, 2, 3, 4]] + ([box] if box else [])
    _, strictly = cleaned([GOOD, row], strict=True)
    with pytest.raises(InputError, match="a.txt:2: " + reason[:12]):
        strictly.raise_if_failed(Path("source"))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            (10, 1, 0, 1, 2, 3, 4),
            "a.txt:2: frame: 11 is not a frame of a.mp4, which has 10 frames, numbered 1 to 10",
        ),
        ((-1, 1, 0, 1, 2, 3, 4), "a.txt:2: frame: 0 is not a frame of a.mp4"),
        ((1, 1, 0, float("nan"), 2, 3, 4), "a.txt:2: box: a coordinate is not a finite number"),
        ((1, 1, 0, 1, 2, float("inf"), 4), "a.txt:2: box: a coordinate is not a finite number"),
    ],
)
def test_what_cannot_be_repaired_fails_by_line(row: tuple[float, ...], says: str) -> None:
    _, problems = cleaned([GOOD, row])
    with pytest.raises(InputError) as caught:
        problems.raise_if_failed(Path("source"))
    assert says in str(caught.value)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(-1, 3),
            st.integers(0, 1),
            *[st.floats(-80, 140, allow_nan=False)] * 4,
        ),
        max_size=30,
    )
)
def test_every_box_is_kept_or_counted_and_what_is_kept_is_valid(rows: list[tuple[float, ...]]) -> None:
    labels, problems = cleaned(rows)
    counts = {entry.reason: entry.count for entry in problems.dropped}
    lost = sum(counts.get(reason, 0) for reason in (clean.OUTSIDE, clean.NO_SIZE, clean.SAME_TWICE))
    assert len(labels) + lost == len(rows)
    box = labels.boxes_xyxy_px
    assert ((box[:, 2:] > box[:, :2]).all(1) & (box >= 0).all(1) & (box <= [64, 48, 64, 48]).all(1)).all()
    keys = list(zip(labels.frame.tolist(), labels.track_id.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert (labels.track_id >= 0).all()
