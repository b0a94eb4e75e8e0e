"""What every section of a configuration is: frozen, and unknown keys are refused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

EncoderName = Literal[
    "regnet_plain", "resnet10", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2"
]


class Section(BaseModel):
    """A section: values that do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
