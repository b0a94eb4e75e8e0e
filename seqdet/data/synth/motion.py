"""How things move: the paths of the flying objects and of the camera. Pure arithmetic, no pixels.

Legend: T frames. Paths are in pixels of the scene, which the camera pans over; the picture shows the part
of the scene at the camera's offset. Speeds are in body lengths a second: that is what makes a bird a bird.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqdet.data.synth.objects import forward_on_picture
from seqdet.data.synth.solids import Pose


@dataclass(frozen=True, slots=True)
class Flight:
    """One object over T frames.

    Attributes:
        centres_xy_px: (T, 2) float64 in the scene.
        sizes_px: (T,) longest extent.
        poses: T poses.
    """

    centres_xy_px: np.ndarray
    sizes_px: np.ndarray
    poses: tuple[Pose, ...]


def smooth_noise(
    rng: np.random.Generator, times_s: np.ndarray, period_s: float, shape: int = 1
) -> np.ndarray:
    """(T, shape) smooth random curves of about unit size that change within `period_s`: a few sines."""
    result = np.zeros((len(times_s), shape))
    for octave in range(3):
        rate = (0.6 + rng.random(shape)) * (1 + octave) / period_s
        phase = rng.random(shape) * 2 * np.pi
        result += np.sin(2 * np.pi * times_s[:, None] * rate + phase) / (1 + octave)
    return result * 0.75


def fly(
    rng: np.random.Generator,
    kind: str,
    times_s: np.ndarray,
    size_px: float,
    anchor_xy_px: np.ndarray,
    anchor_time_s: float,
) -> Flight:
    """A flight that passes `anchor_xy_px` at `anchor_time_s`.

    Args:
        rng: source of chance.
        kind: class name.
        times_s: (T,) increasing times of the frames.
        size_px: longest extent at the anchor, in pixels.
        anchor_xy_px: (2,) a point of the path.
        anchor_time_s: when it is there.
    """
    # A fixed fine time grid from well before to well after: the path does not depend on the frames asked for.
    step_s = 1 / 60
    span = np.arange(
        min(times_s[0], anchor_time_s) - step_s, max(times_s[-1], anchor_time_s) + 2 * step_s, step_s
    )
    make = {"airplane": _steady, "helicopter": _steady, "drone": _hover, "bird": _flap}[kind]
    centres, growth, angles = make(rng, kind, span, size_px)
    start = np.array([np.interp(anchor_time_s, span, centres[:, axis]) for axis in (0, 1)])
    centres = centres - start + anchor_xy_px
    growth = growth / np.interp(anchor_time_s, span, growth)

    def at(curve: np.ndarray) -> np.ndarray:
        return np.interp(times_s, span, curve)

    elevation = float(rng.uniform(0.0, 0.22) if rng.random() < 0.78 else rng.uniform(0.2, 0.7))
    yaw, pitch, roll, phase, lift = (at(angles[:, column]) for column in range(5))
    poses = tuple(
        Pose(float(yaw[i]), float(pitch[i]), float(roll[i]), elevation, float(phase[i]), float(lift[i]))
        for i in range(len(times_s))
    )
    return Flight(np.stack([at(centres[:, 0]), at(centres[:, 1])], axis=1), size_px * at(growth), poses)


def _steady(
    rng: np.random.Generator, kind: str, span: np.ndarray, size_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Straight, level or slowly climbing; the size changes when it comes nearer."""
    airplane = kind == "airplane"
    side = rng.choice([0.0, np.pi])
    yaw = side + rng.normal(0, 0.55) if rng.random() < 0.75 else rng.uniform(0, 2 * np.pi)
    turn = 0.0 if airplane else rng.normal(0, 0.12)
    pitch = rng.normal(0.04, 0.06) if airplane else rng.normal(-0.05, 0.05)
    lengths_per_s = rng.uniform(1.2, 3.2) if airplane else rng.uniform(0.0, 2.6)
    elapsed = span - span[0]
    yaws = yaw + turn * elapsed
    rolls = np.full_like(span, rng.normal(0, 0.05) + 0.8 * turn) + 0.02 * smooth_noise(rng, span, 3.0)[:, 0]
    forward = np.stack([forward_on_picture(Pose(a, pitch, 0, 0.2, 0)) for a in yaws[::15]])
    index = np.arange(len(span)) / 15
    forward = np.stack(
        [np.interp(index, np.arange(len(forward)), forward[:, axis]) for axis in (0, 1)], axis=1
    )
    path = np.cumsum(forward * lengths_per_s * size_px / 60, axis=0)
    path += smooth_noise(rng, span, 2.5, 2) * size_px * (0.01 if airplane else 0.05)
    growth = np.exp(rng.normal(0, 0.05) * elapsed).clip(0.4, 2.5)
    rotor = elapsed * rng.uniform(4.0, 7.0)
    pitches = pitch + 0.02 * smooth_noise(rng, span, 2.0)[:, 0]
    return path, growth, np.stack([yaws, pitches, rolls, rotor, np.ones_like(span)], axis=1)


