"""The list of source videos that must not be in the dataset, and what stays of them.

``takedown.txt`` in the root has one video id a line; what follows the id is the reason. `manifests.remove`
adds to it, and it can be written by hand before a build: a listed video is committed as tombstones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manifests.files import atomic
from manifests.paths import DatasetError, check_name

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
    place = root / "takedown.txt"
    try:
        lines = place.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{place} can not be read: {error}") from error
    entries = (line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return {entry[0]: entry[1] if len(entry) > 1 else "" for entry in entries}


def extend_takedown(root: Path, video_ids: Mapping[str, str]) -> None:
    """Add videos with their reasons to the list.

    Raises
    ------
    UnsafeNameError
        When an id is not one.
    """
    entries = {
        **read_takedown(root),
        **{check_name(video, "video id"): why for video, why in video_ids.items()},
    }
    with atomic(root / "takedown.txt") as temporary:
        temporary.write_text(
            "".join(f"{v} {' '.join(why.split())}".strip() + "\n" for v, why in entries.items())
        )


def tombstone(row: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return the row that stays of a removed clip: which it was, and that it is gone."""
    return {
        **{name: row[name] for name in _KEPT if row.get(name) is not None},
        "status": "failed",
        "error_code": ERROR_CODE,
        "error_message": f"removed from the dataset{': ' if reason else ''}{reason}",
    }
