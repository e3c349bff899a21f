"""Tables on disk: one file of each layout, and one CSV file a table."""

import re
from collections.abc import Sequence
from pathlib import Path

from multitalk.eval.tables import Table, TableFormat
from multitalk.ground.files import atomic

_SUFFIXES: dict[TableFormat, str] = {"markdown": ".md", "latex": ".tex", "json": ".json"}


def tables_text(tables: Sequence[Table], layout: TableFormat) -> str:
    """Write tables one after the other; in JSON as one array."""
    if layout == "json":
        return "[" + ",\n".join(table.text("json").strip() for table in tables) + "]\n"
    if layout == "terminal":
        # Each figure by language and pooling fills pages; the files that are made for it have them.
        tables = [table for table in tables if table.title != "Figures"]
    return "\n".join(table.text(layout) for table in tables)


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """Write `tables.md`, `tables.tex`, `tables.json`, and a CSV file of each table, called by its title."""
    for layout, suffix in _SUFFIXES.items():
        write_text(folder / f"tables{suffix}", tables_text(tables, layout))
    for table in tables:
        name = "-".join(re.findall("[a-z0-9]+", table.title.lower()))
        write_text(folder / f"{name}.csv", table.text("csv"))


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears only when it is whole."""
    with atomic(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