def _hover(
    rng: np.random.Generator, kind: str, span: np.ndarray, size_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hovers with small jitter, then darts off: a velocity that jumps between plateaus, and tilts with it."""
    calm = rng.random() < 0.4
    elapsed = span - span[0]
    goals = np.zeros((len(span), 2))
    time = 0.0
    while time < elapsed[-1] + 1:
        hold = rng.exponential(1.0) + 0.3
        fast = 0.0 if rng.random() < 0.35 else rng.gamma(2.0, 0.7 if calm else 1.8)
        heading = rng.uniform(0, 2 * np.pi)
        chosen = (elapsed >= time) & (elapsed < time + hold)
        goals[chosen] = fast * np.array([np.cos(heading), 0.55 * np.sin(heading)])
        time += hold
    velocity = np.zeros_like(goals)
    for index in range(1, len(span)):
        velocity[index] = velocity[index - 1] + (goals[index] - velocity[index - 1]) * 0.09
    path = np.cumsum(velocity * size_px / 60, axis=0)
    path += (
        smooth_noise(rng, span, 1.2, 2) * size_px * 0.05 + smooth_noise(rng, span, 0.25, 2) * size_px * 0.012
    )
    tilt = 0.11 * velocity[:, 0]
    yaw = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.3) * elapsed
    rolls = -tilt * np.sin(yaw) + 0.03 * smooth_noise(rng, span, 0.5)[:, 0]
    pitches = -tilt * np.cos(yaw) + 0.03 * smooth_noise(rng, span, 0.6)[:, 0]
    growth = np.exp(0.06 * smooth_noise(rng, span, 4.0)[:, 0])
    rotor = elapsed * rng.uniform(70, 110)
    return path, growth, np.stack([yaw, pitches, rolls, rotor, np.ones_like(span)], axis=1)


def _flap(
    rng: np.random.Generator, kind: str, span: np.ndarray, size_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beats its wings 3 to 8 times a second, glides between, follows a curve, bobs with every beat."""
    elapsed = span - span[0]
    beats_per_s = rng.uniform(3.0, 8.0)
    glides = 0.5 + 0.5 * np.tanh(6 * (smooth_noise(rng, span, 2.5)[:, 0] + rng.uniform(-0.6, 0.9)))
    phase = rng.random() + np.cumsum(beats_per_s * (0.35 + 0.65 * glides)) / 60
    side = rng.choice([0.0, np.pi])
    yaw = (
        side
        + rng.normal(0, 0.6)
        + rng.normal(0, 0.25) * elapsed
        + 0.45 * (smooth_noise(rng, span, 3.5)[:, 0])
    )
    lengths_per_s = rng.uniform(3.0, 11.0)
    velocity = np.stack([np.cos(yaw), 0.25 * np.sin(yaw) + 0.12 * smooth_noise(rng, span, 2.0)[:, 0]], axis=1)
    path = np.cumsum(velocity * lengths_per_s * size_px / 60, axis=0)
    path[:, 1] += 0.07 * size_px * glides * np.sin(2 * np.pi * phase + 2.2)
    rolls = 0.5 * np.gradient(yaw, span) + 0.06 * smooth_noise(rng, span, 1.5)[:, 0]
    pitches = -0.35 * velocity[:, 1] + 0.04 * smooth_noise(rng, span, 1.5)[:, 0]
    growth = np.exp(0.05 * smooth_noise(rng, span, 5.0)[:, 0])
    return path, growth, np.stack([yaw, pitches, rolls.clip(-0.9, 0.9), phase, glides], axis=1)


def camera_path(
    rng: np.random.Generator, times_s: np.ndarray, follow: Flight | None, width_px: int
) -> np.ndarray:
    """(T, 2) offsets of the picture in the scene: still, slowly panning, or following a flight; often shaken.

    Args:
        rng: source of chance.
        times_s: (T,) times of the frames.
        follow: the flight that the operator tries to keep in view, or None.
        width_px: width of the picture, the yardstick of shake and pan.
    """
    shake = width_px * rng.choice([0.0, 0.0004, 0.002], p=[0.4, 0.35, 0.25])
    path = smooth_noise(rng, times_s, 1.3, 2) * shake + smooth_noise(rng, times_s, 0.3, 2) * shake * 0.3
    if follow is not None:
        smoothed = np.stack(
            [
                np.convolve(np.pad(follow.centres_xy_px[:, axis], 7, mode="edge"), np.ones(15) / 15, "valid")
                for axis in (0, 1)
            ],
            axis=1,
        )
        path = path + (smoothed - smoothed[0]) * rng.uniform(0.6, 1.0) * np.array([1.0, 0.4])
    elif rng.random() < 0.4:
        path = path + (times_s - times_s[0])[:, None] * rng.normal(0, 0.03, 2) * width_px * np.array(
            [1.0, 0.2]
        )
    return path - path[0]
