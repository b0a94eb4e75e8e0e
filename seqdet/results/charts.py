"""Charts as SVG, to stand in a page, or as PNG files: the only place where results meet matplotlib.

Figures are made as objects, without matplotlib's global state; the same values give the same text.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito ("Color Universal Design", 2008), darkest first: lines on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
MARKERS = "os^Dvx*"

Value = float | int | None


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[Value]]],
    *,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[float] | None = None,
) -> str:
    """Lines over x; y from 0 to 1.

    Args:
        series: name -> (x, y); a y of None is a gap.
        x_label: what x is.
        y_label: what y is.
        x_ticks: the only values of x, shown at equal distances and with a mark on each line; None: x is
            continuous.
    """

    def draw(axes: Axes) -> None:
        for index, (name, (x, y)) in enumerate(series.items()):
            places = x if x_ticks is None else [list(x_ticks).index(value) for value in x]
            marker = "" if x_ticks is None else MARKERS[index % len(MARKERS)]
            colour = COLOURS[index % len(COLOURS)]
            # The first name is the one that the page is about: it lies on top.
            axes.plot(places, _numbers(y), marker=marker, color=colour, label=name, zorder=9 - index % 7)
        if x_ticks is not None:
            axes.set_xticks(range(len(x_ticks)), [f"{tick:g}" for tick in x_ticks])

    return _chart(draw, x_label, y_label, len(series))


def bar_chart(
    series: Mapping[str, Sequence[Value]], groups: Sequence[str], *, x_label: str, y_label: str
) -> str:
    """Groups of bars; y from 0 to 1.

    Args:
        series: name -> one height a group; None: no bar.
        groups: names under the groups.
        x_label: what the groups are.
        y_label: what the height is.
    """
    width = 0.8 / max(len(series), 1)

    def draw(axes: Axes) -> None:
        for index, (name, heights) in enumerate(series.items()):
            places = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * width
            axes.bar(places, _numbers(heights), width * 0.92, color=COLOURS[index % len(COLOURS)], label=name)
        axes.set_xticks(range(len(groups)), groups)

    return _chart(draw, x_label, y_label, len(series))


def accuracy_png(series: Mapping[str, Sequence[Value]], *, x_label: str) -> bytes:
    """Lines over 1, 2, 3, ...; y, an accuracy, from 0 to 1; a y of None is a gap.

    Args:
        series: name -> one value for each x.
        x_label: what x is.
    """

    from matplotlib.ticker import MaxNLocator

    def draw(axes: Axes) -> None:
        for index, (name, values) in enumerate(series.items()):
            axes.plot(
                range(1, len(values) + 1),
                _numbers(values),
                marker=MARKERS[index % len(MARKERS)],
                color=COLOURS[index % len(COLOURS)],
                label=name,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return _chart(draw, x_label, "accuracy", len(series), _as_png)


def confusion_png(counts: np.ndarray, classes: Sequence[str]) -> bytes:
    """A confusion matrix: a row for what it is, a column for what it was named, darker for a larger share.

    Args:
        counts: (K, K) whole numbers.
        classes: K names.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(1.8 + 0.55 * len(classes), 3.0, 12.0))
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            dark = shares[row, column] > 0.5
            axes.text(
                column, row, str(count), ha="center", va="center", color="white" if dark else COLOURS[-1]
            )
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="named", ylabel="is")
        return _as_png(figure)


def _chart(
    draw: Callable[[Axes], None],
    x_label: str,
    y_label: str,
    names: int,
    as_file: Callable[[Figure], Any] | None = None,
) -> Any:
    """The chart as SVG text, or as what ``as_file`` makes of it."""
    import matplotlib  # here: most commands never need it
    from matplotlib.figure import Figure

    # Names come from data: a dollar sign is no formula. Letters stay letters, so that a page can be searched.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "seqdet", "text.parse_math": False, "font.size": 9}
    ):
        figure = Figure(figsize=(5.2, 3.3), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1.02))
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if names:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(names, 4), frameon=False)
        return (as_file or _as_svg)(figure)


def _as_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _as_svg(figure: Figure) -> str:
    """The <svg> element alone, without the header of a file."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _numbers(values: Sequence[Value]) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]
