"""Reading datasets that an older version of the schema wrote.

A column that came later reads as null: it was not measured then. `compact` writes what it read, so the next
`multitalk filter` or build brings the files themselves up to date.

Version 2: `av_offset_frames` counts whole frames (int32); version 1 had them as float32.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows of `table` with exactly the columns, types and metadata of `schema`.

    Raises
    ------
    pyarrow.ArrowInvalid
        When a value does not fit its column's type of today.
    """
    if table.schema.equals(schema):
        return table
    columns = [
        _cast(table[field.name], field.type)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    counted = pa.types.is_integer(kind) and pa.types.is_floating(values.type)
    return (pc.round(values) if counted else values).cast(kind)
