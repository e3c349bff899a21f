"""Compacting fragments into parts, and changing the rows of all videos.

While a run is under way, `compact_videos` merges the fragments of each batch into a new part: it costs what the batch
costs, however much is there already. At its end, `compact` merges each language into one part.

A fragment outranks all parts, and of parts the newer outranks the older (`manifests.storage.reading`). So a
compaction that is killed between writing a part and deleting what it was made of leaves each clip exactly once, for
readers of this package. In a settled state, with no compaction under way or killed, that holds for everyone who
reads the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from multitalk.ground.files import flush_to_disk, locked, reading, temporary_beside
from multitalk.manifests import paths
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.schema import DEPENDENT_STAGES, FINGERPRINTS, MANIFEST, STAGES
from multitalk.manifests.storage.reading import (
    merged_rows,
    read_rows_and_videos,
    rows_of_language,
    videos_of_language,
)
from multitalk.manifests.storage.redo_log import finish_commits
from multitalk.manifests.tables import footer_videos, is_current, open_file, videos_footer, write_manifest

Change = Callable[[pa.Table], pa.Table]
"""Takes the manifest rows of a language, returns as many in the same order."""

_Version = tuple[int, int, int]


def compact(root: Path, change: Change | None = None, languages: Sequence[str] | None = None) -> None:
    """Merge each language's fragments and parts into one part, and pass its rows through `change`.

    What killed processes had decided to commit is finished first. Each language changes in one step; a crash leaves
    a language as it was or as it will be. A language of one part whose rows `change` leaves alone is not written,
    unless an older version wrote it; without `change`, it is not even read.

    Parameters
    ----------
    change
        For instance a policy that fills `accepted` and `rejected_by`. Must return the same clips in the same
        order, and may set any other column. It is called from several threads.
    languages
        Languages to compact, all by default.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`, a file is damaged, or `change` does not keep the clips.
    """
    paths.languages(root)  # before the lock makes the folder
    finish_commits(root)
    with locked(root, exclusive=True):
        found = paths.languages(root) if languages is None else sorted(languages)

        def settle(language: str) -> None:
            _merge(root, language)
            if change is not None:
                _rewrite(root, language, change)

        # Reading and writing Parquet let other threads run. Few of them, as each holds a language's rows.
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(settle, found))


def compact_videos(root: Path, language: str, video_ids: Collection[str]) -> None:
    """Merge the fragments of some source videos into a new part; videos without a fragment are left alone.

    The part is written before the lock is taken that keeps others off. A fragment that was committed again or
    compacted by another meanwhile is left to that, and the others are tried again.
    """
    while True:
        with reading(root):
            found = {place: _version(place) for place in _fragments_of(root, language, video_ids)}
            read = [read_rows_and_videos(place, language) for place in found]
        if not found:
            return
        with temporary_beside(paths.part_path(root, language)) as temporary:
            videos = {video: fingerprint for _, videos in read for video, fingerprint in videos.items()}
            write_manifest(merged_rows([rows for rows, _ in read]), temporary, videos_footer(videos))
            with locked(root, exclusive=True):
                if all(_version_or_none(place) == version for place, version in found.items()):
                    parts = paths.parts(root, language)
                    number = 1 + max(map(paths.part_number, parts), default=-1)
                    temporary.replace(paths.part_path(root, language, number))
                    # On the disk before what it replaces goes.
                    flush_to_disk(temporary.parent)
                    for place in found:
                        place.unlink()
                    return


def forget(root: Path, language: str, ids: Collection[str], *, stage: str = "source") -> int:
    """Forget that clips were taken through a stage and those that depend on it: the next build does them again.

    Rows and files stay until that build has something better, so that nothing good is lost where it can not.

    Parameters
    ----------
    ids
        Source videos, of which all clips are meant, and clips.
    stage
        First stage to do again: `trim` mends a clip or its sound, `landmarks` and `fit` their rows.

    Returns
    -------
    int
        Number of clips.

    Raises
    ------
    ValueError
        When there is no such stage.
    """
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}: one of {', '.join(STAGES)}")
    wanted, counts = pa.array(sorted(set(ids)), pa.string()), []

    def clear(table: pa.Table) -> pa.Table:
        chosen = pc.or_(pc.is_in(table["video_id"], wanted), pc.is_in(table["clip_id"], wanted))
        counts.append(pc.sum(chosen).as_py() or 0)
        return _without_stages(table, chosen, {stage, *DEPENDENT_STAGES[stage]})

    compact(root, clear, [language])
    return sum(counts)


def _without_stages(table: pa.Table, chosen: pa.ChunkedArray, stages: Collection[str]) -> pa.Table:
    prints = table["stage_fingerprints"].combine_chunks()
    chosen = chosen.combine_chunks()
    fields = [
        pc.if_else(chosen, None, pc.struct_field(prints, name))
        if name in stages
        else pc.struct_field(prints, name)
        for name in STAGES
    ]
    cleared = pa.StructArray.from_arrays(fields, fields=list(FINGERPRINTS), mask=pc.is_null(prints))
    # A row of no configuration at all: builds compare this one first.
    whole = pc.if_else(chosen, "", table["config_fingerprint"])
    # Or builds would take the last try in vain for one that need not be made again.
    tried = pc.if_else(chosen, None, table["last_try_fingerprint"])
    changed = {
        "stage_fingerprints": cleared,
        "config_fingerprint": whole,
        "last_try_fingerprint": tried,
    }
    for name, values in changed.items():
        table = table.set_column(MANIFEST.get_field_index(name), MANIFEST.field(name), values)
    return table


def _merge(root: Path, language: str) -> None:
    """Bring a language to one part. The caller holds the lock."""
    parts, fragments = paths.parts(root, language), paths.fragments(root, language)
    settled = paths.part_path(root, language)
    if not fragments and parts in ([], [settled]):
        return
    # The newest part outranks the others, and fragments outrank it: whenever this ends, each clip is there once.
    place = parts[-1] if parts else settled
    if len(parts) > 1 or fragments:
        videos = videos_of_language(root, language)
        write_manifest(rows_of_language(root, language, MANIFEST), place, videos_footer(videos))
    for old in (*fragments, *parts[:-1]):
        old.unlink()
    place.replace(settled)
    flush_to_disk(settled.parent)


def _rewrite(root: Path, language: str, change: Change) -> None:
    part = paths.part_path(root, language)
    if not part.exists():
        return
    before = rows_of_language(root, language, MANIFEST)
    after = change(before).select(MANIFEST.names)
    if any(not after[name].equals(before[name]) for name in ("clip_id", "video_id", "language")):
        raise DatasetError(f"{part}: the change must keep every row in its place")
    file = open_file(part)
    if not after.equals(before) or not is_current(file):
        write_manifest(after, part, videos_footer(_fingerprints(after, footer_videos(file))))


def _fingerprints(rows: pa.Table, videos: dict[str, str]) -> dict[str, str]:
    """Source videos with the configuration that they were committed with, none where a row has been forgotten."""
    forgotten = rows.filter(pc.equal(rows["config_fingerprint"], ""))["video_id"].unique().to_pylist()
    return {**videos, **dict.fromkeys(forgotten, "")}


def _fragments_of(root: Path, language: str, video_ids: Collection[str]) -> list[Path]:
    places = (paths.fragment_path(root, language, video_id) for video_id in sorted(set(video_ids)))
    return [place for place in places if place.exists()]


def _version(place: Path) -> _Version:
    found = place.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _version_or_none(place: Path) -> _Version | None:
    try:
        return _version(place)
    except FileNotFoundError:
        return None
