"""Tables of evaluations that lie beside a dataset, for its report page.

An evaluation leaves ``evaluations/<name>/tables.json`` in the root: a list of objects with `title`, `columns`
(names), `rows` (lists as long as `columns`) and, if there is something to say, `note`. What is not so is told of on
the page, not shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from multitalk.manifests.paths import is_name

MAX_BYTES = 1_000_000
"""A file of tables for a page is far smaller; a larger one is left out."""

Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class EvaluationTable:
    """A table of an evaluation."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The tables of one evaluation, or what is wrong with its file."""

    name: str
    tables: tuple[EvaluationTable, ...]
    complaint: str = ""


def read_evaluations(root: Path) -> list[Evaluation]:
    """Return the evaluations beside a dataset, by name; empty without any."""
    files = sorted(root.glob("evaluations/*/tables.json"))
    return [_read(place) for place in files if is_name(place.parent.name)]


def _read(place: Path) -> Evaluation:
    name = place.parent.name
    try:
        if place.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        content = json.loads(place.read_text("utf-8"))
        # Refuses halves of characters, which no page can hold.
        json.dumps(content, ensure_ascii=False).encode()
        if not isinstance(content, list):
            raise ValueError("it is not a list of tables")
        return Evaluation(name, tuple(_table(item) for item in content))
    except (OSError, ValueError, RecursionError) as error:
        return Evaluation(name, (), f"{place.name} of {name} can not be shown: {error}")


def _table(item: object) -> EvaluationTable:
    if not isinstance(item, dict):
        raise ValueError("a table is not an object")
    title, note = item.get("title", ""), item.get("note", "")
    columns, rows = item.get("columns"), item.get("rows")
    if not (isinstance(title, str) and isinstance(note, str)):
        raise ValueError("title and note must be texts")
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise ValueError(f"table {title!r}: columns must be a list of names")
    if not isinstance(rows, list) or not all(_is_row(row, len(columns)) for row in rows):
        raise ValueError(
            f"table {title!r}: rows must be lists of {len(columns)} texts or numbers, one for each column"
        )
    return EvaluationTable(title, tuple(columns), tuple(map(tuple, rows)), note)


def _is_row(row: object, width: int) -> bool:
    return (
        isinstance(row, list)
        and len(row) == width
        and all(cell is None or isinstance(cell, str | int | float) for cell in row)
    )
