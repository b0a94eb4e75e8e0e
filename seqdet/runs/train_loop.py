"""The training loop, in time order: batches, steps, evaluations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqdet.config import Config, StageConfig
from seqdet.data.dataset import load_dataset
from seqdet.data.loader import ClipRenderer, RenderScene, batches
from seqdet.data.plans import BatchShape, ClipPlan, Sampler, describe
from seqdet.errors import DivergedError, InputError, UsageError
from seqdet.model.detector import Detector, build_detector
from seqdet.runs.device import choose_device
from seqdet.runs.kept_states import has_state
from seqdet.runs.processes import Alone, Group
from seqdet.runs.train_pace import Pace
from seqdet.runs.train_run import MOST_SKIPPED, Run, Tell, Validate
from seqdet.types import ClipBatch
from seqdet.video.prefetch import prefetch


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training gave.

    Attributes:
        run: the folder.
        model: the checkpoint to use: the best one if there were evaluations, else the last.
        steps: optimizer steps done.
        minutes: time spent training.
        map50: best validation figure, or None without evaluation.
        metrics: all figures of the best evaluation.
    """

    run: Path
    model: Path
    steps: int
    minutes: float
    map50: float | None
    metrics: dict[str, Any]

    @property
    def headline(self) -> dict[str, Any]:
        """What a person wants to know first."""
        return {"steps": self.steps, "minutes": self.minutes, "map50 on validation": self.map50}


def fit(
    data: Path,
    config: Config,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    initial: Detector | None = None,
    validate: Validate | None = None,
    render_scene: RenderScene | None = None,
    tell: Tell | None = None,
    together: Alone | Group | None = None,
) -> TrainReport:
    """Train a detector on a data set that is on disk.

    Args:
        data: folder of the data set, as ``seqdet ingest`` makes it.
        config: everything that can be chosen.
        out: folder of the run; must not hold a run already unless ``resume``.
        resume: go on where the run in ``out`` stopped.
        device: "auto", "cpu" or "cuda".
        initial: a model to start from instead of random weights, of the same shape.
        validate: gives the figures of a model on the validation split; None evaluates never.
        render_scene: renders synthetic clips, for stages that mix them in.
        tell: is told every log line.
        together: the processes of this training; None for this one alone.

    Raises:
        UsageError: the folder holds a run already, or there is nothing to resume.
        InputError: the data set is not usable.
        DivergedError: the loss became infinite or NaN; the last good checkpoint is kept.
    """
    together = together or Alone()
    _check_size(config, together)
    place = choose_device(device)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    torch.manual_seed(config.train.seed)
    dataset = load_dataset(data).where(**config.data.where)
    sequences = dataset.split(config.data.split)
    if not sequences:
        raise InputError(
            f"{data}: no sequence in the split {config.data.split!r} with {config.data.where or 'any'}"
        )
    if config.model.mask_prototypes and not any(dataset.labels(one).masks for one in sequences):
        raise InputError(
            f"{data}: no box of the split {config.data.split!r} has a mask, and model.mask_prototypes is "
            f"{config.model.mask_prototypes}. Set it to 0, or make the data set anew: seqdet ingest --masks"
        )
    renderer = ClipRenderer(
        dataset,
        sequences,
        config.model.input_size_wh,
        int(config.data.cache_gib * 2**30 / together.beside),
        render_scene,
        config.data.reversible,
        masks=bool(config.model.mask_prototypes),
    )
    model = initial or build_detector(config.model, len(dataset.classes))
    run = Run(config, dataset, out, place, model, tell, together)
    damaged = run.open(resume)
    for reason in damaged:
        run.log(
            {"kind": "warning", "step": run.position.step, "text": f"went on from an older state: {reason}"}
        )
    sampler = Sampler(sequences, config.data.recording_power, run.position.shards)
    pace = Pace()
    with run.writer, together.watched():
        if not resume:
            run.save(wait=True)  # so that a kill before the next one leaves something to go on from
        _between_steps(run, validate)  # a kill may have been in an evaluation
        before_s = time.monotonic()
        for stage, shape, plans, batch in _all_batches(run, renderer, sampler, pace):
            began_s = time.monotonic()
            try:
                terms = run.step(stage, plans, batch)
            except FloatingPointError as error:
                raise _diverged(run, error, describe(plans, sequences, shape)) from None
            pace.learned(batch, time.monotonic() - began_s)
            elapsed_s = run.position.elapsed_s + time.monotonic() - before_s
            run.position.elapsed_s = together.first_says(elapsed_s)
            if run.position.skipped:
                _log_skipped(run, describe(plans, sequences, shape))
            progress = run.progress()
            if run.position.step % config.train.log_every == 0 or progress >= 1:
                run.log(run.describe(stage, terms, progress) | pace.since_last())
            _between_steps(run, validate)
            before_s = time.monotonic()  # the budget is for training
        run.writer.wait()
    best = out / "best.safetensors"
    return TrainReport(
        run=out,
        model=best if best.is_file() else out / "last.safetensors",
        steps=run.position.step,
        minutes=run.position.elapsed_s / 60,
        map50=run.metrics.get("map50"),
        metrics=run.metrics,
    )


