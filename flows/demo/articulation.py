"""How a mouth moves to speech: a plain rule that follows loudness and the two lowest formants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WINDOW_SEC = 0.045
_QUIET_DB = -28.0
"""Level below the loud passages at which the lips are closed."""


@dataclass(frozen=True, slots=True)
class Articulation:
    """What the mouth does, frame by frame; float32 (frames,), 0..1."""

    opening: npt.NDArray[np.float32]
    narrowing: npt.NDArray[np.float32]


def articulate(
    speech: npt.NDArray[np.float32], sample_rate: int, frame_count: int, fps: float
) -> Articulation:
    """Derive the mouth's movement from speech.

    The lips part with the level between 150 and 4,000 Hz, more for open vowels (energy in 500 to 1,000 Hz,
    where their first formant lies), and the mouth narrows where the second formant is low (rounded vowels).

    Parameters
    ----------
    speech : ndarray, float32 (samples,)
        In -1..1; what lies beyond its ends counts as silence.
    sample_rate : int
        Samples a second.
    frame_count : int
    fps : float
        Frames a second.

    Returns
    -------
    Articulation
        All zeros for silence.
    """
    power, frequency = _spectra(speech, sample_rate, frame_count, fps)

    def band(low: float, high: float) -> npt.NDArray[np.float64]:
        return np.asarray(power[:, (frequency >= low) & (frequency < high)].sum(axis=1))

    voice = band(150, 4_000)
    loud = float(np.percentile(voice, 90)) if voice.any() else 0.0
    if loud == 0.0:
        return Articulation(np.zeros(frame_count, np.float32), np.zeros(frame_count, np.float32))
    level = np.clip(1 - 10 * np.log10(np.maximum(voice, 1e-12) / loud) / _QUIET_DB, 0, 1)
    open_vowel = band(500, 1_000) / (band(150, 1_000) + 1e-9 * loud)
    rounded = 1 - np.clip(band(1_300, 3_000) / (band(150, 3_000) + 1e-9 * loud) * 6, 0, 1)
    opening = level**1.5 * (0.35 + 0.65 * np.clip(open_vowel * 1.6, 0, 1))
    return Articulation(_smoothed(opening, (1, 2, 1)), _smoothed(rounded * level, (1, 2, 3, 2, 1)))


def _spectra(
    speech: npt.NDArray[np.float32], sample_rate: int, frame_count: int, fps: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Power spectra (frames, bins) around the middle of each frame, and the bins' frequencies in Hz."""
    length = round(_WINDOW_SEC * sample_rate)
    padded = np.concatenate([np.zeros(length, np.float32), speech, np.zeros(length, np.float32)])
    centres = np.rint((np.arange(frame_count) + 0.5) / fps * sample_rate).astype(int) + length
    starts = np.clip(centres - length // 2, 0, len(padded) - length)
    windows = padded[starts[:, None] + np.arange(length)] * np.hanning(length)
    power = np.abs(np.fft.rfft(windows, axis=1)) ** 2
    return np.asarray(power, np.float64), np.asarray(np.fft.rfftfreq(length, 1 / sample_rate), np.float64)


def _smoothed(values: npt.NDArray[np.float64], kernel: tuple[int, ...]) -> npt.NDArray[np.float32]:
    weights = np.asarray(kernel) / sum(kernel)
    padded = np.pad(values, len(kernel) // 2)
    return np.convolve(padded, weights, mode="valid").astype(np.float32)
