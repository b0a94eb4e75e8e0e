"""Rows as Parquet: the detection rows of one source as a table, typed and compressed.

Columns are those of the .csv file; the row of the whole source stands, as JSON, under the key
``seqdet.sequence`` of the file's metadata. It is made of a finished .jsonl file, so that both say the same.
"""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqdet.errors import InputError, OutputError
from seqdet.results.sinks import CSV_COLUMNS

SEQUENCE_KEY = "seqdet.sequence"
ROWS_AT_ONCE = 20_000
_TYPES = {"frame": "int64", "time_s": "float64", "track_id": "int64"}
_WORDS = ("source", "label", "track_label")


def write_parquet(rows: Path, path: Path) -> None:
    """Copy the rows of one source; in constant memory.

    Args:
        rows: a .jsonl file of ``open_sink``, finished.
        path: the file to write; pyarrow must be installed.

    Raises:
        InputError: ``rows`` is no file of rows.
        OutputError: the disk is full or the file cannot be written.
    """
    arrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    types = [(n, "string" if n in _WORDS else _TYPES.get(n, "float32")) for n in CSV_COLUMNS]
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in types])
    sequence: dict[str, Any] = {}
    try:
        with rows.open(encoding="utf-8") as lines, parquet.ParquetWriter(path, schema) as writer:
            cells = _cells(lines, sequence)
            while some := list(itertools.islice(cells, ROWS_AT_ONCE)):
                columns = [
                    arrow.array(column, kind)
                    for column, kind in zip(zip(*some, strict=True), schema.types, strict=True)
                ]
                writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
            writer.add_key_value_metadata({SEQUENCE_KEY: json.dumps(sequence, ensure_ascii=False)})
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    except (ValueError, KeyError) as error:
        raise InputError(f"{rows}: not the rows of one source ({error})") from error


def _cells(lines: Iterator[str], sequence: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The cells of detection rows; the other row goes into ``sequence``."""
    for line in lines:
        row = json.loads(line)
        if row["type"] == "detection":
            yield (*(row[name] for name in CSV_COLUMNS[:8]), *row["box_xyxy_px"])
        else:
            sequence.update(row)
