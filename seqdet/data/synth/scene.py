"""Airspace-like scenes: airplanes, birds, drones and helicopters before sky and skyline, with exact truth.

`render_clip` is the entry point for training, `render_scene` the one for making films. Both are pure: the
same seed gives the same pixels and the same truth.

Legend: T frames, H W of the picture, N objects. Order of classes: `CLASSES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from seqdet.data.synth.background import Layers, paint_layers
from seqdet.data.synth.individuals import draw_individual
from seqdet.data.synth.motion import Flight, camera_path, fly
from seqdet.data.synth.objects import Sprite, draw_sprite
from seqdet.data.synth.sensor import Sensor, make_sensor
from seqdet.data.synth.solids import CLASSES, Build
from seqdet.errors import UsageError
from seqdet.types import Targets

_REFERENCE_WIDTH_PX = {"thermal": 320, "visible": 640}
_TYPICAL_SIZE_PX = {"thermal": 9.5, "visible": 20.0}
# How far beyond the object the hand-drawn boxes of the benchmark reach, measured on its clips: about 4 pixels
# on every side in thermal pictures and 10 in visible ones; the last tenths are a share of the side.
_LOOSE_PX = {"thermal": 2.7, "visible": 8.0}
_LOOSE_SHARE = 0.06
_LEAST_VISIBLE_SHARE = 0.25
_EDGE_OF_OBJECT = 0.15


@dataclass(frozen=True, slots=True)
class Actor:
    """One object that a scene must hold.

    Attributes:
        kind: one of `CLASSES`.
        size_px: its longest extent when it passes the anchor, in pixels.
        anchor_xy: where it passes, as fractions of the picture's width and height.
        anchor_time_s: when it passes there.
        contrast: how far it stands out from the sky: 0..1.
        behind_clouds: whether clouds hide it.
    """

    kind: str
    size_px: float
    anchor_xy: tuple[float, float]
    anchor_time_s: float
    contrast: float = 0.8
    behind_clouds: bool = False


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What to render.

    Attributes:
        sensor: ``"thermal"`` (grey) or ``"visible"`` (colour).
        size_wh: width and height of the picture in pixels.
        frames: how many frames.
        fps: frames per second.
        seed: everything else follows from it.
        classes: classes to choose from, when `cast` is None.
        objects: how many objects; None leaves it to chance (mostly one).
        cast: the objects, in place of chance.
        loose_px: how far boxes reach beyond the object on every side, in pixels, beside 6 % of the side; None
            is as loose as the hand-drawn boxes of the benchmark, and 0 as tight as it gets.
        compression: whether frames may go through a lossy codec, as recorded video has.
        show_objects: False renders the same scene without its objects; the truth stays.
    """

    sensor: str
    size_wh: tuple[int, int]
    frames: int
    fps: float = 30.0
    seed: int = 0
    classes: tuple[str, ...] = CLASSES
    objects: int | None = None
    cast: tuple[Actor, ...] | None = None
    loose_px: float | None = None
    compression: bool = True
    show_objects: bool = True

    def __post_init__(self) -> None:
        if self.sensor not in _REFERENCE_WIDTH_PX:
            raise ValueError(f"a sensor is thermal or visible, got {self.sensor!r}")
        unknown = set(self.classes) - set(CLASSES)
        if unknown or not self.classes:
            raise ValueError(
                f"classes are among {', '.join(CLASSES)}; got {', '.join(self.classes) or 'none'}"
            )
        if self.frames < 1 or self.fps <= 0 or min(self.size_wh) < 32:
            raise ValueError(
                f"a scene has at least 1 frame, a positive frame rate and 32 x 32 pixels; "
                f"got {self.frames} frames, {self.fps} frames/s, {self.size_wh[0]}x{self.size_wh[1]}"
            )


@dataclass(frozen=True, slots=True)
class _Performer:
    """An actor with everything that chance has decided about it."""

    class_id: int
    track_id: int
    build: Build
    flight: Flight
    level: float
    strength: float
    loose_px: float
    behind_clouds: bool


