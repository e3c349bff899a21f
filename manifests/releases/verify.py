"""Checking every file of a dataset against its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitalk.ground.units import AUDIO_RATE, FPS
from multitalk.ground.wav import WavError, wav_form
from multitalk.manifests import paths
from multitalk.manifests.migrations import conform
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.releases.release import damaged_files, sha256
from multitalk.manifests.schema import LANDMARKS, MOTION, PERSONS
from multitalk.manifests.storage.checksums import file_xxh3, row_xxh3
from multitalk.manifests.store import read_manifest
from multitalk.manifests.tables import open_file, row_arrays
from multitalk.manifests.takedown import ERROR_CODE, read_takedown

Kind = Literal["missing", "damaged", "contradiction", "stray"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the manifest says."""

    kind: Kind
    """`missing` or `damaged` file; `contradiction` between files; `stray` file that no clip needs."""
    path: Path
    """File, relative to the root."""
    message: str
    """What is wrong, and what to do."""
    video: tuple[str, str] | None = None
    """Language and id of the source video that it belongs to, where making something again mends it."""
    stage: str = "source"
    """First stage to do again then (`multitalk.manifests.store.forget`)."""
    clips: tuple[str, ...] = ()
    """Clips to do again; none: all of the source video."""


def verify(root: Path, *, hashes: bool = True) -> list[Finding]:
    """Check a dataset: manifest, media, motion, landmarks, persons, releases and the take-down list.

    Parameters
    ----------
    hashes
        Also read each file and compare checksums, which takes as long as the disk needs to deliver them.
        Without, existence, sound lengths and frame counts are checked.

    Returns
    -------
    list of Finding
        Sorted by file; empty when all is well.

    Raises
    ------
    DatasetError
        When the manifest itself can not be read, so that there is nothing to check against.
    """
    clips = read_manifest(root, _COLUMNS)
    # A clip that failed after it was trimmed keeps its files, so that one can see why.
    built = clips.filter(pc.or_(pc.equal(clips["status"], "ok"), pc.is_valid(clips["clip_path"]))).to_pylist()
    kept = [row for row in built if paths.is_name(row["clip_id"]) and paths.is_name(row["video_id"])]
    findings = [*_manifest(root, clips, built), *_removed(root, clips)]
    with ThreadPoolExecutor() as pool:  # hashing and reading let other threads run
        if hashes:
            findings += _flat(pool.map(_pages, _manifest_files(root)))
        findings += _flat(pool.map(lambda row: list(_media(root, row, hashes=hashes)), kept))
        videos = _by_video(kept).items()
        findings += _flat(pool.map(lambda video: list(_video(root, *video, hashes=hashes)), videos))
    findings += _strays(root, kept)
    findings += _releases(root, hashes=hashes)
    relative = [replace(f, path=_below(f.path, root)) for f in findings]
    return sorted(relative, key=lambda f: (f.path.as_posix(), f.message))


