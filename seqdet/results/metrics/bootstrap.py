"""How far a figure can be trusted: confidence intervals by resampling recordings.

Clips of one recording show one scene and are not independent; drawing frames or clips would make the interval
far too narrow. So whole recordings are drawn with replacement (the cluster bootstrap: Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 8; percentile interval, chapter 13).

Legend: C clips, G recordings, D draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A figure and its confidence interval.

    Attributes:
        value: of all clips, each once; nan when it is not defined.
        low: lower end; nan when no draw defines the figure.
        high: upper end.
        recordings: how many recordings were drawn from; with a handful of them the interval is a rough one.
    """

    value: float
    low: float
    high: float
    recordings: int


def ratio_interval(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    recordings: Sequence[str],
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval for sum(numerators) / sum(denominators), such as accuracy, recall, or flips per minute.

    Args:
        numerators: (C,) one a clip.
        denominators: (C,) one a clip, not negative. A draw whose denominators sum to 0 is left out.
        recordings: C names.
        confidence: 0..1.
        draws: D.
        seed: of the generator: the same one gives the same interval.
    """
    groups, counts = _drawn_counts(recordings, draws, seed)
    count = counts.shape[1]
    over = np.bincount(groups, np.asarray(numerators, np.float64), minlength=count)
    under = np.bincount(groups, np.asarray(denominators, np.float64), minlength=count)
    drawn_under = counts @ under
    values = np.divide(counts @ over, drawn_under, out=np.full(draws, np.nan), where=drawn_under > 0)
    value = over.sum() / under.sum() if under.sum() > 0 else np.nan
    return _interval(float(value), values, confidence, count)


def interval(
    statistic: Callable[[np.ndarray], float | None],
    recordings: Sequence[str],
    confidence: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Interval:
    """Interval for any figure, such as average precision; calls ``statistic`` D + 1 times.

    Args:
        statistic: from (n,) int64 positions of clips, some of them several times, to the figure or None.
        recordings: C names.
        confidence: 0..1.
        draws: D.
        seed: of the generator.
    """
    groups, counts = _drawn_counts(recordings, draws, seed)
    values = np.full(draws, np.nan)
    for draw, times in enumerate(counts):
        value = statistic(np.repeat(np.arange(len(groups)), times[groups]))
        values[draw] = np.nan if value is None else value
    whole = statistic(np.arange(len(groups)))
    return _interval(np.nan if whole is None else float(whole), values, confidence, counts.shape[1])


def _drawn_counts(recordings: Sequence[str], draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(C,) number of each clip's recording, and (D, G) how often each draw has each recording."""
    if not len(recordings):
        raise ValueError("a bootstrap needs at least one recording")
    names, groups = np.unique(np.asarray(recordings), return_inverse=True)
    count = len(names)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return groups, drawn


def _interval(value: float, values: np.ndarray, confidence: float, recordings: int) -> Interval:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Interval(value, np.nan, np.nan, recordings)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, float(low), float(high), recordings)
