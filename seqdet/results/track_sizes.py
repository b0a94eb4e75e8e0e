"""The size of a tracked box, steadied: what one frame says of it is mostly noise, what a second says is not.

An alpha-beta filter (a Kalman filter in its steady state; Kalata, IEEE T-AES 1984) on the logarithms of width
and height, for each track by itself:

    x' = x + v dt          r = z - x'          z: log of the side as detected
    x  = x' + a r          a = 1 - exp(-dt / memory), or 1 / n while the track has only n detections
    v  = v + b r / dt      b = a^2 / (2 - a)

The growth v keeps it from lagging behind an object that approaches for long. Centres are not touched: they
are right to a twentieth of a size, sides to a fifth (docs/log.md).
"""

from __future__ import annotations

import numpy as np

from seqdet import boxes
from seqdet.results.track_state import Association, TrackState


def with_steady_sizes(
    before: TrackState,
    association: Association,
    boxes_xyxy_px: np.ndarray,
    time_s: float,
    picture_wh: tuple[int, int],
    memory_s: float,
) -> tuple[TrackState, np.ndarray]:
    """Steady the sizes of the boxes that have a track.

    A box that touches the edge of the picture is a part of its object: it stays as it is, and what its track
    knew of the size is forgotten.

    Args:
        before: the tracks before ``association``.
        association: of this frame.
        boxes_xyxy_px: (N, 4) as detected.
        time_s: presentation time of the frame.
        picture_wh: width and height of the picture, in pixels.
        memory_s: seconds over which sizes are averaged; 0 leaves them alone.

    Returns:
        The tracks with what was learned of sizes, and (N, 4) boxes, cut to the picture.
    """
    state, rows = association.state, association.rows
    tracked = np.flatnonzero(rows >= 0)
    if memory_s <= 0 or not len(tracked):
        return state, boxes_xyxy_px
    at, found = rows[tracked], boxes_xyxy_px[tracked].astype(np.float64)
    measured = np.log(np.maximum(found[:, 2:] - found[:, :2], 1e-3))
    touching = (found[:, :2] <= 1).any(axis=1) | (found[:, 2:] >= np.array(picture_wh) - 1).any(axis=1)
    fresh = association.born[at] | touching | (state.size_hits[at] == 0)

    passed = np.maximum(time_s - before.last_times_s[at], 1e-3)[:, None]
    hits = np.where(fresh, 1, state.size_hits[at] + 1)
    settled = 1 - np.exp(-passed / memory_s)
    growth = np.where(fresh[:, None], 0.0, state.growth_per_s[at])
    expected = np.where(fresh[:, None], measured, state.log_sides[at] + growth * passed)
    error = measured - expected
    sides = expected + np.maximum(settled, 1 / hits[:, None]) * error
    growth = growth + settled**2 / (2 - settled) * error / passed

    new = [part.copy() for part in (state.log_sides, state.growth_per_s, state.size_hits)]
    new[0][at], new[1][at], new[2][at] = sides, growth, np.where(touching, 0, hits)
    half, middle = np.exp(sides) / 2, boxes.centres(found)
    steady = boxes_xyxy_px.copy()
    steady[tracked] = boxes.clip(np.concatenate([middle - half, middle + half], axis=1), picture_wh)
    return state._replace(log_sides=new[0], growth_per_s=new[1], size_hits=new[2]), steady