def to_forget(findings: Iterable[Finding]) -> dict[tuple[str, str], set[str]]:
    """Return, by language and stage, the clips and source videos that a build has to take through it again."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        if finding.video is not None and finding.kind != "stray":
            language, video_id = finding.video
            wanted.setdefault((language, finding.stage), set()).update(finding.clips or (video_id,))
    return wanted


_COLUMNS = (
    *("clip_id", "video_id", "language", "status", "error_code", "clip_path", "audio_path", "frame_count"),
    *("motion_path", "clip_sha256", "audio_xxh3", "landmarks_xxh3", "motion_xxh3"),
    "persons_xxh3",
)
Row = Mapping[str, Any]


def _manifest(root: Path, clips: pa.Table, built: list[Row]) -> Iterator[Finding]:
    for clip_id, count in Counter(clips["clip_id"].to_pylist()).items():
        if count > 1:
            yield Finding("contradiction", Path("manifest"), f"clip {clip_id!r} has {count} rows")
    for row in built:
        for what in ("clip_id", "video_id"):
            if not paths.is_name(row[what]):
                message = f"{what} {row[what]!r} can not be a file's name: nothing of ours made that row"
                yield Finding("contradiction", paths.manifest_folder(root, row["language"]), message)


def _manifest_files(root: Path) -> list[Path]:
    return [
        place
        for language in paths.languages(root)
        for place in (*paths.parts(root, language), *paths.fragments(root, language))
    ]


def _pages(place: Path) -> list[Finding]:
    """Read a file of the manifest with the checksums of its pages, which nothing else does."""
    try:
        pq.ParquetFile(place, page_checksum_verification=True).read()
    except FileNotFoundError:  # compacted meanwhile
        return []
    except (pa.ArrowException, OSError) as error:
        message = f"the rows are not as they were written ({' '.join(str(error).split())}): delete it and build again"
        return [Finding("damaged", place, message)]
    return []


def _media(root: Path, row: Row, *, hashes: bool) -> Iterator[Finding]:
    video, clips = (row["language"], row["video_id"]), (row["clip_id"],)
    for kind, place, message in _wrong_media(root, row, hashes=hashes):
        yield Finding(kind, place, message, video, "trim", clips)


def _wrong_media(root: Path, row: Row, *, hashes: bool) -> Iterator[tuple[Kind, Path, str]]:
    clip = paths.clip_path(root, row["language"], row["clip_id"])
    audio = paths.audio_path(root, row["language"], row["clip_id"])
    if row["clip_path"] is not None:  # imported clips have no picture
        if row["clip_path"] != clip.relative_to(root).as_posix():
            yield "contradiction", clip, f"the manifest says clip_path {row['clip_path']!r}"
        if not _is_there(clip):
            yield "missing", clip, "the clip's video is not there"
        elif clip.is_symlink():
            yield "contradiction", clip, _LINK
        elif hashes and row["clip_sha256"] and sha256(clip) != row["clip_sha256"]:
            yield "damaged", clip, "its SHA-256 is not the manifest's"
    if row["status"] == "failed" and row["audio_path"] is None:
        return
    if not _is_there(audio):
        yield "missing", audio, "the clip's sound is not there"
    elif audio.is_symlink():
        yield "contradiction", audio, _LINK
    elif wrong := _wrong_sound(audio, row["frame_count"]):
        yield "damaged", audio, wrong
    elif hashes and row["audio_xxh3"] and file_xxh3(audio) != row["audio_xxh3"]:
        yield "damaged", audio, "its checksum is not the manifest's"


_LINK = "it is a link, not the file itself: put the file there"


def _is_there(place: Path) -> bool:
    return place.is_file() or place.is_symlink()


def _wrong_sound(audio: Path, frame_count: int | None) -> str | None:
    try:
        form = wav_form(audio)
    except WavError:
        return "not a WAV file"
    if not form.is_ours:
        return f"{form}, not 16000 Hz, 1 channel, 16 bits"
    expected = form.samples if frame_count is None else frame_count * AUDIO_RATE // FPS
    whole = audio.stat().st_size >= 2 * form.samples
    if form.samples != expected or not whole:
        return f"{form.samples if whole else f'fewer than {form.samples}'} samples, not {expected}"
    return None


def _by_video(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    videos: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        videos.setdefault((row["language"], row["video_id"]), []).append(row)
    return videos


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Motion, landmarks or persons: what a row of the manifest tells of its own row in that file."""

    place: Callable[[Path, str, str], Path]
    schema: pa.Schema
    checksum: str
    stage: str
    frames: str
    """A column with a number or more a frame."""

    def wanted(self, row: Row) -> bool:
        return row[self.checksum] is not None or (self.stage == "fit" and row["motion_path"] is not None)


_ARRAYS = (
    _Arrays(paths.motion_path, MOTION, "motion_xxh3", "fit", "valid"),
    _Arrays(paths.landmarks_path, LANDMARKS, "landmarks_xxh3", "landmarks", "valid"),
    _Arrays(paths.persons_path, PERSONS, "persons_xxh3", "persons", "sound_print"),
)


def _video(root: Path, video: tuple[str, str], rows: list[Row], *, hashes: bool) -> Iterator[Finding]:
    """Check motion, landmarks and persons of a source video's clips."""
    for kind in _ARRAYS:
        place = kind.place(root, *video)
        for finding in _rows_of_arrays(kind, place, rows, hashes=hashes):
            yield replace(finding, video=video, stage=kind.stage)


