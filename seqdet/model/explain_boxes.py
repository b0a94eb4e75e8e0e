"""Why a box: the question, put to one cell of the maps, and where in the picture the answer came from.

``grad_cam``    L_l = relu(sum_c w_lc A_lc),  w_lc = mean over H, W of d score / d A_lc
                (Selvaraju et al., Grad-CAM, ICCV 2017): which kind of place counted, wherever it is.
``local_map``   L_l = relu(sum_c (d score / d A_lc) * A_lc), element by element
                (Draelos and Carin, HiResCAM, 2020; ODAM, Zhao and Chan, ICLR 2023, for boxes): which places.

A_l are the encoder's maps, before the neck mixes them: every one of them reaches every box.

Legend: B sequences, C channels, H W cells of a map, K classes, P cells of all levels, L encoder maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from seqdet.model.detector import Detector
from seqdet.model.encoder import STRIDES
from seqdet.model.explain_memory import Chain
from seqdet.model.heads import HeadOutput, Heads
from seqdet.model.lstm import CellState

Why = Literal["object", "class"]


class Cell(NamedTuple):
    """The cell of the maps that a box was read from.

    Attributes:
        level: position of its map among the detector's levels, finest first.
        row: from 0.
        column: from 0.
        number: among the P cells of all levels.
    """

    level: int
    row: int
    column: int
    number: int


class Question(NamedTuple):
    """What is to be explained.

    Attributes:
        cell: where.
        class_id: of which class.
        why: "object": the logit of objectness; "class": the logarithm of the probability of the class.
    """

    cell: Cell
    class_id: int
    why: Why


class Answers(NamedTuple):
    """What the heads say at a cell, as probabilities."""

    objectness: float
    class_probability: float


class PictureMaps(NamedTuple):
    """Where in a picture a score came from, L maps (H, W), strides 4 to 32, none below 0."""

    strides: tuple[int, ...]
    grad_cam: list[Tensor]
    local: list[Tensor]


def find_cell(heads: HeadOutput, shape_of_levels: list[tuple[int, int]], box_xyxy: Tensor) -> Cell:
    """The cell that a box was read from: the surest one whose box lies on it.

    Non-maximum suppression has kept the best of all cells that overlap by half; so does this.

    Args:
        heads: of one picture.
        shape_of_levels: height and width of each level's map.
        box_xyxy: (4,) in input pixels.
    """
    boxes = heads.boxes_xyxy[0]
    low = torch.maximum(boxes[:, :2], box_xyxy[:2])
    high = torch.minimum(boxes[:, 2:], box_xyxy[2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    overlap = common / (areas + (box_xyxy[2:] - box_xyxy[:2]).prod() - common).clamp(min=1e-6)
    on_it = overlap >= min(0.5, float(overlap.max()))
    number = int(heads.objectness[0].masked_fill(~on_it, -torch.inf).argmax())
    rest = number
    for level, (height, width) in enumerate(shape_of_levels):
        if rest < height * width:
            return Cell(level, rest // width, rest % width, number)
        rest -= height * width
    raise ValueError("the levels have fewer cells than the heads")


def answers(heads: HeadOutput, question: Question) -> Answers:
    """What the heads say of one picture at the cell of a question."""
    number = question.cell.number
    probabilities = heads.class_logits[0, number].softmax(-1)
    return Answers(float(heads.objectness[0, number].sigmoid()), float(probabilities[question.class_id]))


def score_at(heads: Heads, question: Question) -> Callable[[Tensor], Tensor]:
    """Refined maps (B, C, H, W) of the level of a question -> (B,) its score."""

    def score(refined: Tensor) -> Tensor:
        at = (slice(None), slice(None), question.cell.row, question.cell.column)
        if question.why == "object" and not heads.merged:
            return heads.geometry(heads.geometry_tower(refined))[at][:, 0].float()
        logits = heads.classes(heads.class_tower(refined))[at].float()
        if question.why == "object":
            return logits.amax(dim=1)
        return logits.log_softmax(dim=1)[:, question.class_id]

    return score


def map_chain(detector: Detector, question: Question) -> Chain:
    """The map memory of the level of a question: (B, C, H, W) a frame.

    Raises:
        ValueError: a detector without map memory.
    """
    if detector.memory is None:
        raise ValueError("this detector has no map memory")
    cell = detector.memory.cells[question.cell.level]

    def step(x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        refined, after = cell(x.unsqueeze(1), state)
        return refined.squeeze(1), after

    return Chain(step, score_at(detector.heads, question))


def picture_maps(
    detector: Detector, pictures: Tensor, state: tuple[CellState, ...], question: Question
) -> PictureMaps:
    """Where in the last frame a score came from.

    Args:
        detector: in evaluation mode.
        pictures: (1, 3 + R, H, W) of ``Detector.pictures``.
        state: of the map memory before this frame; empty without one.
        question: what is explained.
    """
    with torch.enable_grad():
        activations = [feature.detach().requires_grad_() for feature in detector.encoder(pictures)]
        maps = detector.neck(activations)
        if detector.memory is not None:
            maps, _ = detector.memory(maps, state, 1)
        score = score_at(detector.heads, question)(maps[question.cell.level])
        gradients = torch.autograd.grad(score.sum(), activations, allow_unused=True)
    strides, of_kind, of_place = [], [], []
    for stride, feature, gradient in zip(STRIDES, activations, gradients, strict=True):
        if gradient is None:  # finer than the finest level: the neck does not look at it
            continue
        strides.append(stride)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        of_kind.append((weights * feature.detach()).sum(dim=1)[0].relu())
        of_place.append((gradient * feature.detach()).sum(dim=1)[0].relu())
    return PictureMaps(tuple(strides), of_kind, of_place)
