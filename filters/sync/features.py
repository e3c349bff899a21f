"""What audio-visual sync is measured from: three openings of the mouth, and the spectrum heard, per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from multitalk.filters.speech import Interval, as_float
from multitalk.ground.face_layout import distance, layout_of
from multitalk.ground.mel import mel_spaced, triangles
from multitalk.ground.units import AUDIO_RATE, FPS

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Bool, Float32, Float64

MEL_BANDS = 20

_SAMPLES_PER_FRAME = AUDIO_RATE // FPS
_WINDOW, _HOP, _FFT = 400, 160, 512  # 25 ms every 10 ms: four windows to a frame
_MEL_RANGE_HZ = (60.0, 7600.0)
_POWER_FLOOR = 1e-7  # below any recording's noise: digital silence does not fall to minus infinity

# In MediaPipe's numbers: outer corners of the eyes; inner lips, base of the nose to chin, corners of the mouth.
_EYES = (33, 263)
_MOUTH = ((13, 14), (2, 152), (61, 291))
_STILL = 0.01  # inter-ocular distances; lips at rest jitter by a tenth of it, quiet talk moves them by more
_HALF_SECOND = FPS // 2


@dataclass(frozen=True, slots=True)
class SyncClip:
    """A clip reduced to what sync needs, T frames at 25 frames/s; some 100 bytes a frame."""

    mouth: npt.NDArray[np.float32]
    """(T, 3) lip gap, nose-chin distance, mouth width in inter-ocular distances; NaN where not valid."""
    audio: npt.NDArray[np.float32]
    """(T, 20) natural logarithm of mel-band power."""
    evidence: npt.NDArray[np.bool_]
    """(T,) frames with a tracked mouth that moves while speech is heard."""
    speech: npt.NDArray[np.bool_]
    """(T,) frames in which speech is heard."""

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(T,) frames with a tracked mouth."""
        return np.asarray(np.isfinite(self.mouth).all(axis=1))

    @property
    def spoken(self) -> npt.NDArray[np.bool_]:
        """(T,) frames with a tracked mouth in which speech is heard."""
        return self.speech & self.valid


def sync_clip(
    landmarks: Float32[Array, "frames points 3"], samples: npt.NDArray[Any], intervals: Sequence[Interval]
) -> SyncClip:
    """Reduce a clip to what sync is measured from.

    Parameters
    ----------
    landmarks
        (T, N, 3) points of the clip's face in pixels at 25 frames/s, NaN where there is none.
    samples
        (N,) int16, or floats in -1..1, 16 kHz, starting with the first frame; cut or padded with silence
        to the length of the frames.
    intervals
        Stretches of speech in samples, from `measure_speech`.

    Raises
    ------
    ValueError
        No detector gives landmarks of this shape, or the samples are not mono audio.
    """
    layout_of(landmarks)
    mouth = mouth_openings(landmarks)
    speech = np.zeros(len(mouth), bool)
    for start, end in intervals:
        speech[start // _SAMPLES_PER_FRAME : -(-end // _SAMPLES_PER_FRAME)] = True
    return SyncClip(mouth, log_mel(samples, len(mouth)), speech & _moving(mouth[:, 0]), speech)


def mouth_openings(landmarks: Float32[Array, "frames points xyz"]) -> Float32[Array, "frames 3"]:
    """Lip gap, nose-chin distance and mouth width (T, 3) over each frame's inter-ocular distance.

    A face that nears or turns must not look like one that talks: divided by the clip's median distance
    instead, one true video fell from 0.40 to 0.29. Distances are in the image plane: MediaPipe's depth of the
    lips adds more noise than it removes.
    """
    points = landmarks[..., :2].astype(np.float64)
    eyes = distance(points, _EYES)
    gaps = [distance(points, pair) for pair in _MOUTH]
    openings = np.full((len(points), len(_MOUTH)), np.nan, np.float32)
    np.divide(np.stack(gaps, axis=1), eyes[:, None], out=openings, where=eyes[:, None] > 0, casting="unsafe")
    return openings


def log_mel(samples: npt.NDArray[Any], frames: int) -> Float32[Array, "frames_at_25_fps 20"]:
    """Log power in 20 mel bands (60 to 7600 Hz), mean of each frame's four windows: (frames, 20)."""
    audio = as_float(samples)[: frames * _SAMPLES_PER_FRAME]
    before = (_WINDOW - _HOP) // 2  # centres each window on its hop
    audio = np.pad(audio, (before, frames * _SAMPLES_PER_FRAME - len(audio) + _WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(audio, _WINDOW)[::_HOP][: 4 * frames]
    power = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), _FFT)) ** 2
    mel = np.log(power @ _mel_bank().T + _POWER_FLOOR)
    return np.asarray(mel.reshape(frames, 4, MEL_BANDS).mean(axis=1), np.float32)


def _mel_bank() -> Float64[Array, "20 257"]:
    """Triangular filters (20, 257)."""
    bins = np.arange(_FFT // 2 + 1) * AUDIO_RATE / _FFT
    return triangles(mel_spaced(*_MEL_RANGE_HZ, MEL_BANDS + 2), bins)


def _moving(gap: Float32[Array, " frames"]) -> Bool[Array, " frames"]:
    """Frames (T,) around which, within half a second, the lip gap varies by more than jitter."""
    moving = np.zeros(len(gap), bool)
    for frame in np.flatnonzero(np.isfinite(gap)):
        near = gap[max(0, frame - _HALF_SECOND) : frame + _HALF_SECOND + 1]
        moving[frame] = np.std(near[np.isfinite(near)]) > _STILL
    return moving
