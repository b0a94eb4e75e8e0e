"""An explanation as one JSON object (docs/explain.md has its keys)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqdet.boxes import Letterbox
from seqdet.results.explain_pictures import on_source
from seqdet.runs.explain_box import BoxExplained, Evidence, VectorExplained
from seqdet.runs.explain_choice import Choice
from seqdet.runs.explain_names import NOTHING
from seqdet.runs.explain_survey import Survey
from seqdet.runs.measure import rounded
from seqdet.runs.stream import Model


def document(
    about: Mapping[str, Any],
    model: Model,
    seen: Survey,
    choice: Choice,
    explained: Sequence[BoxExplained],
    of_tracks: Mapping[int, VectorExplained | None],
    of_clip: VectorExplained | None,
    geometries: Sequence[Letterbox],
) -> dict[str, Any]:
    """Everything but the pictures; ``geometries`` is that of the frame of each box."""
    tracks = [
        {
            "track_id": track.track_id,
            "label": track.label,
            "score": track.score,
            "first_frame": track.first_frame,
            "last_frame": track.last_frame,
            "detections": track.detections,
            "share_of_sequence": seen.track_shares.get(track.track_id),
        }
        for track in seen.tracks
    ]
    return rounded(
        {
            **about,
            "classes": list(model.classes),
            "frames": seen.frames,
            "kind": choice.kind,
            "boxes": [
                _box(one, geometry, model.classes)
                for one, geometry in zip(explained, geometries, strict=True)
            ],
            "tracks": [
                {"track_id": track_id, **_vector(one)}
                for track_id, one in of_tracks.items()
                if one is not None
            ],
            "sequence": {
                "label": seen.label,
                "score": seen.score,
                "memory": _vector(of_clip) if of_clip is not None else None,
            },
            "all_tracks": tracks,
            "all_boxes": [
                [one.frame, one.box, one.track_id, one.label, one.score, one.time_s] for one in seen.found
            ],
        }
    )


def _box(one: BoxExplained, geometry: Letterbox, classes: tuple[str, ...]) -> dict[str, Any]:
    box = one.found.box_xyxy_px
    return {
        **one.found._asdict(),
        "box_xyxy_px": list(box),
        "cell": {"stride": one.stride, "row": one.cell.row, "column": one.cell.column},
        "maps": [
            {
                "stride": stride,
                "local_in_box": share_in_box(local.numpy(), box, geometry),
                "grad_cam_in_box": share_in_box(wide.numpy(), box, geometry),
            }
            for stride, local, wide in zip(one.maps.strides, one.maps.local, one.maps.grad_cam, strict=True)
        ],
        "named": one.named._asdict(),
        "looks": [
            {"frame": look.frame, **dict(zip((*classes, NOTHING), look.probabilities, strict=True))}
            for look in one.looks
        ],
        "changed": {name: said._asdict() for name, said in one.changed._asdict().items()},
        "gates": one.gates._asdict() if one.gates is not None else None,
        "evidence": _evidence(one.evidence) if one.evidence is not None else None,
    }


def _vector(one: VectorExplained) -> dict[str, Any]:
    return {
        "label": one.label,
        "probability": one.probability,
        "last_frame_alone": one.last_frame_alone,
        "gates": one.gates._asdict(),
        "evidence": _evidence(one.evidence),
    }


def _evidence(one: Evidence) -> dict[str, Any]:
    return {**one._asdict(), "begun": [list(pair) for pair in one.begun]}


def share_in_box(values: np.ndarray, box_xyxy_px: Sequence[float], geometry: Letterbox) -> float:
    """How much of a map lies in a box, 0..1, in pixels of the source."""
    heat = on_source(values, geometry)
    x1, y1, x2, y2 = (round(edge) for edge in box_xyxy_px)
    total = float(heat.sum())
    return float(heat[y1 : y2 + 1, x1 : x2 + 1].sum()) / total if total > 0 else 0.0
