"""What travels between the server and its viewers: a picture with all that belongs to it, and short texts.

A picture is one binary message, so that boxes never lie on another picture than theirs:

    4 bytes, little endian: length of the header · the header, a JSON object in UTF-8 · a JPEG

Times of frames are on the server's monotonic clock; the viewer learns its offset by ping and pong.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from seqdet.live_types import Event, LiveFrame, Zone, ZoneCount
from seqdet.serve.session import Shown, shown_labels

MAX_ZONES = 16
MAX_CORNERS = 32
MAX_NAME = 40
LARGEST_PX = 16384.0  # of a picture that seqdet reads or writes
MAX_HIDDEN = 256  # classes that somebody does not want to see


class ZoneRequest(BaseModel):
    """A zone as a viewer draws it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=MAX_NAME)
    polygon_px: list[tuple[FiniteFloat, FiniteFloat]] = Field(min_length=3, max_length=MAX_CORNERS)

    @field_validator("polygon_px", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        """JSON has no tuples, which strict checking wants."""
        if not isinstance(value, list):
            return value
        return [tuple(corner) if isinstance(corner, list) else corner for corner in value]

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable() or not name.strip():
            raise ValueError("a name is made of letters that can be seen")
        return name.strip()

    def zone(self) -> Zone:
        """The zone, its corners kept within what a picture can be."""
        corners = ((min(max(v, 0.0), LARGEST_PX) for v in corner) for corner in self.polygon_px)
        return Zone(self.name, tuple((x, y) for x, y in corners))


class ShownRequest(BaseModel):
    """What a viewer wants to be drawn."""

    model_config = ConfigDict(extra="forbid")
    score: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    hidden: list[str] = Field(default=[], max_length=MAX_HIDDEN)

    def shown(self, score: float) -> Shown:
        """The same with the session's score where none is given."""
        return Shown(score if self.score is None else self.score, frozenset(self.hidden))


def first_mistake(error: ValidationError) -> str:
    """One sentence on what is wrong with a request."""
    mistake = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in mistake["loc"])
    return f"{place}: {mistake['msg']}" if place else mistake["msg"]


def picture_message(frame: LiveFrame, jpeg: bytes) -> bytes:
    """One picture and all that belongs to it, as a binary message."""
    result, found = frame.result, frame.result.detections
    columns = zip(
        found.boxes_xyxy_px.tolist(),
        found.scores.tolist(),
        found.track_ids.tolist(),
        found.track_scores.tolist(),
        shown_labels(result),
        strict=True,
    )
    header = {
        "number": frame.number,
        "frame": result.frame.index,
        "time_s": round(result.time_s, 4),
        "captured_at_s": frame.captured_at_s,
        "finished_at_s": frame.finished_at_s,
        "size_wh": result.frame.size_wh,
        "objects": [
            {
                "box": [round(side, 1) for side in box],
                "score": round(score, 3),
                "id": track_id,
                "label": label,
                "track_score": round(track_score, 3),
            }
            for box, score, track_id, track_score, label in columns
            if all(map(math.isfinite, box))
        ],
        "label": result.sequence_label,
        "label_score": round(result.sequence_score, 3),
        "zones": zones_ready(frame.zones),
    }
    text = to_json(header).encode()
    return len(text).to_bytes(4, "little") + text + jpeg


def zones_ready(zones: Sequence[ZoneCount]) -> list[dict[str, Any]]:
    """Zones with their counts, ready for JSON."""
    return [
        {
            "name": count.zone.name,
            "polygon_px": [[round(x, 1), round(y, 1)] for x, y in count.zone.polygon_px],
            "inside": count.inside,
            "entered": count.entered,
            "longest_dwell_s": round(count.longest_dwell_s, 2),
            "mean_dwell_s": round(count.mean_dwell_s, 2),
        }
        for count in zones
    ]


def event_ready(event: Event) -> dict[str, Any]:
    """An event, ready for JSON and for a table."""
    return dataclasses.asdict(event)


def to_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Compact JSON; infinity and NaN, which JSON does not know, become null."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
