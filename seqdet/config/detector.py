"""A detector: its shape, what its training reads and how that goes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from seqdet.config.glimpse import GlimpseConfig
from seqdet.config.section import EncoderName, Section

PartName = Literal["encoder", "neck", "memory", "heads", "clip", "tracks", "masks"]
LossName = Literal["objectness", "class", "box", "motion", "track", "clip", "mask"]


class ModelConfig(Section):
    """The detector's shape. What is here is saved with every checkpoint and is enough to build the model."""

    encoder: EncoderName = Field("regnet_plain", description="torchvision CNN that embeds each frame")
    encoder_weights: str | None = Field(
        None,
        description="'imagenet' for torchvision's own weights (downloaded), a path to a .safetensors file "
        "with torchvision's names, or null to start from random weights",
    )
    levels: tuple[int, ...] = Field(
        (4, 8, 16), description="strides (pixels) of the maps that carry memory and heads"
    )
    channels: int = Field(48, ge=8, le=512, description="channels of every pyramid map and of its memory")
    clip_width: int = Field(128, ge=8, le=1024, description="state width of the LSTM that names the sequence")
    track_width: int = Field(64, ge=8, le=512, description="state width of the LSTM that names each track")
    max_tracks: int = Field(64, ge=1, le=512, description="rows of the track table")
    memory: bool = Field(True, description="false removes the map memory: a frame detector, the control")
    memory_cell: Literal["bottleneck", "convlstm", "convgru"] = Field(
        "bottleneck", description="cell of the map memory; the others cost more (docs/ablations.md)"
    )
    peepholes: bool = Field(True, description="let the gates see the cell state; a GRU has none")
    norm: Literal["batch", "group"] = Field(
        "batch", description="BatchNorm (over all processes of a training) or GroupNorm (no batch at all)"
    )
    difference_rates: tuple[float, ...] = Field(
        (),
        description="the encoder also sees how each frame differs from running averages of those before, one "
        "channel a rate (1: the frame before; 0.1: a background of ten frames); needs memory",
    )
    objectness: Literal["separate", "merged"] = Field(
        "separate", description="an output of its own, or the best score of a class"
    )
    input_size_wh: tuple[int, int] = Field(
        (320, 256), description="width and height (pixels) that frames are fitted into, multiples of 32"
    )
    mask_prototypes: int = Field(
        0, ge=0, le=64, description="prototypes that masks of objects are mixed from; 0: boxes have no masks"
    )
    glimpse: GlimpseConfig | None = Field(
        None, description="a second look at each track, trained on its own (docs/model.md); null: none"
    )

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if not all(0 < rate <= 1 for rate in self.difference_rates):
            raise ValueError(f"difference_rates lie above 0 and up to 1, got {list(self.difference_rates)}")
        if any(side % 32 or side < 32 for side in self.input_size_wh):
            raise ValueError(f"input_size_wh must be multiples of 32, got {list(self.input_size_wh)}")
        if not self.levels or any(level not in (4, 8, 16, 32) for level in self.levels):
            raise ValueError(f"levels must be among 4, 8, 16 and 32, got {list(self.levels)}")
        if sorted(set(self.levels)) != list(self.levels):
            raise ValueError(f"levels must be ascending and different, got {list(self.levels)}")
        return self


class StageConfig(Section):
    """One part of the training, in time order. Shares of all stages add up to 1."""

    name: str = Field(description="shown in the log")
    share: float = Field(gt=0, le=1, description="fraction of the whole training")
    frames_per_clip: int = Field(1, ge=1, le=128, description="T; 1 trains on single frames")
    clips_per_batch: int = Field(16, ge=1, le=1024, description="B")
    max_stride: int = Field(1, ge=1, le=8, description="frames of a random clip are 1..max_stride apart")
    streamed_fraction: float = Field(
        0.0,
        ge=0,
        le=1,
        description="part of the batch that continues the previous chunk with its carried state",
    )
    learning_rate_scale: float = Field(1.0, gt=0, description="multiplies train.learning_rate")
    encoder_learning_rate_scale: float = Field(
        1.0, ge=0, description="multiplies it once more for the encoder"
    )
    augment: bool = Field(True, description="random geometry, contrast, noise, blur, inversion")
    paste_probability: float = Field(
        0.0, ge=0, le=1, description="chance to paste tracks of other recordings"
    )
    clutter_probability: float = Field(
        0.0, ge=0, le=1, description="chance to paste still spots of other recordings, which are no objects"
    )
    synthetic_fraction: float = Field(
        0.0, ge=0, le=1, description="part of the clips that are rendered scenes"
    )
    corrupt_probability: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance of noise, fading, blur, standing pictures or hidden objects for some frames; "
        "a sixth of it, that frames are lost",
    )
    reverse_probability: float = Field(
        0.0, ge=0, le=1, description="chance to play a random clip backwards, see data.reversible"
    )
    freeze_batchnorm: bool = Field(False, description="stop updating the BatchNorm statistics")


