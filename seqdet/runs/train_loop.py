"""The training loop, in time order: batches, steps, evaluations, checkpoints.

``RUN/`` holds config.yaml (all of it), data.txt (where the data set was), log.jsonl (a line every few steps
and every evaluation), last.safetensors and best.safetensors (averaged weights, ready for ``detect --model``),
state.safetensors (to resume exactly).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from seqdet.config import Config, StageConfig
from seqdet.data.dataset import Dataset, load_dataset
from seqdet.data.loader import (
    BatchShape,
    ClipPlan,
    ClipRenderer,
    RenderScene,
    Sampler,
    batches,
    describe,
)
from seqdet.errors import DivergedError, InputError, UsageError
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import Detector, build_detector
from seqdet.model.losses import ClipTruth
from seqdet.model.memory import DetectorState
from seqdet.model.objective import objective
from seqdet.model.optimise import WeightAverage, learning_rate_at, parameter_groups
from seqdet.runs.device import choose_device
from seqdet.runs.train_state import Position, carried_on, detached, restore_state, save_state
from seqdet.types import ClipBatch
from seqdet.video.prefetch import prefetch

# Every line of the log, as it is written.
Tell = Callable[[dict[str, Any]], None]
# Validates a model: (model, classes) -> figures, with "map50" among them.
Validate = Callable[[Detector], dict[str, Any]]


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

    Raises:
        UsageError: the folder holds a run already, or there is nothing to resume.
        InputError: the data set is not usable.
        DivergedError: the loss became infinite or NaN; the last good checkpoint is kept.
    """
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
    renderer = ClipRenderer(
        dataset,
        sequences,
        config.model.input_size_wh,
        int(config.data.cache_gib * 2**30),
        render_scene,
        config.data.reversible,
    )
    run = Run(config, dataset, out, place, initial or build_detector(config.model, len(dataset.classes)))
    run.open(resume)
    log = partial(_log, out / "log.jsonl", tell)

    sampler = Sampler(sequences, config.data.recording_power)
    started = time.monotonic() - run.position.elapsed_s
    saved = time.monotonic()
    while (progress_now := run.progress()) < 1:
        stage = run.enter_stage(progress_now)
        shape = batch_shape(stage)
        source = batches(renderer, sampler, shape, config.train.seed, run.position.step, run.position.plans)
        for plans, batch in _ahead(source, config.data.workers):
            try:
                terms = run.step(stage, plans, batch)
            except FloatingPointError as error:
                if not (out / "last.safetensors").is_file():
                    run.save()
                raise DivergedError(
                    f"step {run.position.step + 1}: the loss is no number ({error}). The batch: "
                    f"{describe(plans, sequences, shape)}. The weights before it are kept in {out}. If these "
                    "clips and their labels are sound, go on with smaller steps: seqdet train --resume "
                    f"{out} --set train.learning_rate=..."
                ) from None
            run.position.elapsed_s = time.monotonic() - started
            progress_now = run.progress()
            if run.position.step % config.train.log_every == 0 or progress_now >= 1:
                log(run.describe(stage, terms, progress_now))
            if validate is not None and run.evaluation_is_due(progress_now):
                log(run.evaluate(validate))
                started = time.monotonic() - run.position.elapsed_s  # the budget is for training
            if time.monotonic() - saved > 60 * config.train.checkpoint_minutes or progress_now >= 1:
                run.save()
                saved = time.monotonic()
            if progress_now >= 1 or run.stage_at(progress_now) != run.position.stage:
                break
    return run.report()


