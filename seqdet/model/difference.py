"""What changed: each frame against running averages of the frames before, as more input of the encoder.

Legend: B sequences, T frames, N pictures (B*T), R averages, H W input pixels.

    m_t = mean of the colours of frame t
    d_t = tanh(GAIN * (m_t - a_{t-1}))
    a_t = a_{t-1} + max(rate, 1 / t) * (m_t - a_{t-1})

One channel a rate: 1 is the difference to the frame before, a small rate the difference to a background that
forms over 1 / rate frames (running-average background subtraction, Wren et al., Pfinder, 1997). A small
object among still clutter is hard to tell in one frame and easy here; stacked frames are what finds a fast
ball (TrackNet, Huang et al., 2019). At the first frame, which nothing precedes, all differences are 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

# Normalised pixels to a working range: 14 grey levels of 255 give tanh(1).
GAIN = 4.0


class FrameAverages(NamedTuple):
    """Running averages of the frames so far.

    Attributes:
        means: (B, R, H, W) one for each rate.
        seen: (B,) how many frames, float; it stops counting where all rates have settled.
    """

    means: Tensor
    seen: Tensor


class FrameDifference(nn.Module):
    """Pictures and the averages before them -> differences (N, R, H, W) and the averages after."""

    rates: Tensor

    def __init__(self, rates: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("rates", torch.tensor(rates), persistent=False)

    def initial_state(self, batch: int, size_wh: tuple[int, int]) -> FrameAverages:
        """No frame seen, for ``batch`` sequences."""
        zeros = self.rates.new_zeros(batch, len(self.rates), size_wh[1], size_wh[0])
        return FrameAverages(zeros, self.rates.new_zeros(batch))

    def forward(self, pictures: Tensor, state: FrameAverages) -> tuple[Tensor, FrameAverages]:
        """Normalised pictures (B, T, 3, H, W) -> (N, R, H, W), last state."""
        means, seen = state
        settled = 1 / self.rates.min()
        grey = pictures.mean(dim=2, keepdim=True)
        differences = []
        for t in range(pictures.shape[1]):
            change = (grey[:, t] - means) * (seen > 0).view(-1, 1, 1, 1)
            differences.append(torch.tanh(GAIN * change))
            rate = torch.maximum(self.rates[None], 1 / (seen[:, None] + 1))
            means = means + rate[:, :, None, None] * (grey[:, t] - means)
            seen = (seen + 1).minimum(settled)
        return torch.stack(differences, dim=1).flatten(0, 1), FrameAverages(means, seen)
