"""Lip reading on a release: its clips with their annotated transcripts, and its real video as the ceiling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eval.lip_reading import Sight, SpokenClip
from eval.lip_reading_inputs import video_sight

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

REAL_VIDEO = "video"


def release_clips(root: Path, release: str, language: str, split: str = "test") -> list[SpokenClip]:
    """List the clips of one language in a release's split.

    Parameters
    ----------
    root
        Folder of the dataset.
    release
        Name of the release.
    language
        As the manifest calls it.
    split
        `train`, `val` or `test`.

    Returns
    -------
    list
        Sorted by clip id. The reference is the annotated transcript; empty where there is none, for
        `recognised_references` to fill.

    Raises
    ------
    DatasetError
        There is no such release, or it is damaged.
    """
    from manifests.paths import audio_path
    from manifests.release import read_release

    table = read_release(root, release).select(["clip_id", "video_id", "language", "split", "transcript"])
    clips = [
        SpokenClip(
            row["clip_id"],
            row["video_id"],
            audio_path(root, language, row["clip_id"]),
            row["transcript"] or "",
        )
        for row in table.to_pylist()
        if row["language"] == language and row["split"] == split
    ]
    return sorted(clips, key=lambda clip: clip.clip_id)


def release_video_sight(root: Path, language: str) -> Sight:
    """Mouth pictures of a dataset's own clips, by the landmarks that were kept with them.

    Parameters
    ----------
    root
        Folder of the dataset.
    language
        As the manifest calls it.

    Raises
    ------
    DatasetError
        There is no dataset at `root`.
    """
    from manifests import open_dataset
    from manifests.paths import clip_path

    dataset = open_dataset(root)

    def landmarks(clip_id: str) -> npt.NDArray[np.floating]:
        points: npt.NDArray[np.floating] = dataset.landmarks(clip_id)["landmarks"]
        return points

    return video_sight(lambda clip_id: clip_path(root, language, clip_id), landmarks)
