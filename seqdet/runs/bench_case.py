"""One model, one runtime, one input size, measured: in a process that does nothing else.

Each stage alone passes over the whole clip, in turn with the whole of ``detect``, so that a ratio compares
neighbours in time. ``bench_profile`` says where the work is.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from seqdet.data.transforms.geometry import preprocess
from seqdet.errors import UsageError
from seqdet.results.draw import Annotator
from seqdet.runs.bench_profile import profile
from seqdet.runs.detect_source import detect_one
from seqdet.runs.device import keep_freed_memory, threads_shared_by
from seqdet.runs.stream import Model, load
from seqdet.types import Frame
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter

_STEPS, _STEPS_TO_WARM_UP = 50, 10


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured.

    Attributes:
        model: shipped name, run folder, file or exported folder.
        runtime: "torch", "openvino" or "onnx".
        input_wh: width and height of the network's input, or None for the model's own.
        device: "auto", "cpu" or "cuda".
        source: video.
        folder: for annotated videos.
        frames: at most so many of the source.
        runs: how often.
    """

    model: str
    runtime: str
    input_wh: tuple[int, int] | None
    device: str
    source: str
    folder: str
    frames: int
    runs: int

    @property
    def name(self) -> str:
        """For people."""
        size = f" {self.input_wh[0]}x{self.input_wh[1]}" if self.input_wh else ""
        return f"{self.runtime}{size}"


