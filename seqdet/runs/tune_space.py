"""What a search may change: a few named fields of a configuration, each with a range (docs/training.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from seqdet.config import ClassifierConfig, Config
from seqdet.errors import UsageError

Tunable = Config | ClassifierConfig


@dataclass(frozen=True, slots=True)
class Range:
    """Where a field is looked for.

    Attributes:
        key: ``section.field`` of the configuration.
        low: smallest value.
        high: largest value.
        log: draw the logarithm evenly, for values whose order of magnitude is not known.
    """

    key: str
    low: float
    high: float
    log: bool = False

    def around(self, value: float) -> Range:
        """The range, widened to hold what the configuration says, where it can."""
        if self.log and value <= 0:
            return self
        return Range(self.key, min(self.low, value), max(self.high, value), self.log)


RANGES = {
    "learning_rate": Range("train.learning_rate", 3e-4, 1e-2, log=True),
    "weight_decay": Range("train.weight_decay", 1e-3, 0.3, log=True),
    "label_smoothing": Range("train.label_smoothing", 0.0, 0.2),
    "stochastic_depth": Range("train.stochastic_depth", 0.0, 0.4),
    "dropout": Range("model.dropout", 0.0, 0.7),
    "rotation": Range("train.rotation_degrees", 0.0, 40.0),
    "shift": Range("train.shift", 0.0, 0.4),
}


def space(config: Tunable, over: Sequence[str] = ()) -> dict[str, Range]:
    """The ranges to search for a configuration.

    Args:
        config: to start from.
        over: names of RANGES; none takes all that this configuration has.

    Raises:
        UsageError: no range has such a name, or the configuration has no such field.
    """
    if unknown := [name for name in over if name not in RANGES]:
        raise UsageError(f"--over {unknown[0]}: the ranges are {', '.join(RANGES)}")
    found = {name: RANGES[name] for name in over or RANGES if _fits(config, RANGES[name])}
    if missing := [name for name in over if name not in found]:
        raise UsageError(
            f"--over {missing[0]}: this configuration of a {config.kind} has no {RANGES[missing[0]].key} to "
            f"change; it has {', '.join(name for name in RANGES if _fits(config, RANGES[name]))}"
        )
    start = values(config, found)
    return {name: one.around(start[name]) for name, one in found.items()}


def _fits(config: Tunable, one: Range) -> bool:
    """False where the configuration has no such field, or none that may be set."""
    section, field = one.key.split(".")
    if not hasattr(getattr(config, section), field):
        return False
    try:
        changed(config, {one.key: one.high})
    except ValidationError:  # such as stochastic depth of an encoder that is frozen
        return False
    return True


def values(config: Tunable, ranges: dict[str, Range]) -> dict[str, float]:
    """What the configuration says in each of the ranges, by name."""
    tree = config.model_dump()
    parts = {name: one.key.split(".") for name, one in ranges.items()}
    return {name: float(tree[section][field]) for name, (section, field) in parts.items()}


def changed(config: Tunable, fields: dict[str, Any]) -> Tunable:
    """The configuration with other values of ``section.field`` keys.

    Raises:
        ValidationError: one is not allowed.
    """
    tree = config.model_dump(mode="json")
    for key, value in fields.items():
        section, field = key.split(".")
        tree[section][field] = value
    return type(config).model_validate(tree)
