"""Where a clip's audio holds speech, and how loud, clipped and noisy that speech is.

Speech is found by Silero VAD (https://github.com/snakers4/silero-vad, MIT). Its "sequence" model takes all
windows of a clip in one call and gives the streaming model's probabilities to the bit, at 400 times real time
on one thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from multitalk.ground.outcome import OUTCOME
from multitalk.ground.units import AUDIO_RATE

SILENCE_DBFS = -96.0
"""Loudness of digital silence: about the quantisation noise of 16-bit audio, never minus infinity."""
SNR_RANGE_DB = (-20.0, 60.0)
"""`snr_db` is held within these: beyond them only the codec's own noise is measured."""

Interval = tuple[int, int]
"""First sample of a stretch of speech, and the first after it."""

_WINDOW = 512  # samples judged at a time (32 ms)
_CONTEXT = 64  # samples of the previous window that the model wants in front
_WINDOWS_PER_CALL = 512  # bounds the memory on hours of audio
_FULL_SCALE = 0.999
_ENERGY_FRAME, _ENERGY_STEP = 320, 160  # 20 ms every 10 ms
_MARGIN = 1600  # 100 ms beside speech are neither speech nor noise: onsets, decays, reverberation
_MIN_NOISE_FRAMES = 15


class SpeechSettings(BaseModel):
    """When a stretch of audio counts as speech."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float, OUTCOME] = Field(
        default=0.5, gt=0.15, lt=1, description="Speech starts at this probability and ends 0.15 below it."
    )
    min_speech_sec: Annotated[float, OUTCOME] = Field(
        default=0.25, ge=0, description="Shorter stretches of speech are not counted, in seconds."
    )
    min_silence_sec: Annotated[float, OUTCOME] = Field(
        default=0.1, ge=0, description="Shorter pauses do not end a stretch of speech, in seconds."
    )


@dataclass(frozen=True, slots=True)
class SpeechMetrics:
    """Speech columns of the manifest that need no recogniser."""

    speech_ratio: float
    """Share of the clip inside speech, 0..1."""
    loudness_dbfs: float
    """RMS of the speech (of the whole clip without any) against full scale; a full-scale sine is -3.01."""
    clipping_ratio: float
    """Share of samples within 0.1% of full scale, 0..1."""
    snr_db: float | None
    """Power of speech against noise within -20..60 dB; None without speech, or with less than 20 ms of it."""


class SpeechDetector:
    """Silero VAD on one CPU thread. Deterministic; not to be shared between threads.

    Parameters
    ----------
    model
        Silero's `silero_vad_16k_sequence.onnx`; None takes it from the installed `silero-vad` package.
    settings
        Thresholds of what counts as speech.

    Raises
    ------
    FileNotFoundError
        The model file is not there.
    ValueError
        The file is another model.
    """

    def __init__(self, model: Path | None = None, settings: SpeechSettings | None = None) -> None:
        import onnxruntime

        path = model or _packaged_model()
        if not path.is_file():
            raise FileNotFoundError(f"no Silero VAD model at {path}: install silero-vad >= 6.2.3")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        inputs = [node.name for node in self._session.get_inputs()]
        if inputs != ["input", "h", "c"]:
            raise ValueError(f"{path} is not silero_vad_16k_sequence.onnx: it takes {inputs}")
        self._settings = settings or SpeechSettings()

    def probabilities(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Speech probability of each window of 512 samples (32 ms), the last one padded with silence.

        Parameters
        ----------
        samples
            (N,) int16, or floats in -1..1, 16 kHz.

        Returns
        -------
        (ceil(N / 512),) float32.
        """
        hidden = cell = np.zeros((1, 1, 128), np.float32)
        probabilities = [np.zeros(0, np.float32)]
        for block in _model_input(samples):
            values, hidden, cell = self._session.run(
                ["speech_probs", "hn", "cn"], {"input": block, "h": hidden, "c": cell}
            )
            probabilities.append(values.reshape(-1))
        return np.concatenate(probabilities)

    def intervals(self, samples: npt.NDArray[Any]) -> tuple[Interval, ...]:
        """Stretches of speech in order, in samples: (N,) int16 or floats in -1..1, 16 kHz."""
        return self.stretches(self.probabilities(samples), len(samples))

    def stretches(self, probabilities: npt.NDArray[np.float32], n_samples: int) -> tuple[Interval, ...]:
        """Stretches of speech of so many samples, from the `probabilities` of their windows."""
        return _intervals(probabilities, n_samples, self._settings)


