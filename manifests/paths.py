"""Where each file of a dataset lies below its root, and which names may become file names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")

# A dot can not occur in a video id, so no fragment ever takes a part's name.
PART_NAME = "part-0.compacted.parquet"
"""The compacted rows of one language, when no run is under way."""
_PART = re.compile(r"part-([0-9]{1,9})\.compacted\.parquet")


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


def persons_path(root: Path, language: str, video_id: str) -> Path:
    """Return the place of what describes faces and voices of a source video's clips."""
    return _hive(root, "persons", language, video_id)


def fragment_path(root: Path, language: str, video_id: str) -> Path:
    """Return the place of a source video's manifest rows until they are compacted."""
    return _hive(root, "manifest", language, video_id)


def part_path(root: Path, language: str, number: int = 0) -> Path:
    """Return the place of compacted manifest rows of a language."""
    return manifest_folder(root, language) / f"part-{number}.compacted.parquet"


def manifest_folder(root: Path, language: str) -> Path:
    """Return the folder of a language's parts and fragments."""
    return root / "manifest" / f"language={check_name(language, 'language')}"


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
    names = (path.name.removeprefix("language=") for path in folder.glob("language=*"))
    return sorted(filter(is_name, names))  # a folder of another name is none of ours


def parts(root: Path, language: str) -> list[Path]:
    """Return the parts of a language from the oldest to the newest, which outranks the others."""
    return sorted(
        (
            path
            for path in manifest_folder(root, language).glob("part-*.parquet")
            if _PART.fullmatch(path.name)
        ),
        key=part_number,
    )


def part_number(place: Path) -> int:
    """Return the number in a part's name.

    Raises
    ------
    ValueError
        When `place` does not have the name of a part.
    """
    match = _PART.fullmatch(place.name)
    if match is None:
        raise ValueError(f"{place} is not called as a part is")
    return int(match[1])


def fragments(root: Path, language: str) -> list[Path]:
    """Return the fragments of a language that are not compacted yet, in the order of their video ids."""
    files = manifest_folder(root, language).glob("*.parquet")
    return sorted(path for path in files if is_name(path.stem))  # neither a part nor what a system leaves


def check_inside(root: Path, place: Path) -> None:
    """Refuse to write or delete where links lead out of the dataset.

    Links inside a root are followed to places inside it only: a dataset from elsewhere could otherwise have files
    of its user overwritten or deleted, and what lies elsewhere could not be removed for good. A larger disk for
    one of its folders is mounted there instead.

    Raises
    ------
    DatasetError
        When the folder of `place` lies outside `root` once links are followed.
    """
    folder = place.parent.resolve()
    if not folder.is_relative_to(root.resolve()):
        raise DatasetError(
            f"{place} lies behind a link out of the dataset, in {folder}: nothing is written or deleted there; "
            "move it into the dataset, or mount the disk there in place of the link"
        )


def check_plain(root: Path, place: Path) -> Path:
    """Return `place` if it is a file of the dataset itself: a link could hand on any file of whoever uses it.

    Raises
    ------
    DatasetError
        When it is a link, a pipe or a device, or lies behind a link out of the dataset.
    """
    check_inside(root, place)
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise DatasetError(
            f"{place} is a link or a device, no file of the dataset: put the file itself there"
        )
    return place


def check_rows(rows: pa.Table, where: object) -> pa.Table:
    """Return manifest rows if all their ids can be names of files.

    Rows may come from anyone. Those of annotations that were refused for their ids name no file, and pass.

    Raises
    ------
    DatasetError
        When one claims to have been built and has a name that leads elsewhere.
    """
    for row in rows.select(["language", "video_id", "clip_id"]).to_pylist():
        for what, name in row.items():
            if not is_name(name):
                raise DatasetError(
                    f"{where}: {what} {name!r} can not be a file's name, nothing of ours made that row: "
                    "`multitalk verify` names all of them, `multitalk remove` takes out their source videos"
                )
    return rows


def _hive(root: Path, kind: str, language: str, video_id: str) -> Path:
    folder = root / kind / f"language={check_name(language, 'language')}"
    return folder / f"{check_name(video_id, 'video id')}.parquet"
