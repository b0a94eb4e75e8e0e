"""How far a figure can be trusted: confidence intervals by resampling recordings.

Clips of one recording show one scene and are not independent; drawing frames or clips would make the interval
far too narrow. So whole recordings are drawn with replacement (the cluster bootstrap: Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 8; percentile interval, chapter 13).

A draw says how often each recording counts. Two models that are measured on the same clips get the same draws
from the same seed; the interval of their difference is then that of the draws' differences, which is far
narrower than the two intervals suggest.

Legend: G recordings, D draws.
"""

from __future__ import annotations

import numpy as np


def draw_weights(recordings: int, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """(D, G) int64: how often each draw has each recording; every row sums to G.

    Args:
        recordings: G, at least 1.
        draws: D.
        seed: of the generator: the same one gives the same draws.
    """
    return np.random.default_rng(seed).multinomial(
        recordings, np.full(recordings, 1 / recordings), size=draws
    )


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float] | None:
    """Lower and upper end of the interval.

    Args:
        values: (D,) the figure in each draw; draws in which it is not defined (nan) are left out.
        confidence: 0..1.

    Returns:
        None when no draw defines the figure.
    """
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)
