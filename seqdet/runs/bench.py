"""How fast a model is on this machine: one step, the whole of ``detect``, and where each millisecond goes.

Each runtime and input size is measured in a process of its own, so that its memory is its own. Wall times of
a machine that does other work say little: each comes with its spread and with the processor time, which is
spent by this process alone, and the report says what else the machine did.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from seqdet.config import ModelConfig
from seqdet.errors import OutputError, Terminated, UsageError
from seqdet.runs.bench_case import Case, CaseFigures, measure_case
from seqdet.runs.exported import is_exported, read_exported
from seqdet.runs.runtimes import RUNTIMES
from seqdet.runs.shipped import find_model
from seqdet.runs.step_graph import installed
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter

Progress = Callable[[str, int, int | None], None]
FIGURES = "bench.json"
MADE_UP = "a made-up clip"
_MADE_UP_WH = (640, 512)
# Above this, somebody else's work shows in wall times.
BUSY_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured.

    Attributes:
        processor: its name.
        cores: that this process may use.
        gpu: its name, or None.
        torch: version.
        load_before: load average of the last minute before the start, or None where there is none.
        load_after: the same at the end; it holds the bench's own work.
    """

    processor: str
    cores: int
    gpu: str | None
    torch: str
    load_before: float | None
    load_after: float | None


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All that was measured.

    Attributes:
        model: as the user named it.
        source: what was detected in.
        size_wh: width and height of its frames.
        frames: how many of them each run took.
        runs: how many times everything was measured, after one run to warm up.
        machine: where.
        cases: one for each runtime and input size.
        notes: sentences on what the figures are worth.
    """

    model: str
    source: str
    size_wh: tuple[int, int]
    frames: int
    runs: int
    machine: Machine
    cases: tuple[CaseFigures, ...]
    notes: tuple[str, ...]


def bench(
    model: str | Path = "airspace",
    *,
    source: str | None = None,
    runtimes: Sequence[str] = (),
    sizes_wh: Sequence[tuple[int, int]] = (),
    frames: int = 150,
    runs: int = 5,
    device: str = "auto",
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> BenchReport:
    """Measure a model.

    Args:
        model: shipped name, run folder or file.
        source: video to detect in; without one a clip is made up, of noise and a moving square.
        runtimes: "torch", "openvino", "onnx"; without any, all that are installed, or the one that the model
            was exported for, or PyTorch where other sizes are asked for.
        sizes_wh: inputs of the network, multiples of 32; the model's own without any. Other sizes than that
            are for PyTorch only.
        frames: the first so many of the source.
        runs: how often, at least 1.
        device: "auto", "cpu" or "cuda".
        out: folder for ``bench.json``.
        force: replace one that is there.
        progress: is told how many cases are done.

    Raises:
        UsageError: a size that the network cannot take, or ``out`` holds a bench.
        InputError: the model or the source cannot be read.
        MissingDependencyError: a runtime is not installed.
        OutputError: ``out`` cannot be written.
    """
    runtimes = tuple(runtimes) or _runtimes(model, sizes_wh)
    for size_wh in sizes_wh:
        _require_size(size_wh)
    for runtime in runtimes:
        if runtime not in RUNTIMES or runtime == "auto":
            names = ", ".join(name for name in RUNTIMES if name != "auto")
            raise UsageError(f"--runtime {runtime}: use {names}")
    if out is not None:
        _prepare(out, force)
    load_before = _load_average()
    figures: list[CaseFigures] = []
    with tempfile.TemporaryDirectory(prefix="seqdet-bench-") as folder:
        clip = source
        if clip is None:
            clip = str(Path(folder) / "made_up.mp4")
            _make_up(Path(clip), frames)
        with open_video(clip) as reader:
            size_wh = reader.info.size_wh
        cases = [
            Case(str(model), runtime, input_wh, device, clip, folder, frames, runs)
            for runtime in runtimes
            for input_wh in (sizes_wh or (None,))
        ]
        for number, case in enumerate(cases):
            if progress is not None:
                progress(case.name, number, len(cases))
            figures.append(_in_a_process_of_its_own(case))
    machine = Machine(
        _processor(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        torch.__version__,
        load_before,
        _load_average(),
    )
    report = BenchReport(
        str(model),
        source or MADE_UP,
        size_wh,
        figures[0].frames,
        runs,
        machine,
        tuple(figures),
        _notes(machine, figures),
    )
    if out is not None:
        _write(out / FIGURES, report)
    return report


def _runtimes(model: str | Path, sizes_wh: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """What is measured where nobody says it."""
    if is_exported(Path(model)):
        return (read_exported(Path(model)).runtime,)
    find_model(model)  # a wrong name is said before any work
    others = (name for name in RUNTIMES if name not in ("auto", "torch") and installed(name))
    return ("torch", *(() if sizes_wh else others))


def _prepare(out: Path, force: bool) -> None:
    if (out / FIGURES).exists() and not force:
        raise UsageError(f"{out / FIGURES} exists; choose another --out, or replace it with --force")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error


def _write(path: Path, report: BenchReport) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _in_a_process_of_its_own(case: Case) -> CaseFigures:
    before = multiprocessing.active_children()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure_case, case).result()
        except (KeyboardInterrupt, Terminated):  # the pool would wait for the end of the case
            for child in multiprocessing.active_children():
                if child not in before:
                    child.terminate()
            raise


def _require_size(size_wh: tuple[int, int]) -> None:
    try:
        ModelConfig(input_size_wh=size_wh)
    except ValueError as error:
        raise UsageError(
            f"--sizes {size_wh[0]}x{size_wh[1]}: the network takes multiples of 32, such as 320x256"
        ) from error


def _notes(machine: Machine, cases: Sequence[CaseFigures]) -> tuple[str, ...]:
    notes = []
    if machine.load_before is not None:
        notes.append(f"load average {machine.load_before:.1f} before the start, on {machine.cores} cores")
    shares = [case.others_share for case in cases if case.others_share is not None]
    if shares:
        share = max(shares)
        notes.append(f"other programs used {100 * share:.0f} % of the machine meanwhile")
        if share > BUSY_SHARE:
            notes.append("wall times and ratios are therefore too large; processor times hold better")
    return tuple(notes)


def _make_up(path: Path, frames: int) -> None:
    """A grey sky with sensor noise and a dark square that crosses it."""
    width, height = _MADE_UP_WH
    rng = np.random.default_rng(0)
    sky = np.linspace(150, 90, height)[:, None, None] + rng.normal(0, 3, (height, width, 1))
    with VideoWriter(path, size_wh=_MADE_UP_WH, fps_hint=30) as writer:
        for index in range(frames):
            noise = np.roll(sky, tuple(rng.integers(0, 8, 2)), (0, 1))
            left = 20 + 4 * index % (width - 60)
            noise[height // 2 : height // 2 + 14, left : left + 20] -= 60
            writer.write(np.repeat(np.clip(noise, 0, 255).astype(np.uint8), 3, axis=2), index / 30)


def _load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _processor() -> str:
    """Its name, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
