"""Where each file of a dataset lies below its root, and which names may become file names."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")

# A dot can not occur in a video id, so no fragment ever takes a part's name.
PART_NAME = "part-0.compacted.parquet"
"""The compacted rows of one language."""


class DatasetError(Exception):
    """A dataset can not be used as asked; the message says which file and what to do."""


class UnsafeNameError(ValueError):
    """An id or language that must not become a file name."""


def is_name(name: str) -> bool:
    """Whether `name` is safe as a file name."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str, what: str) -> str:
    """Return `name` if it is safe as a file name.

    Raises
    ------
    UnsafeNameError
        When it does not match ``[A-Za-z0-9_-]{1,128}``.
    """
    if not is_name(name):
        raise UnsafeNameError(f"{what} {name!r}: only letters, digits, _ and - are allowed, 1 to 128 of them")
    return name


def raw_path(root: Path, language: str, video_id: str) -> Path:
    """Return the place of a source video, which is removed after trimming."""
    return root / "raw" / check_name(language, "language") / f"{check_name(video_id, 'video id')}.mp4"


def clip_path(root: Path, language: str, clip_id: str) -> Path:
    """Return the place of a clip's picture and sound."""
    return root / "clips" / check_name(language, "language") / f"{check_name(clip_id, 'clip id')}.mp4"


def audio_path(root: Path, language: str, clip_id: str) -> Path:
    """Return the place of a clip's 16 kHz sound."""
    return root / "wav" / check_name(language, "language") / f"{check_name(clip_id, 'clip id')}.wav"


def landmarks_path(root: Path, language: str, video_id: str) -> Path:
    """Return the place of the landmarks of a source video's clips."""
    return _hive(root, "landmarks", language, video_id)


def motion_path(root: Path, language: str, video_id: str) -> Path:
    """Return the place of the motion of a source video's clips."""
    return _hive(root, "motion", language, video_id)


def fragment_path(root: Path, language: str, video_id: str) -> Path:
    """Return the place of a source video's manifest rows until they are compacted."""
    return _hive(root, "manifest", language, video_id)


def part_path(root: Path, language: str) -> Path:
    """Return the place of a language's compacted manifest rows."""
    return root / "manifest" / f"language={check_name(language, 'language')}" / PART_NAME


def languages(root: Path) -> list[str]:
    """Languages that the manifest has a folder for, in order.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`.
    """
    folder = root / "manifest"
    if not folder.is_dir():
        raise DatasetError(f"no dataset at {root}: no folder `manifest` in it (`multitalk build` makes one)")
    return sorted(path.name.removeprefix("language=") for path in folder.glob("language=*"))


def fragments(root: Path, language: str) -> list[Path]:
    """Return the fragments of a language that are not compacted yet, in the order of their video ids."""
    files = part_path(root, language).parent.glob("*.parquet")
    return sorted(path for path in files if is_name(path.stem))  # neither the part nor what a system leaves


def _hive(root: Path, kind: str, language: str, video_id: str) -> Path:
    folder = root / kind / f"language={check_name(language, 'language')}"
    return folder / f"{check_name(video_id, 'video id')}.parquet"