class DataConfig(Section):
    """What the training reads."""

    split: str = Field("train", description="split of the data set to train on")
    validation_split: str = Field("val", description="split to choose the best checkpoint by")
    where: dict[str, str] = Field(
        default_factory=dict, description="keep only sequences with these attributes, e.g. {sensor: thermal}"
    )
    recording_power: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a recording is drawn with probability ~ clips ** power; 0 draws all alike",
    )
    reversible: tuple[str, ...] = Field(
        (), description="classes whose clips may be played backwards: no order in time defines them"
    )
    cache_gib: float = Field(6.0, ge=0, description="memory (GiB) for decoded frames; 0 decodes anew")
    workers: int = Field(1, ge=0, le=32, description="above 0: a thread prepares batches ahead")
    shards: int = Field(
        0,
        ge=0,
        le=4096,
        description="groups of recordings; each clip of a batch draws from one of them. 0: as many as "
        "processes. The same number gives the same batches in any number of processes",
    )


def _default_loss_weights() -> dict[LossName, float]:
    weights: dict[LossName, float] = {"objectness": 1.0, "class": 1.0, "box": 2.0, "motion": 0.2}
    return weights | {"track": 0.5, "clip": 0.5, "mask": 1.0}


class TrainConfig(Section):
    """How the training goes."""

    steps: int = Field(2000, ge=1, description="optimizer steps in all")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="time budget in minutes: the schedule follows the clock when it runs ahead of the steps",
    )
    learning_rate: float = Field(2e-3, gt=0, description="AdamW, at its peak")
    weight_decay: float = Field(0.05, ge=0, description="not on norms, biases and peepholes")
    warmup_steps: int = Field(100, ge=0, description="linear warm-up at the start of the training")
    final_learning_rate: float = Field(
        0.01, ge=0, le=1, description="fraction of the peak at the end of the cosine"
    )
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(
        0.998, ge=0, lt=1, description="of the averaged weights that are evaluated and saved"
    )
    amp: bool = Field(True, description="bfloat16 where the device has it; the cells stay in float32")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="of the class losses")
    stochastic_depth: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="chance that the last residual branch of the encoder is left out of a picture; "
        "less for those before (docs/training.md)",
    )
    loss_weights: dict[LossName, float] = Field(
        default_factory=_default_loss_weights, description="weight of every loss term"
    )
    seed: int = Field(0, ge=0, description="of weights, sampling and augmentation")
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes all")
    log_every: int = Field(20, ge=1, description="steps between two lines of the log")
    checkpoint_minutes: float = Field(
        0.5, gt=0, description="minutes between two saved states: what a kill may cost"
    )
    keep_states: int = Field(
        3, ge=1, le=100, description="how many saved states are kept: older ones stand in for damaged ones"
    )
    evaluate_every_share: float = Field(
        0.2, gt=0, le=1, description="fraction of the training between two evaluations"
    )
    evaluate_clips: int = Field(
        24, ge=0, description="validation clips of these evaluations; 0 evaluates never"
    )
    evaluate_frames: int = Field(48, ge=1, description="frames of each of them")
    freeze: tuple[PartName, ...] = Field(
        (), description="parts of the detector that do not learn, for fine-tuning the rest on little data"
    )
    stages: tuple[StageConfig, ...] = Field(
        default_factory=lambda: (
            StageConfig(name="frames", share=0.4, clips_per_batch=16, max_stride=1),
            StageConfig(
                name="clips",
                share=0.5,
                frames_per_clip=8,
                clips_per_batch=4,
                max_stride=3,
                streamed_fraction=0.5,
            ),
            StageConfig(
                name="anneal", share=0.1, frames_per_clip=8, clips_per_batch=4, freeze_batchnorm=True
            ),
        ),
        description="parts of the training, in time order",
    )

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        total = sum(stage.share for stage in self.stages)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of the stages must add up to 1, got {total:g}")
        if self.stochastic_depth and "encoder" in self.freeze:
            raise ValueError("stochastic_depth is of the encoder, which freeze keeps from learning")
        return self


class Config(Section):
    """Everything that one training run of a detector reads."""

    kind: Literal["detector"] = Field("detector", description="what is configured: boxes, tracks and classes")
    model: ModelConfig = Field(default_factory=ModelConfig, description="the detector's shape")
    data: DataConfig = Field(default_factory=DataConfig, description="what the training reads")
    train: TrainConfig = Field(default_factory=TrainConfig, description="how the training goes")

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.train.stochastic_depth and self.model.encoder == "shufflenet_v2":
            raise ValueError(
                "train.stochastic_depth leaves residual branches out, and shufflenet_v2 has none; set it to 0"
            )
        if self.model.mask_prototypes and "mask" not in self.train.loss_weights:
            raise ValueError("train.loss_weights needs one for mask, where model.mask_prototypes is above 0")
        return self
