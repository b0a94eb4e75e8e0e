"""Rows of text -> columns of numbers: a column at once where all is well, else cell by cell.

Legend: R rows, K of them usable, F columns of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

ROWS_AT_ONCE = 100_000  # rows that readers hand over at once: text takes ten times the memory of its numbers
LARGEST_ID = 2**53  # ids travel through float64


class NumberColumn(NamedTuple):
    """One column of numbers.

    Attributes:
        name: for messages.
        cell: which cell of a row it is, from 0.
        whole: only whole numbers, below 2**53.
        lowest: smallest value.
        empty: what an empty cell means, as text; None where none may be empty.
    """

    name: str
    cell: int
    whole: bool = False
    lowest: float = -math.inf
    empty: str | None = None


def read_numbers(
    rows: Sequence[Sequence[str]],
    widths: Collection[int],
    columns: Sequence[NumberColumn],
    fail: Callable[[int, str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Parse some columns of rows.

    Args:
        rows: R rows of cells.
        widths: how many cells a row may have.
        columns: the F columns to parse.
        fail: called as ``fail(row, message)`` for each row that cannot be used.

    Returns:
        (K, F) float64 values (not finite where the text says so, except in whole columns) and the (K,) int64
        indices of the rows that could be used.
    """
    kept = np.arange(len(rows))
    try:
        cells = list(zip(*rows, strict=True))
        if len(cells) not in widths:
            raise ValueError("columns")
        values = np.empty((len(rows), len(columns)))
        for position, column in enumerate(columns):
            texts = cells[column.cell]
            if column.empty is not None:
                texts = tuple(text or column.empty for text in texts)
            values[:, position] = np.fromiter(map(float, texts), np.float64, len(rows))
    except ValueError:
        values, kept = _cell_by_cell(rows, widths, columns, fail)
    good = np.ones(len(values), bool)
    for position, column in enumerate(columns):
        value = values[:, position]
        if column.whole:
            whole = (np.floor(value) == value) & (np.abs(value) < LARGEST_ID)
            for row in np.flatnonzero(good & ~whole).tolist():
                fail(int(kept[row]), f"{column.name}: a whole number is expected, got {value[row]:g}")
            good &= whole
        low = value < column.lowest
        for row in np.flatnonzero(good & low).tolist():
            fail(int(kept[row]), f"{column.name}: {column.lowest:g} or more is expected, got {value[row]:g}")
        good &= ~low
    return values[good], kept[good]


def _cell_by_cell(
    rows: Sequence[Sequence[str]],
    widths: Collection[int],
    columns: Sequence[NumberColumn],
    fail: Callable[[int, str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that can be used, after a message for each that cannot."""
    values: list[list[float]] = []
    kept: list[int] = []
    expected = " or ".join(map(str, sorted(widths)))
    for index, row in enumerate(rows):
        if len(row) not in widths:
            fail(index, f"{expected} columns are expected, got {len(row)}: {' '.join(row)[:60]!r}")
            continue
        parsed: list[float] = []
        for column in columns:
            text = row[column.cell].strip()
            try:
                parsed.append(float(text or column.empty or text))
            except ValueError:
                fail(index, f"{column.name}: a number is expected, got {text[:60]!r}")
        if len(parsed) == len(columns):
            values.append(parsed)
            kept.append(index)
    return np.array(values, np.float64).reshape(-1, len(columns)), np.array(kept, np.int64)