@dataclass(frozen=True, slots=True)
class _Stage:
    """A scene ready to be rendered frame by frame."""

    layers: Layers
    sensor: Sensor
    camera_xy_px: np.ndarray
    clouds_xy_px: np.ndarray
    performers: tuple[_Performer, ...]
    times_s: np.ndarray
    size_wh: tuple[int, int]
    scale: float


def render_clip(
    rng: np.random.Generator,
    sensor: str,
    size_wh: tuple[int, int],
    frames: int,
    stride: int = 1,
    fps: float = 30.0,
    label: str | None = None,
) -> tuple[np.ndarray, tuple[Targets, ...], int]:
    """Renders one clip for training.

    Args:
        rng: source of chance; the clip depends on its state alone.
        sensor: ``"thermal"`` or ``"visible"``.
        size_wh: width and height in pixels; objects scale with the width (320 thermal, 640 visible).
        frames: T.
        stride: every how many-th frame of the recording is taken.
        fps: frames per second of the recording.
        label: class of all objects, or None for chance.

    Returns:
        (T, H, W, 3) uint8 RGB, T truths, and the class of the sequence (-1 when classes are mixed or no
        object is seen).
    """
    mixed = label is None and rng.random() < 0.15
    classes = CLASSES if mixed else (label or CLASSES[rng.integers(len(CLASSES))],)
    options = SceneOptions(
        sensor, size_wh, frames, fps / stride, seed=int(rng.integers(2**62)), classes=classes
    )
    rendered = list(render_scene(options))
    targets = tuple(truth for _, truth in rendered)
    seen = np.unique(np.concatenate([truth.class_ids for truth in targets]))
    return np.stack([rgb for rgb, _ in rendered]), targets, int(seen[0]) if len(seen) == 1 else -1


def scene_class_ids(classes: tuple[str, ...], key: str) -> np.ndarray:
    """(4,) int64: what the objects of scenes, in the order of `CLASSES`, are in a data set of ``classes``.

    Args:
        classes: of the data set.
        key: what asks for scenes, for the message.

    Raises:
        UsageError: the data set lacks a class.
    """
    if unknown := [name for name in CLASSES if name not in classes]:
        raise UsageError(
            f"{key} renders {', '.join(CLASSES)}, but the data set has no {', '.join(unknown)}; set it to 0"
        )
    return np.array([classes.index(name) for name in CLASSES], np.int64)


def render_scene(options: SceneOptions) -> Iterator[tuple[np.ndarray, Targets]]:
    """Yields (H, W, 3) uint8 RGB and its truth, frame by frame.

    Boxes hold every pixel in which the object can be seen, and a margin, as hand-drawn boxes have; what is
    hidden by the land or lies outside of the picture has no part in them. An object of which less than a
    quarter is to be seen has no box.
    """
    stage = _set_stage(options)
    for index in range(options.frames):
        light, sprites = _expose(stage, index, options.show_objects)
        yield stage.sensor.develop(light), _truth(stage, sprites)


def _set_stage(options: SceneOptions) -> _Stage:
    seeds = np.random.SeedSequence(options.seed).spawn(4)
    choice, scenery, acting, faults = (np.random.default_rng(seed) for seed in seeds)
    width, height = options.size_wh
    scale = width / _REFERENCE_WIDTH_PX[options.sensor]
    times_s = np.arange(options.frames) / options.fps
    noisy = options.sensor == "thermal" and options.cast is None and bool(choice.random() < 0.12)
    sensor = make_sensor(faults, options.sensor, options.size_wh, options.compression, noisy)
    cast = options.cast if options.cast is not None else _choose_cast(choice, options, scale)
    flights = [
        fly(acting, actor.kind, times_s, actor.size_px, np.zeros(2), actor.anchor_time_s) for actor in cast
    ]
    follow = flights[0] if flights and options.cast is None and choice.random() < 0.45 else None
    camera = camera_path(scenery, times_s, follow, width)
    camera = np.clip(camera, (-1.0 * width, -0.15 * height), (1.0 * width, 0.15 * height))
    drift = scenery.normal(0, (0.012 * width, 0.002 * height)).clip(-0.03 * width, 0.03 * width)
    clouds = camera + drift * times_s[:, None]
    least = np.minimum(camera.min(axis=0), clouds.min(axis=0)) - 1
    most = np.maximum(camera.max(axis=0), clouds.max(axis=0)) + 1
    shape_hw = (int(np.ceil(height + most[1] - least[1])), int(np.ceil(width + most[0] - least[0])))
    layers = paint_layers(scenery, options.sensor, shape_hw, (height, width), empty=noisy)
    performers = _cast_performers(acting, options, cast, flights, camera, layers, sensor)
    return _Stage(layers, sensor, camera - least, clouds - least, performers, times_s, options.size_wh, scale)


