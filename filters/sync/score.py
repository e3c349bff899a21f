"""Whether sound and lips belong together, and how far they are apart.

Loudness does not tell: a dubber speaks when the speaker does. What tells is whether the spectrum predicts
the mouth. A ridge regression from the log-mel spectrum (with context) to lip gap, jaw and mouth width is
learned on four fifths of a source video and judged on the rest; its correlation with the truth is high
where both belong together, and low in a dubbed video, where there is nothing to learn. It is learned anew
for each offset of the sound, jointly for all three openings, and the best offset wins. A few seconds are
too few to learn from: clips of one source video are pooled. A predictor learned from a whole dataset
(`multitalk.filters.sync.predictor`) takes the place of the video's own where there is one.

A network of SyncNet's kind (Chung and Zisserman 2016) has its place in `_settle`, which takes any curve of
agreement over the offsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from multitalk.filters.sync.features import SyncClip
from multitalk.ground.units import FPS

OFFSETS = np.arange(-15, 16)
"""Offsets tried, in frames of 40 ms; positive where the sound comes after the lips."""
CONTEXT = 2
"""Frames of sound before and after that predict a frame of the mouth."""

_MIN_FRAMES = 2 * FPS
_FOLDS = 5
_RIDGE = 1.0  # times the mean eigenvalue of the features' covariance
_POOLED_FRAMES = 6 * FPS  # a clip's correlation is drawn to its video's as by so many frames more
_EVIDENCE_SEC = 4.0

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SyncMetrics:
    """Sync columns of the manifest."""

    av_correlation: float | None
    """Correlation, -1..1, of the mouth with its prediction from the sound at the best offset: 0.35 to 0.6
    where they belong together, mostly below 0.25 where not. None where it could not be measured: digital
    silence, no face, or less than 2 s."""
    av_offset_frames: int | None
    """That offset, -15..15 frames of 40 ms: positive where the sound comes after the lips. Natural speech has
    0 to 4, for lips move ahead of the sound. Without meaning where the correlation is low."""
    av_confidence: float
    """How much the correlation can be trusted, 0..1: 1 - exp(-s / 4) with s the seconds in which speech is
    heard and the mouth moves, in the clip and (up to 6 s) in the rest of its video. 0 where the clip itself
    is silent or its mouth still: then a low correlation does not show a dub."""


UNMEASURED = SyncMetrics(None, None, 0.0)


@dataclass(frozen=True, slots=True)
class VideoSync:
    """Sync of one source video and of each of its clips."""

    video: SyncMetrics
    """All clips pooled."""
    clips: tuple[SyncMetrics, ...]
    """In the order given, each drawn to its video's."""


@dataclass(frozen=True, slots=True)
class AlignedClip:
    """A clip's standardised features, and its mouth at each offset."""

    features: Array
    """(T, F) log-mel bands with context, zero mean."""
    mouth: Array
    """(T, offsets, 3): at [t, o] the mouth that the sound of frame t belongs to; 0 where there is none."""
    known: npt.NDArray[np.bool_]
    """(T, offsets) where there is one."""


class Predictor(Protocol):
    """Predicts mouths from sound; `multitalk.filters.sync.predictor` learns one from a dataset."""

    def predict(self, clips: Sequence[AlignedClip]) -> list[Array]:
        """Predict the openings of each clip of T frames: (T, offsets, 3)."""
        ...


def measure_sync(clips: Sequence[SyncClip], predictor: "Predictor | None" = None) -> VideoSync:
    """Measure the sync of the clips of one source video (one clip will do).

    Parameters
    ----------
    clips
        From `multitalk.filters.sync.features.sync_clip`; they may overlap in time.
    predictor
        Learned from a dataset; None learns one from these clips.
    """
    aligned = {index: part for index, clip in enumerate(clips) if (part := align(clip)) is not None}
    parts = list(aligned.values())
    if sum(len(part.features) for part in parts) < _MIN_FRAMES:
        return VideoSync(UNMEASURED, (UNMEASURED,) * len(clips))
    evidence = {index: float(clips[index].evidence.sum()) / FPS for index in aligned}
    total = sum(evidence.values())
    predictions = predictor.predict(parts) if predictor else _cross_validated(parts)
    pooled = _correlation(parts, predictions)
    metrics = [UNMEASURED] * len(clips)
    for (index, part), prediction in zip(aligned.items(), predictions, strict=True):
        weight = len(part.features) / (len(part.features) + _POOLED_FRAMES) if len(parts) > 1 else 1.0
        curve = weight * _correlation([part], [prediction]) + (1 - weight) * pooled
        own = evidence[index]
        metrics[index] = _settle(curve, own + min(_POOLED_FRAMES / FPS, total - own) if own else 0.0)
    return VideoSync(_settle(pooled, total), tuple(metrics))


