"""``seqdet preview``: what the training will see of a data set, as one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqdet.config import Config, StageConfig
from seqdet.data.dataset import load_dataset
from seqdet.data.loader import ClipRenderer
from seqdet.data.plans import Sampler, describe, plan_batch
from seqdet.errors import InputError, OutputError, UsageError
from seqdet.results.sheet import contact_sheet
from seqdet.runs.train import scene_renderer
from seqdet.runs.train_loop import batch_shape

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True)
class PreviewReport:
    """What was drawn.

    Attributes:
        out: the picture.
        stage: name of the training stage.
        clips: what each row shows.
    """

    out: Path
    stage: str
    clips: tuple[str, ...]


def preview(
    data: Path,
    out: Path,
    *,
    config: Config | None = None,
    stage: str | None = None,
    clips: int = 8,
    columns: int = 6,
    seed: int = 0,
    force: bool = False,
) -> PreviewReport:
    """Draw a contact sheet of the clips that a training would see: sampled, pasted, augmented, with boxes.

    Args:
        data: folder of the data set.
        out: picture to write.
        config: of the training; the defaults when None.
        stage: name of the stage; the first with clips of more than one frame when None.
        clips: rows.
        columns: frames shown of each clip.
        seed: another seed shows other clips.
        force: replace ``out``.

    Raises:
        UsageError: no stage of that name, or ``out`` exists or is no picture's name.
        InputError: the data set is not usable.
        OutputError: the picture cannot be written.
    """
    config = config or Config()
    stages = {each.name: each for each in config.train.stages}
    if stage is not None and stage not in stages:
        raise UsageError(f"--stage {stage}: the stages of this configuration are {', '.join(stages)}")
    if out.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--out {out}: a picture is written as {', '.join(_SUFFIXES)}")
    if out.exists() and not force:
        raise UsageError(f"{out} exists; choose another name, or --force to replace it")
    chosen = stages[stage] if stage else _with_time(list(stages.values()))
    dataset = load_dataset(data).where(**config.data.where)
    sequences = dataset.split(config.data.split)
    if not sequences:
        raise InputError(f"{data}: no sequence in the split {config.data.split!r}")
    shape = batch_shape(chosen.model_copy(update={"clips_per_batch": clips, "streamed_fraction": 0.0}))
    renderer = ClipRenderer(
        dataset,
        sequences,
        config.model.input_size_wh,
        int(config.data.cache_gib * 2**30),
        scene_renderer(dataset, config),
        config.data.reversible,
    )
    sampler = Sampler(sequences, config.data.recording_power)
    plans = plan_batch((), sampler, shape, np.random.default_rng(seed))
    batch = renderer.batch(plans, shape)
    captions = tuple(describe((plan,), sequences, shape) for plan in plans)
    shown = np.where(batch.present, batch.class_ids, -2)
    sheet = contact_sheet(
        list(batch.frames), list(batch.boxes_xyxy_px), list(shown), captions, dataset.classes, columns
    )
    try:
        sheet.save(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    return PreviewReport(out, chosen.name, captions)


def _with_time(stages: list[StageConfig]) -> StageConfig:
    """The first stage whose clips have more than one frame."""
    return next((stage for stage in stages if stage.frames_per_clip > 1), stages[0])
