"""A second look: each object cut out of the source's own picture, and named at that resolution.

The detector sees a frame shrunk to its input, and few recordings, whose scenes it learns by heart. A crop
holds little of the scene and all the pixels that the camera gave of the object: a glimpse in the sense of
recurrent attention (Mnih et al., NIPS 2014), placed by the tracks. What glimpses say is summed along a track.

Legend: M crops, S their side in pixels, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqdet.config import GlimpseConfig
from seqdet.model.encoder import PIXEL_MEAN, PIXEL_STD, STRIDES, build_encoder


class Glimpse(nn.Module):
    """A torchvision CNN, cut off at a stride, and one linear layer: K classes and, last, "nothing".

    ``crop_px`` and ``context`` say what it is to be shown, see ``GlimpseConfig``.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, encoder: nn.Sequential, width: int, classes: int, config: GlimpseConfig) -> None:
        super().__init__()
        self.crop_px, self.context = config.crop_px, config.context
        self.encoder = encoder
        self.dropout = nn.Dropout(config.dropout)
        self.classes = nn.Linear(width, classes + 1)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """(M, 3, S, S) RGB, 0..255 of any number type -> logits (M, K + 1)."""
        pictures = (crops.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        maps = self.encoder(pictures.contiguous(memory_format=torch.channels_last))
        return self.classes(self.dropout(maps.mean(dim=(2, 3))))


def build_glimpse(config: GlimpseConfig, classes: int, weights: str | None = None) -> Glimpse:
    """Build what ``config`` describes, for ``classes`` classes.

    Args:
        config: its shape.
        classes: K.
        weights: what the encoder starts from, see ``build_encoder``; None for random weights.

    Raises:
        UsageError, InputError: the encoder's weights, see ``build_encoder``.
    """
    encoder = build_encoder(config.encoder, weights)
    place = STRIDES.index(config.stride)
    blocks = nn.Sequential(*list(encoder.blocks)[: encoder.taps[place] + 1])
    return Glimpse(blocks, encoder.channels[place], classes, config)
