"""The report of an evaluation as one HTML page: nothing is loaded from elsewhere but the clips beside it.

All that comes from data (names of classes, clips, recordings, files) is text and is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

from seqdet.results.charts import bar_chart, line_chart
from seqdet.results.metrics.headline import HEADLINE
from seqdet.results.metrics.ranking import RECALLS

# Figures that are shown below the headline ones, without an interval.
FURTHER = (
    "map50_95",
    "precision_50",
    "recall_50",
    "f1_score_threshold",
    "mota",
    "identity_switches",
    "presence_flips_per_min",
    "label_flips_per_min",
    "centre_jitter",
    "size_jitter",
    "tracks",
    "missed_tracks",
    "frames_per_s",
)
LOWER_IS_BETTER = ("flicker_per_min", "delay_frames")
THIS = "this model"

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
th:first-child, td:first-child { text-align: left; }
small { color: #666; display: block; white-space: nowrap; }
small.better { color: #00674b; font-weight: 600; }
small.worse { color: #a33f00; font-weight: 600; }
.wide { overflow-x: auto; }
.grid { display: grid; gap: 12px 28px;
  grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); }
.grid svg { width: 100%; height: auto; }
.confusion td { min-width: 54px; padding: 4px 8px; text-align: right; border: 1px solid #fff; }
.confusion th { padding: 4px 8px; }
figure { margin: 0; }
video { width: 100%; background: #000; }
figcaption { color: #444; overflow-wrap: anywhere; }
"""


class ClipEntry(NamedTuple):
    """A clip to look at.

    Attributes:
        name: of the clip.
        recording: of which it is.
        video: path of the annotated video, relative to the page.
        note: what there is to see.
    """

    name: str
    recording: str
    video: str
    note: str