def _choose_cast(rng: np.random.Generator, options: SceneOptions, scale: float) -> tuple[Actor, ...]:
    """Mostly one object, rarely none, sometimes a flock; sizes and contrasts as in the recorded benchmark."""
    count = options.objects
    if count is None:
        count = int(rng.choice([0, 1, 2, 3, 5], p=[0.04, 0.74, 0.13, 0.06, 0.03]))
    typical = _TYPICAL_SIZE_PX[options.sensor] * scale
    duration_s = options.frames / options.fps
    actors = []
    for _ in range(count):
        kind = options.classes[rng.integers(len(options.classes))]
        factor = {"airplane": 0.95, "bird": 0.7, "drone": 1.15, "helicopter": 1.3}[kind]
        size = float(np.clip(typical * factor * np.exp(rng.normal(0, 0.55)), 0.45 * typical, 6 * typical))
        anchor = (float(rng.uniform(0.08, 0.92)), float(rng.uniform(0.06, 0.9)))
        contrast = float(
            np.exp(rng.uniform(np.log(0.15), 0)) if rng.random() < 0.5 else rng.uniform(0.6, 1.2)
        )
        actors.append(
            Actor(kind, size, anchor, float(rng.uniform(0, duration_s)), contrast, bool(rng.random() < 0.3))
        )
    return tuple(actors)


def _cast_performers(
    rng: np.random.Generator,
    options: SceneOptions,
    cast: tuple[Actor, ...],
    flights: list[Flight],
    camera_xy_px: np.ndarray,
    layers: Layers,
    sensor: Sensor,
) -> tuple[_Performer, ...]:
    times_s = np.arange(options.frames) / options.fps
    sky_level = layers.sky.reshape(-1, layers.sky.shape[2])[::97].mean(axis=0)
    ceiling = layers.skyline_px - (layers.land_alpha.shape[0] - options.size_wh[1]) / 2
    performers = []
    for index, (actor, flight) in enumerate(zip(cast, flights, strict=True)):
        anchor = np.array(actor.anchor_xy) * options.size_wh
        if options.cast is None:
            # Keep nine in ten above the skyline; the others pass behind it.
            lowest = ceiling - 0.3 * actor.size_px if rng.random() < 0.9 else ceiling + 0.6 * actor.size_px
            anchor[1] = actor.anchor_xy[1] * max(lowest, 0.15 * options.size_wh[1])
        offset = [np.interp(actor.anchor_time_s, times_s, camera_xy_px[:, axis]) for axis in (0, 1)]
        moved = Flight(flight.centres_xy_px + anchor + offset, flight.sizes_px, flight.poses)
        build, strength, level = draw_individual(
            rng, options.sensor, actor.kind, actor.contrast, sky_level, sensor.noise_level, sensor.gain
        )
        loose_px = options.loose_px
        if loose_px is None:
            hand = 1.0 if options.cast is not None else float(np.exp(rng.normal(0, 0.3)))
            hand *= 1.25 if actor.kind == "bird" else 1.0
            loose_px = (
                _LOOSE_PX[options.sensor] * hand * options.size_wh[0] / _REFERENCE_WIDTH_PX[options.sensor]
            )
        performers.append(
            _Performer(
                class_id=CLASSES.index(actor.kind),
                track_id=index + 1,
                build=build,
                flight=moved,
                level=level,
                strength=strength,
                loose_px=loose_px,
                behind_clouds=actor.behind_clouds,
            )
        )
    return tuple(performers)


