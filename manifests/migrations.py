"""Reading datasets that an older version of the schema wrote.

A column that came later reads as null: it was not measured then. `compact` writes what it read, so the next
`multitalk filter` or build brings the files themselves up to date.
"""

from __future__ import annotations

import pyarrow as pa


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
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