def align(clip: SyncClip) -> AlignedClip | None:
    """Centre a clip's features, and lay its mouth beside its sound at each offset; None without either."""
    frames = len(clip.mouth)
    valid = clip.valid
    audio = clip.audio.astype(np.float64)
    audio -= audio.mean(axis=0) if frames else 0.0
    if np.count_nonzero(valid) < FPS or np.abs(audio).max() < 1e-3:
        return None
    mouth = np.where(valid[:, None], clip.mouth - clip.mouth[valid].mean(axis=0, dtype=np.float64), 0.0)
    if not mouth.any():
        return None
    source = np.arange(frames)[:, None] - OFFSETS
    known = (source >= 0) & (source < frames)
    source = np.where(known, source, 0)
    known &= valid[source]
    padded = np.pad(audio, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    features = np.hstack([padded[shift : shift + frames] for shift in range(2 * CONTEXT + 1)])
    return AlignedClip(features, np.where(known[..., None], mouth[source], 0.0), known)


def _cross_validated(clips: Sequence[AlignedClip]) -> list[Array]:
    """Predict each fifth of the clips' frames from the others, for every offset: (T, offsets, 3) per clip."""
    features = np.concatenate([clip.features for clip in clips])
    features /= features.std(axis=0) + 1e-6
    mouth = np.concatenate([clip.mouth for clip in clips])
    target = (mouth / (mouth.std(axis=(0, 1)) + 1e-9)).reshape(len(mouth), -1)
    prediction = np.zeros_like(target)
    bounds = np.linspace(0, len(features), _FOLDS + 1).astype(int)
    margin = 2 * CONTEXT  # neighbours share context, and speech is smooth
    for start, end in pairwise(bounds):
        learn = np.ones(len(features), bool)
        learn[max(0, start - margin) : end + margin] = False
        centre = features[learn].mean(axis=0)
        weights = ridge(features[learn] - centre, target[learn])
        prediction[start:end] = (features[start:end] - centre) @ weights
    ends = np.cumsum([len(clip.features) for clip in clips])[:-1]
    return [part.reshape(-1, len(OFFSETS), mouth.shape[2]) for part in np.split(prediction, ends)]


def ridge(features: Array, target: Array, strength: float = _RIDGE) -> Array:
    """Ridge regression weights (F, K) of targets (T, K) on centred features (T, F)."""
    return solve_ridge(features.T @ features, features.T @ (target - target.mean(axis=0)), strength)


def solve_ridge(gram: Array, cross: Array, strength: float = _RIDGE) -> Array:
    """Ridge weights (F, K) from the features' Gram matrix (F, F) and products with the targets (F, K)."""
    diagonal = strength * np.trace(gram) / len(gram) + 1e-12
    return np.linalg.solve(gram + diagonal * np.eye(len(gram)), cross)


def _correlation(clips: Sequence[AlignedClip], predictions: Sequence[Array]) -> Array:
    """Correlation of mouth and prediction at each offset (offsets,), the mean over the three openings."""
    known = np.concatenate([clip.known for clip in clips])[..., None]
    mouth = np.concatenate([clip.mouth for clip in clips])
    prediction = np.concatenate(predictions)
    count = np.maximum(known.sum(axis=0), 1)
    mouth = (mouth - (mouth * known).sum(axis=0) / count) * known
    prediction = (prediction - (prediction * known).sum(axis=0) / count) * known
    norm = np.sqrt((mouth**2).sum(axis=0) * (prediction**2).sum(axis=0))
    return np.asarray(((mouth * prediction).sum(axis=0) / (norm + 1e-12)).mean(axis=1))


def _settle(correlation: Array, evidence_sec: float) -> SyncMetrics:
    best = int(correlation.argmax())
    return SyncMetrics(
        av_correlation=float(correlation[best]),
        av_offset_frames=int(OFFSETS[best]),
        av_confidence=float(1 - np.exp(-evidence_sec / _EVIDENCE_SEC)),
    )
