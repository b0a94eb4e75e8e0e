"""The report: a page of its own that says the figures, whatever the names in the data are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from seqdet.results.charts import bar_chart, line_chart
from seqdet.results.metrics.headline import HEADLINE
from seqdet.results.page import FURTHER, ClipEntry, report_page

EVIL = """<script>alert(1)</script>&"'$x^2$"""
VOID = {"meta", "br", "link", "img", "input"}


class Page(HTMLParser):
    """Checks that every element is closed, and collects what a reader and a browser would take from it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.loads: list[str] = []
        self.elements: set[str] = set()
        self.handlers: list[str] = []
        self.feed(text)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def figures(classes, recording="r1", hole=False):
    """What an evaluation finds; ``hole``: nothing that could be measured."""
    value = None if hole else 0.4375
    one = dict.fromkeys((*HEADLINE, *FURTHER), value) | {
        "clips": 3,
        "frames": 90,
        "track_accuracy_after": {"4": value, "8": None},
        "per_class": {name: {"ap50": value, "truths": 7} for name in classes},
        "by_size": {"tiny": {"map50": value, "truths": 5}, "large": {"map50": None, "truths": 0}},
        "by_speed": {"slow": {"map50": value, "truths": 5}},
        "precision_at_recall": {} if hole else {name: [0.5] * 101 for name in classes},
        "box_confusion": [[1] * (len(classes) + 1)] * (len(classes) + 1),
        "track_confusion": [[0] * (len(classes) + 1)] * len(classes),
        "sequence_confusion": [[0] * (len(classes) + 1)] * len(classes),
        "intervals_95": {name: None if hole else [0.25, 0.625] for name in HEADLINE},
        "per_recording": {recording: {"clips": 3, "tracks": 4} | dict.fromkeys(HEADLINE, value)},
    }
    differences = {name: None if hole else [0.125, 0.375] for name in HEADLINE}
    off = {**one, "difference_95": differences}
    shuffled = {key: entry for key, entry in off.items() if key != "by_speed"}
    return one | {"controls": {"memory_off": off, "shuffled": shuffled}}


def page(classes=("drone", "bird"), clips=(), about=None, **options) -> tuple[str, Page]:
    text = report_page(figures(classes, **options), classes, about or {"model": "airspace"}, clips)
    return text, Page(text)


def test_the_page_says_the_figures_their_intervals_and_the_controls():
    _, read = page()
    words = " ".join(read.words)
    for said in ("0.438", "0.250 to 0.625", "+0.125 to +0.375", "memory off", "shuffled", "drone", "r1"):
        assert said in words
    assert all(name in words for name in (*HEADLINE, *FURTHER))
    assert "svg" in read.elements


def test_names_from_data_stay_text():
    clip = ClipEntry(EVIL, EVIL, f"clips/{EVIL}.mp4", EVIL)
    text, read = page(classes=(EVIL, "b"), recording=EVIL, about={EVIL: EVIL}, clips=[clip])
    assert "script" not in read.elements
    assert not read.handlers
    assert "<script" not in text
    assert read.words.count(EVIL) >= 8, "they are shown as they are, in charts too"


def test_nothing_is_loaded_but_the_clips():
    _, plain = page()
    clips = [ClipEntry("sky 1", "r1", "clips/sky 1.mp4", "missed")]
    text, read = page(clips=clips)
    assert [load for load in plain.loads if not load.startswith("#")] == []
    assert [load for load in read.loads if not load.startswith("#")] == ["clips/sky%201.mp4"]
    assert not re.search(r"@import|url\((?!#)", text)


def test_what_could_not_be_measured_is_a_dash():
    _, read = page(hole=True)
    assert "–" in read.words
    assert not {"None", "nan"} & set(read.words)


@pytest.mark.parametrize(
    ("name", "ends", "kind"),
    [
        ("map50", [0.1, 0.2], "better"),
        ("map50", [-0.2, -0.1], "worse"),
        ("map50", [-0.1, 0.2], ""),
        ("flicker_per_min", [-9.0, -2.0], "better"),
        ("delay_frames", [1.0, 2.0], "worse"),
    ],
)
def test_a_difference_is_coloured_where_it_is_clear(name, ends, kind):
    given = figures(("a",))
    given["controls"] = {"memory_off": given["controls"]["memory_off"] | {"difference_95": {}}}
    differences = dict.fromkeys(HEADLINE) | {name: ends}
    given["controls"]["memory_off"]["difference_95"] = differences
    text = report_page(given, ("a",), {}, ())
    assert re.findall(r'<small class="(\w*)">', text) == [kind]


def test_charts_are_whole_svg_and_come_again():
    lines = line_chart({"a": ([4, 8], [0.1, None])}, x_label="n", y_label="y", x_ticks=[4, 8])
    bars = bar_chart({"a": [0.5, None], "b": [0.2, 0.3]}, ["tiny", "large"], x_label="size", y_label="y")
    for svg in (lines, bars):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert lines == line_chart({"a": ([4, 8], [0.1, None])}, x_label="n", y_label="y", x_ticks=[4, 8])
    ElementTree.fromstring(line_chart({}, x_label="n", y_label="y"))
