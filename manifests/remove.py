"""Removing source videos for good: media and motion go, tombstones stay, nothing brings them back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from multitalk.manifests import paths
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import compact, read_manifest
from multitalk.manifests.tables import manifest_table
from multitalk.manifests.takedown import delete_video, extend_takedown, read_takedown, tombstone


def remove_videos(root: Path, video_ids: Iterable[str], reason: str = "") -> list[Path]:
    """Remove source videos, and whatever the take-down list names besides.

    Call it again after a crash, or after editing the list by hand: it finishes what is left to do.

    Parameters
    ----------
    video_ids
        Videos to add to the list; none to carry out the list as it is.
    reason
        Written into the list and the tombstones.

    Returns
    -------
    list of Path
        Files that were deleted.

    Raises
    ------
    UnsafeNameError
        When an id is not one.
    """
    paths.languages(root)
    # The list comes first: from here on, no build can bring the videos back, whatever happens to this run.
    extend_takedown(root, dict.fromkeys(video_ids, reason))
    listed = read_takedown(root)
    compact(root, lambda table: _with_tombstones(table, listed))
    # Read after the burial: of what a running build committed meanwhile, nothing may be overlooked.
    clips = read_manifest(root, ["language", "video_id", "clip_id"])
    return _delete_files(root, clips.filter(pc.is_in(clips["video_id"], pa.array(list(listed), pa.string()))))


def _with_tombstones(table: pa.Table, listed: dict[str, str]) -> pa.Table:
    gone = pc.is_in(table["video_id"], pa.array(list(listed), pa.string()))
    tombstones = [tombstone(row, listed[row["video_id"]]) for row in table.filter(gone).to_pylist()]
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


def _delete_files(root: Path, clips: pa.Table) -> list[Path]:
    videos: dict[tuple[str, str], list[str]] = {}
    for row in clips.to_pylist():
        videos.setdefault((row["language"], row["video_id"]), []).append(row["clip_id"])
    return sorted(place for video, ids in videos.items() for place in delete_video(root, *video, ids))
