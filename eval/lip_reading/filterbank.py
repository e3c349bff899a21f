"""What AV-HuBERT hears: log filterbank energies, four frames of 10 ms stacked to one of 40 ms.

The same numbers as `logfbank` of the package python_speech_features with its defaults, on raw 16-bit values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multitalk.ground.mel import SPEECH_BANDS, speech_bands, speech_power

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float32, Float64, Int, Int16

STACK = 4


def log_filterbank(samples: Int[Array, ...] | Float[Array, ...]) -> Float64[Array, "steps 26"]:
    """Log energies in 26 mel bands every 10 ms.

    Parameters
    ----------
    samples
        (N,) mono at 16 kHz, on the scale of 16-bit integers.

    Returns
    -------
    array
        (F, 26) with F = 1 + ceil((N - 400) / 160), at least 1.

    Raises
    ------
    ValueError
        `samples` is empty or not one-dimensional.
    """
    if samples.ndim != 1 or len(samples) == 0:
        raise ValueError(f"mono samples (N,) with N >= 1 are needed, not {samples.shape}")
    energy = speech_power(samples) @ speech_bands().T
    return np.asarray(np.log(np.where(energy == 0, np.finfo(np.float64).eps, energy)))


def audio_input(samples: Int16[Array, " samples"], frames: int | None = None) -> Float32[Array, "frames 104"]:
    """Turn sound into AV-HuBERT's audio input.

    Parameters
    ----------
    samples
        (N,) 16-bit mono at 16 kHz.
    frames
        Video frames at 25 Hz; the features are cut to, or filled with zeros up to, as many.

    Returns
    -------
    array
        (T, 104), each frame normalised to mean 0 and variance 1 over its 104 values.
    """
    features = log_filterbank(samples).astype(np.float32)
    features = np.pad(features, ((0, -len(features) % STACK), (0, 0))).reshape(-1, STACK * SPEECH_BANDS)
    if frames is not None:
        features = np.pad(features[:frames], ((0, max(0, frames - len(features))), (0, 0)))
    mean, variance = features.mean(axis=1, keepdims=True), features.var(axis=1, keepdims=True)
    return np.asarray((features - mean) / np.sqrt(variance + 1e-5), dtype=np.float32)
