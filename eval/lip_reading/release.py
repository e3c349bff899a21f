"""Lip reading on a release: its clips with their annotated transcripts, and its real video as the ceiling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from multitalk.eval.lip_reading.inputs import video_mouth_crops
from multitalk.eval.lip_reading.lip_reading import MouthCrops, SpokenClip

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

REAL_VIDEO = "video"
Detect = Callable[[Path], "npt.NDArray[np.floating]"]


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
    from multitalk.manifests.paths import audio_path
    from multitalk.manifests.releases.release import read_release

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


def release_speech(root: Path, release: str, language: str) -> dict[str, Path]:
    """List a clip's sound for each source video of a release that has one, for babble.

    Those of the language, if there are three or more; else those of all.

    Raises
    ------
    DatasetError
        There is no such release, or it is damaged.
    """
    from multitalk.manifests.paths import audio_path
    from multitalk.manifests.releases.release import read_release

    own: dict[str, Path] = {}
    everybody: dict[str, Path] = {}
    for row in read_release(root, release).select(["clip_id", "video_id", "language"]).to_pylist():
        sound = audio_path(root, row["language"], row["clip_id"])
        if row["video_id"] not in everybody and sound.is_file():
            everybody[row["video_id"]] = sound
            if row["language"] == language:
                own[row["video_id"]] = sound
    return own if len(own) >= 3 else everybody


def release_languages(root: Path, release: str, split: str = "test") -> list[str]:
    """List the languages of a release's split, sorted; raises as `release_speech`."""
    from multitalk.manifests.releases.release import read_release

    rows = read_release(root, release).select(["language", "split"]).to_pylist()
    return sorted({row["language"] for row in rows if row["split"] == split})


def release_mouth_crops(root: Path, language: str, detect: Detect | None = None) -> MouthCrops:
    """Mouth pictures of a dataset's own clips, by the landmarks that were kept with them.

    Parameters
    ----------
    root
        Folder of the dataset.
    language
        As the manifest calls it.
    detect
        Finds MediaPipe's landmarks in a clip's video, where the dataset did not keep them.

    Raises
    ------
    DatasetError
        There is no dataset at `root`.
    """
    from multitalk.manifests import open_dataset
    from multitalk.manifests.media import MediaError
    from multitalk.manifests.paths import DatasetError, clip_path

    dataset = open_dataset(root)

    def landmarks(clip_id: str) -> npt.NDArray[np.floating]:
        try:
            points: npt.NDArray[np.floating] = dataset.landmarks(clip_id)["landmarks"]
        except KeyError:
            if detect is None:
                raise
            points = detect(clip_path(root, language, clip_id))
        except DatasetError as error:
            raise MediaError(str(error)) from error
        return points

    return video_mouth_crops(lambda clip_id: clip_path(root, language, clip_id), landmarks)
