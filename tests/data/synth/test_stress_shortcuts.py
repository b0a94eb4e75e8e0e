"""Where an axis says so a frame tells nothing: a frame classifier is at chance, the true series is not.

The classifier sees what a frame holds: a crop at the true box, and the place, size and brightness of the box.
Its control, the clean axis, shows that it would find a shortcut if there were one.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import nn

from seqdet.data.synth.stress.axes import AXES
from seqdet.data.synth.stress.clip import Request, StressClip
from seqdet.data.synth.stress.paths import MOTIONS, displacement, place_in
from seqdet.data.synth.stress.timing import TIMING_CLASSES, lamp_states

SIZE_WH = (96, 96)
CROP = 32
FRAMES = 6
TRAIN, TEST = 360, 240


def sample(clip: StressClip, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """(CROP, CROP) crop and (6,) numbers of one object in one frame; None where the frame shows none."""
    index = int(rng.integers(len(clip.frames)))
    truth = clip.targets[index]
    if len(truth) == 0:
        return None
    left, top, right, bottom = truth.boxes_xyxy_px[rng.integers(len(truth))]
    picture = np.pad(clip.frames[index].astype(np.float32) - 128, CROP // 2, mode="reflect")
    x, y = int((left + right) / 2), int((top + bottom) / 2)
    crop = picture[y : y + CROP, x : x + CROP]
    core = crop[12:20, 12:20]
    numbers = [left + right, top + bottom, right - left, bottom - top, 4 * core.mean(), 4 * core.std()]
    return crop / 50, np.array(numbers, np.float32) / 96 - 1


def frame_samples(axis: str, clips: int, first_seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops, numbers and classes; one of each clip, classes in turn."""
    chosen, found = AXES[axis], []
    for seed in range(first_seed, first_seed + clips):
        rng = np.random.default_rng(seed)
        class_id = seed % len(chosen.classes)
        one = sample(chosen.render(rng, Request(SIZE_WH, FRAMES, class_id, "30")), rng)
        if one is not None:
            found.append((*one, class_id))
    crops, numbers, classes = zip(*found, strict=True)
    return (
        torch.from_numpy(np.stack(crops))[:, None],
        torch.from_numpy(np.stack(numbers)),
        torch.tensor(classes),
    )


