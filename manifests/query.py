"""SQL over a dataset with DuckDB: read-only, and blind to every file outside the dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from multitalk.ground.files import reading
from multitalk.manifests import paths
from multitalk.manifests.migrations import RENAMED_STAGES
from multitalk.manifests.query_limits import GIB, ROWS_AT_ONCE, QueryLimits, Stopwatch, collected
from multitalk.manifests.schema import LANDMARKS, MANIFEST, MOTION
from multitalk.manifests.tables import footer_videos, is_current, open_file

if TYPE_CHECKING:
    import duckdb

VIEWS = ("clips", "motion", "landmarks", "releases")
"""What a query sees: the manifest; motion and landmarks, a row per fitted clip; the clips of all releases, with
`release` and `split`."""


class QueryError(ValueError):
    """A query that can not be run; the message says why."""


def query(root: Path, sql: str, limits: QueryLimits | None = None) -> pa.Table:
    """Run one SELECT over the views of `VIEWS`.

    Parameters
    ----------
    sql
        One statement in DuckDB's SQL that reads: SELECT, FROM, WITH, DESCRIBE, SUMMARIZE or SHOW. It reaches
        no other file, database or extension.
    limits
        Time and memory that it may take; `QueryLimits()` if None.

    Returns
    -------
    pyarrow.Table
        Column names are unique: of columns that share one, the later are called ``name_1`` and so on. Numbers
        are int64 or float64 where DuckDB has wider ones, for instance for ``sum()``.

    Raises
    ------
    QueryError
        When it is no such statement, DuckDB refuses it, or it takes more than it may.
    DatasetError
        When there is no dataset at `root`, or it needs a newer version of this program.
    """
    import duckdb

    limits = limits or QueryLimits()
    watch = Stopwatch()
    try:
        statements = duckdb.extract_statements(sql)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise QueryError("a query is one SELECT statement: the dataset can be read here, not changed")
        with duckdb.connect() as connection, reading(root), watch.running(connection, limits.seconds):
            _confine(connection, root, limits)
            for name in _mentioned(sql):
                connection.execute(f"CREATE VIEW {name} AS {_definition(name, root.resolve())}")
            _refuse_writing(connection, statements[0].query)
            reader = connection.sql(statements[0].query).to_arrow_reader(ROWS_AT_ONCE)
            result = collected(reader, limits.memory_gib * GIB)
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise QueryError(limits.too_long() if watch.over else limits.too_large()) from error
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # Arrow passes DuckDB's errors on as its own
        if watch.over:
            raise QueryError(limits.too_long()) from error
        raise QueryError(limits.too_large() if "Out of Memory" in str(error) else str(error)) from error
    return _plain_numbers(result.rename_columns(_unique(result.column_names)))


def _confine(connection: duckdb.DuckDBPyConnection, root: Path, limits: QueryLimits) -> None:
    """Leave a connection nothing but reading this dataset's tables in so much memory, and no way back."""
    connection.execute(f"SET memory_limit = '{limits.memory_gib:.3f}GiB'")
    connection.execute("SET temp_directory = ''")  # what does not fit is told, not spilled over the disk
    folders = [(root / kind).resolve() for kind in ("manifest", "motion", "landmarks", "releases")]
    connection.execute(f"SET allowed_directories = {_texts(folders)}")
    connection.execute("SET parquet_metadata_cache = true")  # binding and running read the same footers
    connection.execute("SET enable_external_access = false")  # also: no extensions, no spilling elsewhere
    connection.execute("SET python_enable_replacements = false")  # or a name could mean a Python variable
    connection.execute("SET lock_configuration = true")


