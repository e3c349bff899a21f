"""Mel-frequency cepstral coefficients as python_speech_features 0.6 has them, on which LR-ASD was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multitalk.ground.mel import SPEECH_BANDS, speech_bands, speech_power

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32, Float64, Int16

COEFFICIENTS = 13

_LIFTER = 22
_EPSILON = float(np.finfo(np.float64).eps)


def mfcc(samples: Int16[Array, " samples"]) -> Float32[Array, "steps 13"]:
    """Coefficients (S, 13) of int16 samples (N,) at 16 kHz, one row each 10 ms, the last window padded.

    The first coefficient is the logarithm of the window's energy. Windows are not tapered.
    """
    power = speech_power(samples)
    energy = np.maximum(power.sum(axis=1), _EPSILON)
    mel = np.log(np.maximum(power @ speech_bands().T, _EPSILON))
    cepstrum = mel @ _cosines().T
    order = np.arange(COEFFICIENTS)
    cepstrum *= 1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)
    cepstrum[:, 0] = np.log(energy)
    return np.asarray(cepstrum, np.float32)


def _cosines() -> Float64[Array, "13 26"]:
    """Rows (13, 26) of the orthonormal discrete cosine transform of type 2."""
    order, position = np.arange(COEFFICIENTS)[:, None], np.arange(SPEECH_BANDS)
    rows = np.sqrt(2 / SPEECH_BANDS) * np.cos(np.pi * order * (2 * position + 1) / (2 * SPEECH_BANDS))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)
