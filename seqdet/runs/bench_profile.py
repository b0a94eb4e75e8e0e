"""Where each millisecond of ``detect`` goes: stage after stage, by the clock of the processor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from torch import Tensor, nn

from seqdet.data.transforms.geometry import preprocess
from seqdet.model.detector import Detector, DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.memory import DetectorState
from seqdet.results.draw import Annotator
from seqdet.results.postprocess import postprocess
from seqdet.runs.device import threads_shared_by
from seqdet.runs.network import Network
from seqdet.runs.stream import FRAMES_AT_ONCE, Model, raw_pictures
from seqdet.types import Frame, FrameResult
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter


class _Watch:
    """Adds up processor time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """What happens inside is the stage's."""
        start = time.process_time()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - start

    def watch(self, module: nn.Module, stage: str) -> None:
        """The same for all that a module computes from now on."""
        starts: list[float] = []
        module.register_forward_pre_hook(lambda *_: starts.append(time.process_time()))

        def end(*_: object) -> None:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - starts.pop()

        module.register_forward_hook(end)


class _WatchedNetwork:
    """A network under watch; it keeps its last output."""

    def __init__(self, network: Network, watch: _Watch) -> None:
        self._network, self._watch = network, watch
        self.output: DetectorOutput | None = None

    def embed(
        self, frames: Tensor, averages: FrameAverages | None
    ) -> tuple[list[Tensor], FrameAverages | None]:
        with self._watch.on("embed"):
            return self._network.embed(frames, averages)

    def remember(
        self, maps: list[Tensor], averages: FrameAverages | None, batch: int, state: DetectorState | None
    ) -> tuple[DetectorOutput, DetectorState]:
        with self._watch.on("remember"):
            self.output, state = self._network.remember(maps, averages, batch, state)
            return self.output, state


def profile(model: Model, source: str, limit: int, written: Path) -> dict[str, float]:
    """Processor milliseconds a frame of every stage, one after the other, with one thread as in ``detect``.

    The network's inner stages are told where it is PyTorch's.

    Args:
        model: its detector stays under watch.
        source: video.
        limit: at most so many of its frames.
        written: annotated video, replaced.
    """
    watch = _Watch()
    network = _WatchedNetwork(model.network, watch)
    if isinstance(model.network, Detector):
        for name in ("encoder", "neck", "memory", "heads"):
            module = getattr(model.network, name)
            if module is not None:
                watch.watch(module, name)
    watched = Model(model.detector, model.card, model.device, model.options, network)
    count = 0
    with threads_shared_by(2), open_video(source) as reader:
        frames, annotator = islice(reader, limit), Annotator(model.classes)
        state = watched.initial_state()
        with VideoWriter(written, size_wh=reader.info.size_wh, overwrite=True) as writer:
            while True:
                with watch.on("decode"):
                    group = list(islice(frames, FRAMES_AT_ONCE))
                if not group:
                    break
                with watch.on("model"):
                    results, state = watched.advance(group, state)
                _again(watched, group, network.output, watch)
                _out(results, annotator, writer, watch)
                count += len(group)
            with watch.on("encode"):
                writer.close()
    return {stage: round(1000 * seconds / count, 3) for stage, seconds in _flow(watch.seconds).items()}


def _again(model: Model, group: list[Frame], output: DetectorOutput | None, watch: _Watch) -> None:
    """What ``advance`` does inside, once more on its own: what is left of its time is the tracks'."""
    assert output is not None
    with watch.on("preprocess"):
        for frame in group:
            preprocess(frame.rgb, model.card.config.input_size_wh)
    with watch.on("postprocess"):
        for raw in raw_pictures(output):
            postprocess(raw, model.options.postprocess)


def _out(results: Sequence[FrameResult], annotator: Annotator, writer: VideoWriter, watch: _Watch) -> None:
    for result in results:
        with watch.on("draw"):
            picture = annotator.draw(result)
        with watch.on("encode"):
            writer.write(picture, result.time_s)


def _flow(seconds: dict[str, float]) -> dict[str, float]:
    """The stages in the order of the flow; what holds others is replaced by its rest."""
    flow = {"decode": seconds["decode"], "preprocess": seconds["preprocess"]}
    inner = [name for name in ("encoder", "neck", "memory", "heads") if name in seconds]
    both = seconds["embed"] + seconds["remember"]
    flow |= {name: seconds[name] for name in inner}
    flow["rest of the network" if inner else "network"] = both - sum(seconds[name] for name in inner)
    flow["postprocess"] = seconds["postprocess"]
    flow["tracks"] = max(0.0, seconds["model"] - both - seconds["preprocess"] - seconds["postprocess"])
    return flow | {"draw": seconds["draw"], "encode": seconds["encode"]}
