"""What ``seqdet check`` found, as one HTML page: nothing is loaded from elsewhere, pictures are in it.

All that comes from data (names of classes, sequences, files) is text and is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from seqdet.results.charts import bar_chart
from seqdet.results.draw import Annotator, class_colour_rgb
from seqdet.types import Detections, Frame, FrameResult, Targets

PICTURE_WIDTH_PX = 560
ROWS_SHOWN = 100
ROWS_OPEN = 20  # longer lists of warnings and notes are folded

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 0 auto;
  max-width: 1120px; padding: 24px; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
p { margin: .3rem 0; max-width: 78ch; color: #444; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: 3px 12px 3px 0; text-align: right; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
th { font-weight: 600; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
summary { cursor: pointer; padding: 4px 0; }
.error { color: #a33f00; font-weight: 600; }
.warning { color: #7a5a00; font-weight: 600; }
.note { color: #555; }
.wide { overflow-x: auto; }
.grid { display: grid; gap: 12px 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); }
.pictures { display: grid; gap: 12px 20px;
  grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
.grid svg { width: 100%; height: auto; }
figure { margin: 0; }
img { width: 100%; background: #000; display: block; }
figcaption { color: #444; font-size: 13px; overflow-wrap: anywhere; }
"""


class Picture(NamedTuple):
    """A frame to look at.

    Attributes:
        jpeg: the encoded picture.
        caption: what it shows.
    """

    jpeg: bytes
    caption: str


class Histogram(NamedTuple):
    """Shares of each split, or class, over ranges or names.

    Attributes:
        title: what is counted.
        note: how.
        series: name -> one share (0..1) a group.
        groups: names under the bars.
        x_label, y_label: of the axes.
    """

    title: str
    note: str
    series: Mapping[str, Sequence[float]]
    groups: Sequence[str]
    x_label: str
    y_label: str


class Group(NamedTuple):
    """All findings of one kind.

    Attributes:
        kind: its name.
        severity: the highest among them.
        total: how many there are.
        header: names of the columns.
        rows: the first of them, cells as text.
        pictures: of some of them.
    """

    kind: str
    severity: str
    total: int
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    pictures: Sequence[Picture]


def draw_labels(frame: Frame, truth: Targets, classes: Sequence[str], caption: str) -> Picture:
    """A frame with its labels drawn in, encoded.

    Args:
        frame: the picture.
        truth: its boxes.
        classes: names of the classes.
        caption: what it shows.
    """
    picture = Image.fromarray(frame.rgb)
    pen = ImageDraw.Draw(picture)
    thickness = max(1, round(2 * picture.width / PICTURE_WIDTH_PX))  # the page shows it smaller still
    for (left, top, right, bottom), class_id in zip(
        np.rint(truth.boxes_xyxy_px).tolist(), truth.class_ids.tolist(), strict=True
    ):
        around = (left - thickness, top - thickness, right + thickness - 1, bottom + thickness - 1)
        pen.rectangle(around, outline=class_colour_rgb(class_id), width=thickness)
    framed = replace(frame, rgb=np.asarray(picture))
    result = FrameResult(framed, Detections.empty(len(classes)), tuple(classes))
    return Picture(_jpeg(Annotator(classes, trail_length=0).draw(result, truth)), caption)


def _jpeg(rgb: np.ndarray) -> bytes:
    picture = Image.fromarray(rgb)
    if picture.width > PICTURE_WIDTH_PX:
        height = max(1, round(picture.height * PICTURE_WIDTH_PX / picture.width))
        picture = picture.resize((PICTURE_WIDTH_PX, height))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def check_page(
    name: str,
    facts: Sequence[str],
    counts: tuple[Sequence[str], Sequence[Sequence[str]]],
    histograms: Sequence[Histogram],
    groups: Sequence[Group],
    samples: Sequence[Picture],
) -> str:
    """The whole page.

    Args:
        name: of the data set.
        facts: sentences for its head.
        counts: header and rows of the table of what is in it.
        histograms: shown as bars.
        groups: of findings, the worst first.
        samples: some frames as they are labelled.
    """
    charts = "".join(
        f"<div><h3>{escape(chart.title)}</h3><p>{escape(chart.note)}</p>"
        f"{bar_chart(chart.series, chart.groups, x_label=chart.x_label, y_label=chart.y_label)}</div>"
        for chart in histograms
    )
    parts = [
        f"<h1>seqdet check: {escape(name)}</h1>",
        *(f"<p>{escape(fact)}</p>" for fact in facts),
        f'<h2>Counts</h2><div class="wide">{_table(*counts)}</div>',
        _findings(groups),
        f'<h2>Distributions</h2><div class="grid">{charts}</div>',
        f"<h2>Samples</h2>{_pictures(samples)}" if samples else "",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>seqdet check</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _findings(groups: Sequence[Group]) -> str:
    if not groups:
        return "<h2>Findings</h2><p>None.</p>"
    parts = []
    for group in groups:
        shown = group.rows[:ROWS_SHOWN]
        rest = group.total - len(shown)
        more = f"<p>... and {rest} more</p>" if rest > 0 else ""
        parts.append(
            f"<details{' open' * (group.severity == 'error' or group.total <= ROWS_OPEN)}><summary>"
            f'<span class="{escape(group.severity)}">{escape(group.severity)}</span> '
            f"<b>{escape(group.kind)}</b>: {group.total}</summary>"
            f'<div class="wide">{_table(group.header, shown, "words")}</div>{more}</details>'
            f"{_pictures(group.pictures)}"
        )
    return "<h2>Findings</h2>" + "".join(parts)


def _pictures(pictures: Sequence[Picture]) -> str:
    cells = "".join(
        f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in pictures
    )
    return f'<div class="pictures">{cells}</div>' if cells else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Of texts, which are escaped here."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="{kind}"><tr>{head}</tr>{body}</table>'
