"""The land: hills, woods, buildings, fields, masts, branches and small still things that look like objects.

Every function paints over two arrays of the same height and width: ``land`` (H, W, C) float32, multiplied by
its own coverage, and ``alpha`` (H, W) float32, that coverage, 0..1. C is 1 for thermal (grey level 0..255), 3
for visible (RGB). ``view_hw`` is the size of the picture, the yardstick of everything.
"""

from __future__ import annotations

import cv2
import numpy as np

from seqdet.data.synth.noise import fractal


def _tone(sensor: str, heat: float, rgb: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    """The colour of a material on either sensor."""
    return np.array([heat], np.float32) if sensor == "thermal" else np.asarray(rgb, np.float32)


def _cover(land: np.ndarray, alpha: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Paints `colour` ((C,) or (H, W, C)) over both arrays where `mask` (H, W) float32 is."""
    land *= (1 - mask)[..., None]
    land += colour * mask[..., None]
    alpha *= 1 - mask
    alpha += mask


def _profile(rng: np.random.Generator, width: int, cell_px: float, octaves: int) -> np.ndarray:
    """(W,) heights of mean 0 and deviation about 1; features of `cell_px` and less."""
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


def paint_land(
    rng: np.random.Generator, sensor: str, land: np.ndarray, alpha: np.ndarray, view_hw: tuple[int, int]
) -> float:
    """Hills, a line of trees or a building, and ground; returns the height of the skyline in pixels."""
    height, width = alpha.shape
    unit = view_hw[0] / 256
    rows = np.arange(height, dtype=np.float32)[:, None]
    horizon = height - view_hw[0] * rng.uniform(0.04, 0.34)
    top = horizon
    if rng.random() < 0.4:
        ridge = horizon - unit * (6 + 8 * rng.random() + 5 * _profile(rng, width, 120 * unit, 3))
        far = _tone(sensor, rng.uniform(120, 215), np.array([88, 98, 112]) + rng.normal(0, 6, 3))
        texture = 1 + 0.08 * fractal(rng, (height, width), 6 * unit, 3, 2.0)[..., None]
        _cover(land, alpha, np.clip(rows - ridge + 0.5, 0, 1), far * texture)
        top = min(top, float(ridge.mean()))
    kind = rng.choice(["trees", "building", "bare"], p=[0.6, 0.25, 0.15])
    if kind == "trees":
        top = min(top, _trees(rng, sensor, land, alpha, horizon, unit))
    ground_line = horizon + unit * 2 * _profile(rng, width, 150 * unit, 3)
    below = np.clip(rows - ground_line + 0.5, 0, 1)
    near = np.clip((rows - horizon) / max(1.0, height - horizon), 0, 1)[..., None]
    bright, dim = rng.uniform(130, 235), rng.uniform(70, 150)
    field = [(72, 88, 54), (138, 112, 70), (98, 92, 74), (116, 106, 82)][rng.integers(4)]
    ground = _tone(sensor, bright, np.array(field) * 1.08)
    ground = ground + near * (_tone(sensor, dim, np.array(field) * 0.82) - ground)
    relief = fractal(rng, (height, width), 5 * unit, 4, 4.0)[..., None]
    relief += 0.7 * rng.standard_normal((height, width, 1), np.float32)
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
    tall_x = tall * np.clip(1 + slope + 0.18 * _profile(rng, width, 60 * unit, 3), 0.25, 2.2)
    dense = rng.random() < 0.4
    spikes = np.zeros(width, np.float32)
    columns = np.arange(width, dtype=np.float32)
    for _ in range(int(width / (unit * (4 if dense else 7)))):
        middle, half = rng.uniform(0, width), unit * rng.uniform(2, 6)
        rise = tall * rng.uniform(0.05, 0.4)
        shape = np.clip(1 - np.abs(columns - middle) / half, 0, 1)
        spikes = np.maximum(spikes, rise * (shape if dense else np.sqrt(shape)))
    crown = horizon - tall_x - spikes
    # Trunks and upright twigs; the sky shows through the crown's rim of bare trees.
    streaks = fractal(rng, (height, width), 18 * unit, 3, 0.09)
    clumps = fractal(rng, (height, width), 7 * unit, 3, 0.8)
    rows = np.arange(height, dtype=np.float32)[:, None]
    ragged = (1.2 if dense else 2.6) * unit
    depth = rows - crown + ragged * (0.55 * streaks + 0.6 * clumps)
    mask = np.clip(depth / (1.5 * unit if dense else 7 * unit) + 0.5, 0, 1)
    mask *= np.clip(horizon + 12 * unit - rows, 0, 1)
    rgb = np.array((44, 50, 42) if dense else (84, 74, 70)) * rng.uniform(0.8, 1.2)
    base = _tone(sensor, rng.uniform(185, 250), rgb)
    strength = rng.uniform(0.06, 0.16)
    texture = 1 + np.clip(strength * (streaks + 0.7 * clumps), -0.24, 0.2)[..., None]
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


def paint_masts(
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
            line(x, height, x, min(foot, height) - tall, rng.uniform(1.0, 1.5) * unit)
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


def paint_branches(
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
            for _ in range(rng.integers(2, 5)):
                part = rng.uniform(0.35, 1.0)
                stems.append(
                    (
                        x + (x2 - x) * part,
                        y + (y2 - y) * part,
                        angle + rng.normal(0, 0.5),
                        length * rng.uniform(0.5, 0.85),
                        thick * 0.6,
                    )
                )
    _cover(land, alpha, canvas.astype(np.float32) / 255, _tone(sensor, rng.uniform(215, 255), (52, 44, 42)))


def paint_lamps(
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
        # A thermal sky may hold far warm points that stand still; a visible one does not.
        on_land = skyline < height and (sensor == "visible" or rng.random() < 0.85)
        if sensor == "visible" and not on_land:
            continue
        x = rng.uniform(0, width)
        y = rng.uniform(skyline - 4 * unit, height) if on_land else rng.uniform(0.3 * height, height)
        half = np.array([rng.uniform(0.7, 3.0), rng.uniform(0.6, 2.0)]) * (
            unit if sensor == "thermal" else 0.5 * unit
        )
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


def darken_around(
    rng: np.random.Generator, land: np.ndarray, alpha: np.ndarray, view_hw: tuple[int, int]
) -> None:
    """The camera's local contrast darkens the sky beside what is hot: the black band above every skyline."""
    small = cv2.resize(alpha, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(
        small, (0, 0), view_hw[0] / 256 * rng.uniform(3.0, 7.0), borderType=cv2.BORDER_REPLICATE
    )
    wide = cv2.resize(wide, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    land -= (rng.uniform(90, 260) * wide * (1 - alpha))[..., None]
