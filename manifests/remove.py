"""Removing source videos and clips for good: media, motion and traces go, tombstones stay, nothing brings them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitalk.ground.files import locked
from multitalk.ground.nearest import did_you_mean
from multitalk.manifests import paths
from multitalk.manifests.layouts.known_exports import exports_with
from multitalk.manifests.paths import DatasetError, check_inside
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.storage.doubles import without_clips
from multitalk.manifests.store import compact, finish_commits, read_manifest
from multitalk.manifests.tables import manifest_table, write_landmarks, write_motion, write_persons
from multitalk.manifests.takedown import (
    ERROR_CODE,
    Takedown,
    extend_takedown,
    files_of_clip,
    files_of_video,
    read_takedown,
    tombstone,
)
from multitalk.manifests.traces import scrub

_KEYS = ("language", "video_id", "clip_id")


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal did, and what is left that only the user can deal with; paths are below the root."""

    rows: int
    """Manifest rows that became tombstones."""
    listed: tuple[str, ...]
    """Ids that were asked for."""
    files: tuple[Path, ...]
    """Media, motion, landmarks, descriptions of persons and source videos that were deleted."""
    motion_rows: int
    landmark_rows: int
    person_rows: int
    """Rows that were taken out of files which other clips keep."""
    traces: tuple[Path, ...]
    """Logs, annotations of runs, caches and pages that held the clips, deleted or rid of them."""
    releases: tuple[str, ...]
    """Releases that list the clips; never changed, so to be withdrawn."""
    exports: tuple[Path, ...]
    """Known exports that hold the clips, to be deleted or made again."""
    remains: tuple[Path, ...] = ()
    """What still lies there and should not: a build works on it, or it could not be deleted."""

    @property
    def did_anything(self) -> bool:
        """Whether anything was removed."""
        rows = self.rows or self.motion_rows or self.landmark_rows or self.person_rows
        return bool(rows or self.files or self.traces)


def remove(root: Path, ids: Sequence[str], reason: str = "", *, whole_video: bool = False) -> Removal:
    """Remove source videos and clips, and whatever the take-down list names besides.

    Call it again after a crash, or after editing the list by hand: it finishes what is left to do.

    Parameters
    ----------
    ids
        Source videos, of which all clips go, and clips; none to carry out the list as it is.
    reason
        Written into the list and the tombstones.
    whole_video
        Take a clip for its source video.

    Raises
    ------
    DatasetError
        When an id is neither a clip nor a source video of the dataset; then nothing is done. What comes near is named.
    UnsafeNameError
        When an id is not one.
    """
    rows = read_manifest(root, _KEYS)
    videos, clips = _videos_and_clips(rows, ids, root, whole_video=whole_video)
    # The list comes first: from here on, no build can bring them back, whatever happens to this run.
    extend_takedown(root, dict.fromkeys(videos, reason), dict.fromkeys(clips, reason))
    listed = read_takedown(root)
    count = _write_tombstones(root, listed)
    # Read after that: of what a running build committed meanwhile, nothing may be overlooked.
    rows = read_manifest(root, _KEYS)
    gone = rows.filter(listed.holds(rows)).to_pylist()
    files = _delete_files(root, gone, listed)
    counts = _delete_rows(root, gone, listed)
    traces = scrub(root, listed, frozenset(row["clip_id"] for row in gone))
    removal = Removal(
        rows=count,
        listed=tuple(ids),
        files=tuple(files),
        motion_rows=counts[0],
        landmark_rows=counts[1],
        person_rows=counts[2],
        traces=tuple(traces),
        releases=tuple(_releases_with(root, listed)),
        exports=tuple(exports_with(root, frozenset(row["clip_id"] for row in gone))),
    )
    return replace(removal, remains=tuple(_remains(root, gone, listed)))


def _videos_and_clips(
    rows: pa.Table, ids: Iterable[str], root: Path, *, whole_video: bool
) -> tuple[list[str], list[str]]:
    """Divide ids into source videos and clips."""
    of_clip = dict(zip(rows["clip_id"].to_pylist(), rows["video_id"].to_pylist(), strict=True))
    known, listed = set(of_clip.values()), read_takedown(root)
    videos: list[str] = []
    clips: list[str] = []
    for name in ids:
        if name in known or name in listed.videos:
            videos.append(paths.check_name(name, "video id"))
        elif name in of_clip:
            clip = paths.check_name(name, "clip id")
            (videos if whole_video else clips).append(of_clip[clip] if whole_video else clip)
        else:
            paths.check_name(name, "id")
            near = did_you_mean(name, _like(name, [*known, *of_clip]))
            raise DatasetError(
                f"{root} has neither a source video nor a clip {name!r}{near}. Nothing was removed. To keep out what "
                "is not there yet, write its id into takedown.txt"
            )
    return videos, clips


