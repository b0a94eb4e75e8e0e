"""``seqdet train`` as a story: what to train on, with which configuration, where to, then the loop."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqdet.claim import alone_in
from seqdet.config import (
    AnyConfig,
    ClassifierConfig,
    Config,
    DataConfig,
    GlimpseRunConfig,
    ModelConfig,
    StageConfig,
    TrainConfig,
)
from seqdet.config_file import load_any_config
from seqdet.data.dataset import Dataset, is_dataset, load_dataset
from seqdet.data.formats import class_folders
from seqdet.data.synth.scene import render_clip, scene_class_ids
from seqdet.errors import UsageError
from seqdet.model.checkpoint import ModelCard, load_model
from seqdet.model.detector import Detector, build_detector
from seqdet.model.transfer import carry_over
from seqdet.runs.device import choose_device
from seqdet.runs.evaluate import all_figures, evenly, measure
from seqdet.runs.ingest import ingest
from seqdet.runs.kept_states import has_state
from seqdet.runs.measure import in_turn
from seqdet.runs.processes import Alone, Group, LastWords, join, launcher, was_started_here
from seqdet.runs.shipped import find_model
from seqdet.runs.stream import Model
from seqdet.runs.synth import synth
from seqdet.runs.train_classifier import ClassifierReport, fit_classifier
from seqdet.runs.train_glimpse import GlimpseReport, fit_glimpse
from seqdet.runs.train_loop import TrainReport, fit
from seqdet.runs.train_run import Validate
from seqdet.types import Targets

# (stage, steps done, steps in all)
Progress = Callable[[str, int, int | None], None]
# Every line of the log as it is written.
Tell = Callable[[dict[str, Any]], None]

SYNTHETIC_SEQUENCES = 160
SYNTHETIC_FRAMES = 48


def train(
    data: Path | None,
    *,
    config: AnyConfig | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    start: str | Path | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
    last_words: LastWords | None = None,
) -> TrainReport | ClassifierReport | GlimpseReport:
    """Train a detector, or what else ``config`` is of: a sequence classifier, a detector's glimpse.

    Args:
        data: folder of a data set; None renders the small built-in task and trains on that, in minutes. A
            sequence classifier also takes a folder with folders of clips by class.
        config: what can be chosen; None takes the run's own when resuming, the built-in task's without data,
            and the defaults otherwise.
        out: folder of the run; made up from the date when None.
        resume: a run folder to continue.
        start: a trained model (shipped name, run folder or file) to start from instead of random weights; its
            shape is taken unless ``config`` says another.
        device: "auto", "cpu" or "cuda".
        force: empty ``out`` first if it holds a run.
        progress: is told the steps done.
        tell: is told every line of the log.
        last_words: is told which of several processes is lost, just before this one ends.

    Raises:
        UsageError: contradictory arguments, or the folder holds a run already.
        InputError: the data set is not usable.
    """
    if resume is not None and out is not None and out != resume:
        raise UsageError("--resume continues a run in its own folder; leave out --out")
    if resume is not None and start is not None:
        raise UsageError("--resume continues with the run's own weights; leave out --from")
    if (out or resume) is None and launcher():
        raise UsageError("a training by torchrun needs --out, to find what it has left when it starts again")
    run = resume or out or Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S")
    with join(last_words or (lambda message: None)) as together, ExitStack() as alone:
        started_here = any(together.gathered(was_started_here(run)))
        goes_on = resume is not None or (started_here and together.first_says(has_state(run)))
        if together.rank == 0:
            is_emptied = not goes_on and (started_here or (force and (run / "config.yaml").is_file()))
            alone.enter_context(_folder_of(run, is_emptied))
        if resume is not None:
            if not (run / "config.yaml").is_file():
                raise UsageError(f"--resume {run}: no run is there (config.yaml is missing)")
            data = data or _data_of(run)
            config = config or load_any_config(run / "config.yaml")
        if together.size > 1 and (data is None or (out or resume) is None):
            raise UsageError("a training in several processes needs DATA and --out, the same for all")
        if isinstance(config, ClassifierConfig):
            if together.size > 1:
                raise UsageError("a sequence classifier is trained in one process; start one")
            return _train_classifier(data, config, run, goes_on, start, device, progress, tell)
        if isinstance(config, GlimpseRunConfig):
            if together.size > 1:
                raise UsageError("a glimpse is trained in one process; start one")
            return _train_glimpse(data, config, run, goes_on, start, device, progress, tell)
        return _train_detector(data, config, run, goes_on, start, device, progress, tell, together)


@contextmanager
def _folder_of(run: Path, empty: bool) -> Iterator[None]:
    """Work alone in the folder of a run; ``empty``: what another run has left there goes first."""
    if empty:
        with alone_in(run):
            shutil.rmtree(run)
    with alone_in(run):
        yield


def _train_detector(
    data: Path | None,
    config: Config | None,
    run: Path,
    resume: bool,
    start: str | Path | None,
    device: str,
    progress: Progress | None,
    tell: Tell | None,
    together: Alone | Group,
) -> TrainReport:
    if data is None:
        data = run.with_name(run.name + "-data")
        config = config or built_in_config()
        synth(
            data,
            task="discs",
            sequences=SYNTHETIC_SEQUENCES,
            frames=SYNTHETIC_FRAMES,
            seed=config.train.seed,
            force=True,
        )
    config = config or (config_of(start) if start is not None else Config())
    dataset = load_dataset(data)

    def say(line: dict[str, Any]) -> None:
        if tell is not None:
            tell(line)
        if progress is not None and line["kind"] == "step":
            whole = config.train.steps
            if config.train.max_minutes:
                whole = max(line["step"], min(whole, round(line["step"] / max(line["progress"], 1e-6))))
            rates = [
                f"{name} {line[f'{name}_frames_per_s']:.0f}"
                for name in ("loader", "step")
                if line[f"{name}_frames_per_s"]
            ]
            words = ", ".join([f"loss {line['loss']:.2f}", *rates])
            progress(
                f"training, {line['stage']} ({words}{' frames/s' if rates else ''})", line["step"], whole
            )

    return fit(
        data,
        config,
        run,
        resume=resume,
        device=together.device(device),
        initial=_started(start, config, len(dataset.classes)) if start is not None else None,
        validate=_validation(dataset, config, together.device(device), together),
        render_scene=scene_renderer(dataset, config),
        tell=say,
        together=together,
    )


def _train_classifier(
    data: Path | None,
    config: ClassifierConfig,
    run: Path,
    resume: bool,
    start: str | Path | None,
    device: str,
    progress: Progress | None,
    tell: Tell | None,
) -> ClassifierReport:
    if start is not None:
        raise UsageError("--from starts a detector; a sequence classifier has model.encoder_weights")
    if data is None:
        raise UsageError(
            "a sequence classifier needs DATA: a data set, or a folder with train/CLASS/* and test/CLASS/*"
        )
    if not is_dataset(data) and data.is_dir() and class_folders.sniff(data):
        source, data = data, run.with_name(run.name + "-data")
        ingest(source, data, format=class_folders.NAME, link=True, force=True)

    def say(line: dict[str, Any]) -> None:
        if tell is not None:
            tell(line)
        if progress is not None and line["kind"] == "step":
            progress(f"training (loss {line['loss']:.2f})", line["step"], line["steps"])

    return fit_classifier(load_dataset(data), config, run, resume=resume, device=device, tell=say)


def _train_glimpse(
    data: Path | None,
    config: GlimpseRunConfig,
    run: Path,
    resume: bool,
    start: str | Path | None,
    device: str,
    progress: Progress | None,
    tell: Tell | None,
) -> GlimpseReport:
    if resume:
        raise UsageError("a glimpse is trained in minutes and not resumed; begin anew with --from and --out")
    if data is None or start is None:
        raise UsageError(
            "a glimpse is a second look for a trained detector: give DATA and the detector, --from MODEL"
        )

    def say(line: dict[str, Any]) -> None:
        if tell is not None:
            tell(line)
        if progress is not None and line["kind"] == "crops":
            progress(f"crops of {line['split']}", line["done"], line["of"])
        if progress is not None and line["kind"] == "step":
            whole = max(line["step"], round(line["step"] / max(line["progress"], 1e-6)))
            progress(f"training (loss {line['loss']:.2f})", line["step"], whole)

    return fit_glimpse(load_dataset(data), config, run, start, device=device, tell=say)


def built_in_config() -> Config:
    """The configuration of the small built-in task: minutes on two CPU cores."""
    clips = StageConfig(
        name="clips", share=0.85, frames_per_clip=12, clips_per_batch=6, streamed_fraction=0.5
    )
    anneal = clips.model_copy(update={"name": "anneal", "share": 0.15, "freeze_batchnorm": True})
    return Config(
        model=ModelConfig(levels=(4, 8), channels=32, clip_width=64, input_size_wh=(96, 96)),
        data=DataConfig(cache_gib=1.0),
        train=TrainConfig(
            steps=700,
            max_minutes=3.5,
            warmup_steps=40,
            ema_decay=0.99,
            evaluate_every_share=0.5,
            evaluate_clips=12,
            stages=(clips, anneal),
        ),
    )


def config_of(start: str | Path) -> Config:
    """The defaults, with the shape of a trained model.

    Raises:
        UsageError: no model of that name.
        InputError: its file is not usable.
    """
    return Config(model=load_model(find_model(start))[1].config)


def _started(start: str | Path, config: Config, classes: int) -> Detector:
    """A detector for this data set with the weights of ``start`` wherever they fit."""
    torch.manual_seed(config.train.seed)
    detector = build_detector(config.model, classes)
    fresh = carry_over(load_model(find_model(start))[0], detector)
    if len(fresh) > len(detector.state_dict()) / 2:
        raise UsageError(
            f"--from {start}: it has another shape, so next to nothing can be carried over; leave out "
            "--config, or copy its model section from the run's config.yaml"
        )
    return detector


def _data_of(run: Path) -> Path:
    recorded = run / "data.txt"
    if not recorded.is_file():
        raise UsageError(f"--resume {run}: give the data set too, the run does not say where it was")
    return Path(recorded.read_text(encoding="utf-8").strip())


def _validation(dataset: Dataset, config: Config, device: str, together: Alone | Group) -> Validate | None:
    """Figures of a model on a few clips of the validation split, or None where there is none.

    Each process detects in its part of the clips; the figures are those of all clips in their order.
    """
    clips = dataset.where(**config.data.where).split(config.data.validation_split)
    chosen = evenly(clips, config.train.evaluate_clips)
    if not chosen or not config.train.evaluate_clips:
        return None

    def validate(detector: Detector) -> dict[str, Any]:
        model = Model(detector, ModelCard(config.model, dataset.classes), choose_device(device))
        mine = chosen[together.rank :: together.size]
        parts = together.gathered(measure(model, dataset, mine, max_frames=config.train.evaluate_frames))
        figures = all_figures(in_turn(parts), dataset.classes)
        kept = ("map50", "agnostic_ap50", "f1_50", "track_accuracy", "sequence_accuracy", "frames_per_s")
        of_masks = ("mask_map50", "mask_map50_95")  # only where there are any
        return {name: figures[name] for name in (*kept, *of_masks) if name in figures} | {
            "per_class": {name: entry["ap50"] for name, entry in figures["per_class"].items()}
        }

    return validate


def scene_renderer(
    dataset: Dataset, config: Config
) -> (
    Callable[[np.random.Generator, tuple[int, int], int, int], tuple[np.ndarray, tuple[Targets, ...], int]]
    | None
):
    """Renders airspace-like clips with the data set's class ids, or None when no stage asks for them."""
    if not any(stage.synthetic_fraction for stage in config.train.stages):
        return None
    ids = scene_class_ids(dataset.classes, "train.stages: synthetic_fraction")

    def render(
        rng: np.random.Generator, size_wh: tuple[int, int], frames: int, stride: int
    ) -> tuple[np.ndarray, tuple[Targets, ...], int]:
        sensor = "thermal" if rng.random() < 0.65 else "visible"
        pictures, truth, class_id = render_clip(rng, sensor, size_wh, frames, stride)
        named = tuple(replace(targets, class_ids=ids[targets.class_ids]) for targets in truth)
        return pictures, named, int(ids[class_id]) if class_id >= 0 else -1

    return render
