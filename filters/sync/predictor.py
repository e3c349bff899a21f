"""A predictor of the mouth from sound, learned from a whole dataset that may hold dubbed videos.

One ridge regression over all videos. Nobody says which videos are dubbed or late: after each round, every
video is scored with the predictor so far, and takes part in the next with the square of its correlation
as its weight, at its own best offset. Dubbed videos fit nothing that the others agree on, and lose their
say. A video enters as a few products of its features and its mouth, which is all that learning and
scoring need: frames are read once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np

from multitalk.filters.sync.features import MEL_BANDS, SyncClip
from multitalk.filters.sync.score import CONTEXT, OFFSETS, AlignedClip, Array, align, solve_ridge
from multitalk.ground.units import FPS

_ROUNDS = 5
_LEAST_CORRELATION = 0.02  # keeps a little of every video: a first round's verdict is not final
_LARGEST_SHIFT = 6  # frames; a best offset beyond is chance or an error, and such a video stays where it is
_FEATURES = MEL_BANDS * (2 * CONTEXT + 1)
_OPENINGS = 3
_VERSION = 1


@dataclass(frozen=True, slots=True)
class SyncStatistics:
    """All that learning needs of one source video."""

    gram: Array
    """(F, F) products of its features with each other, per frame."""
    cross: Array
    """(offsets, F, 3) products of its features with the mouth at each offset, per frame."""
    power: Array
    """(offsets, 3) mean square of the mouth."""
    frames: int
    """Frames behind the means."""


def video_statistics(clips: Sequence[SyncClip]) -> SyncStatistics | None:
    """Reduce the clips of one source video; None where sync cannot be measured on them."""
    parts = [part for part in map(align, clips) if part is not None]
    frames = sum(len(part.features) for part in parts)
    if frames < 2 * FPS:
        return None
    features = np.concatenate([part.features for part in parts])
    mouth = np.concatenate([part.mouth for part in parts])
    # Each video counts by its frames, not by how far its speaker opens the mouth.
    mouth = mouth / (mouth.std(axis=(0, 1)) + 1e-9)
    known = np.concatenate([part.known for part in parts]).sum(axis=0)[:, None]
    return SyncStatistics(
        gram=features.T @ features / frames,
        cross=np.einsum("tf,tok->ofk", features, mouth, optimize=True) / np.maximum(known, 1)[..., None],
        power=(mouth**2).sum(axis=0) / np.maximum(known, 1),
        frames=frames,
    )


@dataclass(frozen=True, slots=True)
class SyncPredictor:
    """Linear predictor of the three mouth openings from log-mel bands with context."""

    weights: Array
    """(F, 3)."""

    def predict(self, clips: Sequence[AlignedClip]) -> list[Array]:
        """Predict each clip's openings: (T, offsets, 3), the same for every offset."""
        shape = (len(OFFSETS), self.weights.shape[1])
        return [
            np.broadcast_to((clip.features @ self.weights)[:, None], (len(clip.features), *shape))
            for clip in clips
        ]

    def correlations(self, statistics: SyncStatistics) -> Array:
        """Correlation with a video's mouth at each offset (offsets,), from its statistics alone."""
        product = np.einsum("fk,ofk->ok", self.weights, statistics.cross)
        predicted = np.einsum("fk,fg,gk->k", self.weights, statistics.gram, self.weights)
        return np.asarray((product / np.sqrt(predicted * statistics.power + 1e-12)).mean(axis=1))

    def save(self, path: Path) -> None:
        """Write the predictor as an npz file of plain arrays."""
        temporary = path.with_name(f".{path.name}.writing")
        with temporary.open("wb") as file:
            np.savez(file, version=np.int64(_VERSION), weights=self.weights)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, without unpickling anything.

        Raises
        ------
        ValueError
            The file is no predictor of this version.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                version, weights = int(arrays["version"]), arrays["weights"].astype(np.float64)
        except (BadZipFile, KeyError, ValueError, EOFError, TypeError) as error:
            raise ValueError(f"{path} is not a sync predictor: train one again") from error
        if version != _VERSION or weights.shape != (_FEATURES, _OPENINGS) or not np.isfinite(weights).all():
            raise ValueError(f"{path} is a sync predictor of another version: train one again")
        return cls(weights)


def train_predictor(videos: Iterable[SyncStatistics]) -> SyncPredictor:
    """Learn a predictor from the statistics of source videos, of which a share may be dubbed.

    Parameters
    ----------
    videos
        From `video_statistics`, one per source video; a few dozen serve, a few thousand are ample.

    Raises
    ------
    ValueError
        There is no video.
    """
    dataset = list(videos)
    if not dataset:
        raise ValueError("no video to learn sync from: none has both speech and a tracked face")
    weight = np.ones(len(dataset))
    shift = np.full(len(dataset), int(np.flatnonzero(OFFSETS == 0)[0]))
    for _ in range(_ROUNDS):
        predictor = SyncPredictor(_solve(dataset, weight, shift))
        curves = [predictor.correlations(video) for video in dataset]
        best = np.array([curve.argmax() for curve in curves])
        near = np.abs(OFFSETS[best]) <= _LARGEST_SHIFT
        shift = np.where(near, best, shift)
        weight = np.maximum([curve.max() for curve in curves], _LEAST_CORRELATION) ** 2
    return SyncPredictor(_solve(dataset, weight, shift))


def _solve(dataset: Sequence[SyncStatistics], weight: Array, shift: Array) -> Array:
    scale = weight * [video.frames for video in dataset]
    gram = sum(s * video.gram for s, video in zip(scale, dataset, strict=True))
    cross = sum(s * video.cross[o] for s, o, video in zip(scale, shift, dataset, strict=True))
    return solve_ridge(np.asarray(gram), np.asarray(cross))