def _like(name: str, names: Sequence[str]) -> Sequence[str]:
    """Leave the names that begin alike, of which there are few: to compare 300,000 takes half a minute."""
    begin = name.lower()[:4]
    return [other for other in names if other.lower().startswith(begin)] or names[:5000]


def _write_tombstones(root: Path, listed: Takedown) -> int:
    """Turn rows into tombstones; returns how many."""
    counts: list[int] = []

    def change(table: pa.Table) -> pa.Table:
        alive = pc.and_(
            listed.holds(table), pc.fill_null(pc.not_equal(table["error_code"], ERROR_CODE), True)
        )
        counts.append(pc.sum(alive).as_py() or 0)
        return _with_tombstones(table, listed)

    compact(root, change)
    if (root / ".staging").is_dir():  # a commit that was decided by a process killed just now
        finish_commits(root)
        compact(root, change)
    return sum(counts)


def _with_tombstones(table: pa.Table, listed: Takedown) -> pa.Table:
    gone = listed.holds(table)
    tombstones = [
        tombstone(row, listed.reason(row["video_id"], row["clip_id"]) or "")
        for row in table.filter(gone).to_pylist()
    ]
    if not tombstones:
        return table
    both = pa.concat_tables([table.filter(pc.invert(gone)), _verdict(manifest_table(tombstones), table)])
    return both.sort_by([("video_id", "ascending"), ("clip_id", "ascending")])


def _verdict(tombstones: pa.Table, table: pa.Table) -> pa.Table:
    """Reject tombstones where a policy has spoken, so that no clip is left without a verdict."""
    if table["accepted"].null_count == table.num_rows:
        return tombstones
    for name, value in (("accepted", False), ("rejected_by", ["status"])):
        index = MANIFEST.get_field_index(name)
        tombstones = tombstones.set_column(
            index, MANIFEST.field(name), pa.array([value] * len(tombstones), MANIFEST.types[index])
        )
    return tombstones


def _places(rows: Iterable[dict[str, str]], listed: Takedown) -> list[Path]:
    """Files, below the root, that belong to removed clips and videos alone."""
    places: dict[Path, None] = {}
    for row in rows:
        places.update(dict.fromkeys(files_of_clip(row["language"], row["clip_id"])))
        if row["video_id"] in listed.videos and paths.is_name(row["video_id"]):
            places.update(dict.fromkeys(files_of_video(row["language"], row["video_id"])))
    return sorted(places)


def _delete_files(root: Path, rows: list[dict[str, str]], listed: Takedown) -> list[Path]:
    deleted = []
    for name in _places(rows, listed):
        place = root / name
        if place.is_symlink() or place.exists():
            check_inside(root, place)
            place.unlink(missing_ok=True)  # its build deletes the source video too
            deleted.append(name)
    return deleted


def _delete_rows(root: Path, rows: list[dict[str, str]], listed: Takedown) -> list[int]:
    """Take removed clips out of files of motion, landmarks and persons that others keep; returns how many."""
    videos: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["video_id"] not in listed.videos and paths.is_name(row["video_id"]):
            videos.setdefault((row["language"], row["video_id"]), set()).add(row["clip_id"])
    kinds = (
        (paths.motion_path, write_motion),
        (paths.landmarks_path, write_landmarks),
        (paths.persons_path, write_persons),
    )
    counts = [0] * len(kinds)
    for (language, video_id), clips in videos.items():
        for number, (place_of, write) in enumerate(kinds):
            place = place_of(root, language, video_id)
            with locked(root, exclusive=True):
                counts[number] += without_clips(root, place, clips, write)
    return counts


def _releases_with(root: Path, listed: Takedown) -> Iterator[str]:
    for place in sorted((root / "releases").glob("[!.]*/manifest.parquet")):
        try:
            rows = pq.read_table(place, columns=["video_id", "clip_id"], partitioning=None)
            held = bool(pc.any(listed.holds(rows)).as_py())
        except (pa.ArrowException, OSError):
            held = True  # not to be read: it may well
        if held:
            yield place.parent.name


def _remains(root: Path, rows: list[dict[str, str]], listed: Takedown) -> Iterator[Path]:
    """Yield what still lies there, looked for by the names of the files, not by what was done."""
    for name in _places(rows, listed):
        if (root / name).exists():
            yield name
    for language, video_id in sorted({(row["language"], row["video_id"]) for row in rows}):
        if paths.is_name(video_id):
            staged = Path(".staging") / language / video_id
            if (root / staged).exists():
                yield staged
