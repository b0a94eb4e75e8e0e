"""What the documentation shows holds: strict links, Python blocks that run, commands that are known."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from seqdet.cli.app import build
from seqdet.runs.synth import synth
from seqdet.video.reader import open_video
from seqdet.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAMPLE = ROOT / "sample_videos" / "airspace_thermal.mp4"
# What blocks are shortened by, so that a second is enough, and what stands for things that are not here.
SHORTER = (
    ("sequences=240, frames=48", "sequences=2, frames=4"),
    ("limit=16", "limit=1, controls=False"),
    ("rtsp://camera/stream", "sky.mp4"),
)
# Commands that are run as they are written, on the sample videos and a small data set; what makes them short.
AT_HAND = ("sample_videos/", "datasets/airspace")
SHORT = {
    "detect": "--max-frames 3 --runtime torch --quiet",
    "eval": "--limit 1 --max-frames 2 --no-controls --quiet",
    "check": "--quick --quiet",
}
BEFORE = "from pathlib import Path\nframe_rgb = __import__('numpy').zeros((256, 320, 3), 'uint8')\n"


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """(line, language, text) of every fenced block."""
    found, begun, language, lines = [], 0, "", []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if begun:
                found.append((begun, language, "\n".join(lines)))
                begun, lines = 0, []
            else:
                begun, language = number, line.removeprefix("```").strip()
        elif begun:
            lines.append(line)
    assert not begun, f"{page.name}:{begun}: a block without end"
    return found


def of_language(language: str) -> list:
    return [
        pytest.param(text, id=f"{page.name}:{line}")
        for page in PAGES
        for line, said, text in blocks(page)
        if said == language
    ]


def command_lines() -> list:
    found = []
    for page in PAGES:
        for line, language, text in blocks(page):
            if language:
                continue
            for number, row in enumerate(text.replace("\\\n", " ").splitlines(), line + 1):
                words = row.removeprefix("$ ").strip()
                if match := re.match(r"(?:\S+=\S+ )*(?:.*&& )?(?:uv run )?(seqdet \w+.*)", words):
                    found.append(pytest.param(match[1], id=f"{page.name}:{number}"))
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the blocks speak of."""
    folder = tmp_path_factory.mktemp("documentation")
    with open_video(SAMPLE) as reader, VideoWriter(folder / "sky.mp4", size_wh=(320, 256)) as writer:
        for frame, _ in zip(reader, range(4), strict=False):
            writer.write(frame.rgb, frame.time_s)
    synth(
        folder / "datasets" / "airspace",
        task="airspace",
        sensor="thermal",
        sequences=8,
        frames=4,
        val_fraction=0.5,
    )
    return folder


@pytest.mark.parametrize("text", of_language("python"))
def test_a_block_of_python_runs(text: str, place: Path, monkeypatch: pytest.MonkeyPatch):
    ast.parse(text)
    if "openvino" in text:
        pytest.importorskip("openvino")
        return  # tests/runs/test_runtimes.py steps an exported graph; here its syntax is enough
    for long, short in SHORTER:
        text = text.replace(long, short)
    monkeypatch.chdir(place)
    exec(compile(BEFORE + text, "block", "exec"), {})


@pytest.mark.parametrize("line", command_lines())
def test_a_command_of_the_documentation_is_one(line: str):
    """Command, options, and the form of their values; what it does is what tests of the commands are for."""
    words = shlex.split(line.split(" > ")[0], comments=True)[1:]
    group = typer.main.get_command(build())
    with click.Context(group) as above:
        name, command, rest = group.resolve_command(above, words)
        command.make_context(name, rest, parent=above)


def short_lines() -> list:
    """Lines on what is at hand; not those of which another one says more."""
    found = {}
    for parameter in command_lines():
        words = tuple(shlex.split(parameter.values[0], comments=True)[1:])
        if words[0] in SHORT and words[1].startswith(AT_HAND):
            found.setdefault(words, parameter.id)
    longest = [words for words in found if not any(set(words) < set(other) for other in found)]
    return [pytest.param(words, id=found[words]) for words in longest]


@pytest.mark.parametrize("words", short_lines())
def test_a_command_that_needs_nothing_else_does_what_it_says(
    words: tuple[str, ...], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("sample_videos", "datasets"):
        (tmp_path / name).symlink_to((ROOT if name == "sample_videos" else place) / name)
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(build(), [*words, *SHORT[words[0]].split()])
    assert ran.exit_code == 0, ran.output
    for option, value in pairwise(words):
        if option in ("--out", "--save"):
            assert Path(value).exists(), f"{option} {value}"
    assert ran.stdout or "--json" not in words


def test_the_site_is_built_without_a_broken_link(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", tmp_path / "site"],
        cwd=ROOT,
        check=True,
    )
    page = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("seqdet.load", "Model.step", "InputError"):
        assert name in page
    outside = re.findall(r'(?:src|href)="(https?://[^"]+)"', page)
    assert not [link for link in outside if link.endswith((".js", ".css", ".woff2"))]
