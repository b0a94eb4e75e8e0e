"""Synthetic data sets: render sequences with exact truth, encode them, write one data set.

One function does it, for every task:

    synth("sets/motion", task="stress-motion", sequences=240, frames=48, size_wh=(96, 96), seed=0)
    synth("sets/dim", task="stress-noise", level="0.5", sequences=240)

write folders for ``seqdet train`` and ``seqdet eval``: ``val_fraction`` (.25) of the sequences are val,
classes are balanced in both splits, levels take turns, and every sequence has a seed of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdet.data.dataset import Sequence, refuse_existing, save_dataset
from seqdet.data.labels import Labels
from seqdet.data.synth.discs import disc_classes, render_disc_clip
from seqdet.data.synth.scene import SceneOptions, render_scene
from seqdet.data.synth.shapes import SHAPE_CLASSES, render_shape_clip
from seqdet.data.synth.solids import CLASSES
from seqdet.data.synth.stress.axes import AXES, Axis
from seqdet.data.synth.stress.clip import Request
from seqdet.data.synth.stress.occlusion import MIN_FRAMES as MIN_OCCLUSION_FRAMES
from seqdet.errors import UsageError
from seqdet.types import Targets
from seqdet.video.writer import VideoWriter

STRESS = "stress-"
TASKS = ("airspace", "discs", "discs-appearance", "shapes", *(STRESS + axis for axis in AXES))
SENSORS = ("thermal", "visible", "both")
FPS = 30.0
_FRAMES = 90
_SIZE_WH = {"thermal": (320, 256), "visible": (640, 512), "shapes": (128, 128), "small": (96, 96)}
# Noise is what the small tasks are about: a codec that smooths it away would change the task. And what a
# lossy codec carries over from frame to frame would show the motion in a single one: stress is lossless.
_CRF = {"airspace": 23, "discs": 14, "shapes": 18, "stress": 0}


@dataclass(frozen=True, slots=True)
class SynthReport:
    """What was rendered.

    Attributes:
        out: the data set.
        task: one of `TASKS`.
        sequences, frames, boxes, tracks: how many were written.
        classes: names of the classes.
        splits: sequences in each split.
        seed: everything in the data set follows from it and the other arguments.
    """

    out: Path
    task: str
    sequences: int
    frames: int
    boxes: int
    tracks: int
    classes: tuple[str, ...]
    splits: dict[str, int]
    seed: int


@dataclass(slots=True)
class _Count:
    boxes: int = 0
    tracks: int = 0


@dataclass(frozen=True, slots=True)
class _Film:
    """One rendered sequence before it is written."""

    pictures: Iterator[tuple[np.ndarray, Targets]]
    size_wh: tuple[int, int]
    fps: float
    crf: int
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Order:
    """What all sequences of a data set share; the arguments of `synth`."""

    task: str
    sequences: int
    frames: int
    seed: int
    sensor: str
    level: str | None
    size_wh: tuple[int, int] | None
    val_fraction: float

    @property
    def axis(self) -> Axis | None:
        """The stress axis, or None."""
        return AXES[self.task.removeprefix(STRESS)] if self.task.startswith(STRESS) else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        if self.axis is not None:
            return self.axis.classes
        if self.task == "shapes":
            return SHAPE_CLASSES
        return CLASSES if self.task == "airspace" else disc_classes(_cue(self.task))


def synth(
    out: str | Path,
    *,
    task: str = "airspace",
    sequences: int = 24,
    frames: int | None = None,
    seed: int = 0,
    sensor: str = "both",
    level: str | None = None,
    size_wh: tuple[int, int] | None = None,
    val_fraction: float = 0.25,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SynthReport:
    """Makes a data set of synthetic sequences.

    Args:
        out: the data set to make.
        task: ``"airspace"`` scenes, ``"discs"`` (motion alone tells the class), its control
            ``"discs-appearance"`` (the shape tells it), ``"shapes"`` (with masks), or ``"stress-AXIS"`` for
            one of `stress.axes.AXES`.
        sequences: how many; classes, levels and splits take turns, so that each split holds every class.
        frames: how many in each, 30 a second; None is 90, for stress 48, for ``stress-long`` 2000.
        seed: the same seed gives the same pictures and truth; the bytes of the videos depend on the encoder.
        sensor: of airspace scenes: ``"thermal"``, ``"visible"`` or ``"both"``, in turn.
        level: of a stress axis that has levels (contrast to noise, kind of burst, frames a second): one of
            them instead of all in turn.
        size_wh: width and height in pixels; None is 320x256 thermal, 640x512 visible, 128x128 shapes, 96x96
            discs and stress.
        val_fraction: part of the sequences that goes to val, 0 up to below 1: whole rounds of all classes, at
            least one round to train and, above 0 and where there are two rounds, one to val.
        force: replace ``out`` if it is a data set.
        progress: called with the number of sequences done and of all.

    Raises:
        UsageError: an argument is wrong, or the folder exists.
        OutputError: it could not be written.
    """
    axis_frames = (
        AXES[task.removeprefix(STRESS)].frames if task in TASKS and task.startswith(STRESS) else _FRAMES
    )
    order = _Order(
        task,
        sequences,
        axis_frames if frames is None else frames,
        seed,
        sensor,
        level,
        size_wh,
        val_fraction,
    )
    _require_usable(order)
    # Before anything is rendered.
    refuse_existing(Path(out), force)
    count = _Count()
    with tempfile.TemporaryDirectory(prefix="seqdet-synth-") as work:
        dataset = save_dataset(
            out,
            order.classes,
            _items(Path(work), order, count),
            notes=(f"made by seqdet synth: task {task}, seed {seed}; every label is exact",),
            force=force,
            progress=(lambda done: progress(done, sequences)) if progress else None,
        )
    return SynthReport(
        out=dataset.root,
        task=task,
        sequences=len(dataset.sequences),
        frames=sum(sequence.frames for sequence in dataset.sequences),
        boxes=count.boxes,
        tracks=count.tracks,
        classes=order.classes,
        splits={name: len(dataset.split(name)) for name in ("train", "val")},
        seed=seed,
    )


def _require_usable(order: _Order) -> None:
    """Raise UsageError for the first argument that is out of range."""
    if order.task not in TASKS:
        raise UsageError(f"a task is one of {', '.join(TASKS)}; got {order.task!r}")
    levels = order.axis.levels if order.axis is not None else ("",)
    least_px = 32 if order.axis is None else 64
    least_frames = MIN_OCCLUSION_FRAMES if order.task == f"{STRESS}occlusion" else 1
    checks = (
        (order.sensor in SENSORS, f"a sensor is one of {', '.join(SENSORS)}; got {order.sensor!r}"),
        (
            order.level is None or (order.level in levels and order.level != ""),
            f"{order.task} has {'no levels' if levels == ('',) else 'the levels ' + ', '.join(levels)}; "
            f"got {order.level!r}",
        ),
        (order.sequences >= 1, f"at least 1 sequence is needed; got {order.sequences}"),
        (
            order.frames >= least_frames,
            f"{order.task} needs {least_frames} frames at least; got {order.frames}",
        ),
        (0 <= order.val_fraction < 1, f"the part for val is 0 up to below 1; got {order.val_fraction}"),
        (order.seed >= 0, f"a seed is 0 or more; got {order.seed}"),
        (
            order.size_wh is None or (min(order.size_wh) >= least_px and max(order.size_wh) <= 4096),
            f"a size is {least_px}x{least_px} to 4096x4096 pixels; got {order.size_wh}",
        ),
    )
    for good, message in checks:
        if not good:
            raise UsageError(message)


def _cue(task: str) -> str:
    return "appearance" if task == "discs-appearance" else "motion"


def _items(work: Path, order: _Order, count: _Count) -> Iterator[tuple[Sequence, None, Labels]]:
    """Renders one sequence after the other; its video is gone when the next one is asked for."""
    # Whole rounds are divided, so that every split holds every class.
    rounds = -(-order.sequences // len(order.classes))
    val_rounds = min(max(1, round(rounds * order.val_fraction)), rounds - 1) if order.val_fraction else 0
    for index in range(order.sequences):
        class_id, round_index = index % len(order.classes), index // len(order.classes)
        is_val = round_index >= rounds - val_rounds
        film = _film(order, index, class_id, round_index, is_val)
        name = f"{order.task}-{index:04d}"
        path = work / f"{name}.mp4"
        truth = _encode(path, film)
        labels = _labels(truth)
        count.boxes += len(labels)
        count.tracks += len(np.unique(labels.track_id))
        seen = np.unique(labels.class_id)
        sequence = Sequence(
            name=name,
            video=path,
            frames=order.frames,
            size_wh=film.size_wh,
            fps=film.fps,
            class_id=int(seen[0]) if len(seen) == 1 else -1,
            recording=name,
            split="val" if is_val else "train",
            attributes=film.attributes,
        )
        yield sequence, None, labels
        path.unlink()


def _film(order: _Order, index: int, class_id: int, round_index: int, is_val: bool) -> _Film:
    """Draws one sequence; everything in it follows from the seed and its index."""
    rng = np.random.default_rng([order.seed, index])
    attributes = {"task": order.task}
    if order.axis is not None:
        return _stress_film(order, order.axis, rng, class_id, round_index, is_val)
    if order.task == "airspace":
        kind = order.sensor if order.sensor != "both" else ("thermal", "visible")[(round_index + index) % 2]
        size = order.size_wh or _SIZE_WH[kind]
        options = SceneOptions(
            kind, size, order.frames, FPS, seed=int(rng.integers(2**62)), classes=(order.classes[class_id],)
        )
        return _Film(render_scene(options), size, FPS, _CRF["airspace"], attributes | {"sensor": kind})
    if order.task == "shapes":
        size = order.size_wh or _SIZE_WH["shapes"]
        pictures, truths = render_shape_clip(rng, class_id, size, order.frames)
        film = iter(zip(pictures, truths, strict=True))
        return _Film(film, size, FPS, _CRF["shapes"], attributes)
    size = order.size_wh or _SIZE_WH["small"]
    pictures, truths, _ = render_disc_clip(
        rng, size, order.frames, label=order.classes[class_id], cue=_cue(order.task)
    )
    return _Film(iter(zip(pictures, truths, strict=True)), size, FPS, _CRF["discs"], attributes)


def _stress_film(
    order: _Order, axis: Axis, rng: np.random.Generator, class_id: int, round_index: int, is_val: bool
) -> _Film:
    levels = axis.levels if order.level is None else (order.level,)
    if not is_val and axis.train_levels is not None:
        levels = axis.train_levels
    size, level = order.size_wh or _SIZE_WH["small"], levels[round_index % len(levels)]
    clip = axis.render(rng, Request(size, order.frames, class_id, level))
    colour = (np.repeat(grey[..., None], 3, axis=2) for grey in clip.frames)
    attributes = {"task": order.task} | ({"level": level} if level else {}) | clip.attributes
    return _Film(zip(colour, clip.targets, strict=True), size, clip.fps, _CRF["stress"], attributes)


def _encode(path: Path, film: _Film) -> list[Targets]:
    """Writes the pictures and gives back the truth."""
    truth = []
    with VideoWriter(path, size_wh=film.size_wh, fps_hint=film.fps, crf=film.crf) as writer:
        for index, (rgb, targets) in enumerate(film.pictures):
            writer.write(rgb, index / film.fps)
            truth.append(targets)
    return truth


def _labels(truth: list[Targets]) -> Labels:
    """The truth of all frames as columns."""
    return Labels.from_columns(
        np.concatenate([np.full(len(one), index) for index, one in enumerate(truth)]),
        np.concatenate([one.track_ids for one in truth]),
        np.concatenate([one.class_ids for one in truth]),
        np.concatenate([one.boxes_xyxy_px for one in truth]),
        [mask for one in truth for mask in one.masks],
    )
