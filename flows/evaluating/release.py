"""Both evaluations of a release, and their tables where the report page finds them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from multitalk.assets.errors import AssetError
from multitalk.eval.drawing.render import RenderError
from multitalk.eval.lip_reading.lip_reader import LipReaderMissingError
from multitalk.eval.tables import Cell, Table, short
from multitalk.extract.errors import ClipError
from multitalk.flows.evaluating.lip_reading import read_lips
from multitalk.flows.evaluating.motion import evaluate
from multitalk.flows.evaluating.settings import EvaluateReleaseSettings
from multitalk.flows.evaluating.written_tables import tables_text, write_text
from multitalk.manifests.paths import DatasetError, check_name

ROWS_ON_PAGE = 200
Progress = Callable[[int, int], None]


def evaluate_release(
    settings: EvaluateReleaseSettings, progress_of: Callable[[str], Progress | None] = lambda step: None
) -> list[Table]:
    """Measure motion, read lips where there is a recogniser, and write the tables beside the dataset.

    Returns
    -------
    list of Table
        As written to `<root>/evaluations/<name>`.

    Raises
    ------
    SettingsError, VertexFileError, RegionError, DatasetError, MotionError
        The motion can not be measured. What lip reading lacks becomes a table.
    """
    folder = settings.root / "evaluations" / check_name(settings.name or settings.release, "evaluation")
    tables = evaluate(settings.of_motion, progress_of("clips measured"))
    if settings.lip_reading is not None:
        write_for_page(folder, tables)  # reading takes long: what is measured is not to be lost with it
        try:
            read = read_lips(settings.of_lips(folder / "lip-reading"), progress_of)
            tables += [table for table in read if "by noise" not in table.title]
        except (AssetError, ClipError, DatasetError, LipReaderMissingError, RenderError, ValueError) as error:
            tables.append(Table("Lip reading: not done", ("why",), ((str(error),),)))
    write_for_page(folder, tables)
    return tables


def write_for_page(folder: Path, tables: Sequence[Table]) -> None:
    """Write `tables.json`, which the report page shows, and `tables.md`.

    The page's tables are objects of title, columns, rows (lists of cells) and note; figures by language and
    pooling stay out of it.
    """
    shown = [table for table in tables if table.title != "Figures"]
    content = [
        {
            "title": table.title,
            "columns": table.columns,
            "rows": [[_plain(cell) for cell in row] for row in table.rows[:ROWS_ON_PAGE]],
            "note": _note(table),
        }
        for table in shown
    ]
    write_text(folder / "tables.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    write_text(folder / "tables.md", tables_text(tables, "markdown"))


def _note(table: Table) -> str:
    more = len(table.rows) - ROWS_ON_PAGE
    return f"{table.note} {more} more rows are in tables.md.".strip() if more > 0 else table.note


def _plain(cell: Cell) -> str | int | None:
    return short(cell) if isinstance(cell, float) else cell
