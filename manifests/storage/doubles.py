"""Each clip once: a clip whose language or source video was corrected in its annotation leaves its earlier place.

Its rows lie with its source video, so that a clip that is annotated of another one now is built there, beside what
it was.
Of a clip's rows the one that is ok stays, of several the one that was made last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from multitalk.ground.files import locked
from multitalk.manifests import paths
from multitalk.manifests.paths import DatasetError, check_inside
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.storage.compaction import compact
from multitalk.manifests.storage.reading import read_manifest, rows_of_language, videos_of_language
from multitalk.manifests.tables import (
    naming_damage,
    open_file,
    videos_footer,
    write_landmarks,
    write_manifest,
    write_motion,
    write_persons,
)

_Place = tuple[str, str, str]
"""Language, source video and clip."""


def drop_doubles(root: Path) -> int:
    """Take the rows of clips that have others out of a dataset, with their motion, landmarks, persons and media.

    Media that the row which stays also names are left.

    Returns
    -------
    int
        Rows that were taken out.

    Raises
    ------
    DatasetError
        When the manifest is damaged.
    """
    rows = read_manifest(root, ["language", "video_id", "clip_id", "status", "created_at"])
    if pc.count_distinct(rows["clip_id"]).as_py() == len(rows):
        return 0
    gone = list(_superseded(rows))
    by_video: dict[tuple[str, str], set[str]] = {}
    for language, video_id, clip_id in gone:
        by_video.setdefault((language, video_id), set()).add(clip_id)
    for language in sorted({language for language, _, _ in gone}):
        _drop_rows(root, language, {key[1]: clips for key, clips in by_video.items() if key[0] == language})
    for (language, video_id), clips in by_video.items():
        with locked(root, exclusive=True):
            without_clips(root, paths.motion_path(root, language, video_id), clips, write_motion)
            without_clips(root, paths.landmarks_path(root, language, video_id), clips, write_landmarks)
            without_clips(root, paths.persons_path(root, language, video_id), clips, write_persons)
    _delete_media(root, gone)
    return len(gone)


def _superseded(rows: pa.Table) -> Iterator[_Place]:
    order = rows.append_column("ok", pc.equal(rows["status"], "ok")).sort_by(
        [("clip_id", "ascending"), ("ok", "descending"), ("created_at", "descending")]
    )
    names = [order[name].to_pylist() for name in ("language", "video_id", "clip_id")]
    before = None
    for language, video_id, clip_id in zip(*names, strict=True):
        if clip_id == before and paths.is_name(clip_id) and paths.is_name(video_id):
            yield language, video_id, clip_id
        before = clip_id


def _drop_rows(root: Path, language: str, clips: dict[str, set[str]]) -> None:
    compact(root, languages=[language])
    with locked(root, exclusive=True):
        rows = rows_of_language(root, language, MANIFEST)
        keys = zip(rows["video_id"].to_pylist(), rows["clip_id"].to_pylist(), strict=True)
        kept = rows.filter(pa.array([clip not in clips.get(video, ()) for video, clip in keys]))
        left = set(kept["video_id"].to_pylist())
        videos = {v: f for v, f in videos_of_language(root, language).items() if v in left}
        write_manifest(kept, paths.part_path(root, language), videos_footer(videos))


def without_clips(root: Path, place: Path, clips: set[str], write: Callable[[pa.Table, Path], None]) -> int:
    """Take clips out of a file of motion or landmarks; returns how many it held. The caller holds the lock."""
    if not place.is_file():
        return 0
    try:
        file = open_file(place)
        with naming_damage(place):
            table = file.read()
    except DatasetError:  # it may hold the clips, and nobody can tell: a build makes it again
        check_inside(root, place)
        place.unlink()
        return len(clips)
    gone = pc.is_in(table["clip_id"], pa.array(sorted(clips), pa.string()))
    count = int(pc.sum(gone).as_py() or 0)
    if count:
        check_inside(root, place)
        left = table.filter(pc.invert(gone))
        if len(left):
            write(left, place)
        else:
            place.unlink()
    return count


def _delete_media(root: Path, gone: list[_Place]) -> None:
    rows = read_manifest(root, ["language", "clip_id"])
    there = set(zip(rows["language"].to_pylist(), rows["clip_id"].to_pylist(), strict=True))
    for language, _, clip_id in gone:
        if (language, clip_id) not in there:
            for place_of in (paths.clip_path, paths.audio_path):
                place = place_of(root, language, clip_id)
                check_inside(root, place)
                place.unlink(missing_ok=True)