def _window(layer: np.ndarray, corner_xy_px: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """The part of a layer that the camera sees, by bilinear interpolation; a fresh array."""
    centre = (float(corner_xy_px[0]) + (size_wh[0] - 1) / 2, float(corner_xy_px[1]) + (size_wh[1] - 1) / 2)
    seen = cv2.getRectSubPix(layer, size_wh, centre)
    return seen.reshape(size_wh[1], size_wh[0], -1)


def _expose(
    stage: _Stage, index: int, show_objects: bool
) -> tuple[np.ndarray, list[tuple[_Performer, Sprite]]]:
    """(H, W, C) float32 light of one frame, and the sprites with what is left of their alpha to be seen."""
    width, height = stage.size_wh
    layers, camera = stage.layers, stage.camera_xy_px[index]
    light = _window(layers.sky, stage.clouds_xy_px[index], stage.size_wh)
    alpha = _window(layers.land_alpha, camera, stage.size_wh)
    seen: list[tuple[_Performer, Sprite]] = []
    for performer in sorted(stage.performers, key=lambda one: one.flight.sizes_px[index]):
        sprite = _draw_performer(stage, performer, index)
        left, top = max(0, sprite.left), max(0, sprite.top)
        side = sprite.alpha.shape[0]
        right, bottom = min(width, sprite.left + side), min(height, sprite.top + side)
        if right <= left or bottom <= top:
            continue
        inner = (slice(top - sprite.top, bottom - sprite.top), slice(left - sprite.left, right - sprite.left))
        outer = (slice(top, bottom), slice(left, right))
        cover, value = sprite.alpha[inner], sprite.value[inner]
        if performer.behind_clouds and layers.clouds.any():
            clouds = _window(layers.clouds, stage.clouds_xy_px[index], stage.size_wh)[outer][..., 0]
            clear = np.clip(1.15 - 1.3 * clouds, 0, 1)
            cover, value = cover * clear, value * clear[..., None]
        if show_objects:
            light[outer] *= 1 - cover[..., None]
            light[outer] += (
                value * np.float32(performer.strength) + (cover * np.float32(performer.level))[..., None]
            )
        left_of_it = cover * (1 - alpha[outer][..., 0])
        if left_of_it.sum() >= _LEAST_VISIBLE_SHARE * sprite.alpha.sum():
            seen.append((performer, Sprite(left, top, left_of_it, value)))
    light *= 1 - alpha
    light += _window(layers.land, camera, stage.size_wh)
    return light, seen


def _draw_performer(stage: _Stage, performer: _Performer, index: int) -> Sprite:
    flight, camera = performer.flight, stage.camera_xy_px
    centres = flight.centres_xy_px - (camera - camera[0])
    if len(centres) > 1:
        before, after = max(0, index - 1), min(len(centres) - 1, index + 1)
        speed = (centres[after] - centres[before]) / (stage.times_s[after] - stage.times_s[before])
    else:
        speed = np.zeros(2)
    return draw_sprite(
        performer.build,
        flight.poses[index],
        centres[index],
        float(flight.sizes_px[index]),
        speed * stage.sensor.exposure_s,
        stage.sensor.softness_px * max(0.7, stage.scale),
    )


def _truth(stage: _Stage, seen: list[tuple[_Performer, Sprite]]) -> Targets:
    width, height = stage.size_wh
    rows = []
    for performer, sprite in seen:
        edge = _EDGE_OF_OBJECT * float(sprite.alpha.max())
        columns = np.flatnonzero(sprite.alpha.max(axis=0) > edge)
        lines = np.flatnonzero(sprite.alpha.max(axis=1) > edge)
        box = np.array([columns[0], lines[0], columns[-1] + 1, lines[-1] + 1], np.float32)
        margin = _LOOSE_SHARE * (box[2:] - box[:2]) + performer.loose_px
        box[:2] -= margin
        box[2:] += margin
        box += (sprite.left, sprite.top, sprite.left, sprite.top)
        box = np.clip(box, 0, (width, height, width, height))
        rows.append((performer.track_id, performer.class_id, box))
    if not rows:
        return Targets.empty()
    rows.sort(key=lambda row: row[0])
    return Targets(
        np.stack([box for _, _, box in rows]).astype(np.float32),
        np.array([class_id for _, class_id, _ in rows], np.int64),
        np.array([track_id for track_id, _, _ in rows], np.int64),
    )
