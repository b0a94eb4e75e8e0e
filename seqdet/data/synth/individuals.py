"""Individuals: which design, which proportions, which paint or heat. One draw of chance for each object."""

from __future__ import annotations

import numpy as np

from seqdet.data.synth.solids import Build

# Four tones a paint: body, second body tone, limbs (wings, arms, fins), machinery.
_PAINTS = {
    "airplane": (
        ((225, 226, 228), (196, 200, 206), (70, 90, 140), (120, 122, 128)),
        ((88, 86, 92), (70, 70, 78), (60, 60, 70), (48, 48, 54)),
        ((232, 232, 230), (222, 222, 222), (180, 60, 50), (90, 90, 96)),
    ),
    "bird": (
        ((34, 32, 34), (28, 26, 30), (36, 34, 36), (30, 30, 30)),
        ((210, 210, 208), (216, 214, 208), (150, 152, 158), (90, 90, 90)),
        ((84, 74, 66), (90, 80, 70), (72, 62, 56), (60, 52, 48)),
    ),
    "drone": (
        ((52, 52, 56), (220, 220, 220), (38, 38, 42), (34, 34, 38)),
        ((222, 222, 222), (232, 232, 232), (196, 196, 198), (70, 70, 74)),
        ((60, 44, 44), (190, 184, 180), (50, 40, 42), (110, 40, 40)),
    ),
    "helicopter": (
        ((214, 206, 206), (150, 42, 50), (120, 34, 42), (60, 56, 60)),
        ((52, 54, 58), (44, 46, 50), (46, 46, 52), (36, 36, 40)),
        ((60, 72, 60), (52, 60, 52), (44, 50, 46), (38, 40, 38)),
    ),
}
# How warm the four tones are, as shares of the object's contrast.
_HEAT = {
    "airplane": (1.1, 0.75, 0.75, 1.5),
    "bird": (1.1, 1.1, 0.7, 0.8),
    "drone": (1.3, 1.4, 1.0, 1.5),
    "helicopter": (1.1, 0.85, 0.9, 1.5),
}


def draw_individual(
    rng: np.random.Generator,
    sensor: str,
    kind: str,
    contrast: float,
    sky_level: np.ndarray,
    noise_level: float,
    gain: float,
) -> tuple[Build, float, float]:
    """One individual of a kind.

    Args:
        rng: source of chance.
        sensor: ``"thermal"`` or ``"visible"``.
        kind: class name.
        contrast: how far it stands out from the sky, about 0..1.
        sky_level: (C,) mean colour of the sky, 0..255.
        noise_level: standard deviation of the sensor's noise, in grey levels.
        gain: how much stronger than usual the sensor shows differences.

    Returns:
        the build; how many grey levels its paint of 1 stands for; the level of paint 0. For visible objects,
        whose paint is in RGB 0..255, these are 1 and 0.
    """
    variant = int(rng.integers({"airplane": 3, "bird": 3, "drone": 4, "helicopter": 3}[kind]))
    long, broad, bulk = rng.uniform((0.9, 0.9, 0.85), (1.1, 1.1, 1.2))
    proportions = (float(long), float(broad), float(bulk))
    if sensor == "thermal":
        # Below its noise an object is not to be seen by anybody: the truth would be a lie.
        strength = max(330 * contrast * gain**0.3, 4 * noise_level)
        heat = np.array(_HEAT[kind]) * rng.uniform(0.75, 1.2, 4)
        paint = (heat / 2).astype(np.float32)[:, None]
        return Build(kind, variant, proportions, paint), 2 * strength, float(sky_level[0])
    odds = (0.65, 0.2, 0.15) if kind in ("bird", "drone") else (0.45, 0.3, 0.25)
    rgb = np.array(_PAINTS[kind][rng.choice(3, p=odds)]) * rng.uniform(0.85, 1.1) + rng.normal(0, 6, 3)
    # Air between the object and the camera takes on the colour of the sky.
    haze = (1 - min(1.0, contrast**0.6)) * 0.6
    rgb = rgb + (sky_level - rgb) * haze
    return Build(kind, variant, proportions, rgb.astype(np.float32).clip(0, 255)), 1.0, 0.0
