"""The detector: encoder, neck, map memory, heads, clip memory and track memory, composed.

Legend: B sequences, T frames, N pictures (B*T), C channels, H W input pixels, L levels, K classes, P cells of
all levels, R track rows, S state width.

State is an argument and a result; a clip at once equals frame by frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqdet.config import ModelConfig
from seqdet.model.difference import FrameAverages, FrameDifference
from seqdet.model.encoder import PIXEL_MEAN, PIXEL_STD, Encoder, Neck, build_encoder
from seqdet.model.glimpse import Glimpse, build_glimpse
from seqdet.model.heads import HeadOutput, Heads
from seqdet.model.lstm import CellState
from seqdet.model.masks import MaskHead
from seqdet.model.memory import ClipMemory, DetectorState, MapMemory, TrackMemory, box_features
from seqdet.model.norms import use_group_norm


class DetectorOutput(NamedTuple):
    """What a detector says of B sequences of T frames.

    Attributes:
        heads: raw predictions of N = B*T pictures, sequence by sequence.
        clip_logits: (B, T, K) class of the sequence so far, at every frame.
        maps: L refined maps (N, C, H / stride, W / stride), for box features.
    """

    heads: HeadOutput
    clip_logits: Tensor
    maps: list[Tensor]


class Detector(nn.Module):
    """The network of docs/model.md: it gets its parts; only ``build_detector`` reads the configuration."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        neck: Neck,
        memory: MapMemory | None,
        heads: Heads,
        clip: ClipMemory,
        tracks: TrackMemory,
        max_tracks: int,
        difference: FrameDifference | None = None,
        glimpse: Glimpse | None = None,
        masks: MaskHead | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.neck = neck
        self.memory = memory
        self.heads = heads
        self.clip = clip
        self.tracks = tracks
        self.max_tracks = max_tracks
        self.difference = difference
        self.glimpse = glimpse
        self.masks = masks
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    @property
    def levels(self) -> tuple[int, ...]:
        """Strides of the maps, finest first."""
        return self.heads.levels

    def initial_state(self, batch: int, size_wh: tuple[int, int]) -> DetectorState:
        """Nothing remembered yet, for ``batch`` sequences of frames of ``size_wh`` input pixels."""
        rows = self.tracks.lstm.initial_state(batch * self.max_tracks)
        return DetectorState(
            maps=self.memory.initial_state(batch, size_wh) if self.memory is not None else (),
            clip=self.clip.lstm.initial_state(batch),
            tracks=CellState(*(part.unflatten(0, (batch, self.max_tracks)) for part in rows)),
            frames=self.difference.initial_state(batch, size_wh) if self.difference is not None else None,
        )

    def forward(
        self, frames: Tensor, state: DetectorState | None = None
    ) -> tuple[DetectorOutput, DetectorState]:
        """Detect in T consecutive frames of B sequences.

        Args:
            frames: (B, T, 3, H, W) uint8 RGB; H and W multiples of 32.
            state: what is remembered of the frames before; None for nothing.

        Returns:
            The output, and the state after the last frame (its track rows are passed on untouched:
            ``track_step`` advances them once boxes are associated).
        """
        maps, averages = self.embed(frames, state.frames if state is not None else None)
        return self.remember(maps, averages, frames.shape[0], state)

    def embed(
        self, frames: Tensor, averages: FrameAverages | None
    ) -> tuple[list[Tensor], FrameAverages | None]:
        """The first half of ``forward``: frames into maps, which needs little of the past.

        A stream may be embedded ahead of ``remember``, in another thread.

        Args:
            frames: (B, T, 3, H, W) uint8 RGB.
            averages: of the frames before; None for nothing.

        Returns:
            L maps (N, C, H / stride, W / stride), and the averages after the last frame.
        """
        pictures, averages = self.pictures(frames, averages)
        return self.neck(self.encoder(pictures)), averages

    def pictures(self, frames: Tensor, averages: FrameAverages | None) -> tuple[Tensor, FrameAverages | None]:
        """What the encoder sees: (N, 3 + R, H, W), normalised colours and R differences; as ``embed``."""
        batch, time, _, height, width = frames.shape
        pictures = (frames.flatten(0, 1).to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        if self.difference is not None:
            before = averages or self.difference.initial_state(batch, (width, height))
            changes, averages = self.difference(pictures.unflatten(0, (batch, time)), before)
            pictures = torch.cat([pictures, changes], dim=1)
        return pictures.contiguous(memory_format=torch.channels_last), averages

    def remember(
        self, maps: list[Tensor], averages: FrameAverages | None, batch: int, state: DetectorState | None
    ) -> tuple[DetectorOutput, DetectorState]:
        """The second half of ``forward``: memory, heads and the class of the sequence.

        Args:
            maps: of ``embed``.
            averages: of ``embed``; they become part of the state.
            batch: B.
            state: what is remembered of the frames before; None for nothing.
        """
        if state is None:
            finest, stride = maps[0], self.levels[0]
            state = self.initial_state(batch, (finest.shape[-1] * stride, finest.shape[-2] * stride))
        map_state = state.maps
        if self.memory is not None:
            maps, map_state = self.memory(maps, state.maps, batch)
        heads = self.heads(maps)
        with torch.autocast(maps[0].device.type, enabled=False):
            pooled = self.clip.pool(maps, heads).unflatten(0, (batch, -1))
            clip_logits, clip_state = self.clip(pooled, state.clip)
        return (
            DetectorOutput(heads, clip_logits, maps),
            DetectorState(map_state, clip_state, state.tracks, averages),
        )

    def track_step(
        self, features: Tensor, boxes_xyxy: Tensor, velocity: Tensor, present: Tensor, state: CellState
    ) -> tuple[Tensor, CellState]:
        """Show each track its object of this frame.

        Args:
            features: (M, L * C) of ``box_features``.
            boxes_xyxy: (M, 4) in input pixels.
            velocity: (M, 2) movement of the centre in box sizes a second.
            present: (M,) bool, whether the track was seen in this frame.
            state: CellState (M, S).

        Returns:
            Class logits (M, K) and the new state.
        """
        embedding = self.tracks.embedding(features, boxes_xyxy, velocity)
        logits, state = self.tracks(embedding, state, present)
        return logits, state

    def masks_at(self, maps: list[Tensor], boxes_xyxy: Tensor) -> Tensor:
        """Logits (M, S, S) of the masks of boxes over their windows (``masks.py``); the model has masks.

        Args:
            maps: L refined maps of one picture.
            boxes_xyxy: (M, 4) in input pixels.
        """
        assert self.masks is not None
        picture = torch.zeros(len(boxes_xyxy), dtype=torch.int64, device=boxes_xyxy.device)
        features = box_features(maps, self.levels, boxes_xyxy[None])[0]
        logits: Tensor = self.masks(maps[0], picture, boxes_xyxy, features)
        return logits


def build_detector(config: ModelConfig, classes: int) -> Detector:
    """Build the detector that ``config`` describes, for ``classes`` classes, with fresh weights."""
    rates = config.difference_rates if config.memory else ()
    encoder = build_encoder(config.encoder, config.encoder_weights, len(rates))
    feature_width = config.channels * len(config.levels)
    detector = Detector(
        encoder=encoder,
        neck=Neck(encoder.channels, config.levels, config.channels),
        memory=MapMemory(config.channels, config.levels, config.peepholes, config.memory_cell)
        if config.memory
        else None,
        heads=Heads(config.channels, classes, config.levels, merged=config.objectness == "merged"),
        clip=ClipMemory(config.channels, classes, config.clip_width, config.peepholes),
        tracks=TrackMemory(feature_width, classes, config.track_width, config.peepholes),
        max_tracks=config.max_tracks,
        difference=FrameDifference(rates) if rates else None,
        glimpse=build_glimpse(config.glimpse, classes) if config.glimpse is not None else None,
        masks=MaskHead(config.channels, feature_width, config.mask_prototypes, config.levels[0])
        if config.mask_prototypes
        else None,
    )
    if config.norm == "group":
        use_group_norm(detector)
    return detector
