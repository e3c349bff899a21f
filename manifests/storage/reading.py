"""Reading the manifest: fragments and parts together, each clip once.

The rows of a source video lie in its fragment, or in a part once they are compacted. While a run is under way, or
after one was killed, a video can lie in several files: a fragment outranks all parts, and of parts the newer one
(the higher number) outranks the older.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitalk.ground.files import reading
from multitalk.manifests import paths
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.migrations import conform
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.tables import footer_videos, naming_damage, open_file

_ORDER = [("video_id", "ascending"), ("clip_id", "ascending")]


def read_manifest(
    root: Path, columns: Sequence[str] | None = None, languages: Sequence[str] | None = None
) -> pa.Table:
    """Read the manifest, sorted by language, video and clip.

    Parameters
    ----------
    columns
        Columns to read, all by default.
    languages
        Languages to read, all by default.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`, or a file of it is damaged or too new.
    """
    wanted = MANIFEST if columns is None else pa.schema([MANIFEST.field(name) for name in columns])
    with reading(root):
        found = paths.languages(root) if languages is None else sorted(languages)
        tables = [rows_of_language(root, language, wanted) for language in found]
    return pa.concat_tables([wanted.empty_table(), *tables])


def read_videos(root: Path, language: str, video_ids: Collection[str]) -> dict[str, list[ClipRow]]:
    """Read all rows of some source videos, each video's sorted by clip; one that was never committed is absent.

    Raises
    ------
    DatasetError
        When a file is damaged or too new.
    """
    with reading(root):
        table = rows_of_videos(root, language, video_ids, MANIFEST)
    videos: dict[str, list[ClipRow]] = {}
    for row in ClipRow.from_arrow(table):
        videos.setdefault(row.video_id, []).append(row)
    return videos


def committed(root: Path, language: str, video_id: str) -> str | None:
    """Return the configuration fingerprint that a source video was committed with, None if it never was."""
    with reading(root):
        for place in _by_rank(root, language, [video_id]):
            fingerprint = footer_videos(open_file(place)).get(video_id)
            if fingerprint is not None:
                return fingerprint
    return None


def committed_videos(root: Path, language: str) -> dict[str, str]:
    """Return every committed source video of a language with its configuration fingerprint."""
    with reading(root):
        return videos_of_language(root, language)


def rows_of_language(root: Path, language: str, wanted: pa.Schema) -> pa.Table:
    """Rows of a language with some columns, sorted. The caller holds the lock."""
    schema = _with_keys(wanted)
    files = [*paths.parts(root, language), *paths.fragments(root, language)]
    return _ranked([_read(open_file(place), place, schema, language) for place in reversed(files)], wanted)


def rows_of_videos(root: Path, language: str, video_ids: Collection[str], wanted: pa.Schema) -> pa.Table:
    """Rows of some source videos with some columns, sorted. The caller holds the lock."""
    schema = _with_keys(wanted)
    left, tables = set(video_ids), []
    for place in _by_rank(root, language, video_ids):
        if not left:
            break
        if (videos := _videos_in(place, *_identity(place))) and left.isdisjoint(videos):
            continue
        file = open_file(place)
        groups = _groups_with(file, left)
        if groups:
            rows = _read(file, place, schema, language, groups)
            rows = rows.filter(pc.is_in(rows["video_id"], pa.array(sorted(left), pa.string())))
            left.difference_update(rows["video_id"].unique().to_pylist())
            tables.append(rows)
    return _ranked(tables, wanted)


def videos_of_language(root: Path, language: str) -> dict[str, str]:
    """Return committed source videos with their fingerprints. The caller holds the lock."""
    videos: dict[str, str] = {}
    for place in [*paths.parts(root, language), *paths.fragments(root, language)]:
        videos.update(footer_videos(open_file(place)))
    return videos


def merged_rows(tables: Sequence[pa.Table], wanted: pa.Schema = MANIFEST) -> pa.Table:
    """Rows of several files that share no video, sorted by video and clip."""
    if not tables:
        return wanted.empty_table()
    table = pa.concat_tables(tables)
    return (table if len(tables) == 1 else table.sort_by(_ORDER)).select(wanted.names)


def read_rows_and_videos(place: Path, language: str) -> tuple[pa.Table, dict[str, str]]:
    """All rows of one part or fragment with the columns of today, and its source videos with their fingerprints."""
    file = open_file(place)
    return _read(file, place, MANIFEST, language), footer_videos(file)


def _by_rank(root: Path, language: str, video_ids: Collection[str]) -> Iterator[Path]:
    """Files that can hold rows of these videos, those that outrank others first."""
    for video_id in sorted(set(video_ids)):
        place = paths.fragment_path(root, language, video_id)
        if place.exists():
            yield place
    yield from reversed(paths.parts(root, language))


@lru_cache(maxsize=1024)
def _videos_in(place: Path, *_: int) -> frozenset[str]:
    """Source videos of a file as its footer tells; none where an older version wrote it.

    Kept in memory: a commit looks whether its video is in any of the parts, of which a run makes one a batch. Files
    of a manifest are replaced, never changed, so their identity tells them apart.
    """
    return frozenset(footer_videos(open_file(place)))


def _identity(place: Path) -> tuple[int, int, int]:
    found = place.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _groups_with(file: pq.ParquetFile, video_ids: Collection[str]) -> list[int]:
    """Row groups that can hold rows of these videos, by their statistics."""
    leaf, ordered, groups = _leaf(file, "video_id"), sorted(video_ids), []
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(leaf).statistics
        if known is None or not known.has_min_max or any(known.min <= v <= known.max for v in ordered):
            groups.append(group)
    return groups


def _leaf(file: pq.ParquetFile, name: str) -> int:
    """Return the number of a flat column among the file's leaves, which nested columns before it shift."""
    return next(i for i in range(len(file.schema)) if file.schema.column(i).path == name)


def _with_keys(wanted: pa.Schema) -> pa.Schema:
    """Sorting and ranking need the ids, whatever was asked for."""
    keys = [name for name in ("video_id", "clip_id") if name not in wanted.names]
    return pa.schema([*wanted, *(MANIFEST.field(name) for name in keys)], wanted.metadata)


def _ranked(tables: Sequence[pa.Table], wanted: pa.Schema) -> pa.Table:
    """Merge the rows of files, given from the highest to the lowest rank: of a video, only the highest."""
    seen: set[str] = set()
    kept = []
    for table in tables:
        videos = set(table["video_id"].unique().to_pylist())
        hidden = pa.array(sorted(videos & seen), pa.string())
        kept.append(table.filter(pc.invert(pc.is_in(table["video_id"], hidden))) if len(hidden) else table)
        seen |= videos
    return merged_rows(kept, wanted)


def _read(
    file: pq.ParquetFile, place: Path, schema: pa.Schema, language: str, groups: list[int] | None = None
) -> pa.Table:
    stored = set(file.schema_arrow.names) - {"language"}  # older files repeat it; the folder's is what counts
    names = [name for name in schema.names if name in stored]
    with naming_damage(place):
        rows = file.read(names) if groups is None else file.read_row_groups(groups, names)
    if "language" in schema.names:
        rows = rows.add_column(
            min(schema.get_field_index("language"), rows.num_columns),
            schema.field("language"),
            pa.repeat(pa.scalar(language), len(rows)),
        )
    return conform(rows, schema)
