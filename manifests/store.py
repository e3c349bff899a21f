"""Committing a source video's rows, reading all of them, and compacting them.

A source video is committed by one rename, that of its fragment ``manifest/language=<l>/<video_id>.parquet``,
after its motion and landmarks are in place. `compact` merges the fragments of a language into its part.

A fragment always outranks the part: readers drop a part's rows of a video that has a fragment. So a fragment
written again replaces its compacted rows, and a compaction killed between writing the part and deleting the
fragments leaves each clip exactly once, for readers of this module. In a settled state, with no compaction
under way or killed, that holds for everyone who reads the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from manifests import paths
from manifests.files import locked, reading, sync
from manifests.migrations import conform
from manifests.paths import DatasetError
from manifests.schema import MANIFEST
from manifests.tables import (
    Row,
    footer_videos,
    is_current,
    landmarks_table,
    manifest_table,
    motion_table,
    naming_damage,
    open_file,
    videos_footer,
    write_landmarks,
    write_manifest,
    write_motion,
)
from manifests.takedown import delete_video, read_takedown, tombstone

Change = Callable[[pa.Table], pa.Table]
"""Takes the manifest rows of a language, returns as many in the same order."""


def commit_fragment(
    root: Path,
    language: str,
    video_id: str,
    rows: Sequence[Row],
    *,
    motion_rows: Sequence[Row] = (),
    landmark_rows: Sequence[Row] = (),
    fingerprint: str,
) -> Path:
    """Make a source video part of the dataset: all of it, or nothing if this is cut off anywhere.

    `language`, `video_id`, `config_fingerprint` and `motion_path` of the rows are filled in here, and
    `created_at` where a row has none. A video on the take-down list becomes tombstones, without motion or media.

    Parameters
    ----------
    rows
        Manifest rows, one per annotated clip, in any order.
    motion_rows, landmark_rows
        Rows of the clips that have any, with arrays of (T, D) and (T, N, 3); see `manifests.schema`.
    fingerprint
        Hash of the configuration, by which `committed` tells whether the video is done.

    Returns
    -------
    Path
        The committed fragment.

    Raises
    ------
    UnsafeNameError
        When `language` or `video_id` must not become file names.
    ValueError
        When rows do not fit the schema, repeat a clip or belong to another video, or when motion or
        landmarks have no manifest row.
    """
    place = paths.fragment_path(root, language, video_id)
    motion_place = paths.motion_path(root, language, video_id)
    landmarks_place = paths.landmarks_path(root, language, video_id)
    _check_clips(video_id, rows, motion_rows, landmark_rows)
    # The list is read under the lock: a removal comes wholly before this commit, or finds all of it.
    with locked(root, exclusive=False):
        reason = read_takedown(root).get(video_id)
        if reason is not None:
            rows, motion_rows, landmark_rows = [tombstone(row, reason) for row in rows], (), ()
            delete_video(root, language, video_id, (row["clip_id"] for row in rows))
        with_motion = {row["clip_id"]: motion_place.relative_to(root).as_posix() for row in motion_rows}
        filled_in = {"language": language, "video_id": video_id, "config_fingerprint": fingerprint}
        table = _fragment(rows, filled_in, with_motion)
        if motion_rows:
            write_motion(motion_table(_by_clip(motion_rows)), motion_place)
        if landmark_rows:
            write_landmarks(landmarks_table(_by_clip(landmark_rows)), landmarks_place)
        write_manifest(table, place, videos_footer({video_id: fingerprint}))
        # What an earlier configuration left there belongs to no row any more.
        if not motion_rows:
            motion_place.unlink(missing_ok=True)
        if not landmark_rows:
            landmarks_place.unlink(missing_ok=True)
    return place


def committed(root: Path, language: str, video_id: str) -> str | None:
    """Return the configuration fingerprint that a source video was committed with, None if it never was."""
    # In this order: a fragment that vanishes in between has moved into the part.
    for place in (paths.fragment_path(root, language, video_id), paths.part_path(root, language)):
        try:
            fingerprint = footer_videos(open_file(place)).get(video_id)
        except FileNotFoundError:
            continue
        if fingerprint is not None:
            return fingerprint
    return None


def committed_videos(root: Path, language: str) -> dict[str, str]:
    """Return every committed source video of a language with its configuration fingerprint."""
    with reading(root):
        return _committed_videos(root, language)


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
        tables = [_read_language(root, language, wanted) for language in found]
    return pa.concat_tables([wanted.empty_table(), *tables]).unify_dictionaries()


def compact(root: Path, change: Change | None = None, languages: Sequence[str] | None = None) -> None:
    """Merge each language's fragments into its part, and pass its rows through `change`.

    Each language changes in one step; a crash leaves a language as it was or as it will be. A language
    without fragments whose rows `change` leaves alone is not written, unless an older version wrote it.

    Parameters
    ----------
    change
        For instance a policy that fills `accepted` and `rejected_by`. Must return the same rows in the same
        order. It is called from several threads.
    languages
        Languages to compact, all by default.
    """
    paths.languages(root)  # before the lock makes the folder
    with locked(root, exclusive=True):
        found = paths.languages(root) if languages is None else sorted(languages)

        def settle(language: str) -> None:
            _merge(root, language)
            if change is not None:
                _rewrite(root, language, change)

        # Reading and writing Parquet let other threads run. Few of them, as each holds a language's rows.
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(settle, found))


def forget(root: Path, language: str, video_ids: Collection[str]) -> None:
    """Take the rows of source videos out of the manifest, so that the next build makes them again.

    Their files stay until that build replaces them.
    """
    with locked(root, exclusive=True):
        _merge(root, language)
        part = paths.part_path(root, language)
        rows = _read_language(root, language, MANIFEST)
        kept = rows.filter(pc.invert(pc.is_in(rows["video_id"], pa.array(list(video_ids), pa.string()))))
        videos = {video: fp for video, fp in footer_videos(open_file(part)).items() if video not in video_ids}
        write_manifest(kept, part, videos_footer(videos))


def _merge(root: Path, language: str) -> None:
    fragments = paths.fragments(root, language)
    if not fragments:
        return
    part = paths.part_path(root, language)
    videos = _committed_videos(root, language)
    write_manifest(_read_language(root, language, MANIFEST), part, videos_footer(videos))
    for fragment in fragments:
        fragment.unlink()
    sync(part.parent)


def _rewrite(root: Path, language: str, change: Change) -> None:
    part = paths.part_path(root, language)
    if not part.exists():
        return
    before = _read_language(root, language, MANIFEST)
    after = change(before).select(MANIFEST.names)
    if not after["clip_id"].equals(before["clip_id"]):
        raise DatasetError(f"{part}: the change must keep every row in its place")
    file = open_file(part)
    if not after.equals(before) or not is_current(file):
        write_manifest(after, part, videos_footer(footer_videos(file)))


def _read_language(root: Path, language: str, wanted: pa.Schema) -> pa.Table:
    """Rows of a language, once each. The caller holds the lock."""
    fragments = paths.fragments(root, language)
    newer = pa.array([path.stem for path in fragments], pa.string())
    # Sorting and ranking need the ids, whatever was asked for.
    keys = [name for name in ("video_id", "clip_id") if name not in wanted.names]
    schema = pa.schema([*wanted, *(MANIFEST.field(name) for name in keys)])
    tables = [_read(path, schema) for path in fragments]
    part = paths.part_path(root, language)
    if part.exists():
        rows = _read(part, schema)
        tables.append(rows.filter(pc.invert(pc.is_in(rows["video_id"], newer))) if fragments else rows)
    if not tables:
        return wanted.empty_table()
    table = pa.concat_tables(tables)
    if fragments:
        table = table.unify_dictionaries().sort_by([("video_id", "ascending"), ("clip_id", "ascending")])
    return table.select(wanted.names)


def _read(place: Path, schema: pa.Schema) -> pa.Table:
    file = open_file(place)
    stored = set(file.schema_arrow.names)
    with naming_damage(place):
        rows = file.read([name for name in schema.names if name in stored])
    return conform(rows, schema)


def _committed_videos(root: Path, language: str) -> dict[str, str]:
    part = paths.part_path(root, language)
    videos = footer_videos(open_file(part)) if part.exists() else {}
    for fragment in paths.fragments(root, language):
        videos.update(footer_videos(open_file(fragment)))
    return videos


def _fragment(rows: Sequence[Row], filled_in: Row, with_motion: Mapping[str, str]) -> pa.Table:
    now = datetime.now(UTC)
    return manifest_table(
        [
            {"created_at": now, **row, **filled_in, "motion_path": with_motion.get(row["clip_id"])}
            for row in _by_clip(rows)
        ]
    )


def _by_clip(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["clip_id"]))


def _check_clips(
    video_id: str, rows: Sequence[Row], motion_rows: Sequence[Row], landmark_rows: Sequence[Row]
) -> None:
    if not rows:
        raise ValueError(f"video {video_id}: no rows")
    clips = {row["clip_id"] for row in rows}
    if len(clips) < len(rows):
        raise ValueError(f"video {video_id}: a clip has two rows")
    if any(row.get("video_id", video_id) not in {video_id, None} for row in rows):
        raise ValueError(f"video {video_id}: a row belongs to another video")
    for what, some in (("motion", motion_rows), ("landmarks", landmark_rows)):
        strays = {row["clip_id"] for row in some} - clips
        if strays:
            raise ValueError(f"video {video_id}: {what} of {sorted(strays)[0]!r}, which has no manifest row")
