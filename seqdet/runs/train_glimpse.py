"""Training a glimpse for a trained detector, in time order: crops, steps, figures, checkpoint.

``RUN/`` holds config.yaml (all of it), data.txt (where the data set was), log.jsonl (a line every few steps
and every evaluation) and last.safetensors: the detector as it was, with the glimpse (ready for ``detect
--model``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from seqdet.config import GlimpseRunConfig
from seqdet.data.crops import Crops, beside, drawing_weights
from seqdet.data.dataset import Dataset
from seqdet.errors import DivergedError, InputError, OutputError, UsageError
from seqdet.model.checkpoint import load_model, save_model
from seqdet.model.glimpse import Glimpse, build_glimpse
from seqdet.model.glimpse_views import plain_view, random_view
from seqdet.model.optimise import WeightAverage, learning_rate_at, parameter_groups
from seqdet.runs.device import choose_device
from seqdet.runs.glimpse_crops import MARGIN, collect_crops, rendered_crops
from seqdet.runs.shipped import find_model
from seqdet.runs.stream import load

# Every line of the log, as it is written.
Tell = Callable[[dict[str, Any]], None]
_EVALUATED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class GlimpseReport:
    """What a training gave.

    Attributes:
        run: the folder.
        model: the detector with its glimpse.
        steps: optimizer steps done.
        minutes: time spent training, without the gathering of crops.
        figures: of the last evaluation; empty without a validation split.
    """

    run: Path
    model: Path
    steps: int
    minutes: float
    figures: dict[str, float]

    @property
    def headline(self) -> dict[str, Any]:
        """What a person wants to know first."""
        return {"steps": self.steps, "minutes": self.minutes, **self.figures}


def fit_glimpse(
    dataset: Dataset,
    config: GlimpseRunConfig,
    out: Path,
    start: str | Path,
    *,
    device: str = "auto",
    tell: Tell | None = None,
) -> GlimpseReport:
    """Train a second look at tracks, for one detector.

    Args:
        dataset: with boxes and classes.
        config: everything that can be chosen.
        out: folder of the run; must not hold a run already.
        start: the detector, by shipped name, run folder or file. Its other weights stay as they are.
        device: "auto", "cpu" or "cuda".
        tell: is told every log line.

    Raises:
        UsageError: the folder holds something already, or the detector has other classes.
        InputError: the data set or the detector is not usable.
        DivergedError: the loss became infinite or NaN.
        OutputError: the run cannot be written.
    """
    settings = config.train
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    where = choose_device(device)
    detector, card = load_model(find_model(start))
    if card.classes != dataset.classes:
        raise UsageError(
            f"--from {start}: it knows {', '.join(card.classes)}; the data set has "
            f"{', '.join(dataset.classes)}"
        )
    chosen = dataset.where(**config.data.where)
    if not (sequences := chosen.split(config.data.split)):
        raise InputError(f"{dataset.root}: no sequence in the split {config.data.split!r}")
    _open(out, config, dataset)

    def log(line: dict[str, Any]) -> None:
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if tell is not None:
            tell(line)

    def gathered(split: str) -> Callable[[int, int], None]:
        return lambda done, whole: log({"kind": "crops", "split": split, "done": done, "of": whole})

    shape, most = config.model, config.data.crops_per_sequence
    first = load(start, device)
    crops = collect_crops(
        dataset,
        sequences,
        shape,
        most,
        detector=first,
        detector_frames=config.data.detector_frames,
        progress=gathered("train"),
    )
    if config.data.rendered_clips:
        rendered = rendered_crops(
            dataset.classes, shape, config.data.rendered_clips, settings.seed, detector=first
        )
        crops = beside(crops, rendered)
    held = chosen.split(config.data.validation_split)
    validation = collect_crops(dataset, held, shape, most, progress=gathered("validation")) if held else None

    classes = len(dataset.classes)
    glimpse = build_glimpse(shape, classes, settings.encoder_weights).to(where)
    training = Training(config, glimpse, crops, classes, where)
    figures: dict[str, float] = {}
    due = settings.evaluate_every_share
    while training.progress() < 1:
        loss = training.step()
        if not np.isfinite(loss):
            raise DivergedError(
                f"step {training.steps}: the loss is no number; try a smaller --set train.learning_rate=..."
            )
        progress = min(training.progress(), 1.0)
        if training.steps % settings.log_every == 0 or progress >= 1:
            log({"kind": "step", "step": training.steps, "progress": progress, "loss": round(loss, 4)})
        if validation is not None and progress >= min(due, 1.0) - 1e-9:
            due += settings.evaluate_every_share
            with training.paused():
                figures = evaluate_glimpse(training.average.model, validation, where)
            log({"kind": "evaluation", "step": training.steps, **figures})
    detector.glimpse = training.average.model.cpu()
    minutes = training.elapsed_s / 60
    told = {
        "data": dataset.root.name,
        "split": config.data.split,
        "steps": training.steps,
        "minutes": round(minutes, 1),
        "seed": settings.seed,
        "crops": len(crops.class_ids),
        "crops_of_nothing": int((crops.class_ids == classes).sum()),
        "encoder_weights": "imagenet" if settings.encoder_weights else "random",
        "figures": figures,
    }
    card = replace(
        card,
        config=card.config.model_copy(update={"glimpse": shape}),
        training=card.training | {"glimpse": told},
    )
    save_model(out / "last.safetensors", detector, card)
    return GlimpseReport(out, out / "last.safetensors", training.steps, minutes, figures)


def _open(out: Path, config: GlimpseRunConfig, dataset: Dataset) -> None:
    """Make the folder of the run."""
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; choose another --out, or --force")
    try:
        out.mkdir(parents=True, exist_ok=True)
        document = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        (out / "config.yaml").write_text(document, encoding="utf-8")
        (out / "data.txt").write_text(f"{dataset.root.resolve()}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: the run cannot be written: {error.strerror}") from error


class Training:
    """Weights, what moves them, and the draws."""

    def __init__(
        self, config: GlimpseRunConfig, glimpse: Glimpse, crops: Crops, classes: int, device: torch.device
    ) -> None:
        self.config, self.crops, self.device = config, crops, device
        self.glimpse = glimpse.train()
        self.average = WeightAverage(glimpse, config.train.ema_decay)
        groups = parameter_groups(glimpse, config.train.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=config.train.learning_rate)
        self.rng = np.random.default_rng(config.train.seed)
        self.views = torch.Generator().manual_seed(config.train.seed)
        kinds = [np.flatnonzero((crops.class_ids == classes) == nothing) for nothing in (False, True)]
        self.draws = [
            (
                kind,
                drawing_weights(crops.class_ids[kind], crops.recordings[kind], config.data.recording_power),
            )
            for kind in kinds
        ]
        self.steps = 0
        self.pause_s = 0.0
        self.started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds spent training."""
        return time.monotonic() - self.started - self.pause_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A while that is not counted."""
        began = time.monotonic()
        yield
        self.pause_s += time.monotonic() - began

    def progress(self) -> float:
        """0 to 1: the steps, or the clock where it runs ahead of them."""
        share = self.steps / self.config.train.steps
        if self.config.train.max_minutes:
            share = max(share, self.elapsed_s / 60 / self.config.train.max_minutes)
        return share

    def step(self) -> float:
        """One optimizer step; the loss."""
        settings = self.config.train
        pictures, wanted = self._batch()
        rate = learning_rate_at(
            self.progress(),
            self.steps,
            settings.learning_rate,
            settings.warmup_steps,
            settings.final_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * (settings.encoder_learning_rate_scale if group["role"] == "encoder" else 1.0)
        loss = torch.nn.functional.cross_entropy(
            self.glimpse(pictures), wanted, label_smoothing=settings.label_smoothing
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.glimpse.parameters(), settings.gradient_clip)
        self.optimizer.step()
        self.average.update(self.glimpse, self.steps)
        self.steps += 1
        return float(loss.detach())

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Drawn crops (M, 3, S, S) as if from elsewhere, and their classes (M,)."""
        (objects, of_objects), (nothings, of_nothings) = self.draws
        whole = self.config.train.batch_crops
        few = round(whole * self.config.train.nothing_fraction) if len(nothings) else 0
        drawn = self.rng.choice(objects, whole - few, p=of_objects)
        if few:
            drawn = np.concatenate([drawn, self.rng.choice(nothings, few, p=of_nothings)])
        self.rng.shuffle(drawn)
        kept = torch.from_numpy(self.crops.pictures[drawn]).permute(0, 3, 1, 2).float()
        seen = random_view(kept, self.config.model.crop_px, MARGIN, self.views)
        return seen.to(self.device), torch.from_numpy(self.crops.class_ids[drawn]).to(self.device)


@torch.inference_mode()
def evaluate_glimpse(glimpse: Glimpse, crops: Crops, device: torch.device) -> dict[str, float]:
    """How well true objects are named: one by one, and by the summed probabilities of each track.

    Returns:
        glimpse_accuracy and glimpse_track_accuracy in 0..1, "nothing" being a wrong answer to both.
    """
    parts = []
    for begin in range(0, len(crops.class_ids), _EVALUATED_AT_ONCE):
        kept = (
            torch.from_numpy(crops.pictures[begin : begin + _EVALUATED_AT_ONCE]).permute(0, 3, 1, 2).float()
        )
        seen = plain_view(kept, glimpse.crop_px, MARGIN)
        parts.append(glimpse(seen.to(device)).softmax(-1).cpu().numpy())
    probabilities = np.concatenate(parts)
    numbers, first, inverse = np.unique(crops.tracks, return_index=True, return_inverse=True)
    summed = np.zeros((len(numbers), probabilities.shape[1]))
    np.add.at(summed, inverse, probabilities)
    return {
        "glimpse_accuracy": float((probabilities.argmax(axis=1) == crops.class_ids).mean()),
        "glimpse_track_accuracy": float((summed.argmax(axis=1) == crops.class_ids[first]).mean()),
    }
