"""Audio encoders, frozen: 16 kHz samples to two rows of features a frame.

Both hear the same way: features come at 50 Hz, two for each of the 25 frames a second. Whisper's encoder is
multilingual, runs on two CPU cores 100 times faster than the sound and is to be had everywhere; XLSR-53 is
what MultiTalk's talker was built on.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from multitalk.ground.units import AUDIO_RATE
from multitalk.ground.wav import WavError, read_wav
from multitalk.training.run_settings import AudioSettings
from multitalk.training.settings import AudioEncoderError

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32

SAMPLES_PER_FRAME = AUDIO_RATE // 25


class AudioEncoder(Protocol):
    """What a talker needs to know of its audio encoder."""

    width: int
    """A, values of a row of features."""
    fingerprint: str
    """Names the encoder and its weights; a talker hears through no other than the one it was trained with."""

    def features(self, audio: Float32[Array, " samples"], frames: int) -> Float32[Array, "half_frames width"]:
        """Features (2 frames, A) float32 of samples (S,), silence put behind sound that is too short."""


class WhisperEncoder:
    """Whisper's encoder (Radford et al. 2022) through CTranslate2.

    Parameters
    ----------
    directory : Path
        Folder of a CTranslate2 Whisper model, with `model.bin`.
    threads : int
        CPU threads; 0 leaves the choice to CTranslate2.

    Raises
    ------
    AudioEncoderError
        When the folder holds no such model.
    """

    CHUNK_SEC, MARGIN_SEC = 28, 1
    """Sound is heard in chunks with this much more on either side: Whisper takes 30 s at most."""

    def __init__(self, directory: Path, threads: int = 0) -> None:
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor

        weights = directory / "model.bin"
        if not weights.is_file():
            raise AudioEncoderError(f"{directory}: no Whisper model there (model.bin is missing)")
        try:
            self._model = ctranslate2.models.Whisper(
                str(directory), device="cpu", compute_type="int8", intra_threads=threads
            )
        except RuntimeError as error:
            raise AudioEncoderError(f"{directory}: not a usable Whisper model ({error})") from error
        self._extract = FeatureExtractor(feature_size=self._model.n_mels)
        self.width = self._encode(np.zeros(AUDIO_RATE, np.float32)).shape[1]
        self.fingerprint = f"whisper-{self.width}-{_digest(weights)}"

    def features(self, audio: Float32[Array, " samples"], frames: int) -> Float32[Array, "half_frames width"]:
        """Features (2 frames, width) float32 of samples (S,)."""
        needed = frames * SAMPLES_PER_FRAME
        audio = np.pad(audio[:needed], (0, max(0, needed - len(audio))))
        chunk, margin = self.CHUNK_SEC * AUDIO_RATE, self.MARGIN_SEC * AUDIO_RATE
        padded = np.pad(audio, margin)
        rows = []
        for start in range(0, needed, chunk):
            encoded = self._encode(padded[start : start + chunk + 2 * margin])
            length = 2 * min(chunk, needed - start) // SAMPLES_PER_FRAME
            rows.append(encoded[2 * margin // SAMPLES_PER_FRAME :][:length])
        return np.concatenate(rows) if rows else np.zeros((0, self.width), np.float32)

    def _encode(self, audio: Float32[Array, " samples"]) -> Float32[Array, "tokens width"]:
        """Features (L, width) at 50 Hz; the silence that fills Whisper's 30 s in training is left away."""
        import ctranslate2

        mel = np.ascontiguousarray(self._extract(audio, padding=0)[None, :, :3000], np.float32)
        encoded = self._model.encode(ctranslate2.StorageView.from_array(mel))
        features: npt.NDArray[np.float32] = np.array(encoded, np.float32)[0]
        return features


class Wav2Vec2Encoder:
    """A frozen wav2vec 2.0, from a folder as the Hugging Face hub has it.

    Parameters
    ----------
    directory : Path
        Folder with `config.json` and `model.safetensors` or `pytorch_model.bin`.
    device : str
        Where torch runs it.

    Raises
    ------
    AudioEncoderError
        When the folder holds no such model.
    """

    def __init__(self, directory: Path, device: str = "cpu") -> None:
        from multitalk.training.model.pretrained import load_wav2vec2

        self.model = load_wav2vec2(directory).to(device).eval().requires_grad_(False)
        self._device = device
        self._layers: int | None = None  # all, and the final norm
        self.width = self.model.settings.hidden
        weights = next(
            p for p in (directory / "model.safetensors", directory / "pytorch_model.bin") if p.exists()
        )
        self.fingerprint = f"wav2vec2-{self.width}-{_digest(weights)}"

    def below(self, layers: int) -> Wav2Vec2Encoder:
        """Give the part of it up to so many layers; 0: what goes into the transformer."""
        part = copy.copy(self)
        part._layers = layers
        part.width = self.model.settings.hidden if layers else self.model.settings.conv_dim
        part.fingerprint = f"{self.fingerprint}-{layers}"
        return part

    def features(self, audio: Float32[Array, " samples"], frames: int) -> Float32[Array, "half_frames width"]:
        """Features (2 frames, width) float32 of samples (S,)."""
        import torch

        from multitalk.training.layers.wav2vec2 import normalise_sound

        needed = frames * SAMPLES_PER_FRAME
        audio = np.pad(audio[:needed], (0, max(0, needed - len(audio))))
        with torch.inference_mode():
            sound = normalise_sound(torch.from_numpy(audio).to(self._device))
            if self._layers is None:
                (tokens,) = self.model([sound], [frames])
            else:
                tokens = self.model.below(sound, frames, self._layers)
            features: npt.NDArray[np.float32] = tokens[: 2 * frames].cpu().numpy()
        return features


def load_audio_encoder(settings: AudioSettings, threads: int = 0) -> AudioEncoder:
    """Open the encoder that the settings name.

    Raises
    ------
    AudioEncoderError
        When its folder is not given, or holds no such model.
    """
    if settings.directory is None:
        raise AudioEncoderError(
            f"the {settings.encoder} encoder needs the folder of its model: audio.directory"
        )
    if settings.encoder == "whisper":
        return WhisperEncoder(settings.directory, threads)
    return Wav2Vec2Encoder(settings.directory)


def read_speech(path: Path) -> Float32[Array, " samples"]:
    """Read samples (S,) in -1..1 of a WAV file as the dataset has them: 16 kHz, mono, 16 bits.

    Raises
    ------
    AudioEncoderError
        When the file is missing or is something else.
    """
    try:
        return read_wav(path).astype(np.float32) / np.float32(32768)
    except OSError as error:
        raise AudioEncoderError(f"{path}: can not be read ({error.strerror or error})") from error
    except WavError as error:
        raise AudioEncoderError(f"{error}; run build again") from error


def _digest(path: Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
