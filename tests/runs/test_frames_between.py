"""A network that sees some frames only: those as if there were no others, the rest between, all in order."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet.errors import UsageError
from seqdet.results.tracks import initial_track_state
from seqdet.runs.frames_between import results_between
from seqdet.runs.pace import LONGEST_INTERVAL, every_for, with_every
from seqdet.runs.stream import Model, load
from seqdet.types import Detections, Frame, FrameResult
from seqdet.video.reader import open_video

CLIP = "sample_videos/airspace_thermal.mp4"


@pytest.fixture(scope="module")
def model(sure_model: Path) -> Model:
    return load(sure_model, "cpu")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    with open_video(CLIP) as reader:
        return list(islice(reader, 150, 162))


@pytest.fixture(scope="module")
def sparse(model: Model, frames) -> list[FrameResult]:
    """Of every third frame."""
    return list(with_every(model, 3).results(frames))


def _boxes(results) -> list[np.ndarray]:
    return [result.detections.boxes_xyxy_px for result in results]


def test_seen_frames_are_as_if_the_others_were_not_there(model: Model, frames, sparse) -> None:
    assert all(result.frame is frame for result, frame in zip(sparse, frames, strict=True))
    options = replace(model.options, every=3).in_seen_frames()
    alone = list(model.with_options(options).results(frames[::3], 1))
    for ours, theirs in zip(_boxes(sparse[::3]), _boxes(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-2)


def test_working_ahead_changes_nothing(model: Model, frames, sparse) -> None:
    ahead = [result for result, _ in with_every(model, 3).results_and_states(iter(frames[:7]), ahead=True)]
    for ours, theirs in zip(_boxes(ahead), _boxes(sparse), strict=False):
        np.testing.assert_array_equal(ours, theirs)


def test_boxes_between_keep_up_with_the_objects(frames) -> None:
    """Against the network's own word in those frames: the same objects within a pixel or two."""
    torch.set_num_threads(1)
    model = load("airspace", "cpu")
    each, sparse = list(model.results(frames)), list(with_every(model, 3).results(frames))
    apart = [
        np.abs(theirs.detections.boxes_xyxy_px - box).max(axis=1).min(initial=99)
        for ours, theirs in zip(sparse, each, strict=True)
        for box in ours.detections.boxes_xyxy_px[ours.detections.track_ids >= 0]
        if ours.frame.index % 3
    ]
    assert len(apart) >= 5
    assert np.median(apart) < 3


def test_frames_wait_for_the_next_seen_one_and_no_longer(frames) -> None:
    """Without a network: of five frames at most one and its followers wait."""
    taken, tracks = 0, initial_track_state(2)

    def counted():
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    def see(ones):
        for frame in ones:
            yield FrameResult(frame, Detections.empty(2), ("a", "b")), taken

    for number, (result, _) in enumerate(results_between(counted(), 5, see, lambda _: tracks)):
        assert result.frame is frames[number]
        assert taken - number <= 6


def test_one_frame_and_none(model: Model, frames) -> None:
    fourth = with_every(model, 4)
    assert list(fourth.results([])) == []
    assert len(list(fourth.results(frames[:1]))) == 1
    assert len(list(fourth.results(frames[:3]))) == 3


def test_the_interval_fits_the_target(model: Model) -> None:
    # However busy the machine is.
    assert every_for(model, 1e-4) == 1
    assert every_for(model, 1e5) == LONGEST_INTERVAL
    with pytest.raises(UsageError, match="--fps-target nan"):
        every_for(model, float("nan"))
