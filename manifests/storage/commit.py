"""Committing a source video: its rows, motion, landmarks and media become visible together, or not at all.

Everything new is staged and moved into place by a redo log (`manifests.storage.redo_log`), so that an attempt that
fails or is killed never touches what is good. The manifest keeps every clip that was ever annotated: rows that are
there and not committed anew stay, with all that belongs to them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from multitalk.ground.files import locked, reading
from multitalk.manifests import paths
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.migrations import conform
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.schema import LANDMARKS, MANIFEST, MOTION, PERSONS
from multitalk.manifests.storage.checksums import row_xxh3
from multitalk.manifests.storage.reading import rows_of_videos
from multitalk.manifests.storage.redo_log import (
    Decision,
    claim_video,
    decide,
    roll_forward,
    staged_files,
    staging_folder,
)
from multitalk.manifests.tables import (
    Row,
    all_row_arrays,
    landmarks_table,
    manifest_table,
    motion_table,
    naming_damage,
    open_file,
    persons_table,
    videos_footer,
    write_landmarks,
    write_manifest,
    write_motion,
    write_persons,
)
from multitalk.manifests.takedown import files_of_clip, files_of_video, read_takedown, tombstone

_logger = logging.getLogger(__name__)


def commit_video(
    root: Path,
    language: str,
    video_id: str,
    rows: Sequence[ClipRow],
    *,
    motion_rows: Sequence[Row] = (),
    landmark_rows: Sequence[Row] = (),
    person_rows: Sequence[Row] = (),
    keep_motion: Collection[str] = (),
    keep_landmarks: Collection[str] = (),
    keep_persons: Collection[str] = (),
    fingerprint: str,
) -> Path:
    """Make new rows of a source video, and all media in its staging folder, part of the dataset together.

    The caller holds the video (`manifests.storage.redo_log.claim_video`). `motion_path`, `motion_xxh3`,
    `landmarks_xxh3` and `persons_xxh3` of the rows follow from what the files hold afterwards; `config_fingerprint`
    and `created_at` are filled in where a row has none. Clips of the video that are in the manifest and not among
    `rows` keep their row, motion, landmarks and persons. What the take-down list names becomes tombstones, and its
    files go.

    Parameters
    ----------
    rows
        Manifest rows, in any order.
    motion_rows, landmark_rows, person_rows
        New rows of the clips that have any, with arrays of (T, D) and (T, N, 3); see `multitalk.manifests.schema`.
    keep_motion, keep_landmarks, keep_persons
        Clips among `rows` whose present motion, landmarks and persons stay as they are, unless there are new
        ones. If they can not be read any more, the row's fingerprint of that stage is cleared, so that a build makes
        them again.
    fingerprint
        Hash of the configuration, by which `committed` tells what the video was last tried with.

    Returns
    -------
    Path
        The committed fragment.

    Raises
    ------
    UnsafeNameError
        When `language` or `video_id` must not become file names.
    ValueError
        When rows do not fit the schema, repeat a clip or belong to another video, or when motion,
        landmarks or persons have no manifest row.
    DatasetError
        When a file would go behind a link out of the dataset, or the manifest is damaged.
    """
    place = paths.fragment_path(root, language, video_id)
    _check_clips(language, video_id, rows, motion=motion_rows, landmarks=landmark_rows, persons=person_rows)
    staging = staging_folder(root, language, video_id)
    staging.mkdir(parents=True, exist_ok=True)
    with reading(root):
        before = _with_present(root, language, video_id, rows)
    clips = [row.clip_id for row in before]
    untouched = set(clips) - {row.clip_id for row in rows}
    while True:
        gone = read_takedown(root).among(video_id, clips)
        # Written before the lock is taken: of a video that is held, nobody else makes motion or landmarks.
        motion, landmarks, persons = [
            _stage_kept(
                kind, root, staging, before, [row for row in new if row["clip_id"] not in gone], kept - gone
            )
            for kind, new, kept in (
                (_MOTION, motion_rows, untouched | set(keep_motion)),
                (_LANDMARKS, landmark_rows, untouched | set(keep_landmarks)),
                (_PERSONS, person_rows, untouched | set(keep_persons)),
            )
        ]
        # The list is read under the lock: a removal comes wholly before this commit, or finds all of it.
        with locked(root, exclusive=False):
            listed = read_takedown(root)
            if listed.among(video_id, clips) != gone:
                continue
            # Verdicts of clips that stay may have changed meanwhile; which clips there are has not.
            everything = _with_present(root, language, video_id, rows) if untouched else list(rows)
            everything = [
                _completed(row, motion, landmarks, persons, fingerprint)
                if (reason := listed.reason(video_id, row.clip_id)) is None
                else _buried(row, reason, fingerprint)
                for row in everything
            ]
            fragment = place.relative_to(root)
            write_manifest(_table(everything), staging / fragment, videos_footer({video_id: fingerprint}))
            ours = {row.clip_id for row in rows} - gone
            moves = [
                name
                for name, clip in staged_files(staging, language).items()
                if clip in ours or (clip is None and video_id not in listed.videos)
            ]
            deletes = [path.as_posix() for clip in sorted(gone) for path in files_of_clip(language, clip)]
            if video_id in listed.videos:
                deletes += [path.as_posix() for path in files_of_video(language, video_id)]
            for file in (motion, landmarks, persons):
                moves += file.moves
                deletes += [path for path in file.deletes if path not in deletes]
            decision = Decision((*moves, fragment.as_posix()), tuple(deletes))
            decide(root, language, video_id, decision)
            roll_forward(root, language, video_id, decision)
        return place


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
    """Commit rows given as mappings of a video whose media lie in their places already; see `commit_video`.

    `language`, `video_id` and `config_fingerprint` of the rows are filled in here. It waits where another process
    works on the video.

    Raises
    ------
    UnsafeNameError, ValueError, DatasetError
        As `commit_video`.
    """
    paths.fragment_path(root, language, video_id)  # refuses unsafe names
    if any(row.get("video_id") not in {video_id, None} for row in rows):
        raise ValueError(f"video {video_id}: a row belongs to another video")
    filled_in = {"language": language, "video_id": video_id, "config_fingerprint": fingerprint}
    typed = [ClipRow.from_mapping({**row, **filled_in}) for row in rows]
    _check_clips(language, video_id, typed, motion=motion_rows, landmarks=landmark_rows)
    _table(typed)  # refuses what does not fit before anything is written
    with claim_video(root, language, video_id, wait=True):
        return commit_video(
            root,
            language,
            video_id,
            typed,
            motion_rows=motion_rows,
            landmark_rows=landmark_rows,
            fingerprint=fingerprint,
        )


@dataclass(frozen=True, slots=True)
class _Kind:
    """Motion, landmarks or persons: one file a video, one row a clip."""

    schema: pa.Schema
    checksum: str
    """The manifest's column of it."""
    place: Callable[[Path, str, str], Path]
    table: Callable[[Sequence[Row]], pa.Table]
    write: Callable[[pa.Table, Path], None]


