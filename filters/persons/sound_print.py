"""A print of a sound: what stays of a recording through another codec, loudness or upload.

After J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002): 32 bits a frame, the signs
of how the energy in 33 bands differs from band to band and from frame to frame. Of two prints of one recording a
tenth of the bits differ, of two recordings half.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.ground.units import AUDIO_RATE, FPS

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32, Integer

BITS = 32
_WINDOW = 6144  # 0.38 s: so much longer than a frame that half a frame's shift changes few bits
_LOW_HZ, _HIGH_HZ = 300.0, 3000.0  # what every codec keeps of speech
_FRAMES_AT_A_TIME = 500


def sound_print(audio: "Float32[Array, ' samples']", frames: int) -> "Integer[Array, ' frames']":
    """Take the print of a clip's sound.

    Parameters
    ----------
    audio
        (N,) in -1..1, 16 kHz, starting with the first frame.
    frames
        Frames of the clip, T.

    Returns
    -------
    (T,) uint32: a number a frame, of the sound around its middle.
    """
    step = AUDIO_RATE // FPS
    before = _WINDOW // 2 - step // 2
    padded = np.pad(audio[: frames * step], (before + step, _WINDOW))
    places = np.arange(frames + 1) * step  # one before the first, to compare it with
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)
    hann = np.hanning(_WINDOW).astype(np.float32)
    edges = np.round(np.geomspace(_LOW_HZ, _HIGH_HZ, BITS + 2) * _WINDOW / AUDIO_RATE).astype(int)
    energy = np.empty((frames + 1, BITS + 1))
    for at in range(0, frames + 1, _FRAMES_AT_A_TIME):
        some = places[at : at + _FRAMES_AT_A_TIME]
        power = np.abs(np.fft.rfft(windows[some] * hann)) ** 2
        energy[at : at + len(some)] = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    between_bands = np.diff(energy, axis=1)
    bits = np.diff(between_bands, axis=0) > 0
    weights: npt.NDArray[np.uint32] = np.uint32(1) << np.arange(BITS, dtype=np.uint32)
    return np.asarray((bits * weights).sum(axis=1, dtype=np.uint32))