@dataclass(frozen=True, slots=True)
class Spread:
    """Of several values: the median, and the bounds below which 10 and 90 % lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value, rounded to what can be told."""
        low, middle, high = np.percentile(values, (10, 50, 90))
        return cls(round(float(middle), 3), round(float(low), 3), round(float(high), 3))


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds a frame.

    Attributes:
        wall_ms: by the clock on the wall.
        cpu_ms: median of what all threads of the process spent.
    """

    wall_ms: Spread
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """What came out.

    Attributes:
        runtime: which.
        input_wh: width and height of the network's input.
        device: "cpu" or "cuda".
        threads: of the arithmetic.
        frames: in each run.
        load_s: seconds to open the model.
        step: ``Model.step`` on one frame of the size of the input, with association.
        whole: ``detect`` with an annotated video, without opening the model.
        stages: each stage alone, by name.
        slowest: name of the slowest stage.
        ratio: the whole over its slowest stage, in each run.
        cpu_ratio: the same of processor times: what ``ratio`` could be if no core ever idled.
        profile_cpu_ms: processor milliseconds a frame of every stage, in the order of the flow.
        peak_mib: greatest memory of the process after a first run of the whole; None where it is not told.
        others_share: part of the machine that other programs used meanwhile, 0..1; None where it is not told.
    """

    runtime: str
    input_wh: tuple[int, int]
    device: str
    threads: int
    frames: int
    load_s: float
    step: Timed
    whole: Timed
    stages: dict[str, Timed]
    slowest: str
    ratio: Spread
    cpu_ratio: float
    profile_cpu_ms: dict[str, float]
    peak_mib: float | None
    others_share: float | None


def measure_case(case: Case) -> CaseFigures:
    """Measure one case, in a process that may change what holds for all of it.

    Raises:
        SeqdetError: the model or the source cannot be read, or the runtime is missing.
    """
    keep_freed_memory()
    started = time.perf_counter()
    model = load(case.model, case.device, case.runtime)
    load_s = time.perf_counter() - started
    own_wh = tuple(model.card.config.input_size_wh)
    if case.input_wh is not None and case.input_wh != own_wh:
        if case.runtime != "torch":
            raise UsageError(
                f"--sizes: the graph for {case.runtime} has the input of its model, {own_wh[0]}x{own_wh[1]}; "
                "measure other sizes with --runtime torch"
            )
        model = _with_input(model, case.input_wh)
    busy_before, own_before = _busy_s(), time.process_time()
    started = time.perf_counter()
    step = _steps(model, [frame.rgb for frame in _frames(case, _STEPS)])
    written = Path(case.folder) / f"{case.runtime}.mp4"

    def whole() -> None:
        with threads_shared_by(2):
            detect_one(case.source, written, (), model, case.frames, True, None)

    whole()
    peak_mib = _peak_mib()
    frames = _frames(case, case.frames)
    stages = _stages(model, frames, case, written)
    runs = in_turn({**stages, "whole": whole}, case.runs, len(frames))
    timed = {name: _timed(times) for name, times in runs.items()}
    of_whole = timed.pop("whole")
    slowest = max(timed, key=lambda name: timed[name].wall_ms.median)
    ratios = [a[0] / b[0] for a, b in zip(runs["whole"], runs[slowest], strict=True)]
    of_stages = profile(model, case.source, case.frames, written)
    seconds = time.perf_counter() - started
    return CaseFigures(
        runtime=case.runtime,
        input_wh=model.card.config.input_size_wh,
        device=model.device.type,
        threads=torch.get_num_threads(),
        frames=len(frames),
        load_s=round(load_s, 3),
        step=step,
        whole=of_whole,
        stages=timed,
        slowest=slowest,
        ratio=Spread.of(ratios),
        cpu_ratio=round(of_whole.cpu_ms / max(timed[slowest].cpu_ms, 1e-9), 3),
        profile_cpu_ms=of_stages,
        peak_mib=peak_mib,
        others_share=_others_share(busy_before, time.process_time() - own_before, seconds),
    )


def _with_input(model: Model, input_wh: tuple[int, int]) -> Model:
    config = model.card.config.model_copy(update={"input_size_wh": input_wh})
    card = replace(model.card, config=config)
    return Model(model.detector, card, model.device, model.options, model.network)


def _steps(model: Model, pictures_rgb: Sequence[np.ndarray]) -> Timed:
    """Single steps, each waiting for its answer, as a camera wants them."""
    pictures = [preprocess(rgb, model.card.config.input_size_wh)[0] for rgb in pictures_rgb]
    state, times = model.initial_state(), []
    for index in range(_STEPS + _STEPS_TO_WARM_UP):
        wall, cpu = time.perf_counter(), time.process_time()
        _, state = model.step(pictures[index % len(pictures)], state)
        times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    return _timed(times[_STEPS_TO_WARM_UP:])


def _frames(case: Case, limit: int) -> list[Frame]:
    with open_video(case.source) as reader:
        return list(islice(reader, limit))


def _stages(model: Model, frames: list[Frame], case: Case, written: Path) -> dict[str, Callable[[], object]]:
    """Each stage as a pass over the whole clip, with all that it needs at hand."""
    results = list(model.results(frames))
    annotator = Annotator(model.classes)
    drawn = [annotator.draw(result) for result in results]

    def decode() -> None:
        with open_video(case.source) as reader:
            for _ in islice(reader, case.frames):
                pass

    def draw() -> None:
        fresh = Annotator(model.classes)
        for result in results:
            fresh.draw(result)

    def encode() -> None:
        with VideoWriter(written, size_wh=frames[0].size_wh, overwrite=True) as writer:
            for frame, picture in zip(frames, drawn, strict=True):
                writer.write(picture, frame.time_s)

    def network() -> None:
        for _ in model.results(frames):
            pass

    return {"decode": decode, "model": network, "draw": draw, "encode": encode}


def in_turn(
    passes: dict[str, Callable[[], object]], runs: int, frames: int
) -> dict[str, list[tuple[float, float]]]:
    """Wall and processor milliseconds a frame of each pass, round by round after one to warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in passes}
    for _ in range(runs + 1):
        for name, run in passes.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            took = time.perf_counter() - wall, time.process_time() - cpu
            times[name].append((1000 * took[0] / frames, 1000 * took[1] / frames))
    return {name: values[1:] for name, values in times.items()}


def _timed(times: Sequence[tuple[float, float]]) -> Timed:
    return Timed(Spread.of([wall for wall, _ in times]), round(statistics.median(c for _, c in times), 3))


def _peak_mib() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # Unix only

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def _busy_s() -> float | None:
    """Seconds that all processors have worked since the machine started."""
    told = Path("/proc/stat")
    if not told.is_file():
        return None
    user, nice, system, _, _, irq, soft, steal = map(int, told.read_text("ascii").split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _others_share(busy_before: float | None, own_s: float, seconds: float) -> float | None:
    busy_after = _busy_s()
    if busy_before is None or busy_after is None:
        return None
    return round(max(0.0, busy_after - busy_before - own_s) / (seconds * (os.cpu_count() or 1)), 3)
