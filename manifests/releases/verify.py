"""Checking every file of a dataset against its manifest."""

from __future__ import annotations

import os
import wave
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from multitalk.ground.units import AUDIO_RATE, FPS
from multitalk.manifests import paths
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.releases.release import damaged_files, sha256
from multitalk.manifests.store import read_manifest
from multitalk.manifests.tables import open_file
from multitalk.manifests.takedown import read_takedown

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
    """Language and id of the source video to make again (`multitalk.manifests.store.forget`), where that mends it."""


def verify(root: Path, *, hashes: bool = True) -> list[Finding]:
    """Check a dataset: manifest, media, motion, landmarks, releases and the take-down list.

    Parameters
    ----------
    hashes
        Also read each clip and each release's motion and compare checksums, which takes as long as the disk
        needs to deliver them. Without, existence, sound lengths and frame counts are checked.

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
    kept = clips.filter(pc.or_(pc.equal(clips["status"], "ok"), pc.is_valid(clips["clip_path"]))).to_pylist()
    ok = [row for row in kept if row["status"] == "ok"]
    findings = [*_manifest(clips), *_removed(root, clips)]
    with ThreadPoolExecutor() as pool:  # hashing and reading let other threads run
        findings += _flat(pool.map(lambda row: list(_media(root, row, hashes=hashes)), ok))
        findings += _flat(pool.map(lambda video: list(_video(root, *video)), _by_video(kept).items()))
    findings += _strays(root, kept)
    findings += _releases(root, hashes=hashes)
    relative = [replace(f, path=_below(f.path, root)) for f in findings]
    return sorted(relative, key=lambda f: (f.path.as_posix(), f.message))


_COLUMNS = (
    "clip_id",
    "video_id",
    "language",
    "status",
    "error_code",
    "clip_path",
    "clip_sha256",
    "frame_count",
    "motion_path",
)
Row = Mapping[str, Any]


def _manifest(clips: pa.Table) -> Iterator[Finding]:
    for clip_id, count in Counter(clips["clip_id"].to_pylist()).items():
        if count > 1:
            yield Finding("contradiction", Path("manifest"), f"clip {clip_id!r} has {count} rows")


def _media(root: Path, row: Row, *, hashes: bool) -> Iterator[Finding]:
    clip = paths.clip_path(root, row["language"], row["clip_id"])
    audio = paths.audio_path(root, row["language"], row["clip_id"])
    video = (row["language"], row["video_id"])
    if row["clip_path"] is not None:  # imported clips have no picture
        yield from _picture(root, row, clip, hashes=hashes)
    if not audio.is_file():
        yield Finding("missing", audio, "the clip's sound is not there", video)
    elif wrong := _wrong_sound(audio, row["frame_count"]):
        yield Finding("damaged", audio, wrong, video)


def _picture(root: Path, row: Row, clip: Path, *, hashes: bool) -> Iterator[Finding]:
    video = (row["language"], row["video_id"])
    if row["clip_path"] != clip.relative_to(root).as_posix():
        yield Finding("contradiction", clip, f"the manifest says clip_path {row['clip_path']!r}", video)
    if not clip.is_file():
        yield Finding("missing", clip, "the clip's video is not there", video)
    elif hashes and row["clip_sha256"] and sha256(clip) != row["clip_sha256"]:
        yield Finding("damaged", clip, "its SHA-256 is not the manifest's", video)


def _wrong_sound(audio: Path, frame_count: int) -> str | None:
    try:
        with wave.open(os.fspath(audio), "rb") as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            samples = file.getnframes()
            readable = audio.stat().st_size >= samples * file.getsampwidth()
    except (wave.Error, EOFError) as error:
        return f"not a WAV file ({error})"
    if form != (AUDIO_RATE, 1, 2):
        return f"{form[0]} Hz, {form[1]} channels, {8 * form[2]} bits, not 16000 Hz, 1 channel, 16 bits"
    expected = frame_count * AUDIO_RATE // FPS
    if samples != expected or not readable:
        return f"{samples if readable else 'fewer than ' + str(samples)} samples, not {expected}"
    return None


def _by_video(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    videos: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        videos.setdefault((row["language"], row["video_id"]), []).append(row)
    return videos


def _video(root: Path, video: tuple[str, str], rows: list[Row]) -> Iterator[Finding]:
    """Check motion and landmarks of a source video's clips."""
    frames = {row["clip_id"]: row["frame_count"] for row in rows}
    motion = paths.motion_path(root, *video)
    wanted = {row["clip_id"] for row in rows if row["motion_path"] is not None}
    if wanted and not motion.is_file():
        yield Finding("missing", motion, f"it holds the motion of {len(wanted)} clips", video)
    landmarks = paths.landmarks_path(root, *video)
    for place, needed in ((motion, wanted), (landmarks, set())):
        if place.is_file():
            yield from (replace(finding, video=video) for finding in _per_clip(place, frames, needed))


def _per_clip(place: Path, frames: Mapping[str, int], needed: set[str]) -> Iterator[Finding]:
    try:
        table = open_file(place).read(["clip_id", "valid"])
    except (DatasetError, pa.ArrowException, OSError) as error:
        yield Finding("damaged", place, str(error))
        return
    lengths = dict(
        zip(table["clip_id"].to_pylist(), pc.list_value_length(table["valid"]).to_pylist(), strict=True)
    )
    for clip_id in sorted(needed - lengths.keys()):
        yield Finding("missing", place, f"no row of clip {clip_id!r}")
    for clip_id, length in lengths.items():
        if clip_id not in frames:
            message = f"a row of clip {clip_id!r}, which the manifest has not built"
            yield Finding("stray", place, message)
        elif length != frames[clip_id]:
            yield Finding("contradiction", place, f"{length} frames of {clip_id!r}, not {frames[clip_id]}")


def _strays(root: Path, kept: list[Row]) -> Iterator[Finding]:
    """Files that no row of the manifest tells of, or half-written ones."""
    known = {kind(root, row["language"], row["clip_id"]) for row in kept for kind in _OF_CLIP}
    known |= {kind(root, row["language"], row["video_id"]) for row in kept for kind in _OF_VIDEO}
    for folder in ("clips", "wav", "motion", "landmarks"):
        for place in (root / folder).glob("*/*"):
            if place not in known:
                yield Finding("stray", place, "no clip of the manifest has it; it can be deleted")


_OF_CLIP: tuple[Callable[[Path, str, str], Path], ...] = (paths.clip_path, paths.audio_path)
_OF_VIDEO: tuple[Callable[[Path, str, str], Path], ...] = (paths.motion_path, paths.landmarks_path)


def _removed(root: Path, clips: pa.Table) -> Iterator[Finding]:
    listed = read_takedown(root)
    alive = pc.fill_null(pc.not_equal(clips["error_code"], "removed"), True)
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
