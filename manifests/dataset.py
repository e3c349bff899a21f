"""A dataset in Python: its clips as a table, the motion of a clip as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from multitalk.manifests import paths
from multitalk.manifests.clip_row import LandmarksRow, MotionRow
from multitalk.manifests.query import QueryError, query
from multitalk.manifests.store import read_manifest
from multitalk.manifests.tables import naming_damage, open_file, read_row, row_arrays

if TYPE_CHECKING:
    import pandas as pd


class Dataset:
    """A dataset on disk, read anew with every call: what is committed meanwhile is seen.

    Parameters
    ----------
    root
        Folder of the dataset.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`.
    """

    def __init__(self, root: Path) -> None:
        paths.languages(root)
        self.root = root
        self._videos: dict[str, tuple[str, str]] = {}

    def __repr__(self) -> str:
        return f"Dataset({str(self.root)!r})"

    def arrow(self, columns: Sequence[str] | None = None, languages: Sequence[str] | None = None) -> pa.Table:
        """Rows of the manifest as an Arrow table, sorted by language, video and clip."""
        return read_manifest(self.root, columns, languages)

    def clips(
        self, columns: Sequence[str] | None = None, languages: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Rows of the manifest as a DataFrame; counts and verdicts that are missing are ``pd.NA``."""
        return _to_pandas(self.arrow(columns, languages))

    def query(self, sql: str) -> pd.DataFrame:
        """Run one SELECT over `clips`, `motion` and `landmarks`; see `multitalk.manifests.query.query`."""
        found = query(self.root, sql)
        try:
            return _to_pandas(found)
        except (OverflowError, ValueError, pa.ArrowException) as error:
            raise QueryError(f"the result is no DataFrame ({error}): cast that column to VARCHAR") from error

    def motion(self, clip_id: str) -> MotionRow:
        """Motion of one clip of T frames: float32 arrays by column, `valid` bool; see `multitalk.manifests.schema`.

        Raises
        ------
        KeyError
            When the clip is not in the dataset, or was not fitted.
        """
        return cast("MotionRow", self._row(clip_id, "motion"))

    def landmarks(self, clip_id: str) -> LandmarksRow:
        """Landmarks of one clip: `landmarks` float16 (T, N, 3) in pixels, `valid` bool (T,), `confidence` (T, 2).

        Raises
        ------
        KeyError
            When the clip is not in the dataset, or its landmarks were not kept.
        """
        row = self._row(clip_id, "landmarks")
        frames, numbers = row["landmarks"].shape
        return {
            "clip_id": clip_id,
            "landmarks": row["landmarks"].reshape(frames, numbers // 3, 3),
            "valid": row["valid"],
            "confidence": row.get("confidence"),
        }

    def _row(self, clip_id: str, kind: str) -> dict[str, Any]:
        # From checked ids, not from `motion_path`: a manifest may come from anyone.
        language, video_id = self._video(clip_id)
        place = {"motion": paths.motion_path, "landmarks": paths.landmarks_path}[kind](
            self.root, language, video_id
        )
        if place.exists():
            file = open_file(place)
            with naming_damage(place):
                clips = file.read(["clip_id"])["clip_id"].to_pylist()
                if clip_id in clips:
                    return row_arrays(read_row(file, clips.index(clip_id)))
        raise KeyError(f"clip {clip_id!r} has no {kind}")

    def _video(self, clip_id: str) -> tuple[str, str]:
        if clip_id not in self._videos:
            columns = self.arrow(["clip_id", "language", "video_id"]).to_pydict().values()
            self._videos = {clip: (language, video) for clip, language, video in zip(*columns, strict=True)}
        if clip_id not in self._videos:
            raise KeyError(f"no clip {clip_id!r} in {self.root}")
        return self._videos[clip_id]


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    nullable = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    return frame
