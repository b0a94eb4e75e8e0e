"""What is in the wheel: all that the package needs to work, and nothing that is ours alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST_BYTES = 20_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built as ``uv build`` does, by the backend in this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    assert path.name.endswith("-py3-none-any.whl"), "pure Python, for every system"
    assert path.stat().st_size < LARGEST_BYTES
    return zipfile.ZipFile(path)


def test_it_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Every file of the package: code, models, the pages; no tests, no data, nothing compiled."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = {
        str(path.relative_to(ROOT).as_posix())
        for path in (ROOT / "seqdet").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert names == package
    assert {
        "seqdet/models/airspace.safetensors",
        "seqdet/serve/static/index.html",
        "seqdet/py.typed",
    } <= names
    assert {name.rpartition(".")[2] for name in names} == {
        *("py", "typed", "safetensors", "css", "js", "html", "svg"),
    }


def test_what_it_says_of_itself(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    said = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (said["Name"], said["License-Expression"]) == ("seqdet", "Apache-2.0")
    assert said["Requires-Python"] == project["requires-python"]
    assert set(said.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "seqdet = seqdet.cli.app:main" in wheel.read(f"{info}/entry_points.txt").decode()
    words = said.as_string()
    assert "git+" not in words, "only packages of an index, none by an address"
