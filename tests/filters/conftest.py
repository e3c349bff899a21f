"""Real speech for the filters: synthesised by eSpeak NG, and the sample videos' where they are there."""

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SAMPLE = Path(__file__).parents[2].parent / "shared" / "sample"


class _Synthesiser:
    """eSpeak NG through ctypes, mono 16 kHz."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        synchronous = 2
        self._rate = self._library.espeak_Initialize(
            synchronous, 0, espeakng_loader.get_data_path().encode(), 0
        )
        self._samples: list[np.ndarray] = []
        callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = callback(self._receive)  # kept: the library does not hold a reference
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, _events) -> int:
        if count > 0:
            self._samples.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def __call__(self, text: str, voice: str) -> np.ndarray:
        from scipy.signal import resample_poly

        self._samples.clear()
        assert self._library.espeak_SetVoiceByName(voice.encode()) == 0
        data = text.encode()
        utf8 = 1
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, utf8, None, None)
        self._library.espeak_Synchronize()
        sound = np.concatenate(self._samples).astype(np.float64)
        return np.clip(resample_poly(sound, 16_000, self._rate), -32768, 32767).astype(np.int16)


@pytest.fixture(scope="session")
def synthesise() -> Callable[[str, str], np.ndarray]:
    """(text, eSpeak voice) -> int16 samples at 16 kHz."""
    return _Synthesiser()


@pytest.fixture(scope="session")
def german(synthesise) -> np.ndarray:
    text = "Guten Abend, meine Damen und Herren, und herzlich willkommen zu unserer Sendung."
    return synthesise(text, "de")


@pytest.fixture(scope="session")
def detector():
    from multitalk.filters.speech import SpeechDetector

    return SpeechDetector()


@pytest.fixture(scope="session")
def sample_audio() -> Callable[[str], np.ndarray]:
    """Video id -> the sound of a sample video, int16 at 16 kHz; skips where the samples are not there."""
    import imageio_ffmpeg

    def load(video_id: str) -> np.ndarray:
        video = SAMPLE / "videos" / f"{video_id}.mp4"
        if not video.is_file():
            pytest.skip("needs the sample videos: ../shared/sample")
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        command = [
            ffmpeg,
            "-v",
            "error",
            "-i",
            str(video),
            "-vn",
            "-ac",
            "1",
            "-ar",
            "16000",
            "-f",
            "s16le",
            "-",
        ]
        sound = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        return np.frombuffer(sound, np.int16)

    return load


@pytest.fixture(scope="session")
def portrait():
    """Return the head of scikit-image's astronaut, (512, 512, 3)."""
    import cv2
    from skimage import data

    return cv2.resize(data.astronaut()[0:280, 80:360], (512, 512), interpolation=cv2.INTER_CUBIC)