_MOTION = _Kind(MOTION, "motion_xxh3", paths.motion_path, motion_table, write_motion)
_LANDMARKS = _Kind(LANDMARKS, "landmarks_xxh3", paths.landmarks_path, landmarks_table, write_landmarks)
_PERSONS = _Kind(PERSONS, "persons_xxh3", paths.persons_path, persons_table, write_persons)


@dataclass(frozen=True, slots=True)
class _Arrays:
    """What a video's file of motion, landmarks or persons will hold, and what is to be done for it."""

    path: str
    sums: Mapping[str, str]
    """Checksum of each clip's row."""
    moves: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()


def _stage_kept(
    kind: _Kind,
    root: Path,
    staging: Path,
    before: Sequence[ClipRow],
    new: Sequence[Row],
    kept: Collection[str],
) -> _Arrays:
    """Write the new rows and those of `kept`, with the checksums that `before` has of these."""
    sums = {row.clip_id: getattr(row, kind.checksum) for row in before if row.clip_id in kept}
    return _stage(kind, root, staging, before[0].language, before[0].video_id, new, sums)


def _stage(
    kind: _Kind,
    root: Path,
    staging: Path,
    language: str,
    video_id: str,
    rows: Sequence[Row],
    keep: Mapping[str, str | None],
) -> _Arrays:
    """Write the new rows and those of `keep`, clips with their checksums where they are known, if anything changes.

    What was made keeps the checksum that it was made with: damage since then must come to light.
    """
    place = kind.place(root, language, video_id)
    path = place.relative_to(root).as_posix()
    new = kind.table(sorted(rows, key=lambda row: str(row["clip_id"]))) if rows else kind.schema.empty_table()
    made = _checksums(new)
    keep = {clip: known for clip, known in keep.items() if clip not in made}
    present = _clips_in(place)
    if not made and set(present) <= keep.keys() and all(keep[clip] for clip in present):
        return _Arrays(path, {clip: known for clip in present if (known := keep[clip])})
    kept = _kept_rows(kind, place, keep) if present else kind.schema.empty_table()
    sums = {**made, **{clip: keep[clip] or found for clip, found in _checksums(kept).items()}}
    if not made and set(present) == sums.keys():
        return _Arrays(path, sums)
    if not sums:
        return _Arrays(path, sums, deletes=(path,) if place.exists() else ())
    kind.write(pa.concat_tables([kept, new]).sort_by("clip_id"), staging / path)
    return _Arrays(path, sums, moves=(path,))