def _check_size(config: Config, together: Alone | Group) -> None:
    for stage in config.train.stages:
        if min(stage.clips_per_batch, config.data.shards or together.size) < together.size:
            raise UsageError(
                f"{together.size} processes: each needs a clip of every batch, from a shard; stage "
                f"{stage.name!r} has clips_per_batch {stage.clips_per_batch}, "
                f"data.shards is {config.data.shards}"
            )


def _all_batches(
    run: Run, renderer: ClipRenderer, sampler: Sampler, pace: Pace
) -> Iterator[tuple[StageConfig, BatchShape, tuple[ClipPlan, ...], ClipBatch]]:
    """What is to be shown from where the run is to its end, stage by stage."""
    while (progress := run.progress()) < 1:
        stage = run.enter_stage(progress)
        shape = batch_shape(stage)
        position = run.position
        seed, slots = run.config.train.seed, run.slots(shape.clips)
        source = batches(renderer, sampler, shape, seed, position.step, position.plans, slots)
        for plans, batch in _ahead(pace.reading(source), run.config.data.workers):
            yield stage, shape, plans, batch
            progress = run.progress()
            if progress >= 1 or run.stage_at(progress) != position.stage:
                break


def _between_steps(run: Run, validate: Validate | None) -> None:
    """Evaluate and save, where it is time."""
    is_over = run.progress() >= 1
    evaluates = validate is not None and run.evaluation_is_due()
    is_first = run.together.rank == 0
    free, due = run.together.first_says((run.writer.is_free(), is_first and run.saving_is_due()))
    if evaluates and free:
        run.save()  # an evaluation may take longer than what a kill may cost
    if evaluates and validate is not None:
        run.log(run.evaluate(validate))
    if is_over or due:
        run.save(wait=is_over)


def _diverged(run: Run, error: FloatingPointError, batch: str) -> DivergedError:
    """Keep the weights where none are kept yet, and say which batch it was."""
    step = run.position.step + 1
    run.log({"kind": "diverged", "step": step, "why": str(error), "batch": batch})
    run.writer.wait()
    if run.together.size == 1 and not has_state(run.out):
        run.save(wait=True)
    return DivergedError(
        f"step {step}: the loss is no number ({error}). The batch: {batch}. The weights before it are kept "
        f"in {run.out}. If these clips and their labels are sound, go on with smaller steps: "
        f"seqdet train --resume {run.out} --set train.learning_rate=..."
    )


def _log_skipped(run: Run, batch: str) -> None:
    """Say that a batch was not learned.

    Raises:
        DivergedError: nor were those before it.
    """
    step = run.position.step
    run.log({"kind": "skipped", "step": step, "why": "the gradient is no number", "batch": batch})
    if run.position.skipped >= MOST_SKIPPED:
        raise DivergedError(
            f"step {step}: the gradients of {MOST_SKIPPED} batches in a row are no numbers; the last: "
            f"{batch}. The weights before them are kept in {run.out}. Go on with smaller steps: "
            f"seqdet train --resume {run.out} --set train.learning_rate=..."
        )


def batch_shape(stage: StageConfig) -> BatchShape:
    """What the loader needs to know of a stage."""
    return BatchShape(
        clips=stage.clips_per_batch,
        frames=stage.frames_per_clip,
        max_stride=stage.max_stride,
        streamed=round(stage.clips_per_batch * stage.streamed_fraction),
        augment=stage.augment,
        paste_probability=stage.paste_probability,
        clutter_probability=stage.clutter_probability,
        synthetic_fraction=stage.synthetic_fraction,
        corrupt_probability=stage.corrupt_probability,
        reverse_probability=stage.reverse_probability,
    )


def _ahead(
    source: Iterator[tuple[tuple[ClipPlan, ...], ClipBatch]], workers: int
) -> Iterator[tuple[tuple[ClipPlan, ...], ClipBatch]]:
    return prefetch(source, depth=3) if workers else source
