"""The ways to move: what tells the classes of the motion axes apart, in seconds, so at any frame rate.

All moving classes have the same mean speed, and a place that is uniform at all times: the path in an endless
plane starts uniformly and is folded into the picture. So neither a frame nor a place nor a brightness tells
the class. ``across`` and ``up`` come back off the walls: they are motion along a row and along a column.

Legend: T times.
"""

from __future__ import annotations

import numpy as np

from seqdet.data.synth.sprites import fold

MOTIONS = ("across", "up", "circle", "zigzag", "still", "accelerating")
SPEED_PX_PER_S = (45.0, 75.0)


def displacement(
    rng: np.random.Generator,
    motion: str,
    time_s: np.ndarray,
    speed_px_per_s: tuple[float, float] = SPEED_PX_PER_S,
) -> np.ndarray:
    """(T, 2) way covered since an arbitrary origin, in pixels.

    Args:
        rng: source of chance: speed, heading, phase.
        motion: one of `MOTIONS`.
        time_s: (T,) times in seconds.
        speed_px_per_s: range of the mean speed.

    Raises:
        ValueError: no such motion.
    """
    speed = rng.uniform(*speed_px_per_s)
    sign = rng.choice([-1.0, 1.0])
    along, still = sign * speed * time_s, np.zeros_like(time_s)
    if motion == "still":
        return np.stack([still, still], axis=1)
    if motion == "across":
        return np.stack([along, still], axis=1)
    if motion == "up":
        return np.stack([still, along], axis=1)
    if motion == "circle":
        turn = sign * rng.uniform(6, 10)
        angle = turn * time_s + rng.uniform(0, 2 * np.pi)
        return speed / turn * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if motion == "zigzag":
        leg_s, bend, heading = rng.uniform(0.2, 0.33), np.deg2rad(55), rng.uniform(0, 2 * np.pi)
        # A triangle wave of slope 1 and -1: there and back takes two legs.
        aside = np.abs(np.mod(time_s + rng.uniform(0, 2 * leg_s), 2 * leg_s) - leg_s)
        forward, sideways = np.cos(bend) * speed * time_s, np.sin(bend) * speed * aside
        return np.stack(
            [
                forward * np.cos(heading) - sideways * np.sin(heading),
                forward * np.sin(heading) + sideways * np.cos(heading),
            ],
            axis=1,
        )
    if motion == "accelerating":
        # From .2 to 1.8 of the mean speed, again and again, along a row or a column as `across` and `up`.
        period_s = rng.uniform(0.8, 1.2)
        rounds, part = np.divmod(time_s / period_s + rng.uniform(), 1)
        way = sign * speed * period_s * (rounds + 0.2 * part + 0.8 * part**2)
        return np.stack([way, still] if rng.random() < 0.5 else [still, way], axis=1)
    raise ValueError(f"a motion is one of {', '.join(MOTIONS)}; got {motion!r}")


def place_in(
    rng: np.random.Generator, way_xy: np.ndarray, room_wh: tuple[float, float], radius_px: float
) -> np.ndarray:
    """(T, 2) centres of a way that starts anywhere and is folded into a room, a radius from its walls."""
    room = np.array(room_wh) - 2 * radius_px
    return fold(rng.uniform(0, 2 * room) + way_xy, room) + radius_px
