"""What the objects fly before and behind: sky, clouds, land, things that stand still and look like objects.

Everything is painted once for a scene, larger than the picture, in two layers: the sky with its clouds, which
drift, and the land, which hides what flies behind it. Per frame both are only shifted by fractions of a pixel.

Legend: H W of the layer, C channels: 1 for thermal (grey level 0..255), 3 for visible (RGB 0..255).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Colour = np.ndarray
"""(C,) float32."""


@dataclass(slots=True)
class Layers:
    """The painted scene.

    Attributes:
        sky: (H, W, C) float32.
        clouds: (H, W) float32 density 0..1 of the clouds in `sky`.
        land: (H, W, C) float32, already multiplied by `land_alpha`; it may darken the sky around (halo).
        land_alpha: (H, W) float32 coverage 0..1.
        skyline_px: height of the horizon in the layer, in pixels from its top; H when there is no land.
    """

    sky: np.ndarray
    clouds: np.ndarray
    land: np.ndarray
    land_alpha: np.ndarray
    skyline_px: float


def fractal(
    rng: np.random.Generator, shape_hw: tuple[int, int], cell_px: float, octaves: int, stretch: float = 1.0
) -> np.ndarray:
    """(H, W) float32 cloud-like noise of mean 0 and standard deviation about 1.

    Args:
        rng: source of chance.
        shape_hw: height and width in pixels.
        cell_px: height of the largest blobs, in pixels.
        octaves: each further one is half as large and 0.55 times as strong.
        stretch: how many times wider than high the blobs are.
    """
    height, width = shape_hw
    total = np.zeros(shape_hw, np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        grid_hw = (int(height / cell_px) + 4, int(width / (cell_px * stretch)) + 4)
        grid = rng.standard_normal(grid_hw, np.float32)
        # One more cell than needed on each side, then cut: cubic interpolation is flat at the border.
        full = (round(grid_hw[1] * cell_px * stretch), round(grid_hw[0] * cell_px))
        big = cv2.resize(grid, (max(full[0], width), max(full[1], height)), interpolation=cv2.INTER_CUBIC)
        top, left = (big.shape[0] - height) // 2, (big.shape[1] - width) // 2
        total += weight * big[top : top + height, left : left + width]
        power += weight**2 * 0.6
        weight *= 0.55
        cell_px /= 2
        if cell_px < 1:
            break
    return total / np.float32(np.sqrt(power))


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    unit = np.clip((values - low) / (high - low), 0, 1)
    return unit * unit * (3 - 2 * unit)


def paint_layers(
    rng: np.random.Generator,
    sensor: str,
    shape_hw: tuple[int, int],
    view_hw: tuple[int, int],
    empty: bool = False,
) -> Layers:
    """Paints a scene.

    Args:
        rng: source of chance.
        sensor: ``"thermal"`` or ``"visible"``.
        shape_hw: size of the layers in pixels; at least `view_hw`.
        view_hw: size of the picture, the yardstick of everything in it.
        empty: nothing but sky.
    """
    clouds, veil = _clouds(rng, shape_hw, view_hw)
    if sensor == "thermal":
        sky = _thermal_sky(rng, shape_hw, clouds, veil)
    else:
        sky = _visible_sky(rng, shape_hw, clouds, veil)
    channels = sky.shape[2]
    land = np.zeros((*shape_hw, channels), np.float32)
    alpha = np.zeros(shape_hw, np.float32)
    skyline = float(shape_hw[0])
    if empty:
        return Layers(sky, clouds * veil, land, alpha, skyline)
    if rng.random() < 0.8:
        skyline = _land(rng, sensor, land, alpha, view_hw)
    if rng.random() < 0.45:
        _masts(rng, sensor, land, alpha, view_hw, skyline)
    if rng.random() < 0.18:
        _branches(rng, sensor, land, alpha, view_hw)
    if rng.random() < 0.6:
        _lamps(rng, sensor, land, alpha, view_hw, skyline)
    if sensor == "thermal" and alpha.any():
        _halo(rng, land, alpha, view_hw)
    return Layers(sky, clouds * veil, land, alpha, skyline)


def _clouds(
    rng: np.random.Generator, shape_hw: tuple[int, int], view_hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) density and (H, W) where it counts: none, streaks, heaps near the horizon, or overcast."""
    kind = rng.choice(["none", "streaks", "heaps", "overcast"], p=[0.35, 0.3, 0.2, 0.15])
    rows = np.linspace(0, 1, shape_hw[0], dtype=np.float32)[:, None]
    if kind == "none":
        return np.zeros(shape_hw, np.float32), np.zeros(shape_hw, np.float32)
    if kind == "streaks":
        noise = fractal(rng, shape_hw, view_hw[0] / rng.uniform(3, 8), 6, rng.uniform(2.5, 6))
        density = smoothstep(noise, rng.uniform(-0.6, 0.8), 2.2)
        veil = np.full(shape_hw, rng.uniform(0.35, 1.0), np.float32)
    elif kind == "heaps":
        noise = fractal(rng, shape_hw, view_hw[0] / rng.uniform(4, 9), 6, rng.uniform(1.4, 2.4))
        edge = rng.uniform(0.3, 1.2)
        density = smoothstep(noise, edge, edge + rng.uniform(0.35, 0.9))
        veil = np.broadcast_to(smoothstep(rows, -0.2, rng.uniform(0.4, 0.9)), shape_hw).astype(np.float32)
    else:
        noise = fractal(rng, shape_hw, view_hw[0] / rng.uniform(1.5, 4), 5, rng.uniform(1.5, 4))
        density = smoothstep(noise, -2.0, 1.8)
        veil = np.full(shape_hw, rng.uniform(0.4, 0.9), np.float32)
    return density, veil


