"""What can be configured: one model per section, a docstring and a unit on every field, unknown keys refused.

A run has one complete YAML file (``configs/*.yaml``); ``--set section.key=value`` overrides single fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seqdet.errors import UsageError

EncoderName = Literal[
    "regnet_plain", "resnet10", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2"
]

LossName = Literal["objectness", "class", "box", "motion", "track", "clip"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(_Section):
    """The detector's shape. What is here is saved with every checkpoint and is enough to build the model."""

    encoder: EncoderName = Field("regnet_plain", description="torchvision CNN that embeds each frame")
    encoder_weights: str | None = Field(
        None,
        description="'imagenet' for torchvision's own weights (downloaded), a path to a .safetensors file "
        "with torchvision's names, or null to start from random weights",
    )
    levels: tuple[int, ...] = Field(
        (4, 8, 16), description="strides (pixels) of the maps that carry memory and heads"
    )
    channels: int = Field(48, ge=8, le=512, description="channels of every pyramid map and of its memory")
    clip_width: int = Field(128, ge=8, le=1024, description="state width of the LSTM that names the sequence")
    track_width: int = Field(64, ge=8, le=512, description="state width of the LSTM that names each track")
    max_tracks: int = Field(64, ge=1, le=512, description="rows of the track table")
    memory: bool = Field(True, description="false removes the map memory: a frame detector, the control")
    peepholes: bool = Field(True, description="let the gates see the cell state")
    input_size_wh: tuple[int, int] = Field(
        (320, 256), description="width and height (pixels) that frames are fitted into, multiples of 32"
    )

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if any(side % 32 or side < 32 for side in self.input_size_wh):
            raise ValueError(f"input_size_wh must be multiples of 32, got {list(self.input_size_wh)}")
        if not self.levels or any(level not in (4, 8, 16, 32) for level in self.levels):
            raise ValueError(f"levels must be among 4, 8, 16 and 32, got {list(self.levels)}")
        if sorted(set(self.levels)) != list(self.levels):
            raise ValueError(f"levels must be ascending and different, got {list(self.levels)}")
        return self


class StageConfig(_Section):
    """One part of the training, in time order. Shares of all stages add up to 1."""

    name: str = Field(description="shown in the log")
    share: float = Field(gt=0, le=1, description="fraction of the whole training")
    frames_per_clip: int = Field(1, ge=1, le=128, description="T; 1 trains on single frames")
    clips_per_batch: int = Field(16, ge=1, le=1024, description="B")
    max_stride: int = Field(1, ge=1, le=8, description="frames of a random clip are 1..max_stride apart")
    streamed_fraction: float = Field(
        0.0,
        ge=0,
        le=1,
        description="part of the batch that continues the previous chunk with its carried state",
    )
    learning_rate_scale: float = Field(1.0, gt=0, description="multiplies train.learning_rate")
    encoder_learning_rate_scale: float = Field(
        1.0, ge=0, description="multiplies it once more for the encoder"
    )
    augment: bool = Field(True, description="random geometry, contrast, noise, blur, inversion")
    paste_probability: float = Field(
        0.0, ge=0, le=1, description="chance to paste tracks of other recordings"
    )
    synthetic_fraction: float = Field(
        0.0, ge=0, le=1, description="part of the clips that are rendered scenes"
    )
    corrupt_probability: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance of occluders, bursts of blur or noise, frozen frames inside a clip",
    )
    freeze_batchnorm: bool = Field(False, description="stop updating the BatchNorm statistics")


class DataConfig(_Section):
    """What the training reads."""

    split: str = Field("train", description="split of the data set to train on")
    validation_split: str = Field("val", description="split to choose the best checkpoint by")
    where: dict[str, str] = Field(
        default_factory=dict, description="keep only sequences with these attributes, e.g. {sensor: thermal}"
    )
    recording_power: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a recording is drawn with probability ~ clips ** power; 0 draws all alike",
    )
    cache_gib: float = Field(
        6.0, ge=0, description="memory (GiB) for decoded frames, kept as JPEG; 0 decodes anew"
    )
    workers: int = Field(1, ge=0, le=32, description="threads that prepare batches")


def _default_loss_weights() -> dict[LossName, float]:
    return {"objectness": 1.0, "class": 1.0, "box": 2.0, "motion": 0.2, "track": 0.5, "clip": 0.5}


