"""A sequence classifier at work on a stream: frames in, the class of the sequence so far out.

The answer at a frame is the mean of the softmax outputs up to it: late frames know more, early ones outvote a
single odd frame. All that is remembered is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from seqdet.data.dataset import Sequence as Recorded
from seqdet.data.transforms.geometry import preprocess
from seqdet.errors import InputError
from seqdet.model.classifier_checkpoint import ClassifierCard, is_classifier, load_classifier
from seqdet.model.lstm import CellState
from seqdet.model.sequence_classifier import SequenceClassifier
from seqdet.runs.device import choose_device
from seqdet.runs.exported import is_exported
from seqdet.runs.shipped import find_model
from seqdet.types import Detections, Frame, FrameResult
from seqdet.video.reader import open_video

# Frames that go through the network together; the result is the same, the arithmetic denser.
FRAMES_AT_ONCE = 8


class ClassifierState(NamedTuple):
    """Everything that is remembered of one stream.

    Attributes:
        cell: of the LSTM, for a batch of one.
        evidence: (K,) float64 sum of the probabilities of all frames.
        frames: frames seen so far.
    """

    cell: CellState
    evidence: np.ndarray
    frames: int


class Classifier:
    """A trained sequence classifier, ready for streams. Holds weights, no state of any stream.

    ``memory`` False forgets everything after every frame, a control: the answer is then the mean of what
    single frames say.
    """

    def __init__(
        self, network: SequenceClassifier, card: ClassifierCard, device: torch.device, memory: bool = True
    ) -> None:
        self.network = network.to(device).eval()
        self.card = card
        self.device = device
        self.memory = memory

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.card.classes

    def initial_state(self) -> ClassifierState:
        """Nothing seen yet."""
        return ClassifierState(self.network.initial_state(1), np.zeros(len(self.classes)), 0)

    @torch.inference_mode()
    def advance(
        self, frames_rgb: Sequence[np.ndarray], state: ClassifierState
    ) -> tuple[np.ndarray, ClassifierState]:
        """Take in T consecutive frames; equal to taking them in one by one.

        Args:
            frames_rgb: T pictures (H, W, 3) uint8.
            state: what the call before returned, or ``initial_state()``.

        Returns:
            (T, K) probabilities of the classes of the sequence, so far at each frame, and the next state.
        """
        size_wh = self.card.config.input_size_wh
        inputs = np.stack([preprocess(rgb, size_wh)[0] for rgb in frames_rgb])
        pictures = torch.from_numpy(inputs).to(self.device).permute(0, 3, 1, 2)[None]
        if self.memory:
            logits, cell = self.network(pictures, state.cell)
        else:
            fresh = self.network.initial_state(len(frames_rgb))
            logits, cell = self.network(pictures.transpose(0, 1), fresh)[0].transpose(0, 1), state.cell
        probabilities = logits[0].double().softmax(-1).cpu().numpy()
        evidence = state.evidence + probabilities.cumsum(axis=0)
        counts = state.frames + np.arange(1, len(frames_rgb) + 1)
        return evidence / counts[:, None], ClassifierState(cell, evidence[-1], int(counts[-1]))

    def results(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """Results of frames, from nothing remembered: no boxes, and the class of the sequence so far."""
        state, nothing = self.initial_state(), Detections.empty(len(self.classes))
        source = iter(frames)
        while group := list(islice(source, FRAMES_AT_ONCE)):
            probabilities, state = self.advance([frame.rgb for frame in group], state)
            for frame, of_frame in zip(group, probabilities, strict=True):
                best = int(of_frame.argmax())
                yield FrameResult(frame, nothing, self.classes, self.classes[best], float(of_frame[best]))


class Named(NamedTuple):
    """What sequences are, and what they were named: (N,) int64 each, and how many frames were seen."""

    wanted: np.ndarray
    named: np.ndarray
    frames: int

    @property
    def accuracy(self) -> float | None:
        """Share of right names; None where there is no sequence."""
        return float((self.wanted == self.named).mean()) if len(self.wanted) else None


def name_sequences(
    classifier: Classifier,
    sequences: Sequence[Recorded],
    max_frames: int | None = None,
    shuffle_seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Named:
    """Name sequences by their first frames, exactly as ``detect --max-frames`` would.

    Args:
        classifier: the model.
        sequences: of known class.
        max_frames: how many frames of each; None: all.
        shuffle_seed: show the frames in a random order. None: as they were recorded.
        progress: is told the frames done.

    Raises:
        InputError: a video of which no frame can be decoded.
    """
    rng = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)
    names, seen = [], 0
    for sequence in sequences:
        with open_video(sequence.video) as reader:
            frames: Iterator[Frame] = islice(reader, max_frames)
            if rng is not None:
                kept = list(frames)
                order = rng.permutation(len(kept)).tolist()
                frames = iter([Frame(kept[i].rgb, n, kept[n].time_s) for n, i in enumerate(order)])
            label = ""
            for result in classifier.results(frames):
                label = result.sequence_label
                seen += 1
                if progress is not None:
                    progress(seen)
        if not label:
            raise InputError(f"{sequence.video}: no frame could be decoded")
        names.append(classifier.classes.index(label))
    wanted = np.array([sequence.class_id for sequence in sequences], np.int64)
    return Named(wanted, np.array(names, np.int64), seen)


def find_classifier(model: str | Path, device: str = "auto") -> Classifier | None:
    """Load a trained sequence classifier; None where the model is of another kind.

    Args:
        model: name of a shipped model, a run folder of ``seqdet train``, a .safetensors file, or a folder of
            ``seqdet export``.
        device: "auto", "cpu" or "cuda".

    Raises:
        UsageError: no model of that name, or no such device.
        InputError: the file is missing, cut, a pickle, or of another version.
    """
    if is_exported(model):
        return None
    path = find_model(model)
    if not is_classifier(path):
        return None
    network, card = load_classifier(path)
    return Classifier(network, card, choose_device(device))
