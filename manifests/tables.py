"""From rows in Python to Arrow tables of the declared schema and back, and single files of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitalk.ground.files import atomic
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.schema import (
    FRAMES,
    LANDMARKS,
    MANIFEST,
    MANIFEST_FILE,
    MOTION,
    OPTIONAL,
    PERSONS,
    SCHEMA_VERSION,
    STAGES,
    VERSION_KEY,
)

Row = Mapping[str, Any]
Array = npt.NDArray[Any]

VIDEOS_KEY = b"multitalk.videos"
"""In the footer of a manifest file: JSON of its source videos, video id to configuration fingerprint."""

# One row group a clip: a training reader takes a clip out of a file without touching the others. Neighbouring
# floats share their high bytes, so they compress once split (not float16: DuckDB can not read that). What is small
# beside them stays as it is, and only ids get statistics: of a short clip, these took most of the time to write it.
_LEAVES = {pa.list_(pa.float32()): ".list.element", FRAMES: ".list.element.list.element"}
_SPLIT = [f.name + _LEAVES[f.type] for f in MOTION if f.type in _LEAVES]
_MOTION_OPTIONS: dict[str, Any] = {
    "compression": {leaf: "zstd" for leaf in _SPLIT if leaf.endswith(_LEAVES[FRAMES])},
    "row_group_size": 1,
    "use_dictionary": False,
    "use_byte_stream_split": _SPLIT,
    "write_statistics": ["clip_id"],
}
_LANDMARKS_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "row_group_size": 1,
    "use_dictionary": False,
    "write_statistics": ["clip_id"],
}
_PERSONS_OPTIONS: dict[str, Any] = {
    "compression": "none",  # numbers without a pattern, read together for all videos
    "use_dictionary": False,
    "write_statistics": ["clip_id"],
}
# Texts that repeat. A dictionary of numbers or ids that do not is built in vain: it costs a third of the time to
# write a file, and makes it larger.
_REPEATED = (
    "video_id",
    "source_url",
    "status",
    "error_code",
    "stage",
    "source_audio_language",
    "detected_language",
    "person_id",
    "head_model",
    "motion_path",
    "last_try_stage",
    "last_try_error_code",
    "last_try_error_message",
    "last_try_fingerprint",
    "config_fingerprint",
    *(f"stage_fingerprints.{stage}" for stage in STAGES),
    "tool_versions.list.element.key",
    "tool_versions.list.element.value",
    "rejected_by.list.element",
)
# Snappy: a search through all transcripts takes two thirds of the time that it takes with zstd, for half as much
# again of a file that is small beside the motion. Rows lie by video, so that a few videos are found by the row groups'
# own statistics without reading the rest.
_MANIFEST_OPTIONS: dict[str, Any] = {
    "compression": "snappy",
    "row_group_size": 4096,
    "use_dictionary": list(_REPEATED),
    "write_page_checksum": True,  # the rows have no other checksum; `verify` compares it
}


def manifest_table(rows: Sequence[ClipRow] | Sequence[Row]) -> pa.Table:
    """Arrow table of manifest rows; what a row lacks is null, and so are NaN, infinity and lists with either.

    Raises
    ------
    ValueError
        When a row has an unknown column, lacks one that may not be null, or holds a value of another type.
    """
    if all(isinstance(row, ClipRow) for row in rows):
        columns = [[getattr(row, name) for row in rows] for name in MANIFEST.names]
    else:
        named = [row.to_mapping() if isinstance(row, ClipRow) else row for row in rows]
        columns = [[row.get(field.name) for row in named] for field in _known(named, MANIFEST)]
    clips = columns[MANIFEST.get_field_index("clip_id")]
    arrays = [_manifest_column(values, clips, field) for values, field in zip(columns, MANIFEST, strict=True)]
    return pa.Table.from_arrays(arrays, schema=MANIFEST)


def motion_table(rows: Sequence[Row]) -> pa.Table:
    """Arrow table of motion rows, whose per-frame columns are arrays (T,) or (T, D).

    Raises
    ------
    ValueError
        When a row has an unknown column or lacks one.
    """
    return pa.Table.from_arrays([_array_column(rows, field) for field in _known(rows, MOTION)], schema=MOTION)


def landmarks_table(rows: Sequence[Row]) -> pa.Table:
    """Arrow table of landmark rows; `landmarks` is (T, N, 3) pixels and is rounded to float16.

    Raises
    ------
    ValueError
        When a row has an unknown column or lacks one.
    """
    flat = [{**row, "landmarks": np.reshape(row["landmarks"], (len(row["landmarks"]), -1))} for row in rows]
    return pa.Table.from_arrays(
        [_array_column(flat, field) for field in _known(flat, LANDMARKS)], schema=LANDMARKS
    )


def persons_table(rows: Sequence[Row]) -> pa.Table:
    """Arrow table of rows that describe faces and voices.

    Raises
    ------
    ValueError
        When a row has an unknown column or lacks one that it must have.
    """
    return pa.Table.from_arrays(
        [_array_column(rows, field) for field in _known(rows, PERSONS)], schema=PERSONS
    )


def row_arrays(table: pa.Table, index: int = 0) -> dict[str, Any]:
    """One row of a table of motion, landmarks or persons: lists as arrays (T,) or (T, D), the rest as Python values."""
    return all_row_arrays(table.slice(index, 1))[0]


def all_row_arrays(table: pa.Table) -> list[dict[str, Any]]:
    """Every row of a table of motion, landmarks or persons, as `row_arrays` gives one."""
    columns = [_values(table[name].combine_chunks()) for name in table.column_names]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def write_manifest(table: pa.Table, place: Path, footer: Mapping[bytes, bytes]) -> None:
    """Write manifest rows in one step, the same bytes for the same rows and footer; the folder has their language."""
    metadata = {**MANIFEST_FILE.metadata, **footer}
    stored = table.select(MANIFEST_FILE.names).cast(MANIFEST_FILE)
    _write(stored.replace_schema_metadata(metadata), place, _MANIFEST_OPTIONS)


def write_motion(table: pa.Table, place: Path) -> None:
    """Write motion rows in one step, each clip in a row group of its own."""
    _write(table, place, _MOTION_OPTIONS)


def write_landmarks(table: pa.Table, place: Path) -> None:
    """Write landmark rows in one step, each clip in a row group of its own."""
    _write(table, place, _LANDMARKS_OPTIONS)


def write_persons(table: pa.Table, place: Path) -> None:
    """Write rows that describe faces and voices in one step."""
    _write(table, place, _PERSONS_OPTIONS)


def open_file(place: Path) -> pq.ParquetFile:
    """Open a Parquet file of a dataset without reading its rows.

    Raises
    ------
    DatasetError
        When it is damaged, or was written by a newer version of this program.
    FileNotFoundError
        When it is not there.
    """
    with naming_damage(place):
        file = pq.ParquetFile(place)
    version = _version(file)
    if version > SCHEMA_VERSION:
        raise DatasetError(
            f"{place} has schema version {version}, this program knows {SCHEMA_VERSION}: update multitalk"
        )
    return file


@contextmanager
def naming_damage(place: Path) -> Iterator[None]:
    """Tell of damage that comes to light while a Parquet file is read.

    Raises
    ------
    DatasetError
        When the block finds the file damaged. What the system refuses (no such file, no right to read it)
        stays what it is.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # Arrow gives its own complaints no number
            raise
        what = " ".join(str(error).split())
        raise DatasetError(f"{place} is damaged ({what}): delete it and build again") from error


