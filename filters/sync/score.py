"""Whether sound and lips belong together, and how far they are apart.

Loudness does not tell: a dubber speaks when the speaker does. What tells is whether the spectrum predicts the mouth.
A predictor of lip gap, jaw and mouth width (what is known beforehand, `multitalk.filters.sync.prior`, or learned from
a whole dataset, `multitalk.filters.sync.predictor`) is laid beside the mouth at each offset of the sound, and their
correlation is high at one offset where both belong together, and nowhere in a dubbed video.

A few seconds tell little: the clips of a source video are measured together, and what is said of the video is said of
each of them. A clip's own correlation is taken where the video's offset puts it, so that a stretch with another's voice
stands out from a video that is otherwise in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from multitalk.filters.sync.features import SyncClip
from multitalk.ground.units import FPS

OFFSETS = np.arange(-15, 16)
"""Offsets tried, in frames of 40 ms; positive where the sound comes after the lips."""
CONTEXT = 2
"""Frames of sound before and after that predict a frame of the mouth."""
NATURAL_OFFSETS = (-1, 4)
"""Least and largest offset of sound that was recorded with the picture: lips move ahead of what is heard."""

_MIN_FRAMES = 2 * FPS
_RIDGE = 1.0  # times the mean eigenvalue of the features' covariance
_POOLED_FRAMES = 6 * FPS  # a clip's offset is drawn to its video's as by so many frames more
_EVIDENCE_SEC = 4.0
# Of 116 videos of 3 to 17 s with another's sound 97% stay below, of true ones of 3 to 12 s the least has 0.36.
_BELONGS = 0.27
_ENOUGH_SEC = 4.0  # of speech; with less another's sound reaches as far by chance
_STANDS_OUT = 0.02  # a peak beside the natural offsets counts where it is higher by so much: peaks are broad

Told = Literal["yes", "no", "unknown"]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SyncMetrics:
    """Sync columns of the manifest that are a clip's own."""

    av_correlation: float | None
    """Correlation, -1..1, of the clip's mouth with its prediction from the sound at the offset: 0.35 to 0.6 where they
    belong together, mostly below 0.2 where not. None where it could not be measured: digital silence, no face, or a
    video of less than 2 s."""
    av_offset_frames: int | None
    """The best offset of the clip, drawn to its video's, -15..15 frames of 40 ms: positive where the sound comes after
    the lips. Natural speech has 0 to 3, for lips move ahead of the sound. Without meaning where the correlation is
    low."""
    av_confidence: float
    """How much the correlation can be trusted, 0..1: 1 - exp(-s / 4) with s the seconds of the clip in which speech is
    heard and the mouth moves. 0 where the clip is silent or its mouth still: then a low correlation does not show a
    dub."""


@dataclass(frozen=True, slots=True)
class VideoSyncMetrics:
    """Sync columns of the manifest that are told of all clips of a source video together."""

    video_av_correlation: float | None
    """As `av_correlation`, of all clips, at the best offset."""
    video_av_offset_frames: int | None
    """That offset."""
    video_speech_sec: float
    """Seconds of the clips in which speech is heard and the mouth is tracked, on which both stand."""
    video_sync: Told
    """Whether sound and lips belong together, and were recorded together; unknown where the video's clips are too
    short to tell."""


UNMEASURED = SyncMetrics(None, None, 0.0)


@dataclass(frozen=True, slots=True)
class VideoSync:
    """Sync of one source video and of each of its clips."""

    video: VideoSyncMetrics
    """All clips pooled."""
    clips: tuple[SyncMetrics, ...]
    """In the order given."""


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


def measure_sync(clips: Sequence[SyncClip], predictor: Predictor) -> VideoSync:
    """Measure the sync of the clips of one source video (one clip will do).

    Parameters
    ----------
    clips
        From `multitalk.filters.sync.features.sync_clip`; they may overlap in time.
    predictor
        What is known beforehand, or was learned from a dataset.
    """
    aligned = {index: part for index, clip in enumerate(clips) if (part := align(clip)) is not None}
    parts = list(aligned.values())
    speech_sec = float(sum(np.count_nonzero(clip.spoken) for clip in clips)) / FPS
    if sum(len(part.features) for part in parts) < _MIN_FRAMES:
        # Speech for seconds on end from a mouth that nothing can be correlated with, for it never moves.
        told: Told = "no" if speech_sec >= _ENOUGH_SEC else "unknown"
        return VideoSync(VideoSyncMetrics(None, None, speech_sec, told), (UNMEASURED,) * len(clips))
    predictions = predictor.predict(parts)
    pooled = _correlation(parts, predictions)
    metrics = [UNMEASURED] * len(clips)
    for (index, part), prediction in zip(aligned.items(), predictions, strict=True):
        evidence_sec = float(clips[index].evidence.sum()) / FPS
        metrics[index] = _of_clip(
            _correlation([part], [prediction]), pooled, len(part.features), evidence_sec
        )
    return VideoSync(_of_video(pooled, speech_sec), tuple(metrics))


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


def _of_clip(own: Array, pooled: Array, frames: int, evidence_sec: float) -> SyncMetrics:
    """Take a clip's correlation where its video's offset, a frame more or less, puts it."""
    weight = frames / (frames + _POOLED_FRAMES)
    best = int((weight * own + (1 - weight) * pooled).argmax())
    near = own[max(0, best - 1) : best + 2]
    return SyncMetrics(
        av_correlation=float(near.max()),
        av_offset_frames=int(OFFSETS[best]),
        av_confidence=float(1 - np.exp(-evidence_sec / _EVIDENCE_SEC)),
    )


def _of_video(correlation: Array, speech_sec: float) -> VideoSyncMetrics:
    best = int(correlation.argmax())
    least, largest = NATURAL_OFFSETS
    natural = (least <= OFFSETS) & (largest >= OFFSETS)
    together = correlation[natural].max()
    in_place = together >= correlation[best] - _STANDS_OUT
    told: Told = "unknown"
    if speech_sec >= _ENOUGH_SEC:
        told = "yes" if in_place and together >= _BELONGS else "no"
    return VideoSyncMetrics(float(correlation[best]), int(OFFSETS[best]), speech_sec, told)
