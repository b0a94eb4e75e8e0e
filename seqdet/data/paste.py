"""Whole tracks of one recording pasted into another: the object moves on, the scene around it changes.

A network that sees few recordings learns the class from the scene; an object that turns up in other scenes,
and under another camera, takes that way out. Object pixels keep their contrast to what was around them:

    pasted = (1 - alpha) * target + alpha * (crop - crop's surroundings + target's surroundings)

with an alpha that fades out between the object's box and a box ``GROW`` times as large
(copy-paste augmentation, Ghiasi et al., CVPR 2021, along a track).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from seqdet.boxes import area, clip, intersection

GROW = 1.5


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a track is pasted, the same in every frame: mirror, then scale, then shift.

    Attributes:
        mirror_px: width of the donor's pictures to mirror at, or None.
        scale: pixels of the clip a donor's pixel.
        shift_xy: (2,) pixels of the clip.
    """

    mirror_px: int | None
    scale: float
    shift_xy: np.ndarray

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        boxes_xyxy_px: np.ndarray,
        donor_wh: tuple[int, int],
        clip_wh: tuple[int, int],
    ) -> Placement:
        """A random size (.7 to 1.5) and place; the path, (M > 0, 4) boxes, lies inside if there is room."""
        scale = float(np.exp(rng.uniform(np.log(0.7), np.log(1.5))))
        whole = cls(donor_wh[0] if rng.random() < 0.5 else None, scale, np.zeros(2))
        seen = whole.boxes(boxes_xyxy_px)
        low, high = seen[:, :2].min(axis=0), seen[:, 2:].max(axis=0)
        room = np.array(clip_wh) - (high - low)
        corner = rng.uniform(np.minimum(room, 0), np.maximum(room, 1))
        return replace(whole, shift_xy=corner - low)

    def boxes(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """(M, 4) boxes of the donor -> float32 boxes in the clip."""
        boxes = boxes_xyxy_px.astype(np.float32).copy()
        if self.mirror_px is not None:
            boxes[:, [0, 2]] = self.mirror_px - boxes[:, [2, 0]]
        return (boxes * self.scale + np.tile(self.shift_xy, 2)).astype(np.float32)


def paste_track(
    frames: np.ndarray,
    donor: list[np.ndarray],
    donor_boxes_xyxy_px: np.ndarray,
    present: np.ndarray,
    occupied_xyxy_px: np.ndarray,
    placement: Placement,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste one track into a clip, in place.

    Args:
        frames: (T, H, W, 3) uint8, changed in place.
        donor: T pictures (h, w, 3) uint8 of the donor's clip.
        donor_boxes_xyxy_px: (T, 4) the track in the donor's pixels.
        present: (T,) bool, where the track exists.
        occupied_xyxy_px: (M, 4) boxes of objects that are there; a track that meets one is not pasted.
        placement: where to and how.

    Returns:
        (T, 4) float32 boxes in the clip's pixels and (T,) bool where it was pasted; all False when its way is
        taken.
    """
    width, height = frames.shape[2], frames.shape[1]
    moved = placement.boxes(donor_boxes_xyxy_px)
    done = np.zeros(len(frames), bool)
    if present.any() and (
        len(occupied_xyxy_px) == 0 or intersection(moved[present], occupied_xyxy_px).max() == 0
    ):
        still = replace(placement, scale=1.0, shift_xy=np.zeros(2)).boxes(donor_boxes_xyxy_px)
        for t in np.flatnonzero(present):
            picture = donor[t] if placement.mirror_px is None else donor[t][:, ::-1]
            done[t] = _paste_one(frames[t], picture, still[t], moved[t], placement.scale)
    return np.where(done[:, None], clip(moved, (width, height)), 0).astype(np.float32), done


def _paste_one(
    target: np.ndarray, donor: np.ndarray, source: np.ndarray, place: np.ndarray, scale: float
) -> bool:
    """Paste the object at box ``source`` of ``donor`` at ``place``; False when that is mostly outside."""
    height, width = target.shape[:2]
    inside = clip(place[None], (width, height))
    if area(inside)[0] < 0.5 * area(place[None])[0]:
        return False
    sides = place[2:] - place[:2]
    margin = np.maximum(sides * (GROW - 1) / 2, 3)
    x1, y1 = np.maximum(np.floor(place[:2] - margin), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(place[2:] + margin), (width, height)).astype(int)
    if x2 - x1 < 4 or y2 - y1 < 4:
        return False
    # Map of the target's patch back into the donor, pixel centres.
    offset = source[:2] + ((np.array([x1, y1]) + 0.5) - place[:2]) / scale - 0.5
    matrix = np.array([[1 / scale, 0, offset[0]], [0, 1 / scale, offset[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(donor, matrix, (x2 - x1, y2 - y1), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    crop = crop.astype(np.float32)
    patch = target[y1:y2, x1:x2].astype(np.float32)
    alpha = (
        _fade(x1, x2, place[0], place[2], margin[0])[None]
        * _fade(y1, y2, place[1], place[3], margin[1])[:, None]
    )
    surrounding = alpha < 0.6
    if not surrounding.any():
        return False
    shift = np.median(patch[surrounding], axis=0) - np.median(crop[surrounding], axis=0)
    mixed = patch + alpha[..., None] * (crop + shift - patch)
    target[y1:y2, x1:x2] = np.clip(mixed, 0, 255).astype(np.uint8)
    return True


def _fade(start: int, stop: int, low: float, high: float, margin: float) -> np.ndarray:
    """1 between low and high, falling to 0 within ``margin`` on both sides, at pixel centres start..stop."""
    x = np.arange(start, stop) + 0.5
    return np.clip(1 - np.maximum(low - x, x - high) / margin, 0, 1).astype(np.float32)
