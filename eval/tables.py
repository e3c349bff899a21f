"""Tables as text: for the terminal, Markdown, CSV, LaTeX and JSON, from the same rows."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Cell = str | int | float | None
TableFormat = Literal["terminal", "markdown", "csv", "latex", "json"]

_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """What must be known to read it, in a line or two."""

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(
                f"{self.title}: a row of {len(wrong[0])} cells under {len(self.columns)} columns"
            )

    def text(self, layout: TableFormat) -> str:
        """Write the table; numbers keep all digits in CSV and JSON, and four elsewhere."""
        return _WRITERS[layout](self)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers only."""
        return tuple(
            all(isinstance(row[k], int | float | None) for row in self.rows) for k in range(len(self.columns))
        )


def short(cell: Cell) -> str:
    """Write a cell for reading: four significant digits; a dash for what is not there."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return str(cell)


def _terminal(table: Table) -> str:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    shown = RichTable(
        title=escape(table.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for column, numeric in zip(table.columns, table.numeric, strict=True):
        shown.add_column(
            escape(column), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold"
        )
    for row in table.rows:
        shown.add_row(*(escape(short(cell)) for cell in row))
    out = io.StringIO()
    console = Console(file=out, width=160, highlight=False)
    console.print(shown)
    if table.note:
        console.print(escape(table.note))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _markdown(table: Table) -> str:
    marks = ["---:" if numeric else "---" for numeric in table.numeric]
    lines = [[c.replace("|", "\\|") for c in map(short, row)] for row in (table.columns, *table.rows)]
    lines.insert(1, marks)
    note = f"\n{table.note}\n" if table.note else ""
    return f"**{table.title}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + note


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return out.getvalue()


def _latex(table: Table) -> str:
    def line(cells: Sequence[Cell]) -> str:
        return " & ".join(short(cell).translate(_LATEX) for cell in cells) + r" \\"

    body = "\n".join(line(row) for row in table.rows)
    columns = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = (
        f"% {' '.join(f'{table.title}. {table.note}'.split())}",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        line(table.columns),
        r"\midrule",
        body,
        r"\bottomrule",
        r"\end{tabular}",
    )
    return "\n".join(lines) + "\n"


def _json(table: Table) -> str:
    def plain(cell: Cell) -> Cell:
        return None if isinstance(cell, float) and not math.isfinite(cell) else cell

    rows = [{c: plain(v) for c, v in zip(table.columns, row, strict=True)} for row in table.rows]
    content = {"title": table.title, "rows": rows, "note": table.note}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


_WRITERS: dict[TableFormat, Callable[[Table], str]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "csv": _csv,
    "latex": _latex,
    "json": _json,
}