def _rows_of_arrays(kind: _Arrays, place: Path, rows: list[Row], *, hashes: bool) -> Iterator[Finding]:
    needed = {row["clip_id"]: row for row in rows if kind.wanted(row)}
    everybody = tuple(sorted(needed))
    if place.is_symlink():
        yield Finding("contradiction", place, _LINK, clips=everybody)
        return
    if not place.is_file():
        if needed:
            yield Finding("missing", place, f"it holds rows of {len(needed)} clips", clips=everybody)
        return
    try:
        found = _arrays_in(place, kind, hashes=hashes)
    except (DatasetError, pa.ArrowException, OSError, ValueError) as error:
        yield Finding("damaged", place, str(error), clips=everybody)
        return
    frames = {row["clip_id"]: row["frame_count"] for row in rows}
    for clip_id in sorted(needed.keys() - {clip for clip, *_ in found}):
        yield Finding("missing", place, f"no row of clip {clip_id!r}", clips=(clip_id,))
    seen: set[str] = set()
    for clip_id, length, checksum in found:
        known = needed.get(clip_id, {}).get(kind.checksum)
        if clip_id not in frames:
            yield Finding("stray", place, f"a row of clip {clip_id!r}, which the manifest has not built")
        elif clip_id in seen:
            yield Finding("contradiction", place, f"two rows of clip {clip_id!r}", clips=(clip_id,))
        elif length != frames[clip_id]:
            message = f"{length} frames of {clip_id!r}, not {frames[clip_id]}"
            yield Finding("contradiction", place, message, clips=(clip_id,))
        elif known is not None and checksum not in (None, known):
            message = f"the row of clip {clip_id!r} is not as it was made"
            yield Finding("damaged", place, message, clips=(clip_id,))
        seen.add(clip_id)


def _arrays_in(place: Path, kind: _Arrays, *, hashes: bool) -> list[tuple[str, int, str | None]]:
    """Return clip, frames and, if asked for, checksum of each row, one row group in memory at a time."""
    file = open_file(place)
    found: list[tuple[str, int, str | None]] = []
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, None if hashes else ["clip_id", kind.frames])
        if hashes:
            table = conform(table, kind.schema)
        for index, clip_id in enumerate(table["clip_id"].to_pylist()):
            length = len(table[kind.frames][index])
            found.append((clip_id, length, row_xxh3(row_arrays(table, index)) if hashes else None))
    return found


def _strays(root: Path, kept: list[Row]) -> Iterator[Finding]:
    """Files that no row of the manifest tells of, or half-written ones."""
    known = {kind(root, row["language"], row["clip_id"]) for row in kept for kind in _OF_CLIP}
    known |= {kind(root, row["language"], row["video_id"]) for row in kept for kind in _OF_VIDEO}
    for folder in ("clips", "wav", "motion", "landmarks", "persons"):
        for place in (root / folder).glob("*/*"):
            if place not in known:
                yield Finding("stray", place, "no clip of the manifest has it; it can be deleted")


_OF_CLIP: tuple[Callable[[Path, str, str], Path], ...] = (paths.clip_path, paths.audio_path)
_OF_VIDEO: tuple[Callable[[Path, str, str], Path], ...] = (
    paths.motion_path,
    paths.landmarks_path,
    paths.persons_path,
)


def _removed(root: Path, clips: pa.Table) -> Iterator[Finding]:
    listed = read_takedown(root)
    alive = pc.fill_null(pc.not_equal(clips["error_code"], ERROR_CODE), True)
    rows = clips.filter(pc.and_(listed.holds(clips), alive))
    still = {
        f"video {row['video_id']!r}" if row["video_id"] in listed.videos else f"clip {row['clip_id']!r}"
        for row in rows.to_pylist()
    }
    for what in sorted(still):
        message = f"{what} is listed and still in the dataset: run `multitalk remove`"
        yield Finding("contradiction", root / "takedown.txt", message)


def _releases(root: Path, *, hashes: bool) -> Iterator[Finding]:
    for folder in sorted((root / "releases").glob("[!.]*")):
        for place in damaged_files(folder):
            yield Finding("damaged", place, f"release {folder.name!r} is not as it was made")
        if hashes and (folder / "motion.sha256").is_file():
            for place in damaged_files(folder, "motion.sha256"):
                message = f"motion has changed or gone since release {folder.name!r}"
                yield Finding("contradiction", place.resolve(), message)


def _flat(lists: Iterable[list[Finding]]) -> list[Finding]:
    return [finding for findings in lists for finding in findings]


def _below(path: Path, root: Path) -> Path:
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base)
    return path