def report_page(
    figures: Mapping[str, Any], classes: Sequence[str], about: Mapping[str, str], clips: Sequence[ClipEntry]
) -> str:
    """The whole page.

    Args:
        figures: what ``eval --json`` prints.
        classes: names of the classes.
        about: what was measured: name -> value.
        clips: the worst ones.
    """
    facts = " · ".join(f"{escape(name)} <b>{escape(value)}</b>" for name, value in about.items() if value)
    parts = [
        f"<h1>seqdet evaluation</h1><p>{facts} · {figures['clips']} clips of "
        f"{len(figures['per_recording'])} recordings, {figures['frames']} frames</p>",
        _headline(figures),
        _charts(figures),
        "<h2>Classes</h2>",
        _groups("class", figures["per_class"]),
        _confusions(figures, classes),
        _recordings(figures["per_recording"]),
        _worst(clips),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>seqdet evaluation</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _headline(figures: Mapping[str, Any]) -> str:
    controls: Mapping[str, Mapping[str, Any]] = figures["controls"]
    rows = []
    for name in HEADLINE:
        row = [escape(name), f"{_number(figures[name])}{_interval(figures['intervals_95'][name])}"]
        row += [
            f"{_number(control[name])}{_difference(name, control['difference_95'][name])}"
            for control in controls.values()
        ]
        rows.append(row)
    for name in FURTHER:
        values = [figures[name], *(control[name] for control in controls.values())]
        rows.append([escape(name), *map(_number, values)])
    said = (
        "<p>Below a figure: its 95 % interval by bootstrap over recordings. Below a control: the interval of "
        "this model's figure less the control's, drawn in pairs; coloured where it leaves out 0: green where "
        "this model is better, red where the control is.</p>"
    )
    header = ["figure", THIS, *(_words(name) for name in controls)]
    return f"<h2>Figures</h2>{said}{_table(header, rows)}"


def _charts(figures: Mapping[str, Any]) -> str:
    everything = {THIS: figures} | {_words(k): control for k, control in figures["controls"].items()}
    curves = {name: (RECALLS.tolist(), curve) for name, curve in figures["precision_at_recall"].items()}
    frames = [int(n) for n in figures["track_accuracy_after"]]
    named = {name: (frames, list(its["track_accuracy_after"].values())) for name, its in everything.items()}
    parts = [
        (
            "Precision over recall",
            "IoU .5, greatest precision at this recall or a higher one.",
            line_chart(curves, x_label="recall", y_label="precision"),
        ),
        (
            "Class of a track over frames seen",
            "Share of right names after so many frames of a track; not found until then is wrong.",
            line_chart(named, x_label="frames of the track", y_label="track accuracy", x_ticks=frames),
        ),
    ]
    for key, title, note, label in (
        ("by_size", "By size", "Side of the object in pixels of the source.", "size"),
        (
            "by_speed",
            "By speed",
            "Mean IoU of an object with itself within ten frames: slow above .9, fast below .7. "
            "Out of order there is no speed.",
            "speed",
        ),
    ):
        groups: Mapping[str, Mapping[str, Any]] = figures[key]
        series = {
            # None, not left out: a control keeps its colour from chart to chart.
            name: [its[key][group]["map50"] if key in its else None for group in groups]
            for name, its in everything.items()
        }
        ticks = [f"{group}\n{entry['truths']} boxes" for group, entry in groups.items()]
        parts.append((title, note, bar_chart(series, ticks, x_label=label, y_label="map50")))
    cells = "".join(f"<div><h3>{title}</h3><p>{escape(note)}</p>{svg}</div>" for title, note, svg in parts)
    return f'<h2>Curves</h2><div class="grid">{cells}</div>'


def _confusions(figures: Mapping[str, Any], classes: Sequence[str]) -> str:
    parts = []
    for key, title, missing in (
        ("box_confusion", "Boxes", "not found"),
        ("track_confusion", "Tracks", "not found"),
        ("sequence_confusion", "Sequences", "no name"),
    ):
        table = figures[key]
        names = [*classes, "nothing there"][: len(table)]
        lines = []
        for name, row in zip(names, table, strict=True):
            total = max(sum(row), 1)
            cells = "".join(
                f'<td style="background: rgba(0, 114, 178, {0.6 * value / total:.3f})">{value}</td>'
                for value in row
            )
            lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
        header = "".join(f"<th>{escape(name)}</th>" for name in ["", *classes, missing])
        parts.append(
            f'<div class="wide"><h3>{title}</h3><table class="confusion"><tr>{header}</tr>'
            f"{''.join(lines)}</table></div>"
        )
    return (
        "<h2>Confusion</h2><p>A row is what it is, a column what it was called. The shade is its share of "
        f'the row.</p><div class="grid">{"".join(parts)}</div>'
    )


def _recordings(table: Mapping[str, Mapping[str, Any]]) -> str:
    worst_first = sorted(table.items(), key=lambda item: (item[1]["f1_50"] is None, item[1]["f1_50"] or 0.0))
    columns = ["clips", "tracks", *HEADLINE]
    rows = [[escape(name), *(_number(entry[column]) for column in columns)] for name, entry in worst_first]
    said = "<p>Lowest F1 first; the threshold of F1 is the best one for each recording.</p>"
    header = ["recording", *map(_words, columns)]
    return f'<h2>Recordings</h2>{said}<div class="wide">{_table(header, rows)}</div>'


def _worst(clips: Sequence[ClipEntry]) -> str:
    if not clips:
        return ""
    cells = "".join(
        f'<figure><video controls muted loop preload="metadata" src="{escape(quote(clip.video))}"></video>'
        f"<figcaption><b>{escape(clip.name)}</b> of {escape(clip.recording)}: "
        f"{escape(clip.note)}</figcaption></figure>"
        for clip in clips
    )
    return (
        "<h2>Worst clips</h2><p>The stretch with most mistakes of the clips with the greatest share of them, "
        "one clip a recording. White corners: the truth; coloured boxes: what was found.</p>"
        f'<div class="grid">{cells}</div>'
    )


def _groups(title: str, groups: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(next(iter(groups.values()), {}))
    rows = [[escape(name), *(_number(entry[column]) for column in columns)] for name, entry in groups.items()]
    return _table([title, *columns], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Of names, which are escaped here, and cells, which are HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"<small>{ends[0]:.3f} to {ends[1]:.3f}</small>"


def _difference(name: str, ends: Sequence[float] | None) -> str:
    if ends is None:
        return ""
    kind = ""
    if ends[0] > 0 or ends[1] < 0:
        kind = "better" if (ends[0] > 0) != (name in LOWER_IS_BETTER) else "worse"
    return f'<small class="{kind}">{ends[0]:+.3f} to {ends[1]:+.3f}</small>'


def _words(name: str) -> str:
    return name.replace("_", " ")