def is_current(file: pq.ParquetFile) -> bool:
    """Whether this version of the program wrote a file's schema."""
    return _version(file) == SCHEMA_VERSION


def _version(file: pq.ParquetFile) -> int:
    return int((file.metadata.metadata or {}).get(VERSION_KEY, b"0"))


def read_row(file: pq.ParquetFile, index: int) -> pa.Table:
    """Read one row of a file, and no more than its row group.

    Raises
    ------
    IndexError
        When the file has no such row.
    """
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if index < rows:
            return file.read_row_group(group).slice(index, 1)
        index -= rows
    raise IndexError(index)


def footer_videos(file: pq.ParquetFile) -> dict[str, str]:
    """Source videos in a manifest file with their configuration fingerprints, from the footer alone."""
    videos: dict[str, str] = json.loads((file.metadata.metadata or {}).get(VIDEOS_KEY, b"{}"))
    return videos


def videos_footer(videos: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return the footer that `footer_videos` reads."""
    return {VIDEOS_KEY: json.dumps(videos, sort_keys=True, separators=(",", ":")).encode()}


def _known(rows: Sequence[Row], schema: pa.Schema) -> pa.Schema:
    unknown = {name for row in rows for name in row} - set(schema.names)
    if unknown:
        raise ValueError(f"no such column: {', '.join(sorted(unknown))}")
    return schema


def _manifest_column(values: list[Any], clips: Sequence[object], field: pa.Field) -> pa.Array:
    if field.name == "tool_versions":
        values = [sorted(value.items()) if isinstance(value, Mapping) else value for value in values]
    if pa.types.is_integer(field.type):
        values = [_whole(value) for value in values]
    try:
        column = pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"column {field.name} of clip {clips[0] if clips else None!r} or later: {error}"
        ) from error
    column = _measured(column)
    if column.null_count and not field.nullable:
        raise ValueError(f"column {field.name} of clip {clips[values.index(None)]!r} is missing")
    return column


def _measured(column: pa.Array) -> pa.Array:
    """Make null, to SQL and policies alike, a metric that could not be measured."""
    if column.null_count == len(column):
        return column
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_finite(column), column, None)
    if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
        odd = pc.list_parent_indices(column).filter(pc.invert(pc.is_finite(pc.list_flatten(column))))
        return pc.if_else(pc.is_in(pa.array(range(len(column)), odd.type), odd), None, column)
    return column


def _whole(value: object) -> object:
    """Keep Arrow from cutting the fraction off a number in silence."""
    if type(value) is not int and isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return None
        return int(value) if value == int(value) else str(value)
    return value


def _array_column(rows: Sequence[Row], field: pa.Field) -> pa.Array:
    missing = [row.get("clip_id") for row in rows if row.get(field.name) is None]
    if missing and field.name not in OPTIONAL:
        raise ValueError(f"column {field.name} of clip {missing[0]!r} is missing")
    values = [row.get(field.name) for row in rows]
    if not pa.types.is_list(field.type):
        return pa.array(values, field.type)
    if missing:
        absent = pa.array([value is None for value in values])
        nothing = np.empty((0, 0) if pa.types.is_list(field.type.value_type) else 0, np.float32)
        values = [nothing if value is None else value for value in values]
        return pc.if_else(absent, None, _lists([np.asarray(value) for value in values], field.type))
    return _lists([np.asarray(value) for value in values], field.type)


def _lists(arrays: Sequence[Array], kind: pa.DataType) -> pa.Array:
    """List array of one (T,) or (T, D) array an item, without a loop over numbers."""
    offsets = pa.array(np.cumsum([0, *map(len, arrays)]), pa.int32())
    inner = kind.value_type
    item = inner.value_type if pa.types.is_list(inner) else inner
    numbers = np.concatenate([array.ravel() for array in arrays]) if arrays else np.empty(0)
    values = pa.array(numbers.astype(item.to_pandas_dtype(), copy=False), item)
    if inner is not item:
        if any(array.ndim != 2 for array in arrays):
            raise ValueError(f"expected arrays of (T, D), got {[array.shape for array in arrays]}")
        widths = np.repeat([array.shape[1] for array in arrays], [len(array) for array in arrays])
        frames = pa.array(np.concatenate([[0], np.cumsum(widths)]), pa.int32())
        values = pa.ListArray.from_arrays(frames, values, type=inner)
    return pa.ListArray.from_arrays(offsets, values, type=kind)


def _values(column: pa.Array) -> list[Any]:
    """Every item of a column: a list as an array (T,) or (T, D), null as None."""
    if not pa.types.is_list(column.type):
        values: list[Any] = column.to_pylist()
        return values
    items, offsets = column.values, column.offsets.to_numpy()
    if pa.types.is_list(items.type):
        frames = items.offsets.to_numpy()
        numbers = items.values.to_numpy(zero_copy_only=False)
        found = [
            numbers[frames[begin] : frames[end]].reshape(end - begin, -1) if end > begin else np.empty((0, 0))
            for begin, end in pairwise(offsets)
        ]
    else:
        numbers = items.to_numpy(zero_copy_only=False)
        found = [numbers[begin:end] for begin, end in pairwise(offsets)]
    if column.null_count:
        return [
            value if there else None
            for value, there in zip(found, column.is_valid().to_pylist(), strict=True)
        ]
    return found


def _write(table: pa.Table, place: Path, options: Mapping[str, Any]) -> None:
    with atomic(place) as temporary:
        pq.write_table(table.combine_chunks(), temporary, **options)
