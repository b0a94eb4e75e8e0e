"""Evaluation, in time order: run the model over every clip of a split, compute the figures, run the controls.

Controls are the same weights on the same clips, used otherwise. A model that does as well without its memory
has learned to ignore it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seqdet.data.dataset import load_dataset
from seqdet.errors import UsageError
from seqdet.results.metrics.headline import by_recording, count, drawn_figures, intervals
from seqdet.runs.classify import Classifier, find_classifier
from seqdet.runs.evaluate_classifier import evaluate_classifier
from seqdet.runs.measure import Measured, Progress, all_figures, evenly, measure, rounded
from seqdet.runs.report import prepare_folder, write_report
from seqdet.runs.stream import Model, StreamOptions, load

__all__ = ["CONTROLS", "Control", "all_figures", "evaluate", "evenly", "measure"]


@dataclass(frozen=True, slots=True)
class Control:
    """One other way to use the same weights.

    Attributes:
        name: its key in the figures.
        change: from the model's options to those of the control.
        shuffled: show the frames of each clip in a random order, the truth with them.
    """

    name: str
    change: Callable[[StreamOptions], StreamOptions] = lambda options: options
    shuffled: bool = False


CONTROLS = (
    # The network forgets everything after every frame; the tracker, and what tracks say of boxes, stay.
    Control("memory_off", lambda options: replace(options, memory=False)),
    Control("shuffled", shuffled=True),
    # What anyone can build from a frame detector: its boxes with their own scores, the same tracker, and as
    # the class of a track what most of its boxes were taken for.
    Control(
        "majority_vote",
        lambda options: replace(
            options,
            memory=False,
            track_class="vote",
            class_memory=1.0,
            score_memory=0.0,
            size_memory_s=0.0,
            unconfirmed_factor=1.0,
        ),
    ),
)


def evaluate(
    data: Path,
    *,
    model: str | Path = "airspace",
    split: str = "val",
    where: dict[str, str] | None = None,
    limit: int | None = None,
    max_frames: int | None = None,
    out: Path | None = None,
    device: str = "auto",
    runtime: str | None = None,
    every: int = 1,
    force: bool = False,
    controls: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a model on a split of a data set.

    Args:
        data: folder of the data set.
        model: shipped name, run folder or file; of a sequence classifier too, which has fewer figures.
        split: "train", "val" or "test".
        where: only sequences with these attributes.
        limit: at most so many clips, taken evenly.
        max_frames: only the first frames of each clip.
        out: folder for ``eval.json``, ``report.html`` and the worst clips.
        device: "auto", "cpu" or "cuda".
        runtime: what computes the model, see ``runtimes.choose_runtime``.
        every: the network sees every so-manyth frame only, as with ``detect --every``.
        force: replace an evaluation that is there.
        controls: also measure every one of ``CONTROLS`` (four times the work).
        progress: is told how far it is.

    Raises:
        UsageError: nothing to measure on, other classes than the model's, or ``out`` holds an evaluation.
        InputError: the data set or the model cannot be read.
        OutputError: ``out`` cannot be written.
    """
    loaded = find_classifier(model, device) or load(model, device, runtime)
    dataset = load_dataset(data).where(**(where or {}))
    sequences = evenly(dataset.split(split), limit)
    if not sequences:
        raise UsageError(f"{data}: no sequence in split {split!r}{f' with {where}' if where else ''}")
    if dataset.classes != loaded.classes:
        raise UsageError(
            f"the model knows {', '.join(loaded.classes)}; {data} holds {', '.join(dataset.classes)}: "
            "they must be the same classes in the same order"
        )
    if out is not None:
        prepare_folder(out, force, clips=isinstance(loaded, Model))
    if isinstance(loaded, Classifier):
        if every != 1:
            raise UsageError("--every: a sequence classifier has no boxes to carry from frame to frame")
        return evaluate_classifier(loaded, sequences, max_frames, controls, out, progress)
    loaded = loaded.with_options(replace(loaded.options, every=every))
    measured = measure(loaded, dataset, sequences, max_frames=max_frames, label="memory", progress=progress)
    figures, drawn = _figures(measured, loaded.classes)
    figures["controls"] = {}
    for control in CONTROLS if controls else ():
        of_control = measure(
            loaded.with_options(control.change(loaded.options)),
            dataset,
            sequences,
            max_frames=max_frames,
            shuffle_seed=0 if control.shuffled else None,
            label=control.name.replace("_", " "),
            progress=progress,
        )
        its_figures, its_drawn = _figures(of_control, loaded.classes)
        # The same seed has drawn the same recordings, so the draws are pairs.
        its_figures["difference_95"] = intervals({name: drawn[name] - its_drawn[name] for name in drawn})
        if control.shuffled:
            del its_figures["by_speed"]  # out of order, everything jumps
        figures["controls"][control.name] = its_figures
    figures = rounded(figures)
    if out is not None:
        about = {"model": str(model), "data": data.name, "split": split}
        about |= where or {}
        about |= {"network": f"in every {every}th frame"} if every > 1 else {}
        about |= {"first frames of each clip": str(max_frames)} if max_frames else {}
        write_report(out, figures, measured, sequences, loaded.classes, about, progress)
    return figures


def _figures(measured: Measured, classes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """All figures with their intervals, and the headline figures in every draw of recordings."""
    counts = count(measured.truths, measured.ranked, measured.shown, len(classes))
    drawn = drawn_figures(counts)
    figures = all_figures(measured, classes)
    return figures | {"intervals_95": intervals(drawn), "per_recording": by_recording(counts)}, drawn
