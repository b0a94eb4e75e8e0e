"""What can be configured: one model per section, a docstring and a unit on every field, unknown keys refused.

A run has one complete YAML file (``configs/*.yaml``), which ``config_file`` reads.
"""

from __future__ import annotations

from seqdet.config.classifier import (
    ClassifierConfig,
    ClassifierDataConfig,
    ClassifierModelConfig,
    ClassifierTrainConfig,
)
from seqdet.config.detector import (
    Config,
    DataConfig,
    LossName,
    ModelConfig,
    PartName,
    StageConfig,
    TrainConfig,
)
from seqdet.config.glimpse import GlimpseConfig, GlimpseDataConfig, GlimpseRunConfig, GlimpseTrainConfig
from seqdet.config.section import EncoderName

__all__ = [
    "AnyConfig",
    "ClassifierConfig",
    "ClassifierDataConfig",
    "ClassifierModelConfig",
    "ClassifierTrainConfig",
    "Config",
    "DataConfig",
    "EncoderName",
    "GlimpseConfig",
    "GlimpseDataConfig",
    "GlimpseRunConfig",
    "GlimpseTrainConfig",
    "LossName",
    "ModelConfig",
    "PartName",
    "StageConfig",
    "TrainConfig",
]

AnyConfig = Config | ClassifierConfig | GlimpseRunConfig
