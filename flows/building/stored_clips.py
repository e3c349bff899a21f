"""What a dataset holds of source videos that are built again: rows, and landmarks to fit from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.manifests import paths
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.storage.checksums import row_xxh3
from multitalk.manifests.store import read_videos
from multitalk.manifests.tables import naming_damage, open_file, read_row, row_arrays

StoredLandmarks = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32] | None]
"""Points (T, N, 3), which of them are valid (T,), and confidence (T, 2) where it was measured."""


class StoredClips:
    """Rows of the videos of a batch, read in one pass, and again where a video was committed since.

    Parameters
    ----------
    root
        Folder of the dataset.
    language, video_ids
        The videos that will be asked for.
    """

    def __init__(self, root: Path, language: str, video_ids: Sequence[str]) -> None:
        self._root = root
        self._language = language
        self._video_ids = tuple(video_ids)
        self._seen = {video_id: self._state(video_id) for video_id in self._video_ids}
        self._rows = self._read(self._video_ids)

    def rows(self, language: str, video_id: str) -> dict[str, ClipRow]:
        """Return the rows of a video by clip; none where it was never committed.

        The caller holds the video, so that nobody commits it meanwhile.
        """
        state = self._state(video_id)
        if self._seen.get(video_id) != state:  # committed, or compacted, since: perhaps by another build
            self._seen[video_id] = state
            self._rows = {**self._rows, video_id: self._read([video_id]).get(video_id, [])}
        return {row.clip_id: row for row in self._rows.get(video_id, ())}

    def _state(self, video_id: str) -> tuple[object, ...]:
        """Return what tells whether a video's rows lie where they lay: its fragment and all parts."""
        places = [
            paths.fragment_path(self._root, self._language, video_id),
            *paths.parts(self._root, self._language),
        ]
        return tuple(_version(place) for place in places)

    def landmarks(self, row: ClipRow) -> StoredLandmarks | None:
        """Return a clip's stored landmarks (T, N, 3) and valid frames (T,); None where they are not whole."""
        place = paths.landmarks_path(self._root, row.language, row.video_id)
        try:
            file = open_file(place)
            with naming_damage(place):
                clips = file.read(["clip_id"])["clip_id"].to_pylist()
                if row.clip_id not in clips:
                    return None
                table = read_row(file, clips.index(row.clip_id))
        except (FileNotFoundError, DatasetError):
            return None
        arrays = row_arrays(table)
        if row.landmarks_xxh3 is not None and row_xxh3(arrays) != row.landmarks_xxh3:
            return None
        return _points(arrays)

    def _read(self, video_ids: Iterable[str]) -> dict[str, list[ClipRow]]:
        if not (self._root / "manifest").is_dir():
            return {}
        return read_videos(self._root, self._language, list(video_ids))


def _version(place: Path) -> tuple[str, int, int, int] | None:
    try:
        found = place.stat()
    except FileNotFoundError:
        return None
    return place.name, found.st_ino, found.st_mtime_ns, found.st_size


def _points(arrays: Mapping[str, Any]) -> StoredLandmarks:
    flat: npt.NDArray[np.float16] = arrays["landmarks"]
    points = flat.reshape(len(flat), flat.shape[1] // 3, 3).astype(np.float32)
    confidence = arrays.get("confidence")
    return (
        points,
        np.asarray(arrays["valid"], bool),
        None if confidence is None else confidence.astype(np.float32),
    )
