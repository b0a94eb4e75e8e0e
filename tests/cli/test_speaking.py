"""Progress, tables and JSON as people and programs see them."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from seqdet.cli.common import json_ready, table
from seqdet.cli.evaluate import as_text
from seqdet.cli.progress import Progress, status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A stream whose reader has left."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [
        (120, 600, "120/600 frames, 40.0 frames/s, 0:12 left"),
        (600, 600, "600/600 frames, 200.0 frames/s"),
        (120, None, "120 frames, 40.0 frames/s"),
        (0, 600, "0/600 frames"),
        (700, 600, "700 frames, 233.3 frames/s"),  # the promised number is a hint
        (1, 600, "1/600 frames, 0.3 frames/s, 29:57 left"),
    ],
)
def test_status_says_how_far_how_fast_how_long(done, total, said):
    assert status(done, total, "frames", now_s=13.0, start=(10.0, 0)) == said


def test_off_a_terminal_progress_is_plain_lines():
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        for done in range(1, 101):
            progress("sky.mp4", done, 100)
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().startswith("sky.mp4: 100/100 frames, ")


def test_on_a_terminal_progress_is_a_bar_and_the_cursor_comes_back():
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress("sky[0].mp4", 0, 100)
        progress("sky[0].mp4", 100, 100)
    assert "sky[0].mp4" in stream.getvalue()
    assert "100/100 frames" in stream.getvalue()
    hidden, shown = stream.getvalue().rfind("\x1b[?25l"), stream.getvalue().rfind("\x1b[?25h")
    assert hidden < shown, "the cursor is shown again"


def test_a_smaller_number_starts_a_new_count_and_a_new_label_alone_does_not():
    stream = Terminal()
    with Progress("steps", stream=stream) as progress:
        for step in range(1, 6):
            progress(f"loss {6 - step}", step, 5)
        progress("next", 1, 2)
        progress("next", 2, 2)
    last = stream.getvalue().rpartition("\x1b[2K")[2]
    assert "loss 1" in last
    assert "next" in last
    assert "loss 2" not in last


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_that_goes_away_does_not_end_the_run(is_terminal: bool):
    with Progress(stream=Gone(is_terminal)) as progress:
        progress("sky.mp4", 5, 10)
        progress("sky.mp4", 10, 10)


def test_quiet_is_silent():
    stream = Terminal()
    with Progress(quiet=True, stream=stream) as progress:
        progress("sky.mp4", 10, 10)
    assert stream.getvalue() == ""


@dataclasses.dataclass
class Report:
    out: Path
    rows: tuple[int, ...]
    score: float
    array: np.ndarray


def test_json_is_what_json_knows():
    report = Report(Path("x.mp4"), (1, 2), math.nan, np.array([1.5, np.inf], np.float32))
    ready = json_ready({"sources": [report], 3: np.int64(4)})
    expected = {"sources": [{"out": "x.mp4", "rows": [1, 2], "score": None, "array": [1.5, None]}], "3": 4}
    assert json.loads(json.dumps(ready, allow_nan=False)) == expected


def test_table_aligns_numbers_to_the_right():
    text = table(["name", "n", "score"], [["sky.mp4", 3, 0.5], ["a", 12, None]])
    assert text.splitlines() == ["name      n  score", "sky.mp4   3  0.500", "a        12      -"]
    assert table(["name"], []) == "name"


def test_figures_stand_beside_their_controls_and_above_the_classes():
    figures = {
        "map50": 0.5,
        "hota": None,
        "sequence_confusion": [[1, 0], [0, 1]],
        "per_class": {"drone": {"ap50": 0.25, "truths": 3}, "bird": {"ap50": None, "truths": 0}},
        "controls": {"memory_off": {"map50": 0.125}},
    }
    assert [line.split() for line in as_text(figures).splitlines()] == [
        ["figure", "value", "memory_off"],
        ["map50", "0.500", "0.125"],
        ["hota", "-", "-"],
        [],
        ["class", "ap50", "truths"],
        ["drone", "0.250", "3"],
        ["bird", "-", "0"],
    ]


def test_an_interval_stands_beside_its_figure():
    figures = {
        "map50": 0.5,
        "mota": 0.25,
        "hota": None,
        "intervals_95": {"map50": [0.125, 0.75], "hota": None},
    }
    assert [line.split() for line in as_text(figures).splitlines()] == [
        ["figure", "value", "95", "%"],
        ["map50", "0.500", "0.125", "to", "0.750"],
        ["mota", "0.250"],
        ["hota", "-"],
    ]
