"""What describes YOLO labels: ``data.yaml``, ``obj.data``, class names and lists of images."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from seqdet.data.checks import is_inside
from seqdet.data.formats.protocol import VIDEO_SUFFIXES, Problems, path_under, read_text
from seqdet.data.formats.source_files import SPLIT_WORDS, split_of
from seqdet.errors import InputError
from seqdet.video.folder import is_image_name

CONFIG_SUFFIXES = (".yaml", ".yml", ".data")
LISTS = ("train", "valid", "val", "test")
IN_TWO_SPLITS = "image that is listed twice: taken once, in the first split that lists it"
NO_TEST = "split without images: left out"


@dataclass(slots=True)
class YoloConfig:
    """What ``data.yaml`` or ``obj.data`` says, and where images and classes are said to be.

    Attributes:
        root: the source folder, which is never left.
        base: the folder to which paths are relative.
        path: the file itself, or None where there is none.
        names: class names by number, or None when no file has them.
        keypoint_columns: numbers behind the box of each line, as ``kpt_shape`` has them.
        splits: (place, split, what is listed).
        lists: the files that list images.
        notes: what the user should know.
    """

    root: Path
    base: Path
    path: Path | None = None
    names: dict[int, str] | None = None
    keypoint_columns: int = 0
    splits: list[tuple[str, str, str]] = field(default_factory=list)
    lists: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def config_files(source: Path) -> list[Path]:
    """Files that describe a YOLO data set: the source itself, or those in the folder."""
    files = [source] if source.is_file() else sorted(path for path in source.iterdir() if path.is_file())
    return [path for path in files if path.suffix.lower() in CONFIG_SUFFIXES and _describes(path)]


def _describes(path: Path) -> bool:
    try:
        if path.stat().st_size > 1 << 22:
            return False
        if path.suffix.lower() == ".data":
            said = _pairs(path)
            return "names" in said and bool(said.keys() & set(LISTS))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError, InputError):
        return False
    keys = set(re.findall(r"^[\"']?(\w+)[\"']?\s*:", text, re.MULTILINE))
    return "names" in keys and bool(keys & {"train", "val"})


def read_config(source: Path, problems: Problems) -> YoloConfig:
    """The description of a source; without a file for it, class names alone.

    Raises:
        InputError: a description that cannot be used, or several.
    """
    root = source if source.is_dir() else source.parent
    files = config_files(source) or [path for path in sorted(root.glob("data.y*ml")) if path.is_file()]
    if len(files) > 1:
        shown = ", ".join(path.name for path in files)
        raise InputError(
            f"{source}: several files describe a data set ({shown}); give one of them as the source"
        )
    config = YoloConfig(root, root)
    if files and files[0].suffix.lower() == ".data":
        _read_darknet(config, files[0], problems)
    elif files:
        _read_yaml(config, files[0], problems)
    else:
        config.names = _names_in(root)
        for word in LISTS:
            path = root / f"{word}.txt"
            if path.is_file() and any(is_image_name(line.strip()) for line in read_text(path).split("\n")):
                config.splits.append((str(path), SPLIT_WORDS[word], path.name))
    return config


def _read_yaml(config: YoloConfig, path: Path, problems: Problems) -> None:
    document = _load_yaml(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: names and train or val are expected, as key: value")
    config.path = path
    config.names = _yaml_names(path, document.get("names"))
    if (count := document.get("nc")) is not None and count != len(config.names):
        raise InputError(f"{path}: nc: {str(count)[:40]}, but names has {len(config.names)} classes")
    shape = document.get("kpt_shape")
    if (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(side) is int and 0 < side < 10_000 for side in shape)
    ):
        config.keypoint_columns = shape[0] * shape[1]
    said = document.get("path")
    if isinstance(said, str) and said:
        inside = path_under(config.root, said)
        if inside and inside.is_dir():
            config.base = inside
        else:
            config.notes.append(f"path in {path.name} is no folder here: its own folder is taken")
    for key in ("train", "val", "test"):
        entries = document.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str) and entry.strip():
                config.splits.append((f"{path}: {key}", key, entry.strip()))
            elif entry is not None and entry != "":
                problems.fail(
                    f"{path}: {key}", "a folder, a list of images in a .txt, or a list of these is expected"
                )


def _load_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(read_text(path))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, too deep a nesting
        raise InputError(f"{path}: not valid YAML: {str(error)[:200]}") from error


def _yaml_names(path: Path, value: Any) -> dict[int, str]:
    """Names by number from a list or a mapping."""
    entries = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{path}: names: a list of class names, or number: name, is expected")
    names: dict[int, str] = {}
    for number, name in entries.items():
        if type(number) is not int or not 0 <= number < 2**31:
            raise InputError(
                f"{path}: names: a class number, 0 or more, is expected, got {str(number)[:40]!r}"
            )
        if type(name) not in (str, int) or not str(name).strip():
            raise InputError(f"{path}: names: {number}: a text is expected; put it into quotes")
        names[number] = str(name).strip()
    return _different(path, dict(sorted(names.items())))


def _different(path: Path, names: dict[int, str]) -> dict[int, str]:
    if len(set(names.values())) != len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise InputError(f"{path}: names: {twice[:60]!r} occurs twice")
    return names


def _pairs(path: Path) -> dict[str, str]:
    """``key = value`` lines."""
    lines = (line.split("#")[0].partition("=") for line in read_text(path).split("\n"))
    return {key.strip().lower(): value.strip() for key, equals, value in lines if equals}


def _read_darknet(config: YoloConfig, path: Path, problems: Problems) -> None:
    said = _pairs(path)
    config.path = path
    names = find_named(config, said.get("names", ""))
    if names is None or not names.is_file():
        raise InputError(
            f"{path}: names: there is no file {said.get('names', '')[:120]!r} under {config.root}"
        )
    config.names = _name_lines(names)
    if said.get("classes", str(len(config.names))) != str(len(config.names)):
        problems.fail(
            f"{path}: classes", f"{said['classes'][:40]}, but {names.name} has {len(config.names)} names"
        )
    for key in LISTS:
        if said.get(key):
            config.splits.append((f"{path}: {key}", SPLIT_WORDS[key], said[key]))


def _names_in(root: Path) -> dict[int, str] | None:
    """Class names of the one ``*.names`` file, or of ``classes.txt``."""
    found = sorted(root.glob("*.names"))
    if len(found) > 1:
        raise InputError(f"{root}: several .names files: {', '.join(path.name for path in found)}; keep one")
    for folder in (root, root / "labels", root / "images", root / "Annotations"):
        if (folder / "classes.txt").is_file():
            found.append(folder / "classes.txt")
    return _name_lines(found[0]) if found else None


def _name_lines(path: Path) -> dict[int, str]:
    """Line k + 1 names class k."""
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    for number, line in enumerate(lines, 1):
        if not line:
            raise InputError(f"{path}:{number}: a class name is expected")
    return _different(path, dict(enumerate(lines)))


def _without_dots(text: str) -> str:
    """The path without ``./`` and ``../`` at its beginning."""
    return re.sub(r"^(\.{1,2}/)+", "", text.replace("\\", "/")) or "."


def find_named(config: YoloConfig, text: str, base: Path | None = None) -> Path | None:
    """The file or folder under the source that a path in its files means, or None.

    A leading ``../`` is passed over (Roboflow's paths are one level too high), and so is ``data/`` where it
    leads nowhere (that of Darknet and CVAT). What is found is always inside the source.
    """
    text = _without_dots(text)
    for relative in dict.fromkeys((text, text.removeprefix("data/") or ".")):
        for folder in dict.fromkeys((config.base, base or config.base, config.root)):
            path = path_under(config.root, relative, folder)
            if path is not None and path.exists():
                return path
    return None


def split_images(config: YoloConfig, media: list[Path], problems: Problems) -> dict[Path, str | None]:
    """The images and videos that are to be read, each with its split."""
    if not config.splits:
        return {path: split_of(path.parent, config.root) for path in media}
    chosen: dict[Path, str | None] = {}
    known = set(media)
    for place, split, text in config.splits:
        found = find_named(config, text)
        if not is_inside(_without_dots(text)):
            problems.fail(place, f"{text[:120]!r} leads out of {config.root}")
        elif found is None and split == "test":
            problems.drop(NO_TEST, [place])
        elif found is None:
            problems.fail(place, f"there is no {text[:120]!r} under {config.root}")
        elif found.is_dir():
            _add(chosen, [(str(path), path) for path in media if path.is_relative_to(found)], split, problems)
        elif is_image_name(found) or found.suffix.lower() in VIDEO_SUFFIXES:
            _add(chosen, [(place, found)], split, problems)
        else:
            config.lists.add(found)
            _add(chosen, _listed(config, found, known, problems), split, problems)
    return chosen


def _add(
    chosen: dict[Path, str | None], images: list[tuple[str, Path]], split: str, problems: Problems
) -> None:
    twice = [place for place, path in images if path in chosen]
    problems.drop(IN_TWO_SPLITS, twice)
    for _, path in images:
        chosen.setdefault(path, split)


def _listed(config: YoloConfig, path: Path, known: set[Path], problems: Problems) -> list[tuple[str, Path]]:
    """The images that a list names, one a line."""
    images = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        text = line.strip()
        if not text:
            continue
        quick = config.base / text.removeprefix("./")
        found: Path | None = quick if quick in known and not quick.is_symlink() else None
        found = found or find_named(config, text, path.parent)
        if found in known:
            images.append((f"{path}:{number}", found))
        elif not is_inside(_without_dots(text)):
            problems.fail(f"{path}:{number}", f"{text[:120]!r} leads out of {config.root}")
        else:
            problems.fail(f"{path}:{number}", f"there is no image {text[:120]!r} under {config.root}")
    return images
