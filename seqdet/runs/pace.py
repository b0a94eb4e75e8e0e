"""How often the network has to look for a target of frames a second, from how long it takes here."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from seqdet.errors import UsageError
from seqdet.runs.stream import FRAMES_AT_ONCE, NOMINAL_FPS, Model
from seqdet.types import Frame

# Beyond, more than two points of map50 are lost on val (docs/performance.md).
LONGEST_INTERVAL = 3
# Of the time of a frame, what the network may take: decoding, drawing and encoding want the cores, too.
_SHARE = 0.8
_FRAMES = 12
_SIZE_WH = (640, 512)


def with_every(model: Model, every: int) -> Model:
    """The same model, whose network sees every so-manyth frame of a stream only."""
    return model.with_options(replace(model.options, every=every))


def every_for(model: Model, fps_target: float) -> int:
    """The shortest interval of frames that the network sees, at which it keeps up with a target.

    It is measured, on noise, with the threads that are set: two runs of the same command may choose
    differently.

    Args:
        model: its network is used.
        fps_target: frames a second, above 0.

    Returns:
        1 to ``LONGEST_INTERVAL``, even where the target is out of reach.

    Raises:
        UsageError: a target that is not above 0.
    """
    if not fps_target > 0 or not math.isfinite(fps_target):
        raise UsageError(f"--fps-target {fps_target:g}: give frames a second, such as 30")
    every = math.ceil(_seconds_a_frame(with_every(model, 1)) * fps_target / _SHARE)
    return min(max(every, 1), LONGEST_INTERVAL)


def _seconds_a_frame(model: Model) -> float:
    """Of the network and what follows it, as ``detect`` runs them: the better of two passes after a first."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(90, 150, (4, _SIZE_WH[1], _SIZE_WH[0], 3), np.uint8)
    frames = [Frame(pictures[n % 4], n, n / NOMINAL_FPS) for n in range(_FRAMES)]
    for _ in model.results_and_states(frames[:FRAMES_AT_ONCE]):  # compiles
        pass
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        for _ in model.results_and_states(frames, ahead=True):
            pass
        seconds.append((time.perf_counter() - started) / len(frames))
    return min(seconds)
