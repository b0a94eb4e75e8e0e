"""The state of a training: what streams carry on, and what is kept on disk so that it can be killed anywhere.

``RUN/state.safetensors`` holds all of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqdet.data.loader import ClipPlan
from seqdet.errors import InputError
from seqdet.model.checkpoint import read_tensors, write_tensors
from seqdet.model.detector import Detector
from seqdet.model.difference import FrameAverages
from seqdet.model.lstm import CellState
from seqdet.model.memory import DetectorState
from seqdet.model.optimise import WeightAverage

FORMAT = "seqdet-training-state"
VERSION = 1


@dataclass(slots=True)
class Position:
    """Where a training is.

    Attributes:
        step: optimizer steps done.
        elapsed_s: time spent training.
        stage: index of the current stage.
        plans: what the last batch showed; streams continue from it.
        best: best validation figure so far, -1 before the first evaluation.
        evaluated: how many evaluations are done.
    """

    step: int = 0
    elapsed_s: float = 0.0
    stage: int = 0
    plans: tuple[ClipPlan, ...] = ()
    best: float = -1.0
    evaluated: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


def save_state(
    path: Path,
    position: Position,
    model: Detector,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    carried: DetectorState | None,
    config: dict[str, Any],
) -> None:
    """Write everything that ``restore_state`` needs to go on as if nothing had happened."""
    tensors: dict[str, Tensor] = {"rng": torch.get_rng_state()}
    tensors |= {f"model.{key}": value.detach().cpu() for key, value in model.state_dict().items()}
    tensors |= {f"average.{key}": value.detach().cpu() for key, value in average.model.state_dict().items()}
    tensors |= optimizer_tensors(optimizer)
    if carried is not None:
        for index, cell in enumerate([*carried.maps, carried.clip]):
            tensors[f"carried.{index}.hidden"] = cell.hidden.detach().cpu()
            tensors[f"carried.{index}.cell"] = cell.cell.detach().cpu()
        if carried.frames is not None:
            tensors["averages.means"] = carried.frames.means.cpu()
            tensors["averages.seen"] = carried.frames.seen.cpu()
    document = {"format": FORMAT, "version": VERSION, "position": asdict(position), "config": config}
    write_tensors(path, {key: value.contiguous().clone() for key, value in tensors.items()}, document)


def restore_state(
    path: Path, model: Detector, average: WeightAverage, optimizer: torch.optim.Optimizer
) -> tuple[Position, DetectorState | None]:
    """Read what ``save_state`` wrote into a model, an average and an optimizer that were just built.

    Raises:
        InputError: missing or damaged, or written by a run with another model.
    """
    tensors, document = read_tensors(path)
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        raise InputError(f"{path}: not a training state of this seqdet; start a new run with --out")
    try:
        model.load_state_dict(part(tensors, "model."))
        average.model.load_state_dict(part(tensors, "average."))
    except RuntimeError as error:
        raise InputError(
            f"{path}: written by a run with another model: {str(error).splitlines()[0]}"
        ) from error
    restore_optimizer(optimizer, tensors)
    torch.set_rng_state(tensors["rng"])
    fields = dict(document["position"])
    fields["plans"] = tuple(ClipPlan(**plan) for plan in fields["plans"])
    return Position(**fields), _carried(tensors, model)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of an optimizer as named tensors, for ``restore_optimizer``."""
    return {
        f"optimizer.{index}.{key}": torch.as_tensor(value).detach().cpu()
        for index, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer of the same parameters the moments that ``optimizer_tensors`` named."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in part(tensors, "optimizer.").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _carried(tensors: dict[str, Tensor], model: Detector) -> DetectorState | None:
    cells_of = part(tensors, "carried.")
    if not cells_of:
        return None
    device = model.pixel_mean.device
    cells = [
        CellState(cells_of[f"{i}.hidden"].to(device), cells_of[f"{i}.cell"].to(device))
        for i in range(len(cells_of) // 2)
    ]
    zeros = model.initial_state(len(cells[-1].hidden), (32, 32))
    averages = None
    if "averages.means" in tensors:
        averages = FrameAverages(tensors["averages.means"].to(device), tensors["averages.seen"].to(device))
    return DetectorState(tuple(cells[:-1]), cells[-1], zeros.tracks, averages)


def detached(state: DetectorState) -> DetectorState:
    """The state without its history: gradients end at the border of a chunk."""
    maps = tuple(CellState(cell.hidden.detach(), cell.cell.detach()) for cell in state.maps)
    clip = CellState(state.clip.hidden.detach(), state.clip.cell.detach())
    return DetectorState(maps, clip, state.tracks, state.frames)


def carried_on(carried: DetectorState, fresh: DetectorState, goes_on: Tensor) -> DetectorState:
    """``carried`` for the clips that continue a stream, (B,) bool, and ``fresh`` for the others.

    Track rows are always fresh: a chunk's objects are not those of the chunk before.
    """

    def choose(old: CellState, new: CellState) -> CellState:
        return CellState(*(_where(goes_on, a, b) for a, b in zip(old, new, strict=True)))

    maps = tuple(choose(old, new) for old, new in zip(carried.maps, fresh.maps, strict=True))
    averages = fresh.frames
    if averages is not None and carried.frames is not None:
        averages = FrameAverages(
            *(_where(goes_on, a, b) for a, b in zip(carried.frames, averages, strict=True))
        )
    return DetectorState(maps, choose(carried.clip, fresh.clip), fresh.tracks, averages)


def _where(goes_on: Tensor, old: Tensor, new: Tensor) -> Tensor:
    return torch.where(goes_on.view(-1, *[1] * (new.ndim - 1)), old, new)
