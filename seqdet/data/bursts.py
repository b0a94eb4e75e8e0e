"""What happens to video on its way: bursts that one frame cannot see through, and clips played backwards.

Legend: T frames of one clip, G objects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqdet.data.transforms.geometry import shrink


class ClipTracks(NamedTuple):
    """A clip and its objects.

    Attributes:
        frames: (T, H, W, 3) uint8.
        boxes_xyxy_px: (T, G, 4) float32.
        class_ids: (T, G) int64, -1 where absent or unknown.
        present: (T, G) bool.
        masks: (T, G, S, S) uint8 of ``mask_windows``.
    """

    frames: np.ndarray
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    present: np.ndarray
    masks: np.ndarray


def backwards(clip: ClipTracks) -> ClipTracks:
    """The clip with its last frame first."""
    return ClipTracks(*(part[::-1].copy() for part in clip))


def with_burst(clip: ClipTracks, rng: np.random.Generator) -> ClipTracks:
    """One burst of 1 to T / 3 frames, not the first: noise, fading, blur, a standing picture, hidden objects.

    A standing picture repeats the frame before and then jumps, as a stream that lost frames does; its boxes
    are those that the picture shows. Hidden objects keep their boxes: to know where they are takes a memory.

    Args:
        clip: T of at least 2; it is not changed.
        rng: the only source of chance.
    """
    time = len(clip.frames)
    length = int(rng.integers(1, max(2, time // 3 + 1)))
    start = int(rng.integers(1, max(2, time - length)))
    burst = slice(start, start + length)
    kind = rng.choice(["noise", "fade", "blur", "freeze", "hide"])
    if kind == "freeze":
        order = np.arange(time)
        order[burst] = start - 1
        return ClipTracks(*(part[order] for part in clip))
    frames = clip.frames.copy()
    seen = frames[burst]
    if kind == "noise":
        noisy = seen + rng.normal(0, rng.uniform(15, 40), seen.shape).astype(np.float32)
        frames[burst] = np.clip(noisy, 0, 255).astype(np.uint8)
    elif kind == "fade":
        mean = seen.mean(dtype=np.float64)
        frames[burst] = np.clip(mean + (seen - mean) * rng.uniform(0.15, 0.5), 0, 255).astype(np.uint8)
    elif kind == "blur":
        size_wh = (frames.shape[2], frames.shape[1])
        coarse = tuple(max(1, round(side / rng.uniform(2, 5))) for side in size_wh)
        for t in range(start, start + length):
            frames[t] = shrink(shrink(frames[t], coarse), size_wh)
    else:
        for t in range(start, start + length):
            _hide(frames[t], clip.boxes_xyxy_px[t][clip.present[t]], rng)
    return clip._replace(frames=frames)


def _hide(frame: np.ndarray, boxes_xyxy_px: np.ndarray, rng: np.random.Generator) -> None:
    """Lay a piece of the same picture from elsewhere over each box, in place."""
    height, width = frame.shape[:2]
    for box in boxes_xyxy_px:
        margin = np.maximum((box[2:] - box[:2]) * 0.15, 2)
        x1, y1 = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
        x2, y2 = np.minimum(np.ceil(box[2:] + margin), (width, height)).astype(int)
        if x2 - x1 >= width // 2 or y2 - y1 >= height // 2 or x2 <= x1 or y2 <= y1:
            continue  # an object that fills the picture cannot be hidden by a piece of it
        for _ in range(8):
            x, y = rng.integers(0, width - (x2 - x1)), rng.integers(0, height - (y2 - y1))
            if x + x2 - x1 <= x1 or x >= x2 or y + y2 - y1 <= y1 or y >= y2:
                frame[y1:y2, x1:x2] = frame[y : y + y2 - y1, x : x + x2 - x1].copy()
                break
