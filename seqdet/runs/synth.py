"""Synthetic data sets: render sequences with exact truth, encode them, write one data set."""

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
from seqdet.data.synth.solids import CLASSES
from seqdet.errors import UsageError
from seqdet.types import Targets
from seqdet.video.writer import VideoWriter

TASKS = ("airspace", "discs", "discs-appearance")
SENSORS = ("thermal", "visible", "both")
FPS = 30.0
_SIZE_WH = {"thermal": (320, 256), "visible": (640, 512), "discs": (96, 96)}
# Noise is what the small task is about: a codec that smooths it away would change the task.
_CRF = {"airspace": 23, "discs": 14}


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


def synth(
    out: str | Path,
    *,
    task: str = "airspace",
    sequences: int = 24,
    frames: int = 90,
    seed: int = 0,
    sensor: str = "both",
    size_wh: tuple[int, int] | None = None,
    val_fraction: float = 0.25,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SynthReport:
    """Makes a data set of synthetic sequences.

    Args:
        out: the data set to make.
        task: ``"airspace"`` scenes, ``"discs"`` (motion alone tells the class) or its control
            ``"discs-appearance"`` (the shape tells it).
        sequences: how many; classes and splits take turns, so that each split holds every class.
        frames: how many in each, at 30 frames a second.
        seed: the same seed gives the same pictures and truth; the bytes of the videos depend on the encoder.
        sensor: of airspace scenes: ``"thermal"``, ``"visible"`` or ``"both"``, in turn.
        size_wh: width and height in pixels; None is 320x256 thermal, 640x512 visible, 96x96 discs.
        val_fraction: part of the sequences that goes to val, 0 up to below 1: whole rounds of all classes, at
            least one round to train and, above 0 and where there are two rounds, one to val.
        force: replace ``out`` if it is a data set.
        progress: called with the number of sequences done and of all.

    Raises:
        UsageError: an argument is wrong, or the folder exists.
        OutputError: it could not be written.
    """
    _require_usable(task, sequences, frames, sensor, size_wh, val_fraction, seed)
    # Before anything is rendered.
    refuse_existing(Path(out), force)
    count = _Count()
    classes = CLASSES if task == "airspace" else disc_classes(_cue(task))
    with tempfile.TemporaryDirectory(prefix="seqdet-synth-") as work:
        items = _items(Path(work), task, sequences, frames, seed, sensor, size_wh, val_fraction, count)
        dataset = save_dataset(
            out,
            classes,
            items,
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
        classes=classes,
        splits={name: len(dataset.split(name)) for name in ("train", "val")},
        seed=seed,
    )


def _require_usable(
    task: str,
    sequences: int,
    frames: int,
    sensor: str,
    size_wh: tuple[int, int] | None,
    val_fraction: float,
    seed: int,
) -> None:
    """Raise UsageError for the first argument that is out of range."""
    checks = (
        (task in TASKS, f"a task is one of {', '.join(TASKS)}; got {task!r}"),
        (sensor in SENSORS, f"a sensor is one of {', '.join(SENSORS)}; got {sensor!r}"),
        (sequences >= 1, f"at least 1 sequence is needed; got {sequences}"),
        (frames >= 1, f"at least 1 frame is needed; got {frames}"),
        (0 <= val_fraction < 1, f"the part for val is 0 up to below 1; got {val_fraction}"),
        (seed >= 0, f"a seed is 0 or more; got {seed}"),
        (
            size_wh is None or (min(size_wh) >= 32 and max(size_wh) <= 4096),
            f"a size is 32x32 to 4096x4096 pixels; got {size_wh}",
        ),
    )
    for good, message in checks:
        if not good:
            raise UsageError(message)


def _cue(task: str) -> str:
    return "appearance" if task == "discs-appearance" else "motion"


def _items(
    work: Path,
    task: str,
    sequences: int,
    frames: int,
    seed: int,
    sensor: str,
    size_wh: tuple[int, int] | None,
    val_fraction: float,
    count: _Count,
) -> Iterator[tuple[Sequence, None, Labels]]:
    """Renders one sequence after the other; its video is gone when the next one is asked for."""
    classes = CLASSES if task == "airspace" else disc_classes(_cue(task))
    # Whole rounds are divided, so that every split holds every class.
    rounds = -(-sequences // len(classes))
    val_rounds = min(max(1, round(rounds * val_fraction)), rounds - 1) if val_fraction else 0
    for index in range(sequences):
        class_id = index % len(classes)
        round_index = index // len(classes)
        is_val = round_index >= rounds - val_rounds
        rng = np.random.default_rng([seed, index])
        attributes = {"task": task}
        if task == "airspace":
            kind = sensor if sensor != "both" else ("thermal", "visible")[(round_index + index) % 2]
            size = size_wh or _SIZE_WH[kind]
            attributes["sensor"] = kind
            options = SceneOptions(
                kind, size, frames, FPS, seed=int(rng.integers(2**62)), classes=(classes[class_id],)
            )
            film = render_scene(options)
        else:
            size = size_wh or _SIZE_WH["discs"]
            pictures, truths, _ = render_disc_clip(rng, size, frames, label=classes[class_id], cue=_cue(task))
            film = iter(zip(pictures, truths, strict=True))
        name = f"{task}-{index:04d}"
        path = work / f"{name}.mp4"
        truth = _encode(path, film, size, _CRF["airspace" if task == "airspace" else "discs"])
        labels = _labels(truth)
        count.boxes += len(labels)
        count.tracks += len(np.unique(labels.track_id))
        seen = np.unique(labels.class_id)
        sequence = Sequence(
            name=name,
            video=path,
            frames=frames,
            size_wh=size,
            fps=FPS,
            class_id=int(seen[0]) if len(seen) == 1 else -1,
            recording=name,
            split="val" if is_val else "train",
            attributes=attributes,
        )
        yield sequence, None, labels
        path.unlink()


def _encode(
    path: Path, film: Iterator[tuple[np.ndarray, Targets]], size_wh: tuple[int, int], crf: int
) -> list[Targets]:
    """Writes the pictures and gives back the truth."""
    truth = []
    with VideoWriter(path, size_wh=size_wh, fps_hint=FPS, crf=crf) as writer:
        for index, (rgb, targets) in enumerate(film):
            writer.write(rgb, index / FPS)
            truth.append(targets)
    return truth


def _labels(truth: list[Targets]) -> Labels:
    """The truth of all frames as columns."""
    return Labels.from_columns(
        np.concatenate([np.full(len(one), index) for index, one in enumerate(truth)]),
        np.concatenate([one.track_ids for one in truth]),
        np.concatenate([one.class_ids for one in truth]),
        np.concatenate([one.boxes_xyxy_px for one in truth]),
    )
