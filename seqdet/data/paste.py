"""Whole tracks of one recording pasted into another: the object moves on, the scene around it changes.

A network that sees few recordings learns the class from the scene; an object that turns up in other scenes,
and under another camera, takes that way out. Object pixels keep their contrast to what was around them:

    pasted = (1 - alpha) * target + alpha * (crop - crop's surroundings + target's surroundings)

with an alpha that follows what stands out from the surroundings and fades out between the object's box and
one ``GROW`` times as large (copy-paste augmentation, Ghiasi et al., CVPR 2021, along a track). A whole
rectangle would carry another sky along: hardly seen in one frame, plain in the difference of two.

What stands still is pasted too, without a label: bright or dark spots of another recording, or one of its
objects frozen. A lamp, a pole or a tree top looks like a distant bird, and a network that knows its few
scenes by heart has no need to find out what moves; among strange clutter it has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from seqdet.boxes import area, clip, intersection

GROW = 1.5
# Still clutter: at most so many spots a clip, so many places looked at for each, the share of frozen objects.
MOST_CLUTTER = 4
SPOT_CANDIDATES = 6
FROZEN_OBJECTS = 0.3


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
            patch = _cut(frames[t], picture, still[t], moved[t], placement.scale)
            if patch is not None:
                _blend(frames[t], patch, patch.alpha)
            done[t] = patch is not None
    return np.where(done[:, None], clip(moved, (width, height)), 0).astype(np.float32), done


class _Patch(NamedTuple):
    """What is cut out of a donor for one place: contrast (h, w, 3), alpha and surrounding (h, w)."""

    place_xyxy: tuple[int, int, int, int]
    contrast: np.ndarray
    alpha: np.ndarray
    surrounding: np.ndarray


def _cut(
    target: np.ndarray, donor: np.ndarray, source: np.ndarray, place: np.ndarray, scale: float
) -> _Patch | None:
    """The object at box ``source`` of ``donor``; None when it would be mostly outside or not stand out."""
    height, width = target.shape[:2]
    inside = clip(place[None], (width, height))
    if area(inside)[0] < 0.5 * area(place[None])[0]:
        return None
    sides = place[2:] - place[:2]
    margin = np.maximum(sides * (GROW - 1) / 2, 3)
    x1, y1 = np.maximum(np.floor(place[:2] - margin), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(place[2:] + margin), (width, height)).astype(int)
    if x2 - x1 < 4 or y2 - y1 < 4:
        return None
    # Map of the target's patch back into the donor, pixel centres.
    offset = source[:2] + ((np.array([x1, y1]) + 0.5) - place[:2]) / scale - 0.5
    matrix = np.array([[1 / scale, 0, offset[0]], [0, 1 / scale, offset[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(donor, matrix, (x2 - x1, y2 - y1), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    alpha = (
        _fade(x1, x2, place[0], place[2], margin[0])[None]
        * _fade(y1, y2, place[1], place[3], margin[1])[:, None]
    )
    surrounding = alpha < 0.6
    if not surrounding.any():
        return None
    crop = crop.astype(np.float32)
    level = np.median(crop[surrounding], axis=0)
    alpha = alpha * _matte(crop - level, surrounding)
    if alpha.max() < 0.5:
        return None
    return _Patch((x1, y1, x2, y2), crop - level, alpha, surrounding)


def _blend(target: np.ndarray, patch: _Patch, alpha: np.ndarray, level: np.ndarray | None = None) -> None:
    """Lay a patch onto ``target``, in place, upon ``level``: by default that of the target around it."""
    x1, y1, x2, y2 = patch.place_xyxy
    under = target[y1:y2, x1:x2].astype(np.float32)
    if level is None:
        level = np.median(under[patch.surrounding], axis=0)
    mixed = under + alpha[..., None] * (patch.contrast + level - under)
    target[y1:y2, x1:x2] = np.clip(mixed, 0, 255).astype(np.uint8)


def _matte(contrast: np.ndarray, surrounding: np.ndarray) -> np.ndarray:
    """(h, w) in 0..1: how far each pixel stands out from what is around the object.

    Args:
        contrast: (h, w, 3) difference to the median of the surroundings.
        surrounding: (h, w) bool: pixels around the object.
    """
    away = np.abs(contrast).max(axis=2)
    noise = 1.5 * float(np.median(away[surrounding]))
    matte = np.clip((away - 1.5 * noise) / (noise + 4), 0, 1)
    matte = cv2.dilate(matte.astype(np.float32), np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(matte, (3, 3), 0)


def paste_clutter(
    frames: np.ndarray,
    donor: np.ndarray,
    donor_boxes_xyxy_px: np.ndarray,
    boxes_xyxy_px: np.ndarray,
    present: np.ndarray,
    rng: np.random.Generator,
) -> int:
    """Paste up to ``MOST_CLUTTER`` still spots into a clip, in place: the same in all frames, behind objects.

    Args:
        frames: (T, H, W, 3) uint8, changed in place.
        donor: (h, w, 3) uint8, a picture of another recording.
        donor_boxes_xyxy_px: (M, 4) its objects.
        boxes_xyxy_px: (T, G, 4) objects of the clip.
        present: (T, G) bool.
        rng: the only source of chance; the same gives the same spots at the same places.

    Returns:
        How many were pasted; what does not stand out at its origin is left away.
    """
    size_wh = np.array([frames.shape[2], frames.shape[1]])
    done = 0
    for _ in range(int(rng.integers(1, MOST_CLUTTER + 1))):
        scale = float(np.exp(rng.uniform(np.log(0.7), np.log(1.5))))
        source = _spot(donor, donor_boxes_xyxy_px, rng)
        sides = np.minimum((source[2:] - source[:2]) * scale, size_wh / 2)
        corner = rng.uniform(0, size_wh - sides)
        patch = _cut(frames[0], donor, source, np.concatenate([corner, corner + sides]), scale)
        if patch is None:
            continue
        x1, y1, x2, y2 = patch.place_xyxy
        level = np.median(frames[0, y1:y2, x1:x2][patch.surrounding], axis=0)
        for t in range(len(frames)):
            alpha = patch.alpha.copy()
            for box in boxes_xyxy_px[t, present[t]]:
                low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
                alpha[
                    max(low[1] - y1, 0) : max(high[1] - y1, 0), max(low[0] - x1, 0) : max(high[0] - x1, 0)
                ] = 0
            _blend(frames[t], patch, alpha, level)
        done += 1
    return done


def _spot(donor: np.ndarray, boxes_xyxy_px: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(4,) a box of the donor: one of its objects, or of several random places the one of most contrast."""
    if len(boxes_xyxy_px) and rng.random() < FROZEN_OBJECTS:
        return boxes_xyxy_px[rng.integers(len(boxes_xyxy_px))].astype(float)
    size_wh = np.array([donor.shape[1], donor.shape[0]])
    sides = np.exp(rng.uniform(np.log(5), np.log(30), (SPOT_CANDIDATES, 1))) * rng.uniform(
        0.7, 1.4, (SPOT_CANDIDATES, 2)
    )
    corners = rng.uniform(0, size_wh - sides)
    spots = np.concatenate([corners, corners + sides], axis=1)
    contrast = [
        float(donor[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1, 1].std()) for x1, y1, x2, y2 in spots
    ]
    return spots[int(np.argmax(contrast))]


def _fade(start: int, stop: int, low: float, high: float, margin: float) -> np.ndarray:
    """1 between low and high, falling to 0 within ``margin`` on both sides, at pixel centres start..stop."""
    x = np.arange(start, stop) + 0.5
    return np.clip(1 - np.maximum(low - x, x - high) / margin, 0, 1).astype(np.float32)
