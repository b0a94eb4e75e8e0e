"""A sequence classifier: its shape, what its training reads and how that goes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from seqdet.config.section import EncoderName, Section


class ClassifierModelConfig(Section):
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


class ClassifierDataConfig(Section):
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


class ClassifierTrainConfig(Section):
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


class ClassifierConfig(Section):
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