def measure_speech(
    samples: npt.NDArray[Any], detector: SpeechDetector
) -> tuple[SpeechMetrics, tuple[Interval, ...]]:
    """Measure a clip's audio.

    The noise of `snr_db` is the mean power of what lies more than 100 ms from speech, where that is 150 ms or
    more, and at least the power of the quietest tenth of 20 ms frames; speech is what is left of the power
    inside speech. White noise at 0 to 20 dB is found within about 2 dB, music at 5 to 20 dB within about 4.
    It is an upper bound: noise in bursts (a barking dog, children) is underestimated by up to 10 dB where a
    clip has few pauses, and noise that sounds only while somebody speaks, or is a voice, counts as speech.
    In a clip without any pause the quietest tenth is speech, which holds the figure at about 20 dB.

    Parameters
    ----------
    samples
        (N,) int16, or floats in -1..1, 16 kHz; N may be 0.
    detector
        Finds the speech.

    Returns
    -------
    The metrics, and the stretches of speech in samples.
    """
    audio = as_float(samples)
    intervals = detector.intervals(audio)
    speech = speech_part(audio, intervals)
    metrics = SpeechMetrics(
        speech_ratio=len(speech) / len(audio) if len(audio) else 0.0,
        loudness_dbfs=_loudness(speech if len(speech) else audio),
        clipping_ratio=float(np.mean(np.abs(audio) >= _FULL_SCALE)) if len(audio) else 0.0,
        snr_db=_signal_to_noise(audio, intervals),
    )
    return metrics, intervals


def as_float(samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Turn (N,) int16 into float32 in -1..1; floats pass. Raises ValueError on any other array."""
    if samples.ndim != 1:
        raise ValueError(f"audio must be mono, of shape (N,), not {samples.shape}")
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"audio must be int16 or floating point, not {samples.dtype}")
    if not np.isfinite(samples).all():
        raise ValueError("audio has samples that are not finite")
    return samples.astype(np.float32, copy=False)


def speech_part(samples: npt.NDArray[np.float32], intervals: tuple[Interval, ...]) -> npt.NDArray[np.float32]:
    """Put the stretches of speech of (N,) samples one after the other."""
    return np.concatenate([samples[:0], *(samples[start:end] for start, end in intervals)])


def _packaged_model() -> Path:
    from importlib.util import find_spec

    # Importing silero_vad would import torch and set its number of threads for the whole process.
    spec = find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package silero-vad, which carries the model, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k_sequence.onnx"


def _model_input(samples: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float32]]:
    """Blocks of windows (n, 64 + 512), each window with the end of the one before it in front."""
    context = np.zeros(_CONTEXT, np.float32)
    for first in range(0, len(samples), _WINDOW * _WINDOWS_PER_CALL):
        part = as_float(samples[first : first + _WINDOW * _WINDOWS_PER_CALL])
        windows = np.pad(part, (0, -len(part) % _WINDOW)).reshape(-1, _WINDOW)
        ends = windows[:, -_CONTEXT:]
        yield np.hstack([np.vstack([context, ends[:-1]]), windows])
        context = ends[-1]


def _intervals(
    probabilities: npt.NDArray[np.float32], n_samples: int, settings: SpeechSettings
) -> tuple[Interval, ...]:
    """Hysteresis over the probabilities, then short pauses closed, then short stretches dropped."""
    stretches: list[list[int]] = []
    speaking = False
    for index, probability in enumerate(probabilities):
        previously = speaking
        speaking = probability >= (settings.threshold - 0.15 if speaking else settings.threshold)
        if speaking:
            start, end = index * _WINDOW, min((index + 1) * _WINDOW, n_samples)
            pause = settings.min_silence_sec * AUDIO_RATE
            if previously or (stretches and start - stretches[-1][1] < pause):
                stretches[-1][1] = end
            else:
                stretches.append([start, end])
    shortest = settings.min_speech_sec * AUDIO_RATE
    return tuple((start, end) for start, end in stretches if end - start >= shortest)


def _loudness(audio: npt.NDArray[np.float32]) -> float:
    power = float(np.mean(np.square(audio, dtype=np.float64))) if len(audio) else 0.0
    return max(SILENCE_DBFS, 10 * float(np.log10(power))) if power > 0 else SILENCE_DBFS


def _signal_to_noise(audio: npt.NDArray[np.float32], intervals: tuple[Interval, ...]) -> float | None:
    if not intervals or len(audio) < _ENERGY_FRAME:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(audio, _ENERGY_FRAME)[::_ENERGY_STEP]
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    centre = np.arange(len(power)) * _ENERGY_STEP + _ENERGY_FRAME // 2
    inside = np.zeros(len(power), bool)
    near = np.zeros(len(power), bool)
    for start, end in intervals:
        inside |= (centre >= start) & (centre < end)
        near |= (centre >= start - _MARGIN) & (centre < end + _MARGIN)
    if not inside.any():
        return None
    noise = float(np.percentile(power, 10))
    if np.count_nonzero(~near) >= _MIN_NOISE_FRAMES:
        noise = max(noise, float(power[~near].mean()))
    speech = float(power[inside].mean()) - noise
    low, high = SNR_RANGE_DB
    if speech <= noise * 10 ** (low / 10):
        return low
    return min(high, 10 * float(np.log10(speech / noise))) if noise > 0 else high