class Run:
    """A training under way: the weights, what moves them, and where on disk they go."""

    def __init__(
        self, config: Config, dataset: Dataset, out: Path, device: torch.device, model: Detector
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.out = out
        self.device = device
        self.model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        for part in config.train.freeze:
            if (frozen := getattr(self.model, part)) is not None:
                frozen.requires_grad_(False)
        self.average = WeightAverage(self.model, config.train.ema_decay)
        groups = parameter_groups(self.model, config.train.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=config.train.learning_rate)
        self.position = Position()
        self.carried: DetectorState | None = None
        self.metrics: dict[str, Any] = {}

    def open(self, resume: bool) -> None:
        """Make the folder, or read the state of the run that is there."""
        state = self.out / "state.safetensors"
        if resume:
            if not state.is_file():
                raise UsageError(f"{self.out}: nothing to resume: there is no state.safetensors")
            self.position, self.carried = restore_state(state, self.model, self.average, self.optimizer)
            self.metrics = self.position.extra.get("metrics", {})
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise UsageError(
                f"{self.out} is not empty. Continue that run with --resume {self.out}, or choose another "
                "--out"
            )
        self.out.mkdir(parents=True, exist_ok=True)
        document = self.config.model_dump(mode="json")
        (self.out / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        (self.out / "data.txt").write_text(f"{self.dataset.root.resolve()}\n", encoding="utf-8")

    def progress(self) -> float:
        """0 to 1: the steps, or the clock where it runs ahead of them."""
        share = self.position.step / self.config.train.steps
        if self.config.train.max_minutes:
            share = max(share, self.position.elapsed_s / 60 / self.config.train.max_minutes)
        return share

    def stage_at(self, progress: float) -> int:
        """Index of the stage at a moment of the training."""
        reached = 0.0
        for index, stage in enumerate(self.config.train.stages):
            reached += stage.share
            if progress < reached - 1e-9:
                return index
        return len(self.config.train.stages) - 1

    def enter_stage(self, progress: float) -> StageConfig:
        """The stage that is due; a new stage starts with new streams."""
        index = self.stage_at(progress)
        if index != self.position.stage:
            self.position.stage, self.position.plans, self.carried = index, (), None
        return self.config.train.stages[index]

    def step(self, stage: StageConfig, plans: tuple[ClipPlan, ...], batch: ClipBatch) -> dict[str, float]:
        """One optimizer step on one batch of clips; returns the loss terms.

        Raises:
            FloatingPointError: a loss term is not finite; nothing was changed.
        """
        settings = self.config.train
        progress = self.progress()
        rate = stage.learning_rate_scale * learning_rate_at(
            progress,
            self.position.step,
            settings.learning_rate,
            settings.warmup_steps,
            settings.final_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * (stage.encoder_learning_rate_scale if group["role"] == "encoder" else 1.0)
        _set_batchnorm_training(self.model, not stage.freeze_batchnorm)

        frames = torch.from_numpy(batch.frames).to(self.device).permute(0, 1, 4, 2, 3)
        truth = ClipTruth(
            *(
                torch.from_numpy(part).to(self.device)
                for part in (
                    batch.boxes_xyxy_px,
                    batch.class_ids,
                    batch.present,
                    batch.sequence_class_ids,
                    batch.boxes_known,
                )
            )
        )
        age = torch.from_numpy(batch.age).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.amp):
            output, state = self.model(frames, self._carry(age, (frames.shape[-1], frames.shape[-2])))
        loss, terms = objective(
            self.model,
            output,
            truth,
            torch.from_numpy(batch.time_s).to(self.device),
            age,
            max(0.0, 1 - progress / 0.05),
            settings.label_smoothing,
            {str(name): weight for name, weight in settings.loss_weights.items()},
        )
        if not torch.isfinite(loss):
            wrong = [name for name, term in terms.items() if not math.isfinite(term.detach())]
            raise FloatingPointError(f"{', '.join(wrong)}: infinite or NaN")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        if torch.isfinite(norm):  # a batch that overflowed is skipped, not learned
            self.optimizer.step()
            self.average.update(self.model, self.position.step)
        self.carried = detached(state)
        self.position.step += 1
        self.position.plans = plans
        return {
            "loss": float(loss.detach()),
            **{name: float(term.detach()) for name, term in terms.items()},
            "gradient": float(norm.detach()),
        }

    def _carry(self, age: torch.Tensor, size_wh: tuple[int, int]) -> DetectorState:
        """The state of the batch before where a stream continues, zeros elsewhere."""
        fresh = self.model.initial_state(len(age), size_wh)
        if self.carried is None or not bool((age > 0).any()):
            return fresh
        return carried_on(self.carried, fresh, age > 0)

    def describe(self, stage: StageConfig, terms: dict[str, float], progress: float) -> dict[str, Any]:
        """A line of the log."""
        minutes = self.position.elapsed_s / 60
        return {
            "kind": "step",
            "step": self.position.step,
            "stage": stage.name,
            "progress": round(progress, 4),
            "minutes": round(minutes, 3),
            "learning_rate": self.optimizer.param_groups[-1]["lr"],
            **{name: round(value, 5) if math.isfinite(value) else None for name, value in terms.items()},
        }

    def evaluation_is_due(self, progress: float) -> bool:
        """True when the next evaluation's moment has passed, and at the end."""
        every = self.config.train.evaluate_every_share
        return progress >= 1 or progress >= (self.position.evaluated + 1) * every

    def evaluate(self, validate: Validate) -> dict[str, Any]:
        """Evaluate the averaged weights; keep them as best if they are."""
        figures = validate(self.average.model)
        every = self.config.train.evaluate_every_share
        self.position.evaluated = max(self.position.evaluated + 1, int(self.progress() / every))
        # map50 is None where the validation clips hold no object, as where only the class of each is known.
        known = (figures["map50"], figures.get("sequence_accuracy"), 0.0)
        reached = next(figure for figure in known if figure is not None)
        if reached > self.position.best:
            self.position.best, self.metrics = reached, figures
            self.position.extra["metrics"] = figures
            save_model(self.out / "best.safetensors", self.average.model, self.card())
        return {"kind": "evaluation", "step": self.position.step, **figures}

    def card(self) -> ModelCard:
        """The description that goes with the weights."""
        training = {
            "data": self.dataset.root.name,
            "notes": list(self.dataset.notes),
            "split": self.config.data.split,
            "where": self.config.data.where,
            "steps": self.position.step,
            "minutes": round(self.position.elapsed_s / 60, 1),
            "seed": self.config.train.seed,
            "device": str(self.device),
        }
        return ModelCard(self.config.model, self.dataset.classes, training, self.metrics)

    def save(self) -> None:
        """Write the last weights and the state to resume from."""
        save_model(self.out / "last.safetensors", self.average.model, self.card())
        save_state(
            self.out / "state.safetensors",
            self.position,
            self.model,
            self.average,
            self.optimizer,
            self.carried,
            self.config.model_dump(mode="json"),
        )

    def report(self) -> TrainReport:
        """What it gave."""
        best = self.out / "best.safetensors"
        return TrainReport(
            run=self.out,
            model=best if best.is_file() else self.out / "last.safetensors",
            steps=self.position.step,
            minutes=self.position.elapsed_s / 60,
            map50=self.metrics.get("map50"),
            metrics=self.metrics,
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


def _set_batchnorm_training(model: Detector, training: bool) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train(training and module.weight.requires_grad)


def _log(path: Path, tell: Tell | None, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    if tell is not None:
        tell(line)
