"""Taking data in the original repository's layout into a dataset.

That layout has ``npy/<Language>_<clip_id>.npz`` with `verts` (T, V, 3) and ``wav/<Language>_<clip_id>.wav`` of
any rate; pictures, transcripts and annotations are not in it. Vertices become motion by a function of the
caller, which knows the head model. Every file is taken for hostile: a pickle in it is never opened, and an array's
shape is read before its numbers.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from multitalk.ground.files import atomic
from multitalk.ground.units import AUDIO_RATE, FPS
from multitalk.ground.wav import read_channels, write_wav
from multitalk.manifests import paths
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.store import commit_fragment, committed
from multitalk.manifests.takedown import read_takedown

MAX_FRAMES = 15_000
"""Ten minutes; MultiTalk's longest clip has less than two. A file that claims more is not read into memory."""
_RATES = range(4_000, 400_000)

Encode = Callable[[npt.NDArray[np.float32]], dict[str, Any]]
"""Turns vertices (T, V, 3) in metres into a motion row without its `clip_id`; raises `ClipRefused`."""


class ClipRefused(Exception):  # noqa: N818 - what becomes of a clip, not a fault of the program
    """A clip that can not be taken in; it ends as a failed row.

    Parameters
    ----------
    code
        The row's `error_code`.
    message
        What is wrong, and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import took in."""

    clips: int
    """Clips that are ok."""
    failed: int
    """Clips that ended as failed rows."""
    skipped: int
    """Clips that an earlier import of the same files took in."""
    videos: int
    """Source videos of all of them."""
    refused: dict[str, str]
    """Files that can not even be rows, by name, with the reason."""


def import_multitalk(
    source: Path,
    root: Path,
    *,
    encode: Encode,
    vertex_count: int,
    fingerprint: str,
    progress: Callable[[int, int], None] | None = None,
) -> ImportResult:
    """Commit every clip of a folder in the original layout, one source video at a time.

    The source video is taken from the clip's name, as MultiTalk forms it: ``<video_id>_<number>``. Sound becomes
    16 kHz mono, cut or padded to the frames. A video whose files an earlier import of the same `fingerprint` took
    in is left alone, so that a stopped import goes on.

    Parameters
    ----------
    vertex_count
        V of the head model.
    fingerprint
        Hash of what `encode` depends on.
    progress
        Told after each source video how many of how many clips are done.

    Raises
    ------
    DatasetError
        When `source` has no clips at all, or `root` has one of its videos that was not imported.
    """
    videos, refused = _find(source)
    if not videos:
        hint = "".join(f"; {name}: {why}" for name, why in list(refused.items())[:1])
        raise DatasetError(f"{source} has no clips: expected files npy/<Language>_<clip_id>.npz{hint}")
    removed = read_takedown(root)
    clips = failed = skipped = 0
    count = sum(map(len, videos.values()))
    for (language, video_id), stems in videos.items():
        if progress is not None:
            progress(clips + failed + skipped, count)
        print_of_files = _fingerprint(source, stems, fingerprint)
        known = committed(root, language, video_id)
        if known == print_of_files:
            skipped += len(stems)
            continue
        if known is not None and not known.startswith(_PREFIX):
            raise DatasetError(
                f"{root} has video {video_id} of {language} already, built from its source: import into another folder"
            )
        if video_id in removed.videos:  # `commit_fragment` makes tombstones of them; no sound may be written
            tombstones = [{"clip_id": _clip_id(stem), "status": "failed"} for stem in stems]
            commit_fragment(root, language, video_id, tombstones, fingerprint=print_of_files)
            failed += len(tombstones)
            continue
        rows, motion = _video(source, root, language, stems, encode, vertex_count)
        commit_fragment(root, language, video_id, rows, motion_rows=motion, fingerprint=print_of_files)
        clips += len(motion)
        failed += len(rows) - len(motion)
    if progress is not None:
        progress(count, count)
    return ImportResult(clips, failed, skipped, len(videos), refused)


def _find(source: Path) -> tuple[dict[tuple[str, str], list[str]], dict[str, str]]:
    """Return the clips' file stems by language and source video, and the files that are no clips."""
    videos: dict[tuple[str, str], list[str]] = {}
    refused: dict[str, str] = {}
    for place in sorted((source / "npy").glob("*.npz")):
        language, _, clip_id = place.stem.partition("_")
        if not paths.is_name(language) or not paths.is_name(clip_id):
            refused[place.name] = "its name is not <Language>_<clip_id>.npz of letters, digits, _ and -"
            continue
        video_id = re.sub(r"(?<=.)_\d+$", "", clip_id)
        stems = videos.setdefault((language.lower(), video_id), [])
        if clip_id in map(_clip_id, stems):
            refused[place.name] = "another file has the same language and clip id"
            continue
        stems.append(place.stem)
    return videos, refused


