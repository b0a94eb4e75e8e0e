"""Looking at tracks more closely: crops of the frame itself, not of the network's input."""

from __future__ import annotations

import numpy as np
import torch

from seqdet.data.crops import cut_out
from seqdet.model.glimpse import Glimpse
from seqdet.results.track_glimpses import due_for_glimpse, with_glimpses
from seqdet.results.track_state import TrackState


def looked_closer(
    glimpse: Glimpse | None,
    tracks: TrackState,
    rows: np.ndarray,
    boxes_xyxy_px: np.ndarray,
    rgb: np.ndarray,
    most: int,
) -> TrackState:
    """The tracks after a closer look at some of those that this frame shows.

    Args:
        glimpse: in evaluation mode; None looks at nothing.
        tracks: this frame's detections associated; not changed.
        rows: (N,) int64 rows of the detections, -1 for those without a track.
        boxes_xyxy_px: (N, 4) in pixels of the frame.
        rgb: (H, W, 3) uint8, the frame.
        most: how many tracks at most.
    """
    due = due_for_glimpse(tracks, rows, most)
    if glimpse is None or not len(due):
        return tracks
    crops = cut_out(rgb, boxes_xyxy_px[due], glimpse.crop_px, glimpse.context)
    pictures = torch.from_numpy(crops).to(glimpse.pixel_mean.device).permute(0, 3, 1, 2)
    return with_glimpses(tracks, rows[due], glimpse(pictures).softmax(-1).cpu().numpy())
