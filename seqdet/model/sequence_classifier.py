"""The source article's own network: one class for a sequence of frames, no boxes.

    frames -> encoder -> mean over the map -> LSTM(128) -> dropout -> 1024 -> dropout -> 512 -> dropout -> K

The LSTM is the detector's vector cell (``lstm.py`` opens with the article's five equations). The literal
variant has no encoder: the rows of each frame, first to last, are the steps of the LSTM.

Legend: B sequences, T frames, C channels, H W input pixels, S state width, K classes.
State is an argument and a result; a clip at once equals frame by frame.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from seqdet.config import ClassifierModelConfig
from seqdet.model.encoder import PIXEL_MEAN, PIXEL_STD, Encoder, build_encoder
from seqdet.model.lstm import CellState, PeepholeLSTM


class SequenceClassifier(nn.Module):
    """(B, T, 3, H, W) uint8 RGB and the state before -> logits (B, T, K) at every frame, and the state after.

    It gets its parts; only ``build_classifier`` reads the configuration. Softmax is for whoever reads the
    logits: the loss takes them as they are.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, encoder: Encoder | None, lstm: PeepholeLSTM, dense: nn.Sequential) -> None:
        super().__init__()
        self.encoder = encoder
        self.lstm = lstm
        self.dense = dense
        # Rows of pixels are scaled to 0..1; an encoder gets what torchvision's weights expect.
        mean, std = (PIXEL_MEAN, PIXEL_STD) if encoder is not None else ((0.0,) * 3, (255.0,) * 3)
        self.register_buffer("pixel_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def initial_state(self, batch: int) -> CellState:
        """Nothing seen yet, for ``batch`` sequences."""
        return self.lstm.initial_state(batch)

    def forward(self, frames: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """All frames: (B, T, 3, H, W) uint8, state (B, S) -> logits (B, T, K), state (B, S)."""
        batch, length = frames.shape[:2]
        pictures = (frames.flatten(0, 1).to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        if self.encoder is None:
            rows = pictures.permute(0, 2, 3, 1).flatten(2)  # (B*T, H, W*3)
            hidden, state = self.lstm(rows.reshape(batch, -1, rows.shape[-1]), state)
            hidden = hidden[:, rows.shape[1] - 1 :: rows.shape[1]]  # behind the last row of each frame
        else:
            coarsest = self.encoder(pictures.contiguous(memory_format=torch.channels_last))[-1]
            hidden, state = self.lstm(coarsest.mean(dim=(2, 3)).view(batch, length, -1), state)
        return self.dense(hidden), state

    def learn(self, *, freeze_encoder: bool) -> None:
        """Training mode; a frozen encoder neither learns nor moves its statistics."""
        self.train()
        if self.encoder is not None and freeze_encoder:
            self.encoder.requires_grad_(False).eval()


def build_classifier(config: ClassifierModelConfig, classes: int) -> SequenceClassifier:
    """Build a sequence classifier.

    Args:
        config: its shape.
        classes: K.

    Raises:
        UsageError: torchvision has no weights for this encoder.
        InputError: the file of ``encoder_weights`` does not fit.
    """
    encoder = None
    if config.encoder != "pixel_rows":
        encoder = build_encoder(config.encoder, config.encoder_weights)
    width = 3 * config.input_size_wh[0] if encoder is None else encoder.channels[-1]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((config.lstm_width, *config.dense_widths)):
        layers += [nn.Dropout(config.dropout), nn.Linear(inputs, outputs), nn.ReLU()]
    last = (config.lstm_width, *config.dense_widths)[-1]
    layers += [nn.Dropout(config.dropout), nn.Linear(last, classes)]
    lstm = PeepholeLSTM(width, config.lstm_width, config.peepholes, config.activation)
    return SequenceClassifier(encoder, lstm, nn.Sequential(*layers))
