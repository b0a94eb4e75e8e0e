"""One detection explained: where in the frame, which frames before it, which gates, and without memory.

Legend: T frames of the window, C channels, H W cells of a map, L levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from seqdet.data.transforms.geometry import preprocess
from seqdet.model.detector import Detector
from seqdet.model.explain_boxes import (
    Answers,
    Cell,
    PictureMaps,
    Question,
    Why,
    answers,
    find_cell,
    map_chain,
    picture_maps,
)
from seqdet.model.explain_gates import gate_activity
from seqdet.model.explain_memory import (
    Attribution,
    Chain,
    attribute,
    begun_before,
    each_left_out,
    scores_without,
    whole,
)
from seqdet.model.lstm import CellState, PeepholeLSTM
from seqdet.model.memory import box_features
from seqdet.runs.explain_names import Look, Named, named
from seqdet.runs.explain_stream import Moment, detector_state_before, plain
from seqdet.runs.explain_survey import Found, Shown
from seqdet.runs.stream import Model

# A memory reaches as far back as it must begin for the probability to come within so much of the whole one.
REACHED = 0.01
# Of vectors, whose steps cost little, so many frames are asked about.
VECTOR_WINDOW = 96


class Evidence(NamedTuple):
    """What each frame of a window was worth to the score at its end.

    Attributes:
        frames: T frame numbers; the last is that of the box.
        score: with all of them; the score is a logit (object) or the logarithm of a probability (class).
        of_input: T, gradient x input.
        of_update: T - 1, gradient x presence: see ``model/explain_memory.py``.
        older: gradient x state at the beginning of the window: what came before it.
        drop: T - 1, what the score loses when the memory is not shown that frame.
        rank_correlation: Spearman's of ``of_update`` and ``drop``, None where one of them is constant.
        rank_correlation_of_input: of ``of_input`` and ``drop``.
        begun: (frames, score) where the memory begins with nothing so many frames before the end.
        reach_frames: the fewest of those that bring the probability within .01 of the whole one.
    """

    frames: list[int]
    score: float
    of_input: list[float]
    of_update: list[float]
    older: float
    drop: list[float]
    rank_correlation: float | None
    rank_correlation_of_input: float | None
    begun: list[tuple[int, float]]
    reach_frames: int


class Gates(NamedTuple):
    """Gates over time, 0 closed to 1 open: for each (mean, 10th percentile, 90th percentile) of the channels.

    Attributes:
        frames: T frame numbers.
        open: name of a gate -> T triples.
    """

    frames: list[int]
    open: dict[str, list[tuple[float, float, float]]]


class Changed(NamedTuple):
    """What the heads say at the cell of a box, with and without memory.

    Attributes:
        with_memory: as in the stream.
        begun_at_window: from nothing at the beginning of the window.
        without_maps: the ConvLSTM forgets everything before the frame, averages of frames stay.
        without: the frame alone.
    """

    with_memory: Answers
    begun_at_window: Answers
    without_maps: Answers
    without: Answers


class BoxExplained(NamedTuple):
    """One detection explained.

    Attributes:
        found: the detection.
        cell: that it was read from.
        stride: of its map, in input pixels.
        maps: where in the frame.
        changed: with and without memory.
        gates: of the map memory, along the track; None without map memory.
        evidence: of the frames; None without map memory.
        attribution: the maps of the evidence, (T, H, W); None without map memory.
        named: how it came by its class.
        looks: at its track, from near, the newest last.
    """

    found: Found
    cell: Cell
    stride: int
    maps: PictureMaps
    changed: Changed
    gates: Gates | None
    evidence: Evidence | None
    attribution: Attribution | None
    named: Named
    looks: list[Look]


class VectorExplained(NamedTuple):
    """What the memory of a track or of the sequence made of its frames.

    Attributes:
        label: the class that is asked for.
        probability: with its memory.
        last_frame_alone: without.
        gates: of its cell.
        evidence: of its frames.
    """

    label: str
    probability: float
    last_frame_alone: float
    gates: Gates
    evidence: Evidence


def explain_box(
    model: Model,
    window: Sequence[Moment],
    found: Found,
    places: Mapping[int, Sequence[float]],
    looks: list[Look],
    why: Why = "object",
) -> BoxExplained:
    """Explain a detection in the last frame of a window.

    Args:
        model: on the CPU, in evaluation mode; gradients of its weights are not needed.
        window: T consecutive moments.
        found: the detection.
        places: frame -> where its track was, xyxy in source pixels; for the gates.
        looks: at its track so far.
        why: what is asked: why there is an object, or why it is of its class.
    """
    detector, last = model.detector, window[-1]
    question = ask(last, found, why)
    level = question.cell.level
    maps = explain_picture(model, last, question)
    changed = _changed(model, window, question)
    gates, evidence, attribution = None, None, None
    if detector.memory is not None:
        inputs = [moment.pyramid[level].clone() for moment in window]
        start = detector_state_before(window[0], model).maps[level]
        frames = [moment.frame.index for moment in window]
        evidence, attribution = explain_chain(map_chain(detector, question), inputs, start, frames, why)
        gates = _map_gates(model, window, level, places)
    stride = detector.levels[level]
    how = named(model, last, found, question.cell.number)
    return BoxExplained(found, question.cell, stride, maps, changed, gates, evidence, attribution, how, looks)


def ask(moment: Moment, found: Found, why: Why) -> Question:
    """The question that stands for a detection of a frame."""
    box = moment.geometry.to_input(np.array([found.box_xyxy_px], np.float32))[0]
    shapes = [(feature.shape[-2], feature.shape[-1]) for feature in moment.output.maps]
    cell = find_cell(moment.output.heads, shapes, torch.from_numpy(box))
    return Question(cell, found.class_id, why)


def explain_picture(model: Model, moment: Moment, question: Question) -> PictureMaps:
    """Where in the frame of a moment a score came from."""
    before = detector_state_before(moment, model)
    pictures, _ = model.detector.pictures(network_input(model, moment), before.frames)
    return picture_maps(model.detector, pictures, before.maps, question)


def explain_chain(
    chain: Chain, inputs: Sequence[Tensor], state: CellState, frames: Sequence[int], why: str
) -> tuple[Evidence, Attribution]:
    """What each frame was worth, by gradients and by leaving it out.

    Args:
        chain: memory and score.
        inputs: T tensors (1, ...).
        state: at the beginning of the window.
        frames: T frame numbers.
        why: "object" where the score is a logit, else it is the logarithm of a probability.
    """
    attribution = attribute(chain, inputs, state)
    count = len(inputs)
    drop = np.zeros(0)
    if count > 1:
        drop = attribution.score - scores_without(chain, inputs, state, each_left_out(count))
    shown = begun_before(count)
    nothing = CellState(*(torch.zeros_like(part) for part in state))
    begun = list(zip(shown.sum(axis=1).tolist(), scores_without(chain, inputs, nothing, shown), strict=True))
    goal = probability(attribution.score, why)
    reach = count
    for length, score in reversed(begun):  # from the longest: all that are longer come as near
        if abs(probability(score, why) - goal) > REACHED:
            break
        reach = length
    of_input, of_update = whole(attribution.of_input), whole(attribution.of_update)
    evidence = Evidence(
        frames=list(frames),
        score=attribution.score,
        of_input=of_input.tolist(),
        of_update=of_update.tolist(),
        older=attribution.older,
        drop=drop.tolist(),
        rank_correlation=rank_correlation(of_update, drop),
        rank_correlation_of_input=rank_correlation(of_input[:-1], drop),
        begun=[(length, float(score)) for length, score in begun],
        reach_frames=reach,
    )
    return evidence, attribution


def explain_vector(
    cell: PeepholeLSTM, classes: torch.nn.Linear, shown: Shown, class_id: int, label: str
) -> VectorExplained:
    """What the memory of a track or of the sequence made of its last frames.

    Args:
        cell: its LSTM.
        classes: from its hidden state to logits.
        shown: what it was shown from its beginning on.
        class_id: that is asked for.
        label: name of that class.
    """

    def step(x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        after = cell.step(x, state)
        return after.hidden, after

    chain = Chain(step, lambda hidden: classes(hidden).log_softmax(dim=1)[:, class_id])
    first = max(len(shown.inputs) - VECTOR_WINDOW, 0)
    inputs, frames = shown.inputs[first:], shown.frames[first:]
    state = cell.initial_state(1)
    with torch.no_grad():
        for x in shown.inputs[:first]:
            state = cell.step(x, state)
        now, opened = state, []
        for x in inputs:
            opened.append({name: gate[0] for name, gate in gate_activity(cell, x, now).items()})
            now = cell.step(x, now)
    evidence, _ = explain_chain(chain, inputs, state, frames, "class")
    return VectorExplained(
        label=label,
        probability=probability(evidence.score, "class"),
        last_frame_alone=probability(evidence.begun[0][1], "class"),
        gates=_gates(frames, opened),
        evidence=evidence,
    )


def probability(score: float, why: str) -> float:
    """Of a score: a logit of an object, or the logarithm of the probability of a class."""
    return float(1 / (1 + np.exp(-score)) if why == "object" else np.exp(score))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's; None where it is not defined."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def network_input(model: Model, moment: Moment) -> Tensor:
    """(1, 1, 3, H, W) uint8: the frame as the network gets it."""
    picture, _ = preprocess(moment.frame.rgb, model.card.config.input_size_wh)
    return torch.from_numpy(picture).permute(2, 0, 1)[None, None]


@torch.no_grad()
def _changed(model: Model, window: Sequence[Moment], question: Question) -> Changed:
    detector, last = model.detector, window[-1]
    frames = torch.cat([network_input(model, moment) for moment in window], dim=1)
    (output, _), count = detector(frames), len(window)
    of_last = type(output.heads)(
        *(part[count - 1 :] if n < 4 else part for n, part in enumerate(output.heads))
    )
    before = detector_state_before(last, model)
    nothing = detector.initial_state(1, model.card.config.input_size_wh)
    pyramid = [feature.clone() for feature in last.pyramid]
    without_maps, _ = detector.remember(pyramid, before.frames, 1, before._replace(maps=nothing.maps))
    alone, _ = detector(network_input(model, last))
    said = (last.output.heads, of_last, without_maps.heads, alone.heads)
    return Changed(*(answers(heads, question) for heads in said))


@torch.no_grad()
def _map_gates(
    model: Model, window: Sequence[Moment], level: int, places: Mapping[int, Sequence[float]]
) -> Gates:
    """The gates of a level where a track was in each frame, or else where it was nearest in time."""
    detector: Detector = model.detector
    assert detector.memory is not None
    cell, stride = detector.memory.cells[level], detector.levels[level]
    opened, frames = [], []
    for moment in window:
        index = moment.frame.index
        known = min(places, key=lambda frame, index=index: (abs(frame - index), -frame))  # type: ignore[misc]
        box = torch.from_numpy(moment.geometry.to_input(np.array([places[known]], np.float32)))
        state = plain(detector_state_before(moment, model).maps[level])
        gates = gate_activity(cell, moment.pyramid[level].clone(), state)
        opened.append(
            {name: box_features([gate], (stride,), box[None])[0, 0] for name, gate in gates.items()}
        )
        frames.append(index)
    return _gates(frames, opened)


def _gates(frames: Sequence[int], opened: Sequence[Mapping[str, Tensor]]) -> Gates:
    """Of T frames, each with (S,) a gate."""
    names = list(opened[0])
    summary = {}
    for name in names:
        values = torch.stack([one[name] for one in opened]).double().numpy()
        low, high = np.quantile(values, [0.1, 0.9], axis=1)
        summary[name] = [
            (round(float(mean), 4), round(float(a), 4), round(float(b), 4))
            for mean, a, b in zip(values.mean(axis=1), low, high, strict=True)
        ]
    return Gates(list(frames), summary)
