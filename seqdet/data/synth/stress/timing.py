"""The axis whose class is the order and the pace of a blinking lamp.

A disc carries a lamp in its middle that is in one of three states, each as long as the others: A, as far
above the disc as the disc is above the ground; B, as far below, so that the disc looks hollow; off. The
order is A B off or B A off, and a state lasts 2 or 5 frames. Each state takes a third of the time in every
class and the phase is anything, so a frame tells nothing. Polarity is drawn for each clip, so that
inverting a clip keeps its class.
"""

from __future__ import annotations

import numpy as np

from seqdet.data.synth.stress.clip import FPS, Actor, Request, StressClip, backdrop, paint
from seqdet.data.synth.stress.paths import MOTIONS, displacement, place_in

TIMING_CLASSES = ("ab-fast", "ab-slow", "ba-fast", "ba-slow")
"""Order of the states, and frames that each lasts."""

_ORDERS = {"ab": (1.0, -1.0, 0.0), "ba": (-1.0, 1.0, 0.0)}
_FRAMES_A_STATE = {"fast": 2, "slow": 5}


def lamp_states(rng: np.random.Generator, name: str, frames: int) -> np.ndarray:
    """(frames,) float64 of 1 (A), -1 (B) and 0 (off), for a class name of `TIMING_CLASSES`."""
    order, pace = name.split("-")
    length = _FRAMES_A_STATE[pace]
    place = np.arange(frames) + rng.integers(3 * length)
    return np.array(_ORDERS[order])[place // length % 3]


def timing_clip(rng: np.random.Generator, request: Request) -> StressClip:
    """One to three discs of 12 to 24 px with lamps of one class, each with its own phase and any motion."""
    time_s = np.arange(request.frames) / FPS
    polarity = rng.choice([-1.0, 1.0])
    actors = []
    for _ in range(int(rng.integers(1, 4))):
        radius = float(rng.uniform(6, 12))
        way = displacement(rng, str(rng.choice(MOTIONS)), time_s, (15.0, 45.0))
        centres = place_in(rng, way, request.size_wh, radius)
        body = polarity * rng.uniform(35, 55)
        states = lamp_states(rng, TIMING_CLASSES[request.class_id], request.frames)
        actors += [
            Actor(centres, np.full(request.frames, body), radius, request.class_id),
            Actor(centres, body * states, 0.6 * radius, None),
        ]
    ground = backdrop(rng, request.size_wh)[None]
    return paint(rng, request.size_wh, request.frames, actors, ground)
