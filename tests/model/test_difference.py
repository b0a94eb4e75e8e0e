"""What the differences to running averages must be, against the definition and against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from seqdet.model.difference import GAIN, FrameDifference


def pictures(batch: int, frames: int) -> torch.Tensor:
    return torch.randn(batch, frames, 3, 8, 6)


def test_the_first_frame_differs_from_nothing_and_stillness_stays_zero():
    difference = FrameDifference((1.0, 0.1))
    still = pictures(2, 1).expand(2, 7, 3, 8, 6)
    changes, _ = difference(still, difference.initial_state(2, (6, 8)))
    torch.testing.assert_close(changes, torch.zeros_like(changes), atol=1e-5, rtol=0)


def test_rate_one_is_the_difference_to_the_frame_before():
    difference, clip = FrameDifference((1.0,)), pictures(1, 6)
    changes, _ = difference(clip, difference.initial_state(1, (6, 8)))
    grey = clip.mean(dim=2)[0]
    torch.testing.assert_close(changes[1:, 0], torch.tanh(GAIN * (grey[1:] - grey[:-1])), atol=1e-6, rtol=0)


def test_a_settled_average_is_opencvs_running_average():
    difference, clip = FrameDifference((0.25,)), pictures(1, 30)
    state = difference.initial_state(1, (6, 8))
    grey = clip.mean(dim=2)[0].numpy()
    _, state = difference(clip[:, :4], state)
    mean = grey[:4].mean(axis=0)  # until 1 / rate frames are seen, all count alike
    np.testing.assert_allclose(state.means[0, 0].numpy(), mean, atol=1e-5)
    for t in range(4, 30):
        cv2.accumulateWeighted(grey[t], mean, 0.25)
    _, state = difference(clip[:, 4:], state)
    np.testing.assert_allclose(state.means[0, 0].numpy(), mean, atol=1e-5)


def test_a_mover_stands_out_of_still_clutter():
    clutter = torch.randn(1, 1, 3, 8, 6).repeat(1, 12, 1, 1, 1)
    clip = clutter.clone()
    for t in range(12):
        clip[:, t, :, t % 8, 3] += 1.0
    difference = FrameDifference((1.0, 0.1))
    changes, _ = difference(clip, difference.initial_state(1, (6, 8)))
    last = changes[-1].abs()
    assert (last[:, 11 % 8, 3] > 0.9).all()
    still_columns = torch.cat([last[:, :, :3], last[:, :, 4:]], dim=2)
    assert still_columns.max() < 1e-4
