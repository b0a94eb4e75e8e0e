"""The solids: what airplanes, birds, drones and helicopters are built of.

A solid is a list of parts and a part is the convex hull of a few spheres, which projects to the convex hull
of circles from any side: a wing, a fuselage, a rotor disc and a leg are all made so.

Body axes: x forward, y left, z up; unit: the longest extent of the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLASSES = ("airplane", "bird", "drone", "helicopter")
"""Names of the classes of the airspace scenes, in the order of their class ids."""


@dataclass(frozen=True, slots=True)
class Part:
    """A convex piece of an object.

    Attributes:
        spheres: (n, 4) float32: x, y, z and radius in body axes.
        tone: index of its colour in the object's paint.
        opacity: 0..1; below 1 for what turns too fast to be seen, such as rotor discs.
    """

    spheres: np.ndarray
    tone: int = 0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Pose:
    """How an object is held at one moment.

    Attributes:
        yaw, pitch, roll: angles in radians; yaw 0 flies to the right of the picture.
        elevation: angle in radians under which the camera looks up at it.
        phase: turns of its wings or rotors so far.
        wing_lift: bird only: amplitude of the beat, 0 (gliding) to 1.
    """

    yaw: float
    pitch: float
    roll: float
    elevation: float
    phase: float
    wing_lift: float = 1.0


@dataclass(frozen=True, slots=True)
class Build:
    """What makes one individual differ from another of its class.

    Attributes:
        kind: one of `CLASSES`.
        variant: which design of the kind, see the functions below.
        proportions: three factors around 1, for length, breadth and bulk.
        paint: (tones, channels) float32, a row for each tone: RGB 0..255 (visible) or heat 0..1 (thermal).
    """

    kind: str
    variant: int
    proportions: tuple[float, float, float]
    paint: np.ndarray


def _part(*spheres: tuple[float, float, float, float], tone: int = 0, opacity: float = 1.0) -> Part:
    return Part(np.array(spheres, np.float32), tone, opacity)


def _disc(centre: tuple[float, float, float], radius: float, axis: str, tone: int, opacity: float) -> Part:
    """A thin disc around `axis` (``"z"`` lies flat, ``"y"`` stands along the flight)."""
    spheres = np.zeros((12, 4), np.float32)
    angles = np.arange(12) * (2 * np.pi / 12)
    spheres[:, :3] = centre
    spheres[:, 0] += radius * np.cos(angles)
    spheres[:, 1 if axis == "z" else 2] += radius * np.sin(angles)
    spheres[:, 3] = 0.006
    return Part(spheres, tone, opacity)


def _blade(
    centre: tuple[float, float, float], length: float, angle: float, tone: int, opacity: float
) -> Part:
    """Half a rotor from the hub outwards; it widens because it turns while the shutter is open."""
    spheres = np.zeros((4, 4), np.float32)
    spheres[:, :3] = centre
    for row, (reach, smear) in enumerate(((0.05, 0.0), (1.0, -0.11), (1.0, 0.11), (0.6, 0.0))):
        spheres[row, 0] += length * reach * np.cos(angle + smear)
        spheres[row, 1] += length * reach * np.sin(angle + smear)
    spheres[:, 3] = 0.008
    return Part(spheres, tone, opacity)


def _airplane(build: Build, pose: Pose) -> list[Part]:
    """Variant 0 airliner, 1 business jet with engines at the tail, 2 straight-winged propeller aircraft."""
    long, broad, bulk = build.proportions
    nose, tail, radius = 0.5 * long, -0.5 * long, 0.052 * bulk
    sweep = (0.2, 0.17, 0.02)[build.variant]
    span = (0.48, 0.43, 0.55)[build.variant] * broad
    chord = (0.15, 0.13, 0.12)[build.variant]
    root, height = (0.09, 0.1, 0.2)[build.variant], (-0.02, -0.02, 0.05)[build.variant]
    parts = [
        _part(
            (nose, 0, -0.01, 0.012),
            (nose - 0.09, 0, 0, radius),
            (-0.12, 0, 0, radius),
            (tail, 0, 0.03, 0.014),
        ),
        _part(
            (tail + 0.14, 0, 0.02, 0.01),
            (tail + 0.01, 0, 0.02, 0.01),
            (tail - 0.03, 0, 0.19, 0.008),
            (tail + 0.04, 0, 0.19, 0.008),
            tone=2,
        ),
    ]
    for side in (-1.0, 1.0):
        parts.append(
            _part(
                (root, side * 0.03, height, 0.016),
                (root - chord, side * 0.03, height, 0.012),
                (root - sweep, side * span, height + 0.05, 0.006),
                (root - sweep - chord * 0.4, side * span, height + 0.05, 0.006),
                tone=1,
            )
        )
        parts.append(
            _part(
                (tail + 0.1, side * 0.02, 0.04, 0.008),
                (tail + 0.01, side * 0.02, 0.04, 0.008),
                (tail - 0.01, side * 0.17 * broad, 0.05, 0.006),
                (tail - 0.04, side * 0.17 * broad, 0.05, 0.006),
                tone=1,
            )
        )
        if build.variant == 0:
            parts.append(
                _part(
                    (root - 0.02, side * 0.17, -0.06, 0.03), (root - 0.12, side * 0.17, -0.06, 0.025), tone=3
                )
            )
        elif build.variant == 1:
            parts.append(
                _part((tail + 0.22, side * 0.08, 0.03, 0.03), (tail + 0.1, side * 0.08, 0.03, 0.025), tone=3)
            )
    if build.variant == 2:
        parts.append(_part((nose - 0.05, 0, -0.01, 0.04), (nose - 0.16, 0, -0.02, 0.05), tone=3))
    return parts


def _bird(build: Build, pose: Pose) -> list[Part]:
    """Variant 0 broad-winged (crow, buzzard), 1 narrow-winged (gull), 2 short-winged (pigeon, duck)."""
    long, broad, bulk = build.proportions
    chord = (0.2, 0.12, 0.17)[build.variant] * bulk
    span = (0.47, 0.5, 0.42)[build.variant] * broad
    beat = 2 * np.pi * pose.phase
    inner = pose.wing_lift * (0.12 + 0.75 * np.sin(beat)) + (1 - pose.wing_lift) * 0.12
    outer = pose.wing_lift * (0.95 * np.sin(beat - 0.7)) + (1 - pose.wing_lift) * 0.02
    fold = 0.1 + 0.1 * pose.wing_lift * max(0.0, float(np.cos(beat)))
    parts = [
        _part(
            (0.2 * long, 0, 0.01, 0.035 * bulk),
            (0.05, 0, 0, 0.058 * bulk),
            (-0.12, 0, 0, 0.05 * bulk),
            (-0.2 * long, 0, 0.01, 0.02),
        ),
        _part((0.27 * long, 0, 0.025, 0.03 * bulk), (0.16, 0, 0.015, 0.035 * bulk), tone=1),
        _part((-0.16, 0, 0, 0.02), (-0.34 * long, 0.055, 0, 0.008), (-0.34 * long, -0.055, 0, 0.008), tone=2),
    ]
    middle = 0.45 * span
    for side in (-1.0, 1.0):
        y1, z1 = middle * np.cos(inner), middle * np.sin(inner)
        y2 = y1 + (span - middle) * np.cos(outer)
        z2 = z1 + (span - middle) * np.sin(outer)
        elbow, tip = 0.1, 0.1 - fold * 1.6
        parts.append(
            _part(
                (0.08, side * 0.02, 0.01, 0.016),
                (0.08 - chord, side * 0.02, 0.01, 0.012),
                (elbow, side * y1, z1, 0.01),
                (elbow - chord, side * y1, z1, 0.008),
                tone=2,
            )
        )
        parts.append(
            _part(
                (elbow, side * y1, z1, 0.01),
                (elbow - chord, side * y1, z1, 0.008),
                (tip, side * y2, z2, 0.006),
                (tip - chord * 0.45, side * y2, z2, 0.006),
                tone=2,
            )
        )
    return parts


def _drone(build: Build, pose: Pose) -> list[Part]:
    """Variant 0 folding quadcopter, 1 with landing skids and a camera, 2 slim racer, 3 hexacopter."""
    long, broad, bulk = build.proportions
    arms = 6 if build.variant == 3 else 4
    reach, rotor = (0.36, 0.11) if arms == 6 else (0.35, 0.14)
    thick = (0.05, 0.07, 0.035, 0.06)[build.variant] * bulk
    parts = [
        _part(
            (0.16 * long, 0.05, 0, thick),
            (0.16 * long, -0.05, 0, thick),
            (-0.15 * long, 0.05, 0, thick),
            (-0.15 * long, -0.05, 0, thick),
        ),
        _part((0.02, 0.0, thick, 0.045 * bulk), (-0.08, 0.0, thick, 0.04 * bulk), tone=1),
    ]
    for arm in range(arms):
        angle = 2 * np.pi * (arm + 0.5) / arms
        x, y = reach * np.cos(angle) * long, reach * np.sin(angle) * broad
        turn = 2 * np.pi * pose.phase * (1 if arm % 2 else -1) + arm
        parts += [
            _part((x * 0.25, y * 0.25, 0.0, 0.022), (x, y, 0.03, 0.018), tone=2),
            _part((x, y, 0.0, 0.028), (x, y, 0.055, 0.026), tone=3),
            _disc((x, y, 0.07), rotor, "z", 2, 0.16),
            _blade((x, y, 0.07), rotor, turn, 2, 0.55),
            _blade((x, y, 0.07), rotor, turn + np.pi, 2, 0.55),
        ]
        if build.variant in (0, 2):
            parts.append(_part((x, y, 0.0, 0.014), (x * 1.03, y * 1.03, -0.08, 0.012), tone=2))
    if build.variant in (1, 3):
        for side in (-1.0, 1.0):
            parts += [
                _part((0.05, side * 0.06, 0, 0.014), (0.08, side * 0.15, -0.19, 0.013), tone=2),
                _part((-0.05, side * 0.06, 0, 0.014), (-0.08, side * 0.15, -0.19, 0.013), tone=2),
                _part((0.14, side * 0.15, -0.19, 0.013), (-0.14, side * 0.15, -0.19, 0.013), tone=2),
            ]
        parts.append(_part((0.06, 0, -0.1, 0.045), tone=3))
    return parts


def _helicopter(build: Build, pose: Pose) -> list[Part]:
    """Variant 0 wheels and five blades (rescue), 1 skids and four blades, 2 light with two blades."""
    long, broad, bulk = build.proportions
    blades = (5, 4, 2)[build.variant]
    cabin = (0.095, 0.085, 0.075)[build.variant] * bulk
    hub = (0.1, 0.0, cabin + 0.1)
    parts = [
        _part(
            (0.36 * long, 0, -0.035, 0.035),
            (0.24, 0, -0.005, cabin * 0.9),
            (0.02, 0, 0, cabin),
            (-0.12, 0, 0.03, 0.045),
        ),
        _part((0.33 * long, 0, 0.0, 0.04), (0.25, 0, 0.03, 0.06), tone=2),
        _part((0.18, 0, cabin, 0.045 * bulk), (-0.02, 0, cabin, 0.05 * bulk), tone=3),
        _part((-0.04, 0, 0.035, 0.055), (-0.5 * long, 0, 0.07, 0.02), tone=1),
        _part(
            (-0.46 * long, 0, 0.06, 0.012),
            (-0.52 * long, 0, 0.06, 0.012),
            (-0.58 * long, 0, 0.21, 0.01),
            (-0.52 * long, 0, 0.21, 0.01),
            tone=2,
        ),
        _part(
            (-0.44 * long, 0.12 * broad, 0.06, 0.008),
            (-0.44 * long, -0.12 * broad, 0.06, 0.008),
            (-0.49 * long, 0.12 * broad, 0.06, 0.008),
            (-0.49 * long, -0.12 * broad, 0.06, 0.008),
            tone=1,
        ),
        _disc((-0.56 * long, 0.03, 0.18), 0.09, "y", 1, 0.3),
        _part((0.1, 0, cabin, 0.02), (0.1, 0, cabin + 0.1, 0.018), tone=1),
        _disc(hub, 0.52 * broad, "z", 1, 0.1),
    ]
    for blade in range(blades):
        angle = 2 * np.pi * (pose.phase + blade / blades)
        parts.append(_blade(hub, 0.52 * broad, angle, 1, 0.6))
    for side in (-1.0, 1.0):
        if build.variant == 0:
            parts.append(_part((0.0, side * 0.09, -cabin, 0.03), (-0.02, side * 0.09, -cabin, 0.03), tone=2))
        else:
            parts.append(
                _part(
                    (0.26, side * 0.09, -cabin - 0.05, 0.01),
                    (-0.08, side * 0.09, -cabin - 0.05, 0.01),
                    tone=2,
                )
            )
            parts.append(
                _part(
                    (0.12, side * 0.07, -cabin * 0.7, 0.01), (0.12, side * 0.09, -cabin - 0.05, 0.01), tone=2
                )
            )
    return parts


_SOLIDS = {"airplane": _airplane, "bird": _bird, "drone": _drone, "helicopter": _helicopter}


def solid_parts(build: Build, pose: Pose) -> list[Part]:
    """The parts of one individual at one moment, in body axes."""
    return _SOLIDS[build.kind](build, pose)