class FrameClassifier(nn.Module):
    """A small CNN on the crop; its features and the numbers go through a small MLP."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.crop = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
        )
        self.join = nn.Sequential(nn.Linear(32 * 9 + 6, 64), nn.ReLU(), nn.Linear(64, classes))

    def forward(self, crops: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """(M, 1, CROP, CROP) and (M, 6) -> (M, K) logits."""
        return self.join(torch.cat([self.crop(crops), numbers], dim=1))


def accuracy_of_frames(axis: str) -> float:
    """Accuracy on clips that the classifier has not seen."""
    crops, numbers, classes = frame_samples(axis, TRAIN, 0)
    network = FrameClassifier(len(AXES[axis].classes))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    for _ in range(15):
        for part in torch.randperm(len(crops)).split(32):
            loss = nn.functional.cross_entropy(network(crops[part], numbers[part]), classes[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    crops, numbers, classes = frame_samples(axis, TEST, 10_000)
    with torch.no_grad():
        return float((network(crops, numbers).argmax(dim=1) == classes).float().mean())


@pytest.mark.parametrize("axis", ["motion", "camera", "timing"])
def test_a_frame_does_not_tell_a_class_of_motion_or_time(axis: str) -> None:
    chance = 1 / len(AXES[axis].classes)
    four_deviations = 4 * np.sqrt(chance * (1 - chance) / TEST)
    assert accuracy_of_frames(axis) < chance + four_deviations


def test_a_frame_tells_a_class_of_shape() -> None:
    assert accuracy_of_frames("clean") > 0.8


def test_places_are_the_same_for_all_motions_at_all_times() -> None:
    time_s = np.array([0.0, 0.4, 1.5, 60.0])
    places = {}
    for number, motion in enumerate(MOTIONS):
        rng = np.random.default_rng(number)
        paths = [place_in(rng, displacement(rng, motion, time_s), SIZE_WH, 8) for _ in range(1500)]
        places[motion] = np.stack(paths)
    uniform = np.random.default_rng(99).uniform(8, 88, 6000)
    for paths in places.values():
        for index in range(len(time_s)):
            for axis in range(2):
                assert ks_2samp(paths[:, index, axis], uniform).pvalue > 1e-4


def motion_of(centres_xy: np.ndarray) -> str:
    """What a path is, by rules; (T, 2) centres at 30 frames a second. Medians ignore the walls."""
    steps = np.abs(np.diff(centres_xy, axis=0))
    speed = np.hypot(*steps.T)
    changes = np.median(np.abs(np.diff(steps, axis=0)), axis=0).max()
    if np.median(speed) < 0.05:
        return "still"
    if np.median(steps, axis=0).min() < 0.01:  # along a row or a column
        if changes > 0.01:
            return "accelerating"
        return "across" if np.median(steps[:, 0]) > np.median(steps[:, 1]) else "up"
    return "circle" if changes > 0.02 else "zigzag"


def test_the_true_path_tells_the_motion() -> None:
    right = []
    for seed in range(120):
        class_id = seed % len(MOTIONS)
        clip = AXES["motion"].render(np.random.default_rng(seed), Request(SIZE_WH, 48, class_id))
        boxes = np.stack([truth.boxes_xyxy_px[0] for truth in clip.targets])
        right.append(motion_of((boxes[:, :2] + boxes[:, 2:]) / 2) == MOTIONS[class_id])
    assert np.mean(right) > 0.95


def timing_of(lamp: np.ndarray) -> str:
    """What a lamp does, by rules; (T,) of its brightness against the disc's, seen from the ground's."""
    states = np.where(lamp > 0.45, 1, np.where(lamp < -0.45, -1, 0))
    change = np.flatnonzero(np.diff(states))
    pace = "fast" if np.median(np.diff(change)) < 3.5 else "slow"
    after_a = [states[index + 1] for index in change if states[index] == 1]
    return ("ab-" if np.mean(np.array(after_a) == -1) > 0.5 else "ba-") + pace


def test_the_brightness_over_time_tells_the_timing() -> None:
    right = []
    for seed in range(100):
        class_id = seed % len(TIMING_CLASSES)
        clip = AXES["timing"].render(np.random.default_rng(seed), Request(SIZE_WH, 32, class_id))
        if clip.hidden.shape[1] > 1:
            continue  # objects that cross shine through each other
        series = []
        for picture, truth in zip(clip.frames.astype(float), clip.targets, strict=True):
            left, top, right_edge, _ = truth.boxes_xyxy_px[0]
            radius = (right_edge - left) / 2
            rows, columns = np.ogrid[:96, :96]
            away = np.hypot(columns + 0.5 - left - radius, rows + 0.5 - top - radius) / radius
            core, rim = picture[away < 0.35].mean(), picture[(away > 0.62) & (away < 0.8)].mean()
            series.append((core - rim) / (rim - np.median(picture)))
        right.append(timing_of(np.array(series)) == TIMING_CLASSES[class_id])
    assert len(right) > 20
    assert np.mean(right) > 0.95


@pytest.mark.parametrize("name", TIMING_CLASSES)
def test_every_state_takes_a_third_of_the_time(name: str) -> None:
    rng = np.random.default_rng(0)
    first = np.array([lamp_states(rng, name, 1)[0] for _ in range(3000)])
    for state in (-1, 0, 1):
        assert (first == state).mean() == pytest.approx(1 / 3, abs=0.04)


def boundary_contrast(picture: np.ndarray, box: np.ndarray) -> float:
    """Mean step across the upper edge of a box in the middle of its side, one dot in and out."""
    left, top, right, _ = box
    middle = slice((left + right) // 2 - 2, (left + right) // 2 + 2)
    return float(np.abs(picture[top + 1, middle] - picture[top - 1, middle]).mean())


def test_camouflage_has_the_same_dots_inside_and_outside_of_the_box() -> None:
    """Mean, spread and steps across the edge, against a box of the same size elsewhere."""
    real, elsewhere = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        clip = AXES["camouflage"].render(rng, Request(SIZE_WH, FRAMES, 0))
        index = int(rng.integers(FRAMES))
        picture = clip.frames[index].astype(float)
        box = clip.targets[index].boxes_xyxy_px[0].astype(int)
        side = box[2] - box[0]
        if box[1] == 0:
            continue
        corner = 2 * rng.integers(1, (96 - side) // 2, 2)
        for place, rows in ((box, real), (np.concatenate([corner, corner + side]), elsewhere)):
            patch = picture[place[1] : place[3], place[0] : place[2]]
            rows.append([patch.mean(), patch.std(), boundary_contrast(picture, place)])
    for one, other in zip(np.array(real).T, np.array(elsewhere).T, strict=True):
        assert ks_2samp(one, other).pvalue > 1e-3


def test_the_ball_looks_like_the_specks_around_it() -> None:
    """A blob's brightness and size do not single out the ball; only its box says which blob it is."""
    sizes, lights, places = [], [], []
    for seed in range(200):
        clip = AXES["fast"].render(np.random.default_rng(seed), Request(SIZE_WH, 2, 0))
        box = clip.targets[0].boxes_xyxy_px[0]
        sizes.append(box[2] - box[0])
        x, y = ((box[:2] + box[2:]) / 2).astype(int)
        lights.append(abs(float(clip.frames[0, y, x]) - np.median(clip.frames[0])))
        places.append((box[:2] + box[2:]) / 2)
    rng = np.random.default_rng(1)
    assert ks_2samp(sizes, 2 * rng.uniform(1.5, 3, 4000)).pvalue > 1e-3
    brightest = [
        AXES["fast"].render(np.random.default_rng(seed), Request(SIZE_WH, 1, 0)).frames[0]
        for seed in range(200)
    ]
    ranks = [
        light >= np.abs(picture - np.median(picture)).max() - 15
        for light, picture in zip(lights, brightest, strict=True)
    ]
    assert np.mean(ranks) < 0.4
    for axis in range(2):
        assert ks_2samp(np.array(places)[:, axis], rng.uniform(2, 94, 4000)).pvalue > 1e-3
