"""Reading a configuration: strict YAML, so that a typo or a hostile file ends in one clear message.

A run has one complete file (``configs/*.yaml``); ``--set section.key=value`` overrides single fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from seqdet.config import AnyConfig, ClassifierConfig, Config, GlimpseRunConfig
from seqdet.errors import UsageError

_MAX_BYTES = 64 * 1024  # a full configuration has 4 KiB; the parser takes about a second for this much
_MAX_DEPTH = 16  # the parser recurses
_Path = tuple[str | int, ...]
_KINDS = ("detector", "sequence_classifier", "glimpse")
_AnyConfig = TypeVar("_AnyConfig", bound=BaseModel)


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read the configuration of a detector, strictly.

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
    if path is None:
        return with_overrides(Config(), overrides)
    config = load_any_config(path, overrides)
    if not isinstance(config, Config):
        raise UsageError(
            f"{path}: this configures a {config.kind}; here the configuration of a detector is needed"
        )
    return config


def load_any_config(path: Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """Read a configuration of the kind that its file says; as `load_config`."""
    return with_overrides(_read_file(path), overrides)


def with_overrides(config: _AnyConfig, overrides: Sequence[str]) -> _AnyConfig:
    """The same configuration with single fields changed; as in `load_config`."""
    if not overrides:
        return config
    tree = config.model_dump(mode="json")
    origins = {_override(tree, text): f"--set {text}" for text in overrides}

    def origin(location: _Path) -> str:
        around = (text for path, text in origins.items() if location[: len(path)] == path[: len(location)])
        return next(around, "--set")

    return _validated(type(config), tree, origin)


def _read_file(path: Path) -> AnyConfig:
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
        sections = ", ".join(name for name in Config.model_fields if name != "kind")
        raise UsageError(f"{path}:1: a configuration is a mapping with the sections {sections}")

    def origin(location: _Path) -> str:
        known = (lines[location[:end]] for end in range(len(location), 0, -1) if location[:end] in lines)
        return f"{path}:{next(known, 1)}"

    kind = tree.get("kind", "detector")
    if kind not in _KINDS:
        near = difflib.get_close_matches(str(kind), _KINDS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(_KINDS)}"
        raise UsageError(f"{origin(('kind',))}: kind: got {_brief(kind)}; {hint}")
    if kind == "sequence_classifier":
        return _validated(ClassifierConfig, tree, origin)
    if kind == "glimpse":
        return _validated(GlimpseRunConfig, tree, origin)
    return _validated(Config, tree, origin)


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


def _validated(kind: type[_AnyConfig], tree: dict, origin: Callable[[_Path], str]) -> _AnyConfig:
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        messages = []
        for problem in error.errors(include_url=False):
            location: _Path = tuple(part for part in problem["loc"] if part != "[key]")
            field = ".".join(map(str, location))
            if problem["type"] == "extra_forbidden":
                text = f"unknown key; {_suggest(kind, location)}"
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


def _suggest(kind: type[BaseModel], location: _Path) -> str:
    """The known key nearest to an unknown one, looked for in its section first, then everywhere."""
    name, section = str(location[-1]), _section_at(kind, location[:-1])
    here = list(section.model_fields)
    if near := difflib.get_close_matches(name, here, 1):
        return f"did you mean {near[0]!r}?"
    everywhere = {
        key: f"{part}.{key}"
        for part, field in kind.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    }
    if near := difflib.get_close_matches(name, everywhere, 1):
        return f"did you mean {everywhere[near[0]]!r}?"
    return f"allowed here: {', '.join(here)}"


def _section_at(kind: type[BaseModel], path: _Path) -> type[BaseModel]:
    section = kind
    for key in path:
        if isinstance(key, str):
            annotation = section.model_fields[key].annotation
            candidates = (annotation, *get_args(annotation))
            section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return section
