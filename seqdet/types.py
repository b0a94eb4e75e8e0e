"""The values that travel between rooms. They check themselves once, on creation, then are trusted.

Conventions, everywhere in seqdet:
    pixels   boxes are ``xyxy`` in pixels, edges not centres: x1 <= x < x2, origin at the upper left corner of
             the displayed (rotation applied) frame; float32.
    frames   are counted from 0; ``time_s`` is the presentation time that the container gives, in seconds.
    images   are RGB uint8, height x width x 3 (HWC) from the reader on.
    classes  are indices from 0 into a tuple of names; -1 is "unknown".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture.

    Attributes:
        rgb: (H, W, 3) uint8.
        index: position in the source, from 0.
        time_s: presentation time in seconds; it never decreases within a source.
    """

    rgb: np.ndarray
    index: int
    time_s: float

    def __post_init__(self) -> None:
        _require(
            self.rgb.dtype == np.uint8 and self.rgb.ndim == 3 and self.rgb.shape[2] == 3,
            f"a frame is (height, width, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}",
        )
        _require(self.index >= 0, f"a frame index counts from 0, got {self.index}")
        _require(
            bool(np.isfinite(self.time_s)), f"a frame time is a finite number of seconds, got {self.time_s}"
        )

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source says of itself before it is decoded. Every number here is a hint, never a loop bound.

    Attributes:
        source: the path, pattern or URL as the user gave it.
        size_wh: displayed width and height in pixels (rotation applied).
        fps: nominal frames per second, or None when the source does not know.
        frames_promised: the number of frames that the container declares, or None.
        duration_s: declared duration in seconds, or None.
        rotation_degrees: clockwise rotation that the reader applies: 0, 90, 180 or 270.
        codec: short codec name such as "h264", or "" when unknown.
        pixel_aspect: how many times wider than high a pixel of the displayed frame is to be shown.
        is_live: True for cameras and streams, which have no end.
    """

    source: str
    size_wh: tuple[int, int]
    fps: float | None = None
    frames_promised: int | None = None
    duration_s: float | None = None
    rotation_degrees: int = 0
    codec: str = ""
    pixel_aspect: Fraction = Fraction(1)
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """The truth for one frame: N objects.

    Attributes:
        boxes_xyxy_px: (N, 4) float32.
        class_ids: (N,) int64, indices into the data set's classes.
        track_ids: (N,) int64, unique within the frame; one id is one object throughout its recording.
        masks: N texts of `seqdet.rle`, "" where the mask is not known; () where none is.
    """

    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    track_ids: np.ndarray
    masks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy_px)
        _require(
            self.boxes_xyxy_px.shape == (count, 4),
            f"boxes are (N, 4) xyxy, got {self.boxes_xyxy_px.shape}",
        )
        _require(
            self.class_ids.shape == (count,) and self.track_ids.shape == (count,),
            f"{count} boxes need as many class ids and track ids, "
            f"got {self.class_ids.shape} and {self.track_ids.shape}",
        )
        _require(len(self.masks) in (0, count), f"{count} boxes with {len(self.masks)} masks")

    @classmethod
    def empty(cls) -> Targets:
        """A frame without objects."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """B clips of T frames as the training sees them; object g is one track throughout its clip.

    Attributes:
        frames: (B, T, H, W, 3) uint8 RGB, in the network's input size.
        time_s: (B, T) float64 presentation times.
        boxes_xyxy_px: (B, T, G, 4) float32 in input pixels, zeros where absent.
        class_ids: (B, T, G) int64, -1 where absent or unknown.
        present: (B, T, G) bool.
        sequence_class_ids: (B,) int64, -1 when unknown.
        age: (B,) int64 frames that this clip's stream has shown before; 0 begins from nothing.
        boxes_known: (B,) bool; False: other objects may be there than those that are present.
        masks: (B, T, G, S, S) uint8 over a window around each box, row by row: 0 off, 1 on, 2 not known; S is
            0 where no masks are asked for.
    """

    frames: np.ndarray
    time_s: np.ndarray
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    present: np.ndarray
    sequence_class_ids: np.ndarray
    age: np.ndarray
    boxes_known: np.ndarray
    masks: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0, 0, 0), np.uint8))

    def __post_init__(self) -> None:
        batch_time = self.frames.shape[:2]
        _require(
            self.frames.ndim == 5 and self.frames.dtype == np.uint8,
            f"frames are (B, T, H, W, 3) uint8, got {self.frames.shape} {self.frames.dtype}",
        )
        _require(
            self.present.shape[:2] == batch_time
            and self.class_ids.shape == self.present.shape
            and self.boxes_xyxy_px.shape == (*self.present.shape, 4)
            and self.time_s.shape == batch_time,
            f"truth of another shape than {batch_time}",
        )


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one frame: N objects, best score first.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, in pixels of the displayed source frame.
        scores: (N,) float32 in 0..1: confidence that an object of this class is there.
        class_ids: (N,) int64: the class as this frame and the memory see it.
        track_ids: (N,) int64, from 1; -1 before association.
        track_class_ids: (N,) int64: class of the whole track so far; -1 before association.
        track_scores: (N,) float32 in 0..1: confidence of ``track_class_ids``.
        class_scores: (N, K) float32 in 0..1: independent confidence for every class.
        features: (N, S) float32: the memory's embedding at each box, for association; S may be 0.
        motion_px: (N, 2) float32: predicted displacement of the centre to the next frame, in pixels.
        masks: (N,) texts of `seqdet.rle` in the source frame, "" where the model makes none.
    """

    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    track_ids: np.ndarray
    track_class_ids: np.ndarray
    track_scores: np.ndarray
    class_scores: np.ndarray
    features: np.ndarray
    motion_px: np.ndarray
    masks: np.ndarray = field(default_factory=lambda: np.zeros(0, object))

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy_px)
        if count and not len(self.masks):
            object.__setattr__(self, "masks", np.full(count, "", object))
        for name in self.__slots__:  # several objects a frame: words are made only where they are needed
            if len(getattr(self, name)) != count:
                raise ValueError(f"{count} boxes with {len(getattr(self, name))} {name}")
        if self.boxes_xyxy_px.shape != (count, 4):
            raise ValueError(f"boxes are (N, 4), got {self.boxes_xyxy_px.shape}")

    @classmethod
    def empty(cls, classes: int = 0, feature_width: int = 0) -> Detections:
        """No object."""
        ints, floats = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(
            boxes_xyxy_px=np.zeros((0, 4), np.float32),
            scores=floats,
            class_ids=ints,
            track_ids=ints,
            track_class_ids=ints,
            track_scores=floats,
            class_scores=np.zeros((0, classes), np.float32),
            features=np.zeros((0, feature_width), np.float32),
            motion_px=np.zeros((0, 2), np.float32),
        )

    def where(self, keep: np.ndarray) -> Detections:
        """Those for which ``keep``, (N,) bool, is True."""
        return Detections(**{name: getattr(self, name)[keep] for name in self.__slots__})

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)