class TrainConfig(_Section):
    """How the training goes."""

    steps: int = Field(2000, ge=1, description="optimizer steps in all")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="time budget in minutes: the schedule follows the clock when it runs ahead of the steps",
    )
    learning_rate: float = Field(2e-3, gt=0, description="AdamW, at its peak")
    weight_decay: float = Field(0.05, ge=0, description="not on norms, biases and peepholes")
    warmup_steps: int = Field(100, ge=0, description="linear warm-up at the start of the training")
    final_learning_rate: float = Field(
        0.01, ge=0, le=1, description="fraction of the peak at the end of the cosine"
    )
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(
        0.998, ge=0, lt=1, description="of the averaged weights that are evaluated and saved"
    )
    amp: bool = Field(True, description="bfloat16 where the device has it; the cells stay in float32")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="of the class losses")
    loss_weights: dict[LossName, float] = Field(
        default_factory=_default_loss_weights, description="weight of every loss term"
    )
    seed: int = Field(0, ge=0, description="of weights, sampling and augmentation")
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes all")
    log_every: int = Field(20, ge=1, description="steps between two lines of the log")
    checkpoint_minutes: float = Field(2.0, gt=0, description="minutes between two saved states")
    evaluate_every_share: float = Field(
        0.2, gt=0, le=1, description="fraction of the training between two evaluations"
    )
    evaluate_clips: int = Field(
        24, ge=0, description="validation clips of these evaluations; 0 evaluates never"
    )
    evaluate_frames: int = Field(48, ge=1, description="frames of each of them")
    stages: tuple[StageConfig, ...] = Field(
        default_factory=lambda: (
            StageConfig(name="frames", share=0.4, clips_per_batch=16, max_stride=1),
            StageConfig(
                name="clips",
                share=0.5,
                frames_per_clip=8,
                clips_per_batch=4,
                max_stride=3,
                streamed_fraction=0.5,
            ),
            StageConfig(
                name="anneal", share=0.1, frames_per_clip=8, clips_per_batch=4, freeze_batchnorm=True
            ),
        ),
        description="parts of the training, in time order",
    )

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        total = sum(stage.share for stage in self.stages)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of the stages must add up to 1, got {total:g}")
        return self


class Config(_Section):
    """Everything that one training run reads."""

    model: ModelConfig = Field(default_factory=ModelConfig, description="the detector's shape")
    data: DataConfig = Field(default_factory=DataConfig, description="what the training reads")
    train: TrainConfig = Field(default_factory=TrainConfig, description="how the training goes")


# ---- reading: strict YAML, so that a typo or a hostile file ends in one clear message ----

