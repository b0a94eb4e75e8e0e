"""A second look at tracks: its shape, what its training reads and how that goes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from seqdet.config.section import EncoderName, Section


class GlimpseConfig(Section):
    """The shape of the second look at each track: a CNN on a crop of the source's own picture."""

    encoder: EncoderName = Field("mobilenet_v2", description="torchvision CNN that sees the crop")
    stride: Literal[8, 16, 32] = Field(16, description="stride (pixels) at which the CNN is cut off")
    crop_px: int = Field(64, ge=32, le=256, multiple_of=32, description="side of the crop the CNN sees")
    context: float = Field(
        2.0, ge=1, le=8, description="side of the crop in the picture, in longer sides of the box"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="before the last layer, in training")


class GlimpseDataConfig(Section):
    """What the training of a glimpse reads."""

    split: str = Field("train", description="split of the data set to train on")
    validation_split: str = Field("val", description="split of the figures in the log; may be empty")
    where: dict[str, str] = Field(
        default_factory=dict, description="keep only sequences with these attributes, e.g. {sensor: thermal}"
    )
    recording_power: float = Field(
        0.5, ge=0, le=1, description="within a class, a recording is drawn with probability ~ crops ** power"
    )
    crops_per_sequence: int = Field(
        128, ge=1, le=4096, description="most crops of objects that are kept of a sequence (28 KB each)"
    )
    detector_frames: int = Field(
        20, ge=1, le=4096, description="first frames of a sequence that are searched for false detections"
    )
    rendered_clips: int = Field(
        0, ge=0, le=100_000, description="rendered airspace scenes to cut objects from beside the data set's"
    )


class GlimpseTrainConfig(Section):
    """How the training of a glimpse goes."""

    steps: int = Field(800, ge=1, description="optimizer steps in all")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="time budget in minutes: the schedule follows the clock when it runs ahead of the steps",
    )
    encoder_weights: str | None = Field(
        "imagenet",
        description="'imagenet' for torchvision's own weights (downloaded), a path to a .safetensors file "
        "with torchvision's names, or null to start from random weights",
    )
    batch_crops: int = Field(64, ge=2, le=4096, description="M")
    nothing_fraction: float = Field(
        0.25, ge=0, le=0.9, description="part of the batch that shows no object but what looks like one"
    )
    learning_rate: float = Field(1e-3, gt=0, description="AdamW, at its peak")
    encoder_learning_rate_scale: float = Field(0.5, ge=0, description="multiplies it for the encoder")
    weight_decay: float = Field(0.05, ge=0, description="not on norms and biases")
    warmup_steps: int = Field(50, ge=0, description="linear warm-up at the start")
    final_learning_rate: float = Field(
        0.01, ge=0, le=1, description="fraction of the peak at the end of the cosine"
    )
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="of the averaged weights that are saved")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="of the class loss")
    seed: int = Field(0, ge=0, description="of weights, sampling and augmentation")
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes all")
    log_every: int = Field(20, ge=1, description="steps between two lines of the log")
    evaluate_every_share: float = Field(
        0.25, gt=0, le=1, description="fraction of the training between two evaluations"
    )


class GlimpseRunConfig(Section):
    """Everything that one training run of a glimpse reads."""

    kind: Literal["glimpse"] = Field(description="what is configured: a second look for a trained detector")
    model: GlimpseConfig = Field(default_factory=GlimpseConfig, description="the network's shape")
    data: GlimpseDataConfig = Field(default_factory=GlimpseDataConfig, description="what the training reads")
    train: GlimpseTrainConfig = Field(default_factory=GlimpseTrainConfig, description="how the training goes")