def _refuse_writing(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise where a SELECT holds a statement that writes, as in ``WITH x AS (COPY ...)``.

    DuckDB takes that for a SELECT and may write wherever it may read, but has no such thing in a view. Making a
    view reads no row and runs nothing.
    """
    import duckdb

    try:
        connection.execute(f'CREATE TEMP VIEW "_checked" AS\n{sql}')
    except duckdb.Error as error:
        # Lines are counted from the view's first; the user knows only the query's.
        message = re.sub(r"(?m)^LINE (\d+):", lambda line: f"LINE {int(line[1]) - 1}:", str(error))
        if "inside a VIEW" in message:
            message = "a query can not write: the dataset can be read here, not changed"
        raise QueryError(message) from error
    connection.execute('DROP VIEW "_checked"')


def _unique(names: Iterable[str]) -> list[str]:
    """Tell columns that share a name apart as DuckDB does in a subquery: a, a_1, a_2."""
    taken: dict[str, None] = {}
    for name in names:
        others = (f"{name}_{number}" for number in count(1))
        taken[next(free for free in chain([name], others) if free not in taken)] = None
    return list(taken)


def _plain_numbers(table: pa.Table) -> pa.Table:
    """Turn decimals, which are texts to JSON and objects to pandas, into integers or floats."""
    for index, field in enumerate(table.schema):
        kind = _plain(field.type, pa.int64())
        if kind != field.type:
            column = table.column(index)
            try:
                column = column.cast(kind)
            except pa.ArrowInvalid:  # a whole number that does not fit
                column = column.cast(_plain(field.type, pa.float64()))
            table = table.set_column(index, field.name, column)
    return table


def _plain(kind: pa.DataType, whole: pa.DataType) -> pa.DataType:
    """Replace a decimal type, also in lists: one of whole numbers by `whole`, others by float64."""
    if pa.types.is_list(kind):
        item = _plain(kind.value_type, whole)
        return kind if item == kind.value_type else pa.list_(item)
    if pa.types.is_decimal(kind):
        return whole if kind.scale == 0 else pa.float64()
    return kind


def _mentioned(sql: str) -> list[str]:
    """Return the views that a query can mean: of a large dataset, each costs a walk through thousands of files."""
    # Whole words: `motion_path` is a column of the clips.
    return [name for name in VIEWS if re.search(rf"\b{name}\b", sql.casefold())] or list(VIEWS)


def _definition(name: str, root: Path) -> str:
    """Return the SELECT behind a view; `root` is resolved, as DuckDB compares paths with folders as text."""
    if name == "clips":
        return _clips(root)
    if name == "releases":
        return _releases(root)
    return _per_clip(root, name, {"motion": MOTION, "landmarks": LANDMARKS}[name])


def _clips(root: Path) -> str:
    sources: list[str] = []
    for language in paths.languages(root):
        sources += _of_language(root, language)
    # Not by hive partitioning, which also takes the folders above the root for columns.
    return _declared(MANIFEST, " UNION ALL BY NAME ".join(sources))


def _of_language(root: Path, language: str) -> list[str]:
    """Return SELECTs of all rows of a language, each clip once; see `multitalk.manifests.storage.reading`."""
    fragments, parts = paths.fragments(root, language), paths.parts(root, language)
    newer = {place.stem for place in fragments}
    # Of many files that all are of today, DuckDB need not compare the columns. Fragments may be any worker's.
    plain: list[Path] = []
    others: list[Path] = []
    sources: list[str] = []
    for part in reversed(parts):
        file = open_file(part)  # refuses a schema from the future
        videos = footer_videos(file).keys() if len(parts) > 1 else newer
        if hidden := newer & videos:
            sources.append(_rows([part], language, hidden))
        else:
            (plain if is_current(file) else others).append(part)
        newer |= videos
    if plain:
        sources.append(_rows(plain, language, union=False))
    if others or fragments:
        sources.append(_rows([*others, *fragments], language))
    return sources


def _rows(places: Iterable[Path], language: str, hidden: Iterable[str] = (), *, union: bool = True) -> str:
    """Return the SELECT of the rows of manifest files, without those of hidden videos."""
    unwanted = f" WHERE video_id NOT IN ({', '.join(map(_text, sorted(hidden)))})" if hidden else ""
    # Files of older versions repeat the language.
    return (
        f"SELECT COLUMNS(lambda name: name <> 'language'), {_text(language)} AS language "  # noqa: S608
        f"FROM read_parquet({_texts(places)}, union_by_name = {str(union).lower()}, hive_partitioning = false)"
        + unwanted
    )


def _releases(root: Path) -> str:
    files = sorted(root.glob("releases/[!.]*/manifest.parquet"))
    rows = (
        "SELECT * EXCLUDE (filename), parse_path(filename)[-2] AS release "  # noqa: S608
        f"FROM read_parquet({_texts(files)}, union_by_name = true, hive_partitioning = false, filename = true)"
    )
    extra = [pa.field("split", pa.string()), pa.field("release", pa.string())]
    return _declared(pa.schema([*MANIFEST, *extra]), rows if files else "")


def _declared(schema: pa.Schema, rows: str) -> str:
    """Give rows every declared column, also where all files are older, or there is none."""
    columns = [f"NULL::{_sql_type(field.type)} AS {field.name}" for field in schema]
    everything = f"SELECT {', '.join(columns)} WHERE false" + (f" UNION ALL BY NAME {rows}" if rows else "")
    # The cast and the names of stages are for files of earlier versions, see multitalk.manifests.migrations.
    names = " ".join(f"WHEN {_text(old)} THEN {_text(new)}" for old, new in RENAMED_STAGES.items())
    today = (
        "map_from_entries(tool_versions) AS tool_versions, av_offset_frames::INTEGER AS av_offset_frames, "
        f"CASE stage {names} ELSE stage END AS stage"
    )
    return f"SELECT * REPLACE ({today}) FROM ({everything})"  # noqa: S608


def _per_clip(root: Path, kind: str, schema: pa.Schema) -> str:
    files: dict[str, list[Path]] = {}
    for place in sorted(root.glob(f"{kind}/language=*/*.parquet")):
        if paths.is_name(place.stem):  # not what a system leaves, such as ._x.parquet
            files.setdefault(place.parent.name.removeprefix("language="), []).append(place)
    if not files:
        columns = ", ".join(f"NULL::{_sql_type(field.type)} AS {field.name}" for field in schema)
        return f"SELECT {columns}, NULL::VARCHAR AS language WHERE false"
    # Not by hive partitioning, which also takes the folders above the root for columns.
    return " UNION ALL BY NAME ".join(
        f"SELECT *, {_text(language)} AS language "  # noqa: S608
        f"FROM read_parquet({_texts(places)}, hive_partitioning = false)"
        for language, places in files.items()
    )


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = ", ".join(f'"{f.name}" {_sql_type(f.type)}' for f in kind)
        return f"STRUCT({fields})"
    if pa.types.is_dictionary(kind):
        return _sql_type(kind.value_type)
    names = {
        "halffloat": "FLOAT",
        "float": "FLOAT",
        "double": "DOUBLE",
        "int32": "INTEGER",
        "bool": "BOOLEAN",
    }
    return names.get(str(kind)) or ("TIMESTAMPTZ" if pa.types.is_timestamp(kind) else "VARCHAR")


def _text(value: str | Path) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _texts(values: Iterable[str | Path]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"
