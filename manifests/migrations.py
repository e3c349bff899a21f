"""Reading datasets that an older version of the schema wrote.

A column that came later reads as null: it was not measured then. `compact` with a change writes what it read, so
the next `multitalk filter` or build brings the files themselves up to date.

Version 2: `av_offset_frames` counts whole frames (int32); version 1 had them as float32.
Version 3: files no longer hold `language`, which is their folder's; stages have the names of today.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from multitalk.manifests.schema import SCHEMA_VERSION, VERSION_KEY

RENAMED_STAGES = {"download": "source", "filters": "speech"}
"""Names that the column `stage` had before version 3, with today's."""


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows of `table` with exactly the columns, types and metadata of `schema`.

    The version that wrote the rows is taken from the table's own metadata.

    Raises
    ------
    pyarrow.ArrowInvalid
        When a value does not fit its column's type of today.
    """
    if table.schema.equals(schema, check_metadata=True):
        return table
    version = int((table.schema.metadata or {}).get(VERSION_KEY, b"0"))
    if version == SCHEMA_VERSION and table.schema.equals(schema):
        return pa.Table.from_arrays(table.columns, schema=schema)
    columns = [
        _today(table[field.name], field, version)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _today(values: pa.ChunkedArray, field: pa.Field, version: int) -> pa.ChunkedArray:
    if version < 3 and field.name == "stage":
        for old, new in RENAMED_STAGES.items():
            values = pc.if_else(pc.equal(values, old), new, values)
    if values.type == field.type:
        return values
    counted = pa.types.is_integer(field.type) and pa.types.is_floating(values.type)
    return (pc.round(values) if counted else values).cast(field.type)
