"""A model at work on a stream: frames in, results and the next state out. All that it remembers is a value.

preprocess -> detector -> postprocess -> association -> track memory -> labels

    model = seqdet.load("airspace")
    state = model.initial_state()
    detections, state = model.step(frame_rgb, state)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqdet.boxes import Letterbox
from seqdet.data.transforms.geometry import preprocess
from seqdet.errors import UsageError
from seqdet.model.checkpoint import ModelCard, load_model
from seqdet.model.detector import Detector, DetectorOutput
from seqdet.model.difference import FrameAverages
from seqdet.model.fold import fold_batchnorm
from seqdet.model.lstm import CellState
from seqdet.model.memory import box_features
from seqdet.results.postprocess import RawPicture, postprocess, to_source
from seqdet.results.track_sizes import with_steady_sizes
from seqdet.results.tracks import (
    TrackState,
    associate,
    initial_track_state,
    label_detections,
    with_class_evidence,
)
from seqdet.runs.device import choose_device
from seqdet.runs.exported import WEIGHTS, is_exported, read_exported
from seqdet.runs.frames_between import results_between
from seqdet.runs.glimpses import looked_closer
from seqdet.runs.network import Network
from seqdet.runs.object_masks import with_masks
from seqdet.runs.runtimes import choose_runtime, network_of_export, network_of_weights
from seqdet.runs.shipped import find_model
from seqdet.runs.stream_values import StreamOptions, StreamState
from seqdet.runs.track_words import sequence_class, velocity, with_track_memory
from seqdet.types import Detections, Frame, FrameResult, label_of
from seqdet.video.prefetch import prefetch
from seqdet.video.reader import open_video

NOMINAL_FPS = 30.0
# Frames that go through the network together where the source does not wait for the answer; the result is the
# same, the arithmetic denser.
FRAMES_AT_ONCE = 4


class _Embedded(NamedTuple):
    """T frames of a stream after the first half of the network."""

    frames: Sequence[Frame]
    geometries: list[Letterbox]
    maps: list[Tensor]
    averages: FrameAverages | None


class Model:
    """A trained detector, ready for streams. Holds weights and options, no state of any stream.

    ``network`` computes frames; the detector does unless another runtime is given. What concerns single
    tracks is always the detector's.
    """

    def __init__(
        self,
        detector: Detector,
        card: ModelCard,
        device: torch.device,
        options: StreamOptions = StreamOptions(),
        network: Network | None = None,
    ) -> None:
        self.detector = detector.to(device).eval()
        self.card = card
        self.device = device
        self.options = options
        self.network: Network = self.detector if network is None else network

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.card.classes

    def with_options(self, options: StreamOptions) -> Model:
        """The same weights with other options."""
        return Model(self.detector, self.card, self.device, options, self.network)

    def initial_state(self) -> StreamState:
        """Nothing seen yet."""
        classes = len(self.classes)
        return StreamState(None, initial_track_state(classes), 0, np.zeros(classes))

    def step(
        self, frame_rgb: np.ndarray, state: StreamState, time_s: float | None = None
    ) -> tuple[Detections, StreamState]:
        """Detect in the next frame of a stream.

        Args:
            frame_rgb: (H, W, 3) uint8, of the same size throughout a stream.
            state: what the step before returned, or ``initial_state()``.
            time_s: presentation time in seconds; frames at 30 a second are assumed without it.

        Returns:
            What was found, in pixels of the frame, and the next state. ``state`` itself is not changed: from
            one state several futures can be tried.
        """
        seconds = state.frames / NOMINAL_FPS if time_s is None else time_s
        results, state = self.advance([Frame(frame_rgb, state.frames, seconds)], state)
        return results[0].detections, state

    def detect(self, source: str | Path | Iterable[Frame]) -> Iterator[FrameResult]:
        """Detect in a whole source, frame by frame, in constant memory.

        Args:
            source: a video file, folder of frames, pattern, URL or camera index; or an iterable of frames.

        Yields:
            One result a frame.

        Raises:
            InputError: the source cannot be read.
        """
        if isinstance(source, str | Path | int):
            with open_video(source) as reader:
                yield from self.results(prefetch(reader))
        else:
            yield from self.results(source)

    def results(self, frames: Iterable[Frame], frames_at_once: int = FRAMES_AT_ONCE) -> Iterator[FrameResult]:
        """Results of frames, from nothing remembered; ``frames_at_once`` changes only the speed."""
        for result, _ in self.results_and_states(frames, frames_at_once):
            yield result

    def results_and_states(
        self, frames: Iterable[Frame], frames_at_once: int = FRAMES_AT_ONCE, *, ahead: bool = False
    ) -> Iterator[tuple[FrameResult, StreamState]]:
        """As ``results``, each with the newest state that there is (that of the last frame of its group).

        With ``ahead``, frames are embedded in a thread of their own, a few groups ahead.
        """
        if self.options.every == 1:
            return self._seen(frames, frames_at_once, ahead)
        at_once = max(1, frames_at_once // self.options.every)  # those between wait for them, in memory
        sparse = self.with_options(self.options.in_seen_frames())
        see = partial(sparse._seen, frames_at_once=at_once, ahead=ahead)
        return results_between(frames, self.options.every, see, lambda state: state.tracks)

    def _seen(
        self, frames: Iterable[Frame], frames_at_once: int, ahead: bool
    ) -> Generator[tuple[FrameResult, StreamState], None, None]:
        state = self.initial_state()
        embedded = self._embedded(frames, frames_at_once)
        for group in prefetch(embedded, depth=2) if ahead else embedded:
            results, state = self._decide(group, state)
            yield from ((result, state) for result in results)

    def advance(self, frames: Sequence[Frame], state: StreamState) -> tuple[list[FrameResult], StreamState]:
        """Take in T consecutive frames of one size; equal to taking them in one by one."""
        averages = state.detector.frames if state.detector is not None else None
        return self._decide(self._embed(frames, averages), state)

    def _embedded(self, frames: Iterable[Frame], frames_at_once: int) -> Iterator[_Embedded]:
        averages = None
        for group in _groups(frames, frames_at_once):
            embedded = self._embed(group, averages)
            averages = embedded.averages
            yield embedded

    @torch.inference_mode()
    def _embed(self, frames: Sequence[Frame], averages: FrameAverages | None) -> _Embedded:
        inputs = [preprocess(frame.rgb, self.card.config.input_size_wh) for frame in frames]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in inputs])).to(self.device)
        pictures = pictures.permute(0, 3, 1, 2)[None]
        if not self.options.memory:  # every frame is a sequence of its own
            pictures, averages = pictures.transpose(0, 1), None
        maps, averages = self.network.embed(pictures, averages)
        return _Embedded(frames, [geometry for _, geometry in inputs], maps, averages)

    @torch.inference_mode()
    def _decide(self, embedded: _Embedded, state: StreamState) -> tuple[list[FrameResult], StreamState]:
        frames, geometries, maps, averages = embedded
        if self.options.memory:
            output, detector_state = self.network.remember(maps, averages, 1, state.detector)
        else:
            output, _ = self.network.remember(maps, averages, len(frames), None)
            detector_state = self.detector.initial_state(1, self.card.config.input_size_wh)
        raw = raw_pictures(output)
        clip = output.clip_logits.flatten(0, 1).softmax(-1).cpu().numpy()
        if not np.isfinite(clip).all():  # overflowed: once in the memory, NaN would stay there for good
            clip, empty = np.nan_to_num(clip), self.detector.initial_state(1, self.card.config.input_size_wh)
            detector_state = empty._replace(frames=detector_state.frames)
        tracks, evidence, rows = state.tracks, state.sequence_evidence, detector_state.tracks
        results = []
        for t, frame in enumerate(frames):
            found = postprocess(raw[t], self.options.postprocess)
            found, tracks, rows = self._follow(
                found, geometries[t], [m[t : t + 1] for m in output.maps], tracks, rows, frame
            )
            if not self.options.memory:
                rows = CellState(torch.zeros_like(rows.hidden), torch.zeros_like(rows.cell))
            keep = found.scores >= self.options.min_score
            evidence = evidence + float(found.scores[keep].sum()) * clip[t]
            label, score = sequence_class(evidence, tracks)
            results.append(
                FrameResult(frame, found.where(keep), self.classes, label_of(self.classes, label), score)
            )
        detector_state = detector_state._replace(tracks=rows)
        return results, StreamState(detector_state, tracks, state.frames + len(frames), evidence)

    def _follow(
        self,
        found: Detections,
        geometry: Letterbox,
        maps: list[Tensor],
        tracks: TrackState,
        rows: CellState,
        frame: Frame,
    ) -> tuple[Detections, TrackState, CellState]:
        """Associate the detections of one frame, show each track its object, and label them."""
        boxes_input = found.boxes_xyxy_px
        source, inside = to_source(found, geometry)
        boxes_input = boxes_input[inside]
        source = with_masks(self.detector, source, maps, boxes_input, geometry)
        before = tracks
        association = associate(tracks, source, frame.index, frame.time_s, self.options.tracks)
        at = association.rows
        # The table has more rows than a model of fewer ``max_tracks`` has memories for.
        seen = np.flatnonzero((at >= 0) & (at < rows.hidden.shape[1]))
        tracks, steady = with_steady_sizes(
            before,
            association,
            source.boxes_xyxy_px,
            frame.time_s,
            geometry.source_wh,
            self.options.size_memory_s,
        )
        if len(seen) and self.options.track_class == "vote":
            votes = np.eye(len(self.classes))[source.class_ids[seen]]
            tracks = with_class_evidence(tracks, at[seen], votes, np.ones(len(seen)))
        elif len(seen):
            speed = velocity(before, association.born, at[seen], source.boxes_xyxy_px[seen], frame.time_s)
            boxes = torch.from_numpy(boxes_input[seen]).to(self.device)
            features = box_features(maps, self.detector.levels, boxes[None])[0]
            index = torch.from_numpy(at[seen]).to(self.device)
            fresh = torch.from_numpy(association.born[at[seen]]).to(self.device)[:, None]
            old = CellState(
                rows.hidden[0, index].masked_fill(fresh, 0), rows.cell[0, index].masked_fill(fresh, 0)
            )
            present = torch.ones(len(seen), dtype=torch.bool, device=self.device)
            logits, new = self.detector.track_step(
                features, boxes, torch.from_numpy(speed).to(self.device), present, old
            )
            rows = CellState(
                _with_rows(rows.hidden, index, new.hidden), _with_rows(rows.cell, index, new.cell)
            )
            probabilities = logits.softmax(-1).cpu().numpy()
            tracks = with_class_evidence(tracks, at[seen], probabilities, source.scores[seen])
            tracks = looked_closer(
                self.detector.glimpse, tracks, at, source.boxes_xyxy_px, frame.rgb, self.options.glimpses
            )
        source = with_track_memory(
            replace(source, boxes_xyxy_px=steady),
            tracks,
            at,
            self.options.class_memory,
            self.options.score_memory,
            self.options.unconfirmed_factor,
            self.options.realness_power,
        )
        return label_detections(source, tracks, at), tracks, rows


def load(
    model: str | Path = "airspace",
    device: str = "auto",
    runtime: str | None = None,
    *,
    expected_frames: int | None = 0,
    tell: Callable[[str], None] | None = None,
) -> Model:
    """Load a trained model.

    Args:
        model: name of a shipped model ("airspace"), a run folder of ``seqdet train``, a .safetensors file, or
            a folder of ``seqdet export``.
        device: "auto", "cpu" or "cuda".
        runtime: "torch", "openvino", "onnx", or "auto": see ``runtimes.choose_runtime``. None: what an
            exported model was exported for, PyTorch for others.
        expected_frames: how many frames "auto" chooses for; None for a stream without end.
        tell: is told in a few words what is being waited for.

    Raises:
        UsageError: no model of that name, no such device, or a runtime that is not for it.
        InputError: the file is missing, cut, a pickle, or of another version.
        MissingDependencyError: the runtime is not installed.
    """
    exported = read_exported(Path(model)) if is_exported(model) else None
    weights = find_model(model) if exported is None else Path(model) / WEIGHTS
    detector, card = load_model(weights)
    fold_batchnorm(detector)
    if exported is not None:
        where = choose_device("cpu" if device == "auto" else device)
        network = network_of_export(runtime, Path(model), exported, detector, card)
        if network is not None and where.type != "cpu":
            raise UsageError(f"{model}: its graph is computed on the CPU; use --device cpu")
        return Model(detector, card, where, network=network)
    where = choose_device(device)
    chosen = choose_runtime(runtime or "torch", where, weights, expected_frames)
    return Model(detector, card, where, network=network_of_weights(chosen, detector, card, weights, tell))


def _groups(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Consecutive frames of one shape, at most ``size`` together."""
    group: list[Frame] = []
    for frame in frames:
        if len(group) == size or (group and frame.rgb.shape != group[-1].rgb.shape):
            yield group
            group = []
        group.append(frame)
    if group:
        yield group


def raw_pictures(output: DetectorOutput) -> list[RawPicture]:
    """What ``postprocess`` takes, for each of the N pictures."""
    heads = output.heads
    parts = [
        part.cpu().numpy() for part in (heads.objectness, heads.class_logits, heads.boxes_xyxy, heads.motion)
    ]
    return [RawPicture(*(part[n] for part in parts)) for n in range(len(parts[0]))]


def _with_rows(table: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """(1, R, S) with new values in some rows; the old table is left as it was."""
    table = table.clone()
    table[0, index] = values
    return table


def with_score(model: Model, min_score: float) -> Model:
    """The same model, reporting detections from ``min_score`` on."""
    lowest = min(model.options.postprocess.min_score, max(min_score, 1e-3))
    return model.with_options(
        replace(
            model.options,
            min_score=min_score,
            postprocess=replace(model.options.postprocess, min_score=lowest),
        )
    )
