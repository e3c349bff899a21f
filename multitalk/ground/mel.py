"""Bands of the mel scale, and the spectrum of speech as python_speech_features 0.6 takes it.

AV-HuBERT (26 log filterbank energies) and LR-ASD (13 cepstral coefficients) were trained on that package's
numbers: 25 ms every 10 ms without a window function, pre-emphasis 0.97, triangles whose corners are whole bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multitalk.ground.units import AUDIO_RATE

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float64, Int

SPEECH_BANDS = 26

_WINDOW, _STEP, _FFT = 400, 160, 512  # 25 ms, 10 ms
_EMPHASIS = 0.97


def mel_spaced(low_hz: float, high_hz: float, count: int) -> Float64[Array, " frequencies"]:
    """Frequencies (count,) in Hz, equally spaced on the mel scale 2595 log10(1 + f / 700)."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (low_hz, high_hz))
    return np.asarray(700 * (10 ** (np.linspace(low, high, count) / 2595) - 1))


def triangles(
    corners: Float64[Array, " corners"], places: Float64[Array, " places"]
) -> Float64[Array, "bands places"]:
    """Weights (B, P) of B triangular filters at P places.

    Parameters
    ----------
    corners
        (B + 2,) ascending: each filter rises from its first corner to the next, where it is 1, and falls to the third.
    places
        (P,) in the corners' unit: bins, or Hz.
    """
    widths = np.diff(corners)[:, None]
    rising = (places - corners[:-2, None]) / widths[:-1]
    falling = (corners[2:, None] - places) / widths[1:]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))


def speech_power(
    samples: Int[Array, " samples"] | Float[Array, " samples"],
) -> Float64[Array, "steps 257"]:
    """Power spectrum (F, 257) of samples (N,) at 16 kHz, one row each 10 ms, the last window padded with silence.

    F = 1 + ceil((N - 400) / 160), at least 1.
    """
    signal = samples.astype(np.float64)
    signal = np.append(signal[:1], signal[1:] - _EMPHASIS * signal[:-1])
    count = 1 + max(0, -(-(len(signal) - _WINDOW) // _STEP))
    signal = np.pad(signal, (0, max(0, (count - 1) * _STEP + _WINDOW - len(signal))))
    windows = np.lib.stride_tricks.sliding_window_view(signal, _WINDOW)[::_STEP][:count]
    return np.asarray(np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT)


def speech_bands() -> Float64[Array, "26 257"]:
    """Triangles (26, 257) between whole bins, 0 to 8 kHz."""
    corners = np.floor((_FFT + 1) * mel_spaced(0, AUDIO_RATE / 2, SPEECH_BANDS + 2) / AUDIO_RATE)
    return triangles(corners, np.arange(_FFT // 2 + 1, dtype=np.float64))
