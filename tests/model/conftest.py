"""Detectors small enough for thousands of steps: a five-layer encoder, eight channels."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.ops import Conv2dNormActivation

from seqdet.model.detector import Detector
from seqdet.model.difference import FrameDifference
from seqdet.model.encoder import Encoder, Neck
from seqdet.model.heads import Heads
from seqdet.model.memory import ClipMemory, MapMemory, TrackMemory

MakeDetector = Callable[..., Detector]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Networks of eight channels are done before a second thread has woken up."""
    torch.set_num_threads(1)


@pytest.fixture(
    params=[
        {},
        {"peepholes": False},
        {"cell": "convlstm"},
        {"cell": "convgru"},
        {"merged": True},
        {"rates": (1.0, 0.2)},
    ],
    ids=["bottleneck", "no peepholes", "convlstm", "convgru", "merged", "differences"],
)
def variant(request: pytest.FixtureRequest) -> dict[str, object]:
    """Arguments of ``make_detector``: each of the shapes that remember, in turn."""
    return request.param


@pytest.fixture(scope="session")
def make_detector() -> MakeDetector:
    """``make_detector(classes=3, levels=(4, 8), ...)``: random weights, in evaluation mode."""

    def make(
        classes: int = 3,
        levels: tuple[int, ...] = (4, 8),
        channels: int = 8,
        memory: bool = True,
        peepholes: bool = True,
        cell: str = "bottleneck",
        merged: bool = False,
        rates: tuple[float, ...] = (),
    ) -> Detector:
        widths = [3 + len(rates), 8, 8, 12, 12, 12]
        encoder = Encoder(
            [
                Conv2dNormActivation(a, b, 3, 2, activation_layer=nn.Hardswish)
                for a, b in itertools.pairwise(widths)
            ],
            widths[0],
        )
        model = Detector(
            encoder=encoder,
            neck=Neck(encoder.channels, levels, channels),
            memory=MapMemory(channels, levels, peepholes, cell) if memory else None,
            heads=Heads(channels, classes, levels, merged),
            clip=ClipMemory(channels, classes, 8, peepholes),
            tracks=TrackMemory(channels * len(levels), classes, 8, peepholes),
            max_tracks=4,
            difference=FrameDifference(rates) if rates else None,
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("peephole"):  # they start at 0, where no test would notice them
                    parameter.normal_(std=0.2)
            model.heads.geometry.weight.normal_(std=0.2)  # likewise nearly 0
        return model.eval()

    return make
