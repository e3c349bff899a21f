"""The tables of columns in docs/columns.md and in dataset cards, made from the schema."""

from __future__ import annotations

import pyarrow as pa

from multitalk.manifests.schema import GROUPS, LANDMARK_COLUMNS, MOTION_COLUMNS, PERSON_COLUMNS, Column


def columns_markdown() -> str:
    """Return the tables of docs/columns.md: the manifest's columns by group, then motion's, landmarks' and persons'."""
    sections = {
        **GROUPS,
        "Motion files": MOTION_COLUMNS,
        "Landmark files": LANDMARK_COLUMNS,
        "Files of persons": PERSON_COLUMNS,
    }
    return "\n".join(_markdown(title, columns) for title, columns in sections.items())


def _markdown(title: str, columns: tuple[Column, ...]) -> str:
    lines = [f"**{title}**", "", "| column | type | meaning | unit | range |", "|" + " --- |" * 5]
    lines += [
        f"| `{c.name}` | {_type_name(c.type)} | {_meaning(c)} | {c.unit} | {c.range} |".replace("  |", " |")
        for c in columns
    ]
    return "\n".join([*lines, ""])


def _type_name(kind: pa.DataType) -> str:
    """Arrow's name of a type, without the names that it gives to list items."""
    if pa.types.is_list(kind):
        return f"list of {_type_name(kind.value_type)}"
    if pa.types.is_dictionary(kind):
        return str(kind.value_type)
    if pa.types.is_struct(kind):
        return "struct " + ", ".join(f.name for f in kind)
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _meaning(column: Column) -> str:
    return f"{column.meaning} ({column.how})" if column.how else column.meaning
