"""Training a sequence classifier, in time order: epochs of batches, after each its accuracy and a checkpoint.

``RUN/`` holds config.yaml (all of it), data.txt (where the data set was), log.jsonl (a line a step and an
epoch), last.safetensors and, where there is a validation split, best.safetensors (ready for ``detect
--model``), state.safetensors (to resume after the last whole epoch exactly), accuracy.png, confusion.png and
metrics.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from seqdet.config import ClassifierConfig
from seqdet.data.cache import FrameCache
from seqdet.data.dataset import Dataset, Sequence
from seqdet.data.labelled_clips import Augmentation, LabelledClips, epoch
from seqdet.errors import DivergedError, InputError, OutputError, UsageError
from seqdet.model.classifier_checkpoint import ClassifierCard, load_classifier, save_classifier
from seqdet.model.sequence_classifier import SequenceClassifier, build_classifier
from seqdet.results.charts import accuracy_png, confusion_png
from seqdet.results.metrics.classification import confusion
from seqdet.runs.classify import Classifier, name_sequences
from seqdet.runs.device import choose_device
from seqdet.runs.kept_states import has_state, keep_state, newest_state, remove_partial
from seqdet.runs.report import write_whole
from seqdet.runs.train_state import optimizer_tensors, part, restore_optimizer

# Every line of the log, as it is written.
Tell = Callable[[dict[str, Any]], None]
FORMAT = "seqdet-classifier-training-state"
VERSION = 2
# Older states stand in for damaged ones.
KEPT_STATES = 2


@dataclass(frozen=True, slots=True)
class ClassifierReport:
    """What a training gave.

    Attributes:
        run: the folder.
        model: the checkpoint to use: the best one where there is a validation split, else the last.
        epochs: that were begun.
        minutes: time spent training.
        split: what the figures were measured on.
        accuracy: share of its sequences that are named rightly by ``model``; None where it has none.
        clips: how many they are.
        confusion: (K, K): row, what it is; column, what it was named.
    """

    run: Path
    model: Path
    epochs: int
    minutes: float
    split: str
    accuracy: float | None
    clips: int
    confusion: list[list[int]]

    @property
    def headline(self) -> dict[str, Any]:
        """What a person wants to know first."""
        return {"epochs": self.epochs, "minutes": self.minutes, f"accuracy on {self.split}": self.accuracy}


@dataclass(slots=True)
class _Position:
    """Where a training is: whole epochs, steps, seconds, and one entry an epoch for the curve."""

    epochs: int = 0
    steps: int = 0
    elapsed_s: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


def fit_classifier(
    dataset: Dataset,
    config: ClassifierConfig,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    tell: Tell | None = None,
) -> ClassifierReport:
    """Train a sequence classifier.

    Args:
        dataset: with sequences of known class; boxes are not looked at.
        config: everything that can be chosen.
        out: folder of the run; must not hold a run already unless ``resume``.
        resume: go on after the last whole epoch of the run in ``out``.
        device: "auto", "cpu" or "cuda".
        tell: is told every log line.

    Raises:
        UsageError: the folder holds a run already, or there is nothing to resume.
        InputError: nothing to train on, or a video cannot be read.
        DivergedError: the loss became infinite or NaN; the last whole epoch is kept.
        OutputError: the run cannot be written.
    """
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    torch.manual_seed(config.train.seed)
    chosen = dataset.where(**config.data.where)
    names = (config.data.split, config.data.validation_split, config.data.test_split)
    train, validation, test = (_of_known_class(chosen, name) for name in names)
    if not train:
        raise InputError(
            f"{dataset.root}: no sequence of known class in the split {config.data.split!r} with "
            f"{config.data.where or 'any'} attributes"
        )
    watched = validation or test
    run = _Run(config, dataset, out, choose_device(device), tell)
    run.open(resume)
    while run.position.epochs < config.train.epochs and not run.time_is_over():
        run.train_an_epoch(train)
        run.close_epoch(watched, choose=bool(validation))
    return run.conclude(test or validation, names[2] if test else names[1])


def _of_known_class(dataset: Dataset, split: str) -> tuple[Sequence, ...]:
    return tuple(sequence for sequence in dataset.split(split) if sequence.class_id >= 0)


class _Run:
    """A training under way: the weights, what moves them, and where on disk they go."""

    def __init__(
        self, config: ClassifierConfig, dataset: Dataset, out: Path, device: torch.device, tell: Tell | None
    ) -> None:
        self.config, self.dataset, self.out, self.device, self.tell = config, dataset, out, device, tell
        self.model = build_classifier(config.model, len(dataset.classes)).to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self.model.learn(freeze_encoder=config.train.freeze_encoder)
        self.optimizer = torch.optim.Adam(
            [p for p in self.model.parameters() if p.requires_grad], lr=config.train.learning_rate
        )
        self.cache = FrameCache(int(config.data.cache_gib * 2**30), config.model.input_size_wh)
        self.position = _Position()
        self.right: list[bool] = []

    def open(self, resume: bool) -> None:
        """Make the folder, or read the state of the run that is there."""
        if resume:
            self._restore()
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise UsageError(
                f"{self.out} is not empty. Continue that run with --resume {self.out}, or choose another "
                "--out"
            )
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
            (self.out / "config.yaml").write_text(text, encoding="utf-8")
            (self.out / "data.txt").write_text(f"{self.dataset.root.resolve()}\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.out}: the run cannot be written: {error.strerror}") from error

    def time_is_over(self) -> bool:
        """True when the time budget is spent."""
        minutes = self.config.train.max_minutes
        return minutes is not None and self.position.elapsed_s >= 60 * minutes

    def train_an_epoch(self, sequences: tuple[Sequence, ...]) -> None:
        """Show every sequence once, or as many as the time allows."""
        settings = self.config.train
        self.model.learn(freeze_encoder=settings.freeze_encoder)
        self.right = []
        batches = epoch(
            sequences,
            self.cache,
            batch=settings.batch_sequences,
            frames=settings.frames_per_clip,
            max_stride=settings.max_stride,
            augmentation=Augmentation(settings.rotation_degrees, settings.shift, settings.horizontal_flip),
            seed=(settings.seed, self.position.epochs),
        )
        started = time.monotonic() - self.position.elapsed_s
        whole = -(-len(sequences) // settings.batch_sequences) * settings.epochs
        for batch in batches:
            loss = self._step(batch)
            self.position.steps += 1
            self.position.elapsed_s = time.monotonic() - started
            self._log({"kind": "step", "step": self.position.steps, "steps": whole, "loss": round(loss, 5)})
            if self.time_is_over():
                break

    def _step(self, batch: LabelledClips) -> float:
        """One optimizer step; cross-entropy at every frame, so that there is an answer at every frame."""
        frames = torch.from_numpy(batch.frames).to(self.device).permute(0, 1, 4, 2, 3)
        wanted = torch.from_numpy(batch.class_ids).to(self.device)
        logits, _ = self.model(frames, self.model.initial_state(len(wanted)))
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted.repeat_interleave(frames.shape[1])
        )
        if not torch.isfinite(loss):
            raise DivergedError(
                f"step {self.position.steps + 1}: the loss is no number. The last whole epoch is kept in "
                f"{self.out}. Go on with smaller steps: seqdet train --resume {self.out} "
                "--set train.learning_rate=..."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.gradient_clip)
        self.optimizer.step()
        self.right += (logits.detach()[:, -1].argmax(-1) == wanted).tolist()
        return float(loss.detach())

    def close_epoch(self, sequences: tuple[Sequence, ...], choose: bool) -> None:
        """Measure, and save: as best where it is, as last always."""
        named = name_sequences(self._classifier(self.model), sequences, self.config.train.evaluate_frames)
        self.position.epochs += 1
        entry = {
            "epoch": self.position.epochs,
            "training_accuracy": float(np.mean(self.right)),
            "accuracy": named.accuracy,
        }
        before = [one["accuracy"] for one in self.position.curve]
        self.position.curve.append(entry)
        self._log({"kind": "evaluation", "step": self.position.steps, **entry})
        # Of equally good epochs the later one: it has seen more.
        if choose and named.accuracy is not None and named.accuracy >= max(before, default=0.0):
            save_classifier(self.out / "best.safetensors", self.model, self._card())
        save_classifier(self.out / "last.safetensors", self.model, self._card())
        self._save_state()

    def conclude(self, sequences: tuple[Sequence, ...], split: str) -> ClassifierReport:
        """Measure the checkpoint that is to be used, and draw."""
        best, last = self.out / "best.safetensors", self.out / "last.safetensors"
        model = best if best.is_file() else last
        kept, _ = load_classifier(model)
        named = name_sequences(self._classifier(kept), sequences, self.config.train.evaluate_frames)
        classes = len(self.dataset.classes)
        counts = confusion(named.wanted, named.named, classes)[:, :classes]
        report = ClassifierReport(
            run=self.out,
            model=model,
            epochs=self.position.epochs,
            minutes=self.position.elapsed_s / 60,
            split=split,
            accuracy=named.accuracy,
            clips=len(named.wanted),
            confusion=counts.tolist(),
        )
        curves = {
            "training clips, augmented": [one["training_accuracy"] for one in self.position.curve],
            "held out": [one["accuracy"] for one in self.position.curve],
        }
        document = {
            "classes": self.dataset.classes,
            "split": split,
            "accuracy": named.accuracy,
            "clips": report.clips,
            "confusion": report.confusion,
            "curve": self.position.curve,
        }
        write_whole(self.out / "metrics.json", json.dumps(document, indent=1))
        write_whole(self.out / "accuracy.png", accuracy_png(curves, x_label="epoch"))
        if len(named.wanted):
            write_whole(self.out / "confusion.png", confusion_png(counts, self.dataset.classes))
        return report

    def _classifier(self, model: SequenceClassifier) -> Classifier:
        return Classifier(model, self._card(), self.device)

    def _card(self) -> ClassifierCard:
        """The description that goes with the weights."""
        training = {
            "data": self.dataset.root.name,
            "notes": list(self.dataset.notes),
            "split": self.config.data.split,
            "where": self.config.data.where,
            "epochs": self.position.epochs,
            "minutes": round(self.position.elapsed_s / 60, 1),
            "seed": self.config.train.seed,
            "device": str(self.device),
        }
        metrics = {"curve": self.position.curve}
        return ClassifierCard(self.config.model, self.dataset.classes, training, metrics)

    def _save_state(self) -> None:
        tensors = {"rng": torch.get_rng_state()}
        tensors |= {f"model.{name}": value.cpu() for name, value in self.model.state_dict().items()}
        tensors |= optimizer_tensors(self.optimizer)
        position = {name: getattr(self.position, name) for name in _Position.__slots__}
        document = {"format": FORMAT, "version": VERSION, "position": position}
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        keep_state(self.out, tensors, document, KEPT_STATES)

    def _restore(self) -> None:
        if not has_state(self.out):
            raise UsageError(f"{self.out}: nothing to resume: there is no state.safetensors")
        remove_partial(self.out)
        kept = newest_state(self.out, lambda document: document.get("version") == 1)
        if kept.document.get("format") != FORMAT or kept.document.get("version") not in (1, VERSION):
            raise InputError(f"{kept.path}: not a training state of this seqdet; start a new run with --out")
        tensors = kept.tensors
        try:
            self.model.load_state_dict(part(tensors, "model."))
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise InputError(f"{kept.path}: written by a run with another model: {first}") from error
        restore_optimizer(self.optimizer, tensors)
        torch.set_rng_state(tensors["rng"])
        self.position = _Position(**kept.document["position"])
        for reason in kept.damaged:
            text = f"went on from an older state: {reason}"
            self._log({"kind": "warning", "step": self.position.steps, "text": text})

    def _log(self, line: dict[str, Any]) -> None:
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.tell is not None:
            self.tell(line)
