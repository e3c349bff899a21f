"""Taking data in the original repository's layout into a dataset.

That layout has ``npy/<Language>_<clip_id>.npz`` with `verts` (T, V, 3) and ``wav/<Language>_<clip_id>.wav`` of
any rate; pictures and annotations are not in it. Vertices become motion by a function of the caller, which knows
the head model.
"""

from __future__ import annotations

import re
import wave
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests import paths
from manifests.files import atomic
from manifests.paths import DatasetError
from manifests.store import commit_fragment

FPS, AUDIO_RATE = 25, 16_000
Encode = Callable[[npt.NDArray[np.float32]], dict[str, Any]]
"""Turns vertices (T, V, 3) in metres into a motion row without its `clip_id`."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import took in."""

    clips: int
    videos: int
    refused: dict[str, str]
    """Files that are no clip, by name, with the reason."""


def import_multitalk(source: Path, root: Path, *, encode: Encode, fingerprint: str) -> ImportResult:
    """Commit every clip of a folder in the original layout.

    The source video is taken from the clip's name, as MultiTalk forms it: ``<video_id>_<number>``. Sound becomes
    16 kHz mono, cut or padded to the frames.

    Raises
    ------
    DatasetError
        When `source` has no clips at all.
    """
    videos: dict[tuple[str, str], list[str]] = {}
    refused: dict[str, str] = {}
    for place in sorted((source / "npy").glob("*.npz")):
        language, _, clip_id = place.stem.partition("_")
        if not paths.is_name(language) or not paths.is_name(clip_id):
            refused[place.name] = "its name is not <Language>_<clip_id>"
            continue
        video_id = re.sub(r"(?<=.)_\d+$", "", clip_id)
        videos.setdefault((language.lower(), video_id), []).append(place.stem)
    if not videos:
        raise DatasetError(f"{source} has no clips: expected files npy/<Language>_<clip_id>.npz")
    clips = 0
    for (language, video_id), stems in videos.items():
        rows, motion = [], []
        for stem in stems:
            try:
                row, arrays = _clip(source, root, language, stem, encode)
            except (OSError, ValueError, KeyError, EOFError, wave.Error, zipfile.BadZipFile) as error:
                refused[f"{stem}.npz"] = str(error)
                continue
            rows.append(row)
            motion.append(arrays)
        if rows:
            commit_fragment(root, language, video_id, rows, motion_rows=motion, fingerprint=fingerprint)
            clips += len(rows)
    return ImportResult(clips, len(videos), refused)


def _clip(
    source: Path, root: Path, language: str, stem: str, encode: Encode
) -> tuple[dict[str, Any], dict[str, Any]]:
    clip_id = stem.partition("_")[2]
    with np.load(source / "npy" / f"{stem}.npz", allow_pickle=False) as file:
        vertices = np.asarray(file["verts"], np.float32)
    if vertices.ndim != 3 or vertices.shape[2] != 3 or not len(vertices):
        raise ValueError(f"verts are {vertices.shape}, not (T, V, 3)")
    motion = {**encode(vertices), "clip_id": clip_id}
    samples = _speech(source / "wav" / f"{stem}.wav", len(vertices) * AUDIO_RATE // FPS)
    sound = paths.audio_path(root, language, clip_id)
    with atomic(sound) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((1, 2, AUDIO_RATE, len(samples), "NONE", ""))
        out.writeframes(samples.tobytes())
    row = {
        "clip_id": clip_id,
        "status": "ok",
        "audio_path": sound.relative_to(root).as_posix(),
        "frame_count": len(vertices),
        "duration_sec": len(vertices) / FPS,
        "head_model": motion["head_model"],
    }
    return row, motion


def _speech(place: Path, length: int) -> npt.NDArray[np.int16]:
    """Read a 16-bit WAV file as `length` samples of 16 kHz mono."""
    from scipy.signal import resample_poly

    with wave.open(str(place), "rb") as file:
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        content = file.readframes(file.getnframes())
    if width != 2:
        raise ValueError(f"{place.name} has {8 * width} bits a sample, not 16")
    samples = np.frombuffer(content, "<i2").reshape(-1, channels).mean(axis=1)
    if rate != AUDIO_RATE:
        common = gcd(rate, AUDIO_RATE)
        samples = resample_poly(samples, AUDIO_RATE // common, rate // common)
    samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    return np.asarray(np.clip(np.rint(samples), -32768, 32767), "<i2")
