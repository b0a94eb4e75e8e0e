"""All axes: what each is called, its classes and levels, and the function that renders it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seqdet.data.synth.sprites import SHAPES
from seqdet.data.synth.stress.appearance import BURSTS, NOISE_LEVELS, bursts_clip, clean_clip, noise_clip
from seqdet.data.synth.stress.camouflage import CAMOUFLAGE_CLASSES, camouflage_clip
from seqdet.data.synth.stress.clip import Request, StressClip
from seqdet.data.synth.stress.motion import (
    BALL_CLASSES,
    camera_clip,
    fast_clip,
    long_clip,
    motion_clip,
    rate_clip,
)
from seqdet.data.synth.stress.occlusion import occlusion_clip
from seqdet.data.synth.stress.paths import MOTIONS
from seqdet.data.synth.stress.timing import TIMING_CLASSES, timing_clip


@dataclass(frozen=True, slots=True)
class Axis:
    """One way to make a single frame insufficient.

    Attributes:
        classes: names of the classes. Axes with the same classes can be trained on one and tested on another.
        render: renders a clip.
        levels: how hard it can be; sequences take turns. ("",) where it has none.
        train_levels: the levels of the train split where they are others.
        frames: usual length of a clip.
    """

    classes: tuple[str, ...]
    render: Callable[[np.random.Generator, Request], StressClip]
    levels: tuple[str, ...] = ("",)
    train_levels: tuple[str, ...] | None = None
    frames: int = 48


AXES = {
    "clean": Axis(SHAPES, clean_clip),
    "occlusion": Axis(SHAPES, occlusion_clip),
    "noise": Axis(SHAPES, noise_clip, NOISE_LEVELS),
    "bursts": Axis(SHAPES, bursts_clip, BURSTS),
    "motion": Axis(MOTIONS, motion_clip),
    "camera": Axis(MOTIONS, camera_clip),
    "rate": Axis(MOTIONS, rate_clip, ("30", "15", "60"), train_levels=("30",)),
    "long": Axis(MOTIONS, long_clip, frames=2000),
    "timing": Axis(TIMING_CLASSES, timing_clip),
    "fast": Axis(BALL_CLASSES, fast_clip),
    "camouflage": Axis(CAMOUFLAGE_CLASSES, camouflage_clip),
}
"""Every axis by name."""
