"""Several streams through one network: what each gets is what it gets alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from seqdet.runs.shared_network import SharedNetwork
from seqdet.runs.stream import Model, load, with_score
from seqdet.types import Frame


class Counting:
    """A network that notes how many streams each call held."""

    def __init__(self, network):
        self.network, self.batches = network, []

    def embed(self, frames, averages):
        self.batches.append(len(frames))
        return self.network.embed(frames, averages)

    def remember(self, maps, averages, batch, state):
        return self.network.remember(maps, averages, batch, state)


def stream(seed: int, frames: int) -> list[Frame]:
    rng = np.random.default_rng(seed)
    return [Frame(rng.integers(0, 255, (48, 64, 3), np.uint8), n, n / 25) for n in range(frames)]


def test_streams_of_different_lengths_together_are_each_what_they_are_alone(model_path):
    alone = with_score(load(model_path, "cpu", "torch"), 0.001)
    streams = [stream(seed, frames) for seed, frames in enumerate((9, 17, 12))]
    expected = [list(alone.results(frames)) for frames in streams]
    counting = Counting(alone.network)
    shared = SharedNetwork(counting, patience_s=0.5)
    model = Model(alone.detector, alone.card, alone.device, alone.options, shared)
    found: dict[int, list] = {}
    begin = threading.Barrier(len(streams))

    def work(number: int) -> None:
        with shared.stream():
            begin.wait()
            found[number] = list(model.results(streams[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(counting.batches) == 3, "they did go together"
    assert sum(len(results) for results in expected) == sum(len(results) for results in found.values())
    for number, results in enumerate(expected):
        for ours, theirs in zip(found[number], results, strict=True):
            assert ours.track_ids.tolist() == theirs.track_ids.tolist()
            assert ours.labels == theirs.labels
            np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)
            np.testing.assert_allclose(ours.boxes_xyxy_px, theirs.boxes_xyxy_px, atol=1e-2)


def test_an_error_reaches_every_stream_that_asked(model_path):
    class Broken(Counting):
        def embed(self, frames, averages):
            raise RuntimeError("out of memory")

    model = load(model_path, "cpu", "torch")
    model = Model(model.detector, model.card, model.device, model.options, SharedNetwork(Broken(None)))
    with pytest.raises(RuntimeError, match="out of memory"):
        list(model.results(stream(0, 3)))
