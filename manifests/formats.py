"""Printing a query's result as an aligned table, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import json
import math
import unicodedata
from collections.abc import Sequence
from typing import BinaryIO, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitalk.manifests.query import QueryError

Format = Literal["table", "csv", "json", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

_DOUBLE = pa.float64()

MAX_TABLE_ROWS = 1000
"""Longest table that anyone reads; the other formats have no limit."""

MAX_CELL_COLUMNS = 60
"""Widest cell of a table, in terminal columns; the other formats cut nothing."""


def write_result(result: pa.Table, out: BinaryIO, form: Format) -> None:
    """Write a query's result as UTF-8 text, or as a Parquet file.

    Parameters
    ----------
    out
        Binary stream, for instance ``sys.stdout.buffer``.
    form
        ``table`` for eyes; ``csv`` with nested values as JSON; ``json``, a list of objects; ``parquet``.

    Raises
    ------
    QueryError
        When Parquet has no type for a column, or Python none for a value.
    """
    if form == "parquet":
        _parquet(result, out)
        return
    try:
        text = {"table": _table, "csv": _csv, "json": _json}[form](result)
    except (OverflowError, ValueError, pa.ArrowException) as error:
        # Python knows no date after the year 9999, for instance.
        raise QueryError(
            f"the result holds what can not be shown ({error}): cast that column to VARCHAR"
        ) from error
    out.write(text.encode())


def _parquet(result: pa.Table, out: BinaryIO) -> None:
    try:
        pq.write_table(result, out, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise QueryError(
            f"the result can not be Parquet ({error}): cast that column, for instance to VARCHAR, or choose "
            "--format csv"
        ) from error


def _json(result: pa.Table) -> str:
    rows = [json.dumps(_plain(row), ensure_ascii=False) for row in _rows(result)]
    return "[" + ",\n ".join(rows) + "]\n"


def _csv(result: pa.Table) -> str:
    from io import StringIO

    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.column_names)
    for row in _rows(result):
        writer.writerow([_cell(value) for value in row.values()])
    return out.getvalue()


def _table(result: pa.Table) -> str:
    shown = [
        [_fit(_cell(value, digits=6)) for value in row.values()]
        for row in _rows(_heads(result.slice(0, MAX_TABLE_ROWS)))
    ]
    numeric = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in result.schema.types]
    widths = [max(map(_width, column)) for column in zip(result.column_names, *shown, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    lines = [_line(result.column_names, widths, numeric), rule]
    lines += [_line(row, widths, numeric) for row in shown]
    hidden = result.num_rows - len(shown)
    if hidden > 0:
        lines.append(f"... and {hidden:,} more rows: add LIMIT, or choose --format csv")
    return "\n".join(lines) + "\n"


def _heads(result: pa.Table) -> pa.Table:
    """Cut lists before they become text: the landmarks of one clip are a million numbers."""
    for index, field in enumerate(result.schema):
        if pa.types.is_list(field.type):
            parts = [_head(part) for part in result.column(index).chunks]
            column = pa.chunked_array(parts) if parts else result.column(index)
            result = result.set_column(index, field.name, column)
    return result


def _head(lists: pa.Array) -> pa.Array:
    """Keep of each list as many items as could be seen: an item takes a column or more."""
    if not pa.types.is_list(lists.type):
        return lists
    cut = pc.list_slice(lists, 0, MAX_CELL_COLUMNS)
    return pa.ListArray.from_arrays(cut.offsets, _head(cut.values), mask=cut.is_null())


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, numeric, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if right else cell + space)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns that a text takes on a terminal: two for a Chinese character, none for a combining accent."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _fit(text: str) -> str:
    # Control characters in a transcript must not reach the terminal.
    text = "".join(c if c.isprintable() else " " for c in text)
    width = cut = 0
    for index, char in enumerate(text):
        width += _width(char)
        if width < MAX_CELL_COLUMNS:
            cut = index + 1  # there is room for the … that may follow
        if width > MAX_CELL_COLUMNS:
            return text[:cut] + "…"
    return text


def _cell(value: object, digits: int = 17) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and digits < 17:
        return f"{value:.{digits}g}"
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    return str(value)


def _plain(value: object) -> object:
    """Turn a value into what JSON knows: NaN to null, times to text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _rows(result: pa.Table) -> list[dict[str, object]]:
    """Rows as dicts of the columns, whose names `multitalk.manifests.query.query` has made unique."""
    for index, field in enumerate(result.schema):
        if (wide := _doubled(field.type)) != field.type:
            # By way of text, so that the float32 0.1 prints as 0.1 and not as 0.10000000149011612.
            column = result.column(index).cast(_doubled(field.type, pa.string())).cast(wide)
            result = result.set_column(index, field.name, column)
    rows: list[dict[str, object]] = result.to_pylist(maps_as_pydicts="lossy")
    return rows


def _doubled(kind: pa.DataType, to: pa.DataType = _DOUBLE) -> pa.DataType:
    """Replace float32 by another type, also in lists."""
    if pa.types.is_list(kind):
        return pa.list_(_doubled(kind.value_type, to))
    return to if pa.types.is_float32(kind) else kind