_MAX_BYTES = 64 * 1024  # a full configuration has 4 KiB; the parser takes about a second for this much
_MAX_DEPTH = 16  # the parser recurses
_Path = tuple[str | int, ...]


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read one configuration, strictly.

    Args:
        path: a YAML file, or None for the defaults.
        overrides: ``section.key=value`` each, applied in order; a value is read as YAML and a whole number in
            the key is a position in a list (``train.stages.0.share=0.5``).

    Returns:
        The checked configuration.

    Raises:
        UsageError: the file is missing, too large, nested too deep, holds an alias, a key twice, an unknown
            key or a value that is not allowed. Every mistake is named with file, line and field.
    """
    return with_overrides(Config() if path is None else _read_file(path), overrides)


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """The same configuration with single fields changed; as in `load_config`."""
    if not overrides:
        return config
    tree = config.model_dump(mode="json")
    origins = {_override(tree, text): f"--set {text}" for text in overrides}

    def origin(location: _Path) -> str:
        around = (text for path, text in origins.items() if location[: len(path)] == path[: len(location)])
        return next(around, "--set")

    return _validated(tree, origin)


def _read_file(path: Path) -> Config:
    if not path.is_file():
        raise UsageError(f"{path}: no such configuration file; configs/ holds complete ones to start from")
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UsageError(f"{path}: larger than {_MAX_BYTES // 1024} KiB, which no configuration needs")
        tree, lines = _parse(data.decode("utf-8"), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start}); is it a YAML file?") from error
    if not isinstance(tree, dict):
        raise UsageError(
            f"{path}:1: a configuration is a mapping with the sections {', '.join(Config.model_fields)}"
        )

    def origin(location: _Path) -> str:
        known = (lines[location[:end]] for end in range(len(location), 0, -1) if location[:end] in lines)
        return f"{path}:{next(known, 1)}"

    return _validated(tree, origin)


class _Refused(Exception):
    """YAML that is well-formed but not wanted."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem)
        self.line = mark.line + 1


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without aliases and deep nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            # Aliases of aliases are how a small file becomes a huge one, and a complete file needs none.
            raise _Refused("aliases are not allowed, write the value out", event.start_mark)
        if self.depth >= _MAX_DEPTH:
            raise _Refused(f"nested deeper than {_MAX_DEPTH} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _parse(text: str, name: str) -> tuple[object, dict[_Path, int]]:
    """The tree that a YAML text describes, and the line (from 1) of every key and item in it."""
    try:
        loader = _StrictLoader(text)
        try:
            node = loader.get_single_node()
            lines = {} if node is None else dict(_walk(node, ()))
            return (None if node is None else loader.construct_document(node)), lines
        finally:
            loader.dispose()
    except _Refused as error:
        raise UsageError(f"{name}:{error.line}: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{name}{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{name}: not valid YAML: {error}") from error


def _walk(node: yaml.Node, path: _Path) -> Iterator[tuple[_Path, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused("a key is a plain word", key.start_mark)
            if key.value in seen:
                raise _Refused(
                    f"key {key.value!r} is there twice, first in line {seen[key.value]}", key.start_mark
                )
            seen[key.value] = key.start_mark.line + 1
            yield (*path, key.value), seen[key.value]
            yield from _walk(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _walk(value, (*path, index))


def _override(tree: dict, text: str) -> _Path:
    """Put one ``a.b=value`` into the tree; the path that it named."""
    dotted, equals, value = text.partition("=")
    if not equals or not all(dotted.split(".")):
        raise UsageError(f"--set {text}: write section.key=value, such as train.max_minutes=30")
    path: _Path = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
    place: object = tree
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(place, list) and isinstance(key, int) and key < len(place):
            if last:
                place[key] = _parse(value, f"--set {text}")[0]
            place = place[key]
        elif isinstance(place, dict):
            if last:
                place[key] = _parse(value, f"--set {text}")[0]
            place = place.setdefault(key, {})
        else:
            above = ".".join(map(str, path[:depth]))
            what = f"a list of {len(place)}" if isinstance(place, list) else "a value, not a section"
            raise UsageError(f"--set {text}: {above} is {what}, so {key!r} names nothing in it")
    return path


def _validated(tree: dict, origin: Callable[[_Path], str]) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        messages = []
        for problem in error.errors(include_url=False):
            location: _Path = tuple(part for part in problem["loc"] if part != "[key]")
            field = ".".join(map(str, location))
            if problem["type"] == "extra_forbidden":
                text = f"unknown key; {_suggest(location)}"
            elif problem["type"] == "missing":
                text = "is missing"
            elif problem["type"] == "model_type":
                text = f"got {_brief(problem['input'])}; it should be a section: a mapping of keys to values"
            elif problem["type"] == "value_error":
                text = problem["msg"].removeprefix("Value error, ")
            else:
                text = f"got {_brief(problem['input'])}; {problem['msg'].replace('Input ', 'it ', 1)}"
            messages.append(f"{origin(location)}: {field}: {text}")
        raise UsageError("\n".join(messages)) from error


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _suggest(location: _Path) -> str:
    """The known key nearest to an unknown one, looked for in its section first, then everywhere."""
    name, section = str(location[-1]), _section_at(location[:-1])
    here = list(section.model_fields)
    if near := difflib.get_close_matches(name, here, 1):
        return f"did you mean {near[0]!r}?"
    everywhere = {
        key: f"{part}.{key}"
        for part, field in Config.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    }
    if near := difflib.get_close_matches(name, everywhere, 1):
        return f"did you mean {everywhere[near[0]]!r}?"
    return f"allowed here: {', '.join(here)}"


def _section_at(path: _Path) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for key in path:
        if isinstance(key, str):
            annotation = section.model_fields[key].annotation
            candidates = (annotation, *get_args(annotation))
            section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return section
