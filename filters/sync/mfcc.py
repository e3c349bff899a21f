"""Mel-frequency cepstral coefficients as python_speech_features 0.6 has them, on which LR-ASD was trained."""

import numpy as np
import numpy.typing as npt

from multitalk.ground.units import AUDIO_RATE

COEFFICIENTS = 13

_WINDOW, _STEP, _FFT = 400, 160, 512  # 25 ms every 10 ms
_FILTERS = 26
_EMPHASIS = 0.97
_LIFTER = 22
_EPSILON = float(np.finfo(np.float64).eps)


def mfcc(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Coefficients (S, 13) of int16 samples (N,) at 16 kHz, one row each 10 ms, the last window padded.

    The first coefficient is the logarithm of the window's energy. Windows are not tapered.
    """
    signal = samples.astype(np.float64)
    signal = np.append(signal[:1], signal[1:] - _EMPHASIS * signal[:-1])
    steps = 1 + max(0, -(-(len(signal) - _WINDOW) // _STEP))
    signal = np.pad(signal, (0, max(0, (steps - 1) * _STEP + _WINDOW - len(signal))))
    windows = np.lib.stride_tricks.sliding_window_view(signal, _WINDOW)[::_STEP][:steps]
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2 / _FFT
    energy = np.maximum(power.sum(axis=1), _EPSILON)
    mel = np.log(np.maximum(power @ _filters().T, _EPSILON))
    cepstrum = mel @ _cosines().T
    order = np.arange(COEFFICIENTS)
    cepstrum *= 1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)
    cepstrum[:, 0] = np.log(energy)
    return cepstrum.astype(np.float32)


def _filters() -> npt.NDArray[np.float64]:
    """Triangles (26, 257) between whole bins, 0 to 8 kHz, equally spaced on the mel scale."""
    top = 2595 * np.log10(1 + AUDIO_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _FILTERS + 2) / 2595) - 1)
    bins = np.floor((_FFT + 1) * edges / AUDIO_RATE)
    low, centre, high = bins[:-2, None], bins[1:-1, None], bins[2:, None]
    index = np.arange(_FFT // 2 + 1)
    rising = (index >= low) & (index < centre)
    falling = (index >= centre) & (index < high)
    return np.asarray(
        np.where(rising, (index - low) / np.maximum(centre - low, 1), 0)
        + np.where(falling, (high - index) / np.maximum(high - centre, 1), 0)
    )


def _cosines() -> npt.NDArray[np.float64]:
    """Rows (13, 26) of the orthonormal discrete cosine transform of type 2."""
    order, position = np.arange(COEFFICIENTS)[:, None], np.arange(_FILTERS)
    rows = np.sqrt(2 / _FILTERS) * np.cos(np.pi * order * (2 * position + 1) / (2 * _FILTERS))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)
