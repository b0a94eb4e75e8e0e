"""A training under way: the weights, what moves them, and where on disk they go.

``RUN/`` holds config.yaml (all of it), data.txt (where the data set was), log.jsonl (a line every few steps
and every evaluation), last.safetensors and best.safetensors (averaged weights, ready for ``detect --model``),
state.safetensors and older ones (to resume exactly).
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from seqdet.config import Config, StageConfig
from seqdet.data.dataset import Dataset
from seqdet.data.plans import ClipPlan, edge_noise
from seqdet.errors import DivergedError, OutputError, SeqdetError, UsageError
from seqdet.model.checkpoint import ModelCard, save_model
from seqdet.model.detector import Detector
from seqdet.model.drop_path import add_stochastic_depth
from seqdet.model.losses import ClipTruth
from seqdet.model.memory import DetectorState
from seqdet.model.norms import share_statistics
from seqdet.model.objective import objective
from seqdet.model.optimise import WeightAverage, learning_rate_at, parameter_groups
from seqdet.runs.kept_states import (
    KeptState,
    Writer,
    has_state,
    keep_state,
    newest_state,
    remove_partial,
)
from seqdet.runs.processes import LAUNCHER, Alone, Group, launcher
from seqdet.runs.train_state import (
    Position,
    carried_on,
    carried_tensors,
    detached,
    is_older_kind,
    of_slots,
    put_together,
    restore_state,
    state_document,
    state_tensors,
)
from seqdet.types import ClipBatch

# Validates a model: (model, classes) -> figures, with "map50" among them.
Validate = Callable[[Detector], dict[str, Any]]
# Every line of the log, as it is written.
Tell = Callable[[dict[str, Any]], None]
# After so many batches in a row whose gradient is no number there is nothing to hope for.
MOST_SKIPPED = 20


class Run:
    """A training under way: the weights, what moves them, and where on disk they go."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        out: Path,
        device: torch.device,
        model: Detector,
        tell: Tell | None = None,
        together: Alone | Group | None = None,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.out = out
        self.tell = tell
        self.together = together or Alone()
        self.device = device
        self.model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        for part in config.train.freeze:
            if (frozen := getattr(self.model, part)) is not None:
                frozen.requires_grad_(False)
        if self.model.glimpse is not None:  # trained on its own (train_glimpse)
            self.model.glimpse.requires_grad_(False)
        self.average = WeightAverage(self.model, config.train.ema_decay)
        if config.train.stochastic_depth:  # of what learns; what is evaluated and saved has none
            add_stochastic_depth(self.model.encoder, config.train.stochastic_depth)
        if self.together.size > 1:
            share_statistics(self.model)
        groups = parameter_groups(self.model, config.train.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=config.train.learning_rate)
        self.network = self.together.network(self.model)
        self.position = Position(shards=config.data.shards or self.together.size)
        self.carried: DetectorState | None = None
        self.metrics: dict[str, Any] = {}
        self.writer = Writer()
        self.saved_s = time.monotonic()

    def open(self, resume: bool) -> tuple[str, ...]:
        """Make the folder, or go on from the newest whole state of the run that is there.

        The first process does it and says how it went.

        Returns:
            What was wrong with each newer state.
        """
        kept: KeptState | SeqdetError | None = None
        launchers = self.together.gathered(launcher())
        if self.together.rank == 0:
            try:
                kept = self._open(resume, launchers)
            except SeqdetError as error:
                kept = error
        kept = self.together.first_says(kept)
        if isinstance(kept, SeqdetError):
            raise kept
        if kept is None:
            return ()
        parts = (self.model, self.average, self.optimizer)
        self.position, carried = restore_state(kept, *parts, self.together.rank)
        self.position.shards = self.config.data.shards or self.position.shards
        if len(self.position.plans) != self.config.train.stages[self.position.stage].clips_per_batch:
            self.position.plans = ()  # the configuration was changed
        elif carried is not None:
            self.carried = of_slots(carried, self.slots(len(self.position.plans)))
        self.metrics = self.position.extra.get("metrics", {})
        return kept.damaged

    def slots(self, clips: int, rank: int | None = None) -> list[int]:
        """Which clips of a batch are those of a process: this one unless another is named."""
        rank = self.together.rank if rank is None else rank
        return [s for s in range(clips) if s % self.position.shards % self.together.size == rank]

    def _open(self, resume: bool, launchers: list[str]) -> KeptState | None:
        if resume:
            if not has_state(self.out):
                raise UsageError(f"{self.out}: nothing to resume: there is no state.safetensors")
            remove_partial(self.out)
            return newest_state(self.out, is_older_kind)
        if self.out.exists() and any(self.out.iterdir()):
            raise UsageError(
                f"{self.out} is not empty. Continue that run with --resume {self.out}, or choose another "
                "--out"
            )
        document = self.config.model_dump(mode="json")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / LAUNCHER).write_text("\n".join(sorted(set(launchers))), encoding="utf-8")
            (self.out / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
            (self.out / "data.txt").write_text(f"{self.dataset.root.resolve()}\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.out}: the run cannot be written: {error.strerror}") from error
        return None

    def log(self, line: dict[str, Any]) -> None:
        """Append a line to the log, and tell it."""
        if self.together.rank > 0:
            return
        try:
            with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(
                f"{self.out}/log.jsonl: step {self.position.step} could not be written: {error.strerror}. "
                f"Make room and go on with --resume {self.out}"
            ) from error
        if self.tell is not None:
            self.tell(line)

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
        """One optimizer step on one batch of clips; returns the loss terms of the batch of all processes.

        Args:
            stage: that the batch is of.
            plans: of the clips of all processes.
            batch: the clips of this one.

        Raises:
            FloatingPointError: a loss term is not finite; nothing was changed.
            DivergedError: the gradients of many batches in a row were not finite.
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
                    batch.masks,
                )
            )
        )
        age = torch.from_numpy(batch.age).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.amp):
            output, state = self.network(frames, self._carry(age, (frames.shape[-1], frames.shape[-2])))
        mine = [plans[slot] for slot in self.slots(len(plans))]
        noise = torch.from_numpy(edge_noise(mine, *batch.present.shape[1:])).to(self.device)
        loss, terms = objective(
            self.model,
            output,
            truth,
            torch.from_numpy(batch.time_s).to(self.device),
            age,
            max(0.0, 1 - progress / 0.05),
            settings.label_smoothing,
            {str(name): weight for name, weight in settings.loss_weights.items()},
            noise,
            self.together.total,
        )
        terms = {"loss": loss, **terms}
        totals = self.together.total(torch.stack([term.detach() for term in terms.values()])).tolist()
        figures = dict(zip(terms, totals, strict=True))
        if not math.isfinite(figures["loss"]):
            wrong = [name for name, figure in figures.items() if not math.isfinite(figure) and name != "loss"]
            raise FloatingPointError(f"{', '.join(wrong)}: infinite or NaN")
        self.optimizer.zero_grad(set_to_none=True)
        # Gradients are averaged over processes, and the terms of all of them are to be added.
        (loss * self.together.size if self.together.size > 1 else loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.model, self.position.step)
            self.position.skipped = 0
        else:  # a batch that overflowed is not learned
            self.position.skipped += 1
        self.carried = detached(state)
        self.position.step += 1
        self.position.plans = plans
        return figures | {"gradient": float(norm.detach())}

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

    def evaluation_is_due(self) -> bool:
        """True when the next evaluation's moment has passed, and at the end."""
        every, progress = self.config.train.evaluate_every_share, self.progress()
        due = progress >= 1 or progress >= (self.position.evaluated + 1) * every
        return due and self.position.step != self.position.evaluated_at

    def evaluate(self, validate: Validate) -> dict[str, Any]:
        """Evaluate the averaged weights; keep them as best if they are."""
        figures = validate(self.average.model)
        every = self.config.train.evaluate_every_share
        self.position.evaluated = max(self.position.evaluated + 1, int(self.progress() / every))
        self.position.evaluated_at = self.position.step
        # map50 is None where the validation clips hold no object, as where only the class of each is known.
        known = (figures["map50"], figures.get("sequence_accuracy"), 0.0)
        reached = next(figure for figure in known if figure is not None)
        if reached > self.position.best and _is_finite(self.average.model):
            self.position.best, self.metrics = reached, figures
            self.position.extra["metrics"] = figures
            if self.together.rank == 0:
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

    def saving_is_due(self) -> bool:
        """True when the last state is old enough; raises what its writing raised."""
        waited_s = time.monotonic() - self.saved_s
        return self.writer.is_free() and waited_s > 60 * self.config.train.checkpoint_minutes

    def save(self, *, wait: bool = False) -> None:
        """Copy the state to resume from and the last weights; a thread writes them while training goes on.

        Args:
            wait: until they are written.

        Raises:
            DivergedError: the weights are no numbers any more; the states on disk are those before.
            OutputError: these, or those before them, could not be written.
        """
        if not _is_finite(self.model):
            raise DivergedError(
                f"step {self.position.step}: weights became infinite or NaN. The last good ones are kept in "
                f"{self.out}; go on with smaller steps: seqdet train --resume {self.out} "
                "--set train.learning_rate=..."
            )
        self.writer.wait()
        parts = self.together.gathered(carried_tensors(self.carried))
        if self.together.rank > 0:
            return
        clips = len(self.position.plans)
        carried = put_together(parts, [self.slots(clips, rank) for rank in range(self.together.size)])
        tensors = state_tensors(self.model, self.average, self.optimizer, carried)
        position = replace(self.position)
        document = state_document(position, self.config.model_dump(mode="json"))
        averaged, card = copy.deepcopy(self.average.model), self.card()

        def write() -> None:
            keep_state(self.out, tensors, document, self.config.train.keep_states)
            if position.step:
                save_model(self.out / "last.safetensors", averaged, card)

        self.writer.start(write)
        self.saved_s = time.monotonic()
        if wait:
            self.writer.wait()


def _set_batchnorm_training(model: Detector, training: bool) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train(training and module.weight.requires_grad)


@torch.no_grad()
def _is_finite(model: Detector) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
