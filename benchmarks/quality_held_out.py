"""The predictor of `multitalk.filters.sync.prior` as other videos alone would have made it.

Its twelve numbers come from the sample's videos in order. How it does on unseen ones is shown by learning them anew,
not rounded, for each video from the others.
"""

from collections.abc import Sequence

import numpy as np

from multitalk.filters.sync.features import MEL_BANDS, SyncClip
from multitalk.filters.sync.predictor import SyncPredictor, SyncStatistics, video_statistics
from multitalk.filters.sync.score import CONTEXT, OFFSETS, solve_ridge

_GROUPS = 4
_ROUNDS = 5
_RIDGE = 0.05
_LARGEST_SHIFT = 6
_LEAST_WEIGHT = 0.02


def _broad_bands() -> np.ndarray:
    """Return what maps the features of a predictor to four smoothed bands: (100, 4)."""
    groups = np.repeat(np.eye(_GROUPS), MEL_BANDS // _GROUPS, axis=0) / (MEL_BANDS // _GROUPS)
    smoothing = np.exp(-0.5 * np.arange(-CONTEXT, CONTEXT + 1) ** 2)
    return np.vstack([weight * groups for weight in smoothing / smoothing.sum()])


def prior_from(videos: Sequence[Sequence[SyncClip]]) -> SyncPredictor:
    """Learn the numbers from videos in order, each at its own best offset and by the square of its correlation."""
    bands = _broad_bands()
    known: list[SyncStatistics] = [s for clips in videos if (s := video_statistics(clips)) is not None]
    shift = [int(np.flatnonzero(OFFSETS == 0)[0])] * len(known)
    weight = np.ones(len(known))
    near = np.abs(OFFSETS) <= _LARGEST_SHIFT
    predictor = SyncPredictor(np.zeros((len(bands), 3)))
    for _ in range(_ROUNDS + 1):
        scale = weight * [video.frames for video in known]
        gram = sum(s * bands.T @ video.gram @ bands for s, video in zip(scale, known, strict=True))
        cross = sum(s * bands.T @ v.cross[o] for s, v, o in zip(scale, known, shift, strict=True))
        predictor = SyncPredictor(bands @ solve_ridge(np.asarray(gram), np.asarray(cross), _RIDGE))
        curves = [np.where(near, predictor.correlations(video), -1) for video in known]
        shift = [int(curve.argmax()) for curve in curves]
        weight = np.maximum([curve.max() for curve in curves], _LEAST_WEIGHT) ** 2
    return predictor
