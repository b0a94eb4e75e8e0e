"""The laws of the house, kept by a walk over the syntax trees: floors, rooms, who may import what, no cycle.

The floors, from the top: the face (cli), the runs (and the pages they serve), three wings that do not know
each other (data, model, results), what they stand on (video, config_file), and the values that all speak in.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from seqdet.config import Config
from seqdet.config_file import load_any_config

ROOT = Path(__file__).resolve().parents[1]
FLOORS = [
    {"types", "boxes", "rle", "errors", "config", "defaults"},
    {"claim", "live_types"},
    {"video", "config_file"},
    {"data", "model", "results"},
    {"runs", "serve"},
    {"cli", "seqdet"},  # "seqdet" is the package's own __init__: the face in Python
    {"__main__"},
]
ONLY_IN = {
    "av": ("seqdet.video",),
    "cv2": (
        "seqdet.video",
        "seqdet.data.transforms",
        "seqdet.data.pack",  # channels taken apart and together
        "seqdet.data.paste",
        "seqdet.data.crops",
        "seqdet.data.synth",
        "seqdet.results.draw",
    ),
    "albumentations": ("seqdet.data.transforms",),
    "matplotlib": ("seqdet.results.charts",),
    "typer": ("seqdet.cli",),
    "rich": ("seqdet.cli",),
}
MAX_LINES = 400


@cache
def modules() -> dict[str, ast.Module]:
    """Name and syntax tree of every module of the package."""
    found = {}
    for path in sorted((ROOT / "seqdet").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(name: str) -> set[str]:
    """Dotted names of all that a module imports, lazily or not."""
    found = set()
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import; write it out from seqdet"
            assert all(a.name != "*" for a in node.names), f"{name}:{node.lineno}: import *"
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                if member != "seqdet.__version__":  # a constant, which anyone may read
                    found.add(member if member in modules() else str(node.module))
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def floor(module: str) -> int:
    numbers = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert numbers, f"{module}: no floor has a room {room(module)!r}; is it in the right place?"
    return numbers[0]


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_keeps_the_laws(module: str):
    for other in imports(module):
        if room(other) != room(module) and (other == "seqdet" or other.startswith("seqdet.")):
            assert floor(other) < floor(module), f"{module} imports {other}: imports run downwards only"
        allowed = ONLY_IN.get(other.split(".")[0], ("seqdet",))
        assert any(f"{module}.".startswith(f"{place}.") for place in allowed), f"{other} in {module}"
    for node in ast.walk(modules()[module]):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            assert caught not in ("", "Exception"), f"{where}: catches everything, so it hides mistakes"
        if isinstance(node, ast.Call) and room(module) != "cli":
            assert ast.unparse(node.func) not in ("print", "input", "exit"), f"{where}: only cli/ talks"
    for node in modules()[module].body:
        doing = (ast.For, ast.While, ast.With, ast.Delete)
        assert not isinstance(node, doing), f"{module}:{node.lineno}: works when it is imported"


def test_nothing_imports_in_a_circle():
    graph = {name: {other for other in imports(name) if other in modules()} - {name} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("folder", ["seqdet", "tests", "tools"])
def test_files_stay_short(folder: str):
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert [f"{path}: {n} lines" for path, n in lengths.items() if n > MAX_LINES] == []


def test_no_two_test_files_have_one_name():
    """Pytest imports them by their bare names, and would refuse the second one and the whole run with it."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_the_command_line_starts_without_the_heavy_libraries():
    heavy = [
        "torch",
        "torchvision",
        "numpy",
        "cv2",
        "av",
        "albumentations",
        "supervision",
        "matplotlib",
        "scipy",
        "pydantic",
    ]
    code = f"import sys, seqdet.cli.app as app; app.build(); print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: Path):
    config = load_any_config(path)
    if isinstance(config, Config):
        assert config.train.checkpoint_minutes <= 1, "so much work may a kill cost"
