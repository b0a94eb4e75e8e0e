"""What the page needs from whoever looks at the camera, and the pieces of a result that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from seqdet.live_types import Event, LiveFrame, LiveStatus, Zone, ZoneCount
from seqdet.types import FrameResult, label_of


class Session(Protocol):
    """A live session. Every method may be called from any thread and answers at once, but ``wait_newer``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def source(self) -> str:
        """As the user named it, passwords hidden."""

    @property
    def score(self) -> float:
        """From which score on a detection is shown when nobody says otherwise, 0..1."""

    def wait_newer(self, number: int, timeout_s: float) -> LiveFrame | None:
        """The newest frame once its number is greater than ``number``; None when the time is over."""

    def status(self) -> LiveStatus:
        """How the session is."""

    def events_since(self, number: int) -> tuple[Event, ...]:
        """The events kept whose number is greater, oldest first."""

    def zones(self) -> tuple[ZoneCount, ...]:
        """The zones and what they have seen."""

    def set_zones(self, zones: Sequence[Zone]) -> None:
        """Count in these zones from now on; one that was there before goes on counting."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Which detections are drawn into a picture.

    Attributes:
        score: the smallest score, 0..1.
        hidden: labels that are not drawn.
    """

    score: float
    hidden: frozenset[str] = frozenset()

    def of(self, result: FrameResult) -> FrameResult:
        """The same picture with these detections only."""
        found = result.detections
        labels = shown_labels(result)
        keep = np.array(
            [
                score >= self.score and label not in self.hidden
                for score, label in zip(found.scores, labels, strict=True)
            ],
            bool,
        )
        return replace(result, detections=found.where(keep))


def shown_labels(result: FrameResult) -> list[str]:
    """N labels: of the track where it has one, else of the detection."""
    found = result.detections
    ids = np.where(found.track_class_ids >= 0, found.track_class_ids, found.class_ids)
    return [label_of(result.classes, class_id) for class_id in ids.tolist()]
