"""What can be configured: one model per section, a docstring and a unit on every field, unknown keys refused.

A run has one complete YAML file (``configs/*.yaml``), which ``config_file`` reads.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

EncoderName = Literal[
    "regnet_plain", "resnet10", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2"
]

PartName = Literal["encoder", "neck", "memory", "heads", "clip", "tracks"]
LossName = Literal["objectness", "class", "box", "motion", "track", "clip"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GlimpseConfig(_Section):
    """The shape of the second look at each track: a CNN on a crop of the source's own picture."""

    encoder: EncoderName = Field("mobilenet_v2", description="torchvision CNN that sees the crop")
    stride: Literal[8, 16, 32] = Field(16, description="stride (pixels) at which the CNN is cut off")
    crop_px: int = Field(64, ge=32, le=256, multiple_of=32, description="side of the crop the CNN sees")
    context: float = Field(
        2.0, ge=1, le=8, description="side of the crop in the picture, in longer sides of the box"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="before the last layer, in training")


class ModelConfig(_Section):
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


class StageConfig(_Section):
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


class DataConfig(_Section):
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
    return {"objectness": 1.0, "class": 1.0, "box": 2.0, "motion": 0.2, "track": 0.5, "clip": 0.5}


class TrainConfig(_Section):
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
        return self


class Config(_Section):
    """Everything that one training run of a detector reads."""

    kind: Literal["detector"] = Field("detector", description="what is configured: boxes, tracks and classes")
    model: ModelConfig = Field(default_factory=ModelConfig, description="the detector's shape")
    data: DataConfig = Field(default_factory=DataConfig, description="what the training reads")
    train: TrainConfig = Field(default_factory=TrainConfig, description="how the training goes")


class ClassifierModelConfig(_Section):
    """The shape of a sequence classifier: encoder, LSTM, dense layers (docs/sequence-classifier.md)."""

    encoder: EncoderName | Literal["pixel_rows"] = Field(
        "regnet_plain",
        description="torchvision CNN that embeds each frame; 'pixel_rows' has none: the LSTM reads each "
        "frame row by row, the literal variant of the source article",
    )
    encoder_weights: str | None = Field(
        None,
        description="'imagenet' for torchvision's own weights (downloaded), a path to a .safetensors file "
        "with torchvision's names, or null to start from random weights",
    )
    lstm_width: int = Field(128, ge=1, le=4096, description="state width of the LSTM")
    peepholes: bool = Field(True, description="let the gates see the cell state")
    activation: Literal["tanh", "relu"] = Field(
        "tanh", description="of what enters and leaves the cell; the source article's network has relu"
    )
    dense_widths: tuple[int, ...] = Field(
        (1024, 512), description="widths of the layers between the LSTM and the classes"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="before every layer behind the LSTM")
    input_size_wh: tuple[int, int] = Field(
        (224, 224), description="width and height (pixels) that frames are fitted into, multiples of 32"
    )

    @model_validator(mode="after")
    def _check(self) -> ClassifierModelConfig:
        if any(side % 32 or not 32 <= side <= 4096 for side in self.input_size_wh):
            raise ValueError(f"input_size_wh must be multiples of 32, got {list(self.input_size_wh)}")
        if len(self.dense_widths) > 8 or not all(1 <= width <= 8192 for width in self.dense_widths):
            raise ValueError(
                f"dense_widths: at most 8, each between 1 and 8192, got {list(self.dense_widths)}"
            )
        if self.encoder == "pixel_rows" and self.encoder_weights is not None:
            raise ValueError("encoder_weights: pixel_rows has no encoder that could take them; leave it null")
        return self


class ClassifierDataConfig(_Section):
    """What the training of a sequence classifier reads."""

    split: str = Field("train", description="split of the data set to train on")
    validation_split: str = Field(
        "val", description="split to choose the best epoch by; where it is empty, the last epoch is taken"
    )
    test_split: str = Field(
        "test",
        description="split of the final figures, where it has sequences; without a validation split the "
        "curve over the epochs shows it too, and nothing is chosen by it",
    )
    where: dict[str, str] = Field(
        default_factory=dict, description="keep only sequences with these attributes, e.g. {sensor: thermal}"
    )
    cache_gib: float = Field(2.0, ge=0, description="memory (GiB) for decoded frames; 0 decodes anew")


class ClassifierTrainConfig(_Section):
    """How the training of a sequence classifier goes."""

    epochs: int = Field(10, ge=1, description="how often every sequence is shown")
    max_minutes: float | None = Field(
        None, gt=0, description="time budget in minutes: the epoch under way is cut short when it is over"
    )
    batch_sequences: int = Field(32, ge=1, le=4096, description="B")
    frames_per_clip: int = Field(
        16, ge=1, le=1024, description="T: length of the window of a sequence that is shown; 1 for pictures"
    )
    max_stride: int = Field(1, ge=1, le=64, description="frames of a window are 1..max_stride apart")
    learning_rate: float = Field(1e-3, gt=0, description="Adam")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    freeze_encoder: bool = Field(False, description="the encoder does not learn, nor do its statistics move")
    rotation_degrees: float = Field(20.0, ge=0, le=180, description="largest rotation, one draw a clip")
    shift: float = Field(0.2, ge=0, le=1, description="largest shift, a fraction of width and of height")
    horizontal_flip: bool = Field(True, description="mirror every other clip")
    evaluate_frames: int = Field(
        16, ge=1, description="first frames of each sequence that the accuracy of an epoch is taken from"
    )
    seed: int = Field(0, ge=0, description="of weights, order and augmentation")
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes all")


class ClassifierConfig(_Section):
    """Everything that one training run of a sequence classifier reads."""

    kind: Literal["sequence_classifier"] = Field(description="what is configured: one class for a sequence")
    model: ClassifierModelConfig = Field(
        default_factory=ClassifierModelConfig, description="the network's shape"
    )
    data: ClassifierDataConfig = Field(
        default_factory=ClassifierDataConfig, description="what the training reads"
    )
    train: ClassifierTrainConfig = Field(
        default_factory=ClassifierTrainConfig, description="how the training goes"
    )


class GlimpseDataConfig(_Section):
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


class GlimpseTrainConfig(_Section):
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


class GlimpseRunConfig(_Section):
    """Everything that one training run of a glimpse reads."""

    kind: Literal["glimpse"] = Field(description="what is configured: a second look for a trained detector")
    model: GlimpseConfig = Field(default_factory=GlimpseConfig, description="the network's shape")
    data: GlimpseDataConfig = Field(default_factory=GlimpseDataConfig, description="what the training reads")
    train: GlimpseTrainConfig = Field(default_factory=GlimpseTrainConfig, description="how the training goes")


AnyConfig = Config | ClassifierConfig | GlimpseRunConfig
