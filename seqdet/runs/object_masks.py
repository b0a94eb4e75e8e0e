"""Masks of the objects of a frame, by models that were trained for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from seqdet.boxes import Letterbox, grown
from seqdet.defaults import MASK_WINDOW
from seqdet.model.detector import Detector
from seqdet.results.masks import pasted
from seqdet.types import Detections


def with_masks(
    detector: Detector, found: Detections, maps: list[Tensor], boxes_input: np.ndarray, geometry: Letterbox
) -> Detections:
    """Detections with their masks; as they are where the model makes none.

    Args:
        detector: trained.
        found: N detections in pixels of the source.
        maps: L refined maps of the picture.
        boxes_input: (N, 4) their boxes in pixels of the network's input.
        geometry: from the source to the input.
    """
    if detector.masks is None or not len(found):
        return found
    boxes = torch.from_numpy(boxes_input).to(maps[0].device)
    logits = detector.masks_at(maps, boxes).cpu().numpy()
    windows = geometry.beyond_source(grown(boxes_input, MASK_WINDOW))
    return replace(found, masks=pasted(logits, windows, geometry.source_wh))
