"""The built-in small task: dim sprites in noise whose class only their motion tells.

Every object is the same soft disc, moves at the same speed and may be anywhere at any time, so a single
frame holds nothing of its class: straight ``across``, in a ``circle`` or in a ``zigzag``. A detector without
memory can only guess it. In the control, ``cue="appearance"``, the shape tells the class and the motion tells
nothing, so a detector without memory does as well.

Objects bounce off the walls by folding: a path in an endless plane, started uniformly, is reflected into the
picture. The place is then uniform at all times for every class.

Legend: T frames, H W of the picture, N objects.
"""

from __future__ import annotations

import numpy as np

from seqdet.data.synth.noise import fractal
from seqdet.data.synth.sprites import SHAPES, box_around, fold, soft_shape
from seqdet.types import Targets

MOTION_CLASSES = ("across", "circle", "zigzag")
"""Classes of ``cue="motion"``, in the order of their ids."""

APPEARANCE_CLASSES = SHAPES
"""Classes of ``cue="appearance"``, in the order of their ids."""

_RADIUS_PX = 4.5
_SPEED_PX_PER_FRAME = 2.2
_SOFT_PX = 1.5
_CONTRAST = (38.0, 70.0)
_NOISE_LEVEL = 14.0


def disc_classes(cue: str) -> tuple[str, ...]:
    """Names of the classes of a cue, ``"motion"`` or ``"appearance"``.

    Raises:
        ValueError: no such cue.
    """
    names = {"motion": MOTION_CLASSES, "appearance": APPEARANCE_CLASSES}
    if cue not in names:
        raise ValueError(f"a cue is motion or appearance, got {cue!r}")
    return names[cue]


def render_disc_clip(
    rng: np.random.Generator,
    size_wh: tuple[int, int] = (96, 96),
    frames: int = 16,
    stride: int = 1,
    label: str | None = None,
    cue: str = "motion",
) -> tuple[np.ndarray, tuple[Targets, ...], int]:
    """Renders one clip of the small task.

    Args:
        rng: source of chance; the clip depends on its state alone.
        size_wh: width and height in pixels, at least 32.
        frames: T.
        stride: every how many-th frame of the recording is taken.
        label: class of all objects, or None for chance.
        cue: what tells the class: ``"motion"`` or ``"appearance"``.

    Returns:
        (T, H, W, 3) uint8 RGB, T truths, and the class of the sequence. The one or two objects of a clip are
        of one class.
    """
    classes = disc_classes(cue)
    if min(size_wh) < 32 or frames < 1 or stride < 1:
        raise ValueError(
            f"a clip has 32 x 32 pixels, 1 frame and stride 1 at least; got {size_wh}, {frames} and {stride}"
        )
    class_id = int(rng.integers(len(classes))) if label is None else classes.index(label)
    count = int(rng.integers(1, 3))
    paths: list[np.ndarray] = []
    shapes: list[str] = []
    for _ in range(count):
        other = int(rng.integers(3))
        motion, shape = (class_id, 0) if cue == "motion" else (other, class_id)
        paths.append(_path(rng, motion, frames * stride, size_wh)[::stride])
        shapes.append(APPEARANCE_CLASSES[shape])
    contrasts = rng.uniform(*_CONTRAST, count) * rng.choice([-1.0, 1.0])
    width, height = size_wh
    backdrop = (128 + 10 * fractal(rng, (height, width), 24, 2)).astype(np.float32)
    pictures = np.empty((frames, height, width, 3), np.uint8)
    targets = []
    for index in range(frames):
        light = backdrop + np.float32(_NOISE_LEVEL) * rng.standard_normal((height, width), np.float32)
        boxes = np.zeros((count, 4), np.float32)
        for one in range(count):
            centre = paths[one][index]
            alpha = soft_shape(shapes[one], centre, _RADIUS_PX, _SOFT_PX, size_wh)
            light += np.float32(contrasts[one]) * alpha
            boxes[one] = box_around(centre, _RADIUS_PX)
        pictures[index] = np.clip(light, 0, 255).astype(np.uint8)[..., None]
        targets.append(Targets(boxes, np.full(count, class_id, np.int64), np.arange(1, count + 1)))
    return pictures, tuple(targets), class_id


def _path(rng: np.random.Generator, motion: int, frames: int, size_wh: tuple[int, int]) -> np.ndarray:
    """(frames, 2) centres: the heading tells the motions apart, the speed does not."""
    time = np.arange(frames)
    heading = np.full(frames, rng.uniform(0, 2 * np.pi))
    if motion == 1:
        heading = heading + rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.35) * time
    elif motion == 2:
        period, phase = rng.integers(4, 7), rng.integers(0, 12)
        heading = heading + np.deg2rad(55) * (((time + phase) // period) % 2 * 2 - 1)
    steps = _SPEED_PX_PER_FRAME * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    room = np.array(size_wh) - 2 * (_RADIUS_PX + 1)
    # Uniform on the unfolded plane, where a period is there and back.
    free = rng.uniform(0, 2 * room) + np.cumsum(steps, axis=0)
    return fold(free, room) + _RADIUS_PX + 1