def _clip_id(stem: str) -> str:
    return stem.partition("_")[2]


def _fingerprint(source: Path, stems: Sequence[str], fingerprint: str) -> str:
    digest = hashlib.sha256(fingerprint.encode())
    for place in (source / part / f"{stem}{end}" for stem in stems for part, end in _PARTS):
        try:
            about = place.stat()
            digest.update(f"{place.name} {about.st_size} {about.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{place.name} missing\n".encode())
    return _PREFIX + digest.hexdigest()[:16]


_PREFIX = "import-"
_PARTS = (("npy", ".npz"), ("wav", ".wav"))


def _video(
    source: Path, root: Path, language: str, stems: Sequence[str], encode: Encode, vertex_count: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Manifest rows of all clips, and motion rows of those that are ok."""
    rows: list[dict[str, Any]] = []
    motion: list[dict[str, Any]] = []
    for stem in stems:
        try:
            row, arrays = _clip(source, root, language, stem, encode, vertex_count)
            motion.append(arrays)
        except ClipRefused as error:
            row = {
                "clip_id": _clip_id(stem),
                "status": "failed",
                "error_code": error.code,
                "error_message": f"{stem}: {error}",
                "stage": "import",
            }
        rows.append({**row, "attempts": 1})
    return rows, motion


def _clip(
    source: Path, root: Path, language: str, stem: str, encode: Encode, vertex_count: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    clip_id = _clip_id(stem)
    vertices = _vertices(source / "npy" / f"{stem}.npz", vertex_count)
    samples = _sound(source / "wav" / f"{stem}.wav", len(vertices) * AUDIO_RATE // FPS)
    motion = {**encode(vertices), "clip_id": clip_id}
    sound = paths.audio_path(root, language, clip_id)
    with atomic(sound) as temporary:
        write_wav(temporary, samples)
    row = {
        "clip_id": clip_id,
        "status": "ok",
        "audio_path": sound.relative_to(root).as_posix(),
        "frame_count": len(vertices),
        "duration_sec": len(vertices) / FPS,
        "head_model": motion["head_model"],
        # Every vertex is a landmark here.
        "fit_landmark_error": float(np.mean(motion["residual"])),
    }
    return row, motion


def _vertices(place: Path, vertex_count: int) -> npt.NDArray[np.float32]:
    """Read `verts` as float32 (T, V, 3)."""
    try:
        # One member throughout: a file may hold another one under nearly the same name.
        with zipfile.ZipFile(place) as archive, archive.open("verts.npy") as file:
            _check_header(file, vertex_count)
            file.seek(0)
            vertices = np.asarray(np.lib.format.read_array(file, allow_pickle=False), np.float32)
    except ClipRefused:
        raise
    except Exception as error:  # zip, its decompressors and NumPy raise almost anything
        raise ClipRefused("corrupt_media", f"the vertices can not be read: {error}") from error
    if not np.isfinite(vertices).all():
        raise ClipRefused("corrupt_media", "the vertices hold values that are not finite")
    return vertices


def _check_header(file: IO[bytes], vertex_count: int) -> None:
    """Refuse an array of another form before it takes memory."""
    header = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        np.lib.format.read_magic(file), np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = header(file)
    if dtype.kind != "f" or len(shape) != 3 or shape[2] != 3 or not shape[0]:
        raise ClipRefused("corrupt_media", f"verts are {dtype} {shape}, not floats (T, V, 3)")
    if shape[1] != vertex_count:
        raise ClipRefused(
            "corrupt_media", f"verts have {shape[1]} vertices, the head model has {vertex_count}"
        )
    if shape[0] > MAX_FRAMES:
        raise ClipRefused("corrupt_media", f"{shape[0]} frames; a clip has at most {MAX_FRAMES}")


_DAMAGE = (OSError, ValueError, EOFError)


def _sound(place: Path, length: int) -> npt.NDArray[np.int16]:
    try:
        return _speech(place, length)
    except FileNotFoundError as error:
        raise ClipRefused("no_audio", f"no sound: wav/{place.name} is not there") from error
    except _DAMAGE as error:
        raise ClipRefused("corrupt_media", f"the sound can not be read: {error}") from error


def _speech(place: Path, length: int) -> npt.NDArray[np.int16]:
    """Read a 16-bit WAV file as `length` samples of 16 kHz mono."""
    from scipy.signal import resample_poly

    form, channels = read_channels(place)
    rate = form.rate
    if rate not in _RATES:
        raise ValueError(f"{place.name} has {rate} samples a second")
    samples = channels.mean(axis=1)
    if rate != AUDIO_RATE:
        common = gcd(rate, AUDIO_RATE)
        samples = resample_poly(samples, AUDIO_RATE // common, rate // common)
    samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    return np.asarray(np.clip(np.rint(samples), -32768, 32767), "<i2")
