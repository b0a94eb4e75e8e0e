"""The state of a training: what streams carry on, and what is kept on disk so that it can be killed anywhere.

``RUN/state.safetensors`` holds all of it. There is no scheduler and no scaler to keep: the learning rate is a
function of the step, and bfloat16 needs no scaling.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqdet.data.plans import ClipPlan
from seqdet.errors import InputError
from seqdet.model.detector import Detector
from seqdet.model.difference import FrameAverages
from seqdet.model.lstm import CellState
from seqdet.model.memory import DetectorState
from seqdet.model.optimise import WeightAverage
from seqdet.runs.kept_states import KeptState

FORMAT = "seqdet-training-state"
VERSION = 2


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
        evaluated_at: step of the last one, -1 before the first.
        skipped: batches in a row that were not learned.
        shards: groups of recordings that the clips of a batch draw from.
        extra: figures of the best evaluation.
    """

    step: int = 0
    elapsed_s: float = 0.0
    stage: int = 0
    plans: tuple[ClipPlan, ...] = ()
    best: float = -1.0
    evaluated: int = 0
    evaluated_at: int = -1
    skipped: int = 0
    shards: int = 1
    extra: dict[str, Any] = field(default_factory=dict)


def state_tensors(
    model: Detector,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    carried: dict[str, Tensor],
) -> dict[str, Tensor]:
    """A copy of everything that ``restore_state`` needs beside the position, in memory of the CPU.

    Args:
        model: that is trained.
        average: of its weights.
        optimizer: of its weights.
        carried: of ``carried_tensors``, of the whole batch.
    """
    tensors = dict(carried)
    tensors |= {f"model.{key}": value for key, value in model.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.model.state_dict().items()}
    tensors |= optimizer_tensors(optimizer)
    return {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}


def carried_tensors(carried: DetectorState | None) -> dict[str, Tensor]:
    """What streams remember, by name; their first dimension is the clip. With it the random generators."""
    tensors: dict[str, Tensor] = {"rng": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["rng_cuda"] = torch.cuda.get_rng_state()
    if carried is not None:
        for index, cell in enumerate([*carried.maps, carried.clip]):
            tensors[f"carried.{index}.hidden"] = cell.hidden.cpu()
            tensors[f"carried.{index}.cell"] = cell.cell.cpu()
        if carried.frames is not None:
            tensors["averages.means"] = carried.frames.means.cpu()
            tensors["averages.seen"] = carried.frames.seen.cpu()
    return tensors


def put_together(parts: list[dict[str, Tensor]], slots: list[list[int]]) -> dict[str, Tensor]:
    """The ``carried_tensors`` of the whole batch from those of each process, which has the clips ``slots``.

    Random generators of other processes than the first get the number of theirs.
    """
    if len(parts) == 1:
        return parts[0]
    whole: dict[str, Tensor] = {}
    for rank, (tensors, places) in enumerate(zip(parts, slots, strict=True)):
        for key, value in tensors.items():
            if key.startswith("rng"):
                whole[key if rank == 0 else f"{key}.{rank}"] = value
                continue
            if key not in whole:
                whole[key] = value.new_zeros(sum(map(len, slots)), *value.shape[1:])
            whole[key][places] = value
    return whole


def state_document(position: Position, config: dict[str, Any]) -> dict[str, Any]:
    """What describes the tensors of a state."""
    return {"format": FORMAT, "version": VERSION, "position": asdict(position), "config": config}


def is_older_kind(document: dict[str, Any]) -> bool:
    """True for a state of the time before states had a SHA-256."""
    return document.get("format") == FORMAT and document.get("version") == 1


def restore_state(
    kept: KeptState,
    model: Detector,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    rank: int = 0,
) -> tuple[Position, DetectorState | None]:
    """Put a state into a model, an average and an optimizer that were just built.

    Returns:
        The position, and what the streams of the whole batch remember.

    Raises:
        InputError: not a state of this kind of training, or written by a run with another model.
    """
    tensors, document = kept.tensors, kept.document
    if document.get("format") != FORMAT or document.get("version") not in (1, VERSION):
        raise InputError(f"{kept.path}: not a training state of this seqdet; start a new run with --out")
    try:
        model.load_state_dict(part(tensors, "model."))
        average.model.load_state_dict(part(tensors, "average."))
    except RuntimeError as error:
        raise InputError(
            f"{kept.path}: written by a run with another model: {str(error).splitlines()[0]}"
        ) from error
    restore_optimizer(optimizer, tensors)
    torch.set_rng_state(tensors.get(f"rng.{rank}", tensors["rng"]))
    if "rng_cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors.get(f"rng_cuda.{rank}", tensors["rng_cuda"]))
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


def of_slots(state: DetectorState, slots: list[int]) -> DetectorState:
    """The clips ``slots`` of a state."""

    def chosen(cell: CellState) -> CellState:
        return CellState(*(part[slots] for part in cell))

    frames = FrameAverages(*(part[slots] for part in state.frames)) if state.frames is not None else None
    return DetectorState(
        tuple(chosen(cell) for cell in state.maps), chosen(state.clip), chosen(state.tracks), frames
    )


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