def _clips_in(place: Path) -> list[str]:
    """Clips that a file of motion, landmarks or persons has rows of; none where it can not be read."""
    try:
        file = open_file(place)
        with naming_damage(place):
            clips: list[str] = file.read(["clip_id"])["clip_id"].to_pylist()
    except FileNotFoundError:
        return []
    except DatasetError as error:
        _logger.warning("%s", error)
        return []
    return clips


def _kept_rows(kind: _Kind, place: Path, keep: Collection[str]) -> pa.Table:
    """Rows of clips in a file, as far as they can be read."""
    file, rows = open_file(place), [kind.schema.empty_table()]
    for group in range(file.num_row_groups):
        try:
            with naming_damage(place):
                table = file.read_row_group(group)
        except DatasetError as error:
            _logger.warning("a clip of %s", error)
            continue
        wanted = [clip in keep for clip in table["clip_id"].to_pylist()]
        rows.append(conform(table.filter(pa.array(wanted, pa.bool_())), kind.schema))
    return pa.concat_tables(rows)


def _checksums(table: pa.Table) -> dict[str, str]:
    return {row["clip_id"]: row_xxh3(row) for row in all_row_arrays(table)}


def _with_present(root: Path, language: str, video_id: str, rows: Sequence[ClipRow]) -> list[ClipRow]:
    """Rows with those of the video that the manifest has and that are not among them."""
    clips = {row.clip_id for row in rows}
    ids = rows_of_videos(root, language, [video_id], pa.schema([MANIFEST.field("clip_id")]))
    if set(ids["clip_id"].to_pylist()) <= clips:
        return list(rows)
    present = ClipRow.from_arrow(rows_of_videos(root, language, [video_id], MANIFEST))
    return [*rows, *(row for row in present if row.clip_id not in clips)]


def _completed(
    row: ClipRow, motion: _Arrays, landmarks: _Arrays, persons: _Arrays, fingerprint: str
) -> ClipRow:
    motion_xxh3, landmarks_xxh3 = motion.sums.get(row.clip_id), landmarks.sums.get(row.clip_id)
    persons_xxh3 = persons.sums.get(row.clip_id)
    stages = row.stage_fingerprints
    if stages and row.motion_path is not None and motion_xxh3 is None:
        stages = {**stages, "fit": None}
    if stages and row.landmarks_xxh3 is not None and landmarks_xxh3 is None:
        stages = {**stages, "landmarks": None}
    if stages and row.persons_xxh3 is not None and persons_xxh3 is None:
        stages = {**stages, "persons": None}
    return replace(
        row,
        motion_path=None if motion_xxh3 is None else motion.path,
        motion_xxh3=motion_xxh3,
        landmarks_xxh3=landmarks_xxh3,
        persons_xxh3=persons_xxh3,
        config_fingerprint=fingerprint if row.config_fingerprint is None else row.config_fingerprint,
        created_at=row.created_at or datetime.now(UTC),
        stage_fingerprints=stages,
    )


def _buried(row: ClipRow, reason: str, fingerprint: str) -> ClipRow:
    kept: dict[str, Any] = tombstone(row.to_mapping(), reason)
    return ClipRow.from_mapping(
        {
            **kept,
            "config_fingerprint": row.config_fingerprint or fingerprint,
            "created_at": row.created_at or datetime.now(UTC),
        }
    )


def _table(rows: Sequence[ClipRow]) -> pa.Table:
    return manifest_table(sorted(rows, key=lambda row: row.clip_id))


def _check_clips(
    language: str,
    video_id: str,
    rows: Sequence[ClipRow],
    **arrays: Sequence[Row],
) -> None:
    if not rows:
        raise ValueError(f"video {video_id}: no rows")
    clips = {row.clip_id for row in rows}
    if len(clips) < len(rows):
        raise ValueError(f"video {video_id}: a clip has two rows")
    if any((row.language, row.video_id) != (language, video_id) for row in rows):
        raise ValueError(f"video {video_id}: a row belongs to another video")
    for what, some in arrays.items():
        strays = {row["clip_id"] for row in some} - clips
        if strays:
            raise ValueError(f"video {video_id}: {what} of {sorted(strays)[0]!r}, which has no manifest row")
