"""WAV files, without a decoder: the form in which a dataset keeps sound, and any other of 16 bits."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multitalk.ground.units import AUDIO_RATE

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Int16


class WavError(ValueError):
    """A file is no WAV file, or not of the form that is asked for; the message names it."""


@dataclass(frozen=True, slots=True)
class WavForm:
    """What a WAV file's header says."""

    rate: int
    """Samples a second."""
    channels: int
    bits: int
    """Of a sample."""
    samples: int
    """A channel."""

    @property
    def is_ours(self) -> bool:
        """Whether it is 16 kHz mono of 16 bits, as a dataset keeps sound."""
        return (self.rate, self.channels, self.bits) == (AUDIO_RATE, 1, 16)

    def __str__(self) -> str:
        return f"{self.rate} Hz, {self.channels} channels, {self.bits} bits"


def wav_form(path: Path) -> WavForm:
    """Read a WAV file's header.

    Raises
    ------
    OSError
        It is missing or can not be read.
    WavError
        It is no WAV file.
    """
    return _read(path, with_samples=False)[0]


def read_wav(path: Path) -> Int16[Array, " samples"]:
    """Read samples (N,) of a WAV file as a dataset keeps it: 16 kHz, mono, 16 bits.

    Raises
    ------
    OSError
        It is missing or can not be read.
    WavError
        It is no WAV file, or of another form.
    """
    form, content = _read(path)
    if not form.is_ours:
        raise WavError(f"{path}: is {form}, not 16 kHz mono of 16 bits")
    return np.frombuffer(content, "<i2")


def read_channels(path: Path) -> tuple[WavForm, Int16[Array, "samples channels"]]:
    """Read samples (N, channels) of a 16-bit WAV file, with its form.

    Raises
    ------
    OSError
        It is missing or can not be read.
    WavError
        It is no WAV file, or not of 16 bits.
    """
    form, content = _read(path)
    if form.bits != 16:
        raise WavError(f"{path}: has {form.bits} bits a sample, not 16")
    return form, np.frombuffer(content, "<i2").reshape(-1, form.channels)


def write_wav(path: Path, samples: Int16[Array, " samples"]) -> None:
    """Write samples (N,) as a dataset keeps sound: 16 kHz, mono, 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, AUDIO_RATE, 0, "NONE", "not compressed"))
        file.writeframes(samples.astype("<i2").tobytes())


def _read(path: Path, *, with_samples: bool = True) -> tuple[WavForm, bytes]:
    try:
        with wave.open(str(path), "rb") as file:
            count = file.getnframes()
            form = WavForm(file.getframerate(), file.getnchannels(), 8 * file.getsampwidth(), count)
            return form, file.readframes(count) if with_samples else b""
    except (wave.Error, EOFError) as error:
        raise WavError(f"{path}: not a readable WAV file ({error or 'it ends early'})") from error