def _thermal_sky(
    rng: np.random.Generator, shape_hw: tuple[int, int], clouds: np.ndarray, veil: np.ndarray
) -> np.ndarray:
    rows = np.linspace(0, 1, shape_hw[0], dtype=np.float32)[:, None]
    level = rng.choice([rng.uniform(30, 65), rng.uniform(80, 115)], p=[0.4, 0.6])
    sky = level + rng.normal(0, 12) * (rows - 0.5) + 2.0 * fractal(rng, shape_hw, shape_hw[0] / 2, 2, 1.5)
    sky = sky + clouds * veil * rng.uniform(25, 170)
    return sky.astype(np.float32)[..., None]


_SKIES = np.array(
    [
        [56, 104, 184],
        [86, 128, 186],
        [106, 138, 184],
        [62, 116, 168],
        [70, 128, 178],
        [148, 146, 146],
        [118, 128, 146],
    ],
    np.float32,
)


def _visible_sky(
    rng: np.random.Generator, shape_hw: tuple[int, int], clouds: np.ndarray, veil: np.ndarray
) -> np.ndarray:
    rows = np.linspace(0, 1, shape_hw[0], dtype=np.float32)[:, None, None]
    zenith = _SKIES[rng.integers(len(_SKIES))] * rng.uniform(0.8, 1.15) + rng.normal(0, 5, 3).astype(
        np.float32
    )
    horizon = zenith + rng.uniform(0.0, 0.7) * (np.array([168, 182, 192], np.float32) - zenith)
    sky = zenith + (horizon - zenith) * rows ** rng.uniform(0.8, 2.0)
    sky = sky + np.zeros((*shape_hw, 1), np.float32)
    light = np.array([226, 226, 228], np.float32) * rng.uniform(0.72, 1.0)
    shadow = light * rng.uniform(0.55, 0.85)
    # The lower side of a cloud lies in its shadow: where the density falls upwards, light; downwards, dark.
    lit = clouds - np.roll(clouds, max(2, shape_hw[0] // 60), axis=0)
    shade = smoothstep(cv2.GaussianBlur(lit, (0, 0), max(1.0, shape_hw[0] / 120)), -0.25, 0.2)[..., None]
    colour = shadow + (light - shadow) * shade
    cover = (clouds * veil * rng.uniform(0.4, 0.9))[..., None]
    return (sky + (colour - sky) * cover).astype(np.float32)


def _tone(sensor: str, heat: float, rgb: tuple[float, float, float] | np.ndarray) -> Colour:
    """The colour of a material on either sensor."""
    return np.array([heat], np.float32) if sensor == "thermal" else np.asarray(rgb, np.float32)


def _cover(land: np.ndarray, alpha: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Paints `colour` ((C,) or (H, W, C)) over both arrays where `mask` (H, W) float32 is."""
    land *= (1 - mask)[..., None]
    land += colour * mask[..., None]
    alpha *= 1 - mask
    alpha += mask


def _profile(rng: np.random.Generator, width: int, cell_px: float, octaves: int) -> np.ndarray:
    """(W,) float32 heights of mean 0 and deviation about 1."""
    return (
        fractal(rng, (8, width), cell_px, octaves)[4]
        if cell_px <= 8
        else _long_profile(rng, width, cell_px, octaves)
    )


def _long_profile(rng: np.random.Generator, width: int, cell_px: float, octaves: int) -> np.ndarray:
    total, weight = np.zeros(width, np.float32), 1.0
    columns = np.arange(width, dtype=np.float32)
    for _ in range(octaves):
        knots = rng.standard_normal(int(width / cell_px) + 4)
        total += weight * np.interp(columns / cell_px + rng.random(), np.arange(len(knots)), knots)
        weight *= 0.5
        cell_px /= 2
        if cell_px < 1:
            break
    return total


def _land(
    rng: np.random.Generator, sensor: str, land: np.ndarray, alpha: np.ndarray, view_hw: tuple[int, int]
) -> float:
    """Hills, a line of trees or a building, and ground; returns the height of the skyline in pixels."""
    height, width = alpha.shape
    unit = view_hw[0] / 256
    rows = np.arange(height, dtype=np.float32)[:, None]
    horizon = height - view_hw[0] * rng.uniform(0.04, 0.34)
    top = horizon
    if rng.random() < 0.4:
        ridge = horizon - unit * (6 + 8 * rng.random() + 5 * _long_profile(rng, width, 120 * unit, 3))
        far = _tone(sensor, rng.uniform(120, 215), (88, 98, 112) + rng.normal(0, 6, 3))
        texture = 1 + 0.08 * fractal(rng, (height, width), 6 * unit, 3, 2.0)[..., None]
        _cover(land, alpha, np.clip(rows - ridge + 0.5, 0, 1), far * texture)
        top = min(top, float(ridge.mean()))
    kind = rng.choice(["trees", "building", "bare"], p=[0.6, 0.25, 0.15])
    if kind == "trees":
        top = min(top, _trees(rng, sensor, land, alpha, horizon, unit))
    ground_line = horizon + unit * 2 * _long_profile(rng, width, 150 * unit, 3)
    below = np.clip(rows - ground_line + 0.5, 0, 1)
    near = np.clip((rows - horizon) / max(1.0, height - horizon), 0, 1)[..., None]
    bright, dim = rng.uniform(130, 235), rng.uniform(70, 150)
    field = [(70, 92, 52), (146, 116, 66), (98, 92, 74), (120, 110, 84)][rng.integers(4)]
    ground = _tone(sensor, bright, np.array(field) * 1.08)
    ground = ground + near * (_tone(sensor, dim, np.array(field) * 0.82) - ground)
    relief = fractal(rng, (height, width), 5 * unit, 3, 4.0)[..., None]
    _cover(land, alpha, below, ground * (1 + rng.uniform(0.03, 0.1) * relief))
    if kind == "building":
        top = min(top, _building(rng, sensor, land, alpha, horizon, unit))
    return top


def _trees(
    rng: np.random.Generator, sensor: str, land: np.ndarray, alpha: np.ndarray, horizon: float, unit: float
) -> float:
    """A wood: bare trunks that let the sky through at the top, or dense spruces."""
    height, width = alpha.shape
    tall = unit * rng.uniform(8, 34)
    slope = rng.normal(0, 0.25) * np.linspace(-1, 1, width, dtype=np.float32)
    tall_x = tall * np.clip(1 + slope + 0.18 * _long_profile(rng, width, 60 * unit, 3), 0.25, 2.2)
    dense = rng.random() < 0.4
    spikes = np.zeros(width, np.float32)
    columns = np.arange(width, dtype=np.float32)
    for _ in range(int(width / (unit * (4 if dense else 7)))):
        middle, half = rng.uniform(0, width), unit * rng.uniform(2, 6)
        rise = tall * rng.uniform(0.05, 0.4)
        shape = np.clip(1 - np.abs(columns - middle) / half, 0, 1)
        spikes = np.maximum(spikes, rise * (shape if dense else np.sqrt(shape)))
    crown = horizon - tall_x - spikes
    streaks = fractal(rng, (height, width), 14 * unit, 4, 0.16)
    twigs = fractal(rng, (height, width), 3 * unit, 2)
    rows = np.arange(height, dtype=np.float32)[:, None]
    depth = rows - crown + (1.0 if dense else 3.0) * unit * (0.7 * streaks + 0.6 * twigs)
    mask = np.clip(depth / (1.2 if dense else 4 * unit) + 0.5, 0, 1)
    mask *= np.clip(horizon + 3 * unit - rows, 0, 1)
    rgb = np.array((44, 50, 42) if dense else (84, 74, 70)) * rng.uniform(0.8, 1.2)
    base = _tone(sensor, rng.uniform(185, 250), rgb)
    strength = rng.uniform(0.06, 0.16)
    texture = 1 + strength * (streaks + 0.5 * twigs)[..., None]
    shade = 1 - 0.25 * np.clip((rows - crown) / (tall_x + 1), 0, 1)[..., None]
    _cover(land, alpha, mask, base * texture * shade)
    return float(crown.mean())


def _fill(shape_hw: tuple[int, int], corners_xy: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape_hw, np.uint8)
    cv2.fillPoly(mask, [np.round(corners_xy * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def _building(
    rng: np.random.Generator, sensor: str, land: np.ndarray, alpha: np.ndarray, horizon: float, unit: float
) -> float:
    height, width = alpha.shape
    broad = unit * rng.uniform(110, 260)
    left = rng.uniform(-0.3 * broad, width - 0.6 * broad)
    tall, fall = unit * rng.uniform(28, 70), unit * rng.uniform(-18, 18)
    eaves_left, eaves_right = horizon - tall, horizon - tall + fall
    corners = np.array(
        [
            [left, height],
            [left, eaves_left],
            [left + broad * 0.45, eaves_left - unit * rng.uniform(0, 10)],
            [left + broad, eaves_right],
            [left + broad, height],
        ]
    )
    wall_rgb = [(138, 92, 58), (98, 104, 110), (178, 172, 160), (120, 60, 52)][rng.integers(4)]
    wall = _tone(sensor, rng.uniform(150, 225), np.array(wall_rgb) * rng.uniform(0.7, 1.1))
    rows = np.arange(height, dtype=np.float32)[:, None, None]
    fade = 1.08 - 0.45 * np.clip((rows - horizon + tall) / (height - horizon + tall), 0, 1)
    ribs = 1 + 0.03 * np.sin(np.arange(width, dtype=np.float32) / unit * 1.7)[None, :, None]
    _cover(land, alpha, _fill(alpha.shape, corners), np.broadcast_to(wall * fade * ribs, land.shape))
    edge = np.zeros(alpha.shape, np.uint8)
    cv2.polylines(
        edge,
        [np.round(corners[1:4] * 16).astype(np.int32)],
        False,
        255,
        max(1, round(1.5 * unit)),
        cv2.LINE_AA,
        4,
    )
    _cover(land, alpha, edge.astype(np.float32) / 255, _tone(sensor, 250, (38, 38, 42)))
    panes = np.zeros(alpha.shape, np.uint8)
    step, pane = unit * rng.uniform(16, 34), unit * rng.uniform(6, 10)
    for index in range(1, int(broad / step)):
        x = left + index * step
        y = eaves_left + fall * index * step / broad + unit * 14
        cv2.rectangle(panes, (round(x), round(y)), (round(x + pane), round(y + pane * 1.2)), 255, -1)
    _cover(land, alpha, panes.astype(np.float32) / 255, _tone(sensor, rng.uniform(70, 150), (44, 50, 60)))
    return min(eaves_left, eaves_right)


def _masts(
    rng: np.random.Generator,
    sensor: str,
    land: np.ndarray,
    alpha: np.ndarray,
    view_hw: tuple[int, int],
    skyline: float,
) -> None:
    """Poles, a row of fence posts with wires, or a mast with cross-bars."""
    height, width = alpha.shape
    unit = view_hw[0] / 256
    canvas = np.zeros(alpha.shape, np.uint8)

    def line(x1: float, y1: float, x2: float, y2: float, thick_px: float) -> None:
        start, end = (round(x1 * 16), round(y1 * 16)), (round(x2 * 16), round(y2 * 16))
        cv2.line(canvas, start, end, 255, max(1, round(thick_px)), cv2.LINE_AA, 4)

    kind = rng.choice(["pole", "fence", "mast"])
    foot = height if skyline >= height else skyline + unit * 30
    if kind == "pole":
        for _ in range(rng.integers(1, 4)):
            x = rng.uniform(0, width)
            line(
                x,
                height,
                x + rng.normal(0, 6) * unit,
                height * rng.uniform(0.0, 0.75),
                rng.uniform(1, 4) * unit,
            )
    elif kind == "fence":
        step, tall = unit * rng.uniform(25, 70), unit * rng.uniform(18, 45)
        for x in np.arange(rng.uniform(0, step), width, step):
            line(x, height, x, min(foot, height) - tall, rng.uniform(1.2, 2) * unit)
        for part in (0.95, 0.6):
            line(0, min(foot, height) - tall * part, width, min(foot, height) - tall * part, 0.5)
    else:
        x, top = rng.uniform(0.1, 0.9) * width, height * rng.uniform(0.2, 0.7)
        line(x, height, x, top, 1.6 * unit)
        for _ in range(rng.integers(1, 5)):
            y, half = top + rng.uniform(0, 40) * unit, unit * rng.uniform(2, 9)
            line(x - half, y, x + half * rng.uniform(0.3, 1), y, 1)
    rgb = np.array([(48, 48, 52), (190, 190, 190), (70, 62, 56)][rng.integers(3)])
    _cover(land, alpha, canvas.astype(np.float32) / 255, _tone(sensor, rng.uniform(190, 255), rgb))


def _branches(
    rng: np.random.Generator, sensor: str, land: np.ndarray, alpha: np.ndarray, view_hw: tuple[int, int]
) -> None:
    """A bare bush or tree near the camera."""
    height, width = alpha.shape
    unit = view_hw[0] / 256
    canvas = np.zeros(alpha.shape, np.uint8)
    stems = [
        (
            rng.uniform(0, width),
            float(height),
            -np.pi / 2 + rng.normal(0, 0.15),
            rng.uniform(35, 80) * unit,
            2.2 * unit,
        )
        for _ in range(rng.integers(1, 4))
    ]
    drawn = 0
    while stems and drawn < 220:
        x, y, angle, length, thick = stems.pop(0)
        x2, y2 = x + length * np.cos(angle), y + length * np.sin(angle)
        ends = np.round(np.array([[x, y], [x2, y2]]) * 16).astype(int)
        cv2.line(
            canvas,
            tuple(map(int, ends[0])),
            tuple(map(int, ends[1])),
            255 if thick >= 1 else int(120 + 135 * thick),
            max(1, round(thick)),
            cv2.LINE_AA,
            4,
        )
        drawn += 1
        if length > 6 * unit:
            for _ in range(rng.integers(2, 4)):
                part = rng.uniform(0.45, 1.0)
                stems.append(
                    (
                        x + (x2 - x) * part,
                        y + (y2 - y) * part,
                        angle + rng.normal(0, 0.5),
                        length * rng.uniform(0.45, 0.8),
                        thick * 0.6,
                    )
                )
    _cover(land, alpha, canvas.astype(np.float32) / 255, _tone(sensor, rng.uniform(190, 250), (52, 44, 42)))


def _lamps(
    rng: np.random.Generator,
    sensor: str,
    land: np.ndarray,
    alpha: np.ndarray,
    view_hw: tuple[int, int],
    skyline: float,
) -> None:
    """Hot spots, lamps, windows in the sun, far chimneys: small, bright and still. Most stand on the land."""
    height, width = alpha.shape
    unit = view_hw[0] / 256
    for _ in range(rng.integers(1, 9)):
        on_land = skyline < height and rng.random() < 0.8
        x = rng.uniform(0, width)
        y = rng.uniform(skyline - 4 * unit, height) if on_land else rng.uniform(0.3 * height, height)
        half = np.array([rng.uniform(0.7, 3.0), rng.uniform(0.6, 2.0)]) * unit
        reach = int(np.ceil(half.max() * 3)) + 1
        left, top = max(0, int(x) - reach), max(0, int(y) - reach)
        right, bottom = min(width, int(x) + reach + 1), min(height, int(y) + reach + 1)
        if right <= left or bottom <= top:
            continue
        columns = (np.arange(left, right, dtype=np.float32) - x) / half[0]
        rows = (np.arange(top, bottom, dtype=np.float32) - y) / half[1]
        spot = np.exp(-0.5 * (columns[None] ** 2 + rows[:, None] ** 2) ** 1.5) * np.float32(
            rng.uniform(0.4, 1)
        )
        rgb = [(245, 240, 225), (210, 205, 200), (40, 40, 44), (170, 60, 50)][rng.integers(4)]
        area = (slice(top, bottom), slice(left, right))
        _cover(land[area], alpha[area], spot, _tone(sensor, 255, rgb))


def _halo(rng: np.random.Generator, land: np.ndarray, alpha: np.ndarray, view_hw: tuple[int, int]) -> None:
    """The camera's local contrast darkens the sky beside what is hot: the black band above every skyline."""
    small = cv2.resize(alpha, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(
        small, (0, 0), view_hw[0] / 256 * rng.uniform(3.0, 7.0), borderType=cv2.BORDER_REPLICATE
    )
    wide = cv2.resize(wide, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    land -= (rng.uniform(90, 260) * wide * (1 - alpha))[..., None]