@dataclass(frozen=True, slots=True)
class FrameResult:
    """One frame and what was found in it, as ``model.detect`` yields it.

    Attributes:
        frame: the picture, its index and its time.
        detections: what was found.
        classes: names of the classes.
        sequence_label: class of the sequence so far, or "" when nothing is known yet.
        sequence_score: its confidence, 0..1.
    """

    frame: Frame
    detections: Detections
    classes: tuple[str, ...]
    sequence_label: str = ""
    sequence_score: float = 0.0

    @property
    def time_s(self) -> float:
        """Presentation time of the frame in seconds."""
        return self.frame.time_s

    @property
    def boxes_xyxy_px(self) -> np.ndarray:
        """(N, 4) float32 boxes in pixels of the displayed source frame."""
        return self.detections.boxes_xyxy_px

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32 confidences in 0..1."""
        return self.detections.scores

    @property
    def track_ids(self) -> np.ndarray:
        """(N,) int64 track ids, from 1."""
        return self.detections.track_ids

    @property
    def labels(self) -> list[str]:
        """N class names, as this frame and the memory see them."""
        return [label_of(self.classes, int(k)) for k in self.detections.class_ids]

    @property
    def track_labels(self) -> list[str]:
        """N class names, as the whole track so far says."""
        return [label_of(self.classes, int(k)) for k in self.detections.track_class_ids]


@dataclass(frozen=True, slots=True)
class Track:
    """One object over time.

    Attributes:
        track_id: from 1, unique within the source.
        label: class name of the whole track.
        score: confidence of the label, 0..1.
        first_frame: index of the first frame in which it was found.
        last_frame: index of the last frame in which it was found.
        detections: in how many frames it was found.
    """

    track_id: int
    label: str
    score: float
    first_frame: int
    last_frame: int
    detections: int


@dataclass(frozen=True, slots=True)
class SequenceResult:
    """What one whole source held.

    Attributes:
        source: the source as the user named it.
        frames: how many frames were decoded.
        duration_s: from the first to the end of the last frame, in seconds.
        label: class of the sequence, or "" when nothing was found.
        score: its confidence, 0..1.
        tracks: all tracks, by id.
    """

    source: str
    frames: int
    duration_s: float
    label: str
    score: float
    tracks: tuple[Track, ...] = field(default_factory=tuple)


def label_of(classes: tuple[str, ...], class_id: int) -> str:
    """Name of a class; "" for -1, the unknown class."""
    return classes[class_id] if class_id >= 0 else ""
