"""The list of source videos and clips that must not be in the dataset, and what stays of them.

``takedown.txt`` in the root has one entry a line: the id of a source video, or ``clip:`` and the id of a clip (no id
has a colon in it). What follows is the reason; lines that begin with ``#`` are comments. `multitalk.manifests.remove`
adds to it, and it can be written by hand before a build: what is listed is committed as tombstones. Who deletes a line
allows a later build to make the clips again, which it does with `--retry removed`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from multitalk.ground.files import atomic, locked
from multitalk.manifests import paths
from multitalk.manifests.paths import DatasetError, check_name

ERROR_CODE = "removed"
"""`error_code` of a tombstone."""

_CLIP = "clip:"
_KEPT = ("clip_id", "video_id", "language", "attempts", "config_fingerprint", "created_at")


@dataclass(frozen=True, slots=True)
class Takedown:
    """What must not be in the dataset, with the reasons, which may be empty."""

    videos: Mapping[str, str] = field(default_factory=dict)
    """By video id: all clips of these, also those that are annotated later."""
    clips: Mapping[str, str] = field(default_factory=dict)
    """By clip id."""

    def reason(self, video_id: str, clip_id: str) -> str | None:
        """Return why a clip must go, for itself or for its video; None where it may stay."""
        return self.videos.get(video_id, self.clips.get(clip_id))

    def holds(self, rows: pa.Table) -> pa.ChunkedArray:
        """Whether each row, with `video_id` and `clip_id`, must go."""
        videos, clips = (pa.array(list(ids), pa.string()) for ids in (self.videos, self.clips))
        return pc.or_(pc.is_in(rows["video_id"], videos), pc.is_in(rows["clip_id"], clips))

    def among(self, video_id: str, clip_ids: Collection[str]) -> frozenset[str]:
        """Return those of a video's clips that must go."""
        return frozenset(clip for clip in clip_ids if self.reason(video_id, clip) is not None)


def read_takedown(root: Path) -> Takedown:
    """Return what is listed.

    Raises
    ------
    DatasetError
        When the list can not be read: going on without it could bring removed videos back.
    """
    return _entries(_lines(root))


def extend_takedown(root: Path, videos: Mapping[str, str], clips: Mapping[str, str] | None = None) -> None:
    """Add videos and clips with their reasons to the list; what stands there, comments too, stays.

    Raises
    ------
    UnsafeNameError
        When an id is not one.
    """
    asked = {check_name(video, "video id"): why for video, why in videos.items()}
    asked |= {_CLIP + check_name(clip, "clip id"): why for clip, why in (clips or {}).items()}
    # Builds read the list under the same lock, so that none commits by the list as it was.
    with locked(root, exclusive=True):
        lines = _lines(root)
        listed = _entries(lines)
        known = {**listed.videos, **{_CLIP + clip: why for clip, why in listed.clips.items()}}
        one_line = {entry: " ".join(why.split()) for entry, why in asked.items()}
        new = [
            f"{entry} {why}".strip()
            for entry, why in one_line.items()
            if entry not in known or why not in {"", known[entry]}
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


def _entries(lines: Iterable[str]) -> Takedown:
    """Return what is listed; of several lines of one, the last has its reason."""
    split = (line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    entries = {entry[0]: entry[1].strip() if len(entry) > 1 else "" for entry in split}
    clips = {name.removeprefix(_CLIP): why for name, why in entries.items() if name.startswith(_CLIP)}
    return Takedown({name: why for name, why in entries.items() if not name.startswith(_CLIP)}, clips)


def tombstone(row: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return the row that stays of a removed clip: which it was, and that it is gone."""
    return {
        **{name: row[name] for name in _KEPT if row.get(name) is not None},
        "status": "failed",
        "error_code": ERROR_CODE,
        "error_message": f"removed from the dataset{': ' if reason else ''}{reason}",
    }


def files_of_video(language: str, video_id: str) -> list[Path]:
    """Return every file that a source video can have besides its clips' and its manifest rows, below the root."""
    return [kind(Path(), language, video_id) for kind in (paths.raw_path, *ARRAYS)]


def files_of_clip(language: str, clip_id: str) -> list[Path]:
    """Return every file that a clip alone can have, below the root; none of a name that was never built."""
    if not paths.is_name(clip_id):
        return []
    return [kind(Path(), language, clip_id) for kind in (paths.clip_path, paths.audio_path)]


ARRAYS = (paths.landmarks_path, paths.motion_path, paths.persons_path)
"""Files with one row a clip."""
