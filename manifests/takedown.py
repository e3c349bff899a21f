"""The list of source videos that must not be in the dataset, and what stays of them.

``takedown.txt`` in the root has one video id a line; what follows the id is the reason. `multitalk.manifests.remove`
adds to it, and it can be written by hand before a build: a listed video is committed as tombstones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from multitalk.ground.files import atomic, locked
from multitalk.manifests import paths
from multitalk.manifests.paths import DatasetError, check_name

ERROR_CODE = "removed"
"""`error_code` of a tombstone."""

_KEPT = ("clip_id", "video_id", "language", "attempts", "config_fingerprint", "created_at")


def read_takedown(root: Path) -> dict[str, str]:
    """Return the listed videos with the reason of each, which may be empty.

    Raises
    ------
    DatasetError
        When the list can not be read: going on without it could bring removed videos back.
    """
    return _entries(_lines(root))


def extend_takedown(root: Path, video_ids: Mapping[str, str]) -> None:
    """Add videos with their reasons to the list; what stands there, comments too, stays.

    Raises
    ------
    UnsafeNameError
        When an id is not one.
    """
    asked = {check_name(video, "video id"): " ".join(why.split()) for video, why in video_ids.items()}
    # Builds read the list under the same lock, so that none commits by the list as it was.
    with locked(root, exclusive=True):
        lines = _lines(root)
        known = _entries(lines)
        new = [
            f"{video} {why}".strip()
            for video, why in asked.items()
            if video not in known or why not in {"", known[video]}
        ]
        if new:
            with atomic(root / "takedown.txt") as temporary:
                temporary.write_text("".join(f"{line}\n" for line in [*lines, *new]), "utf-8")


def _lines(root: Path) -> list[str]:
    place = root / "takedown.txt"
    try:
        return place.read_text("utf-8-sig").splitlines()  # Windows' editors write a byte order mark
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{place} can not be read: {error}") from error


def _entries(lines: Iterable[str]) -> dict[str, str]:
    """Return the listed videos; of several lines of one, the last has its reason."""
    entries = (line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return {entry[0]: entry[1] if len(entry) > 1 else "" for entry in entries}


def tombstone(row: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return the row that stays of a removed clip: which it was, and that it is gone."""
    return {
        **{name: row[name] for name in _KEPT if row.get(name) is not None},
        "status": "failed",
        "error_code": ERROR_CODE,
        "error_message": f"removed from the dataset{': ' if reason else ''}{reason}",
    }


def delete_video(root: Path, language: str, video_id: str, clip_ids: Iterable[str]) -> list[Path]:
    """Delete every file of a source video and its clips, except its manifest rows; return what there was."""
    places = [kind(root, language, video_id) for kind in _OF_VIDEO]
    names = filter(paths.is_name, clip_ids)  # a clip of another name was never built
    places += [kind(root, language, clip) for clip in names for kind in _OF_CLIP]
    deleted = [place for place in places if place.exists()]
    for place in deleted:
        place.unlink(missing_ok=True)  # its build deletes the source video too
    return deleted


_OF_VIDEO = (paths.raw_path, paths.landmarks_path, paths.motion_path)
_OF_CLIP = (paths.clip_path, paths.audio_path)
