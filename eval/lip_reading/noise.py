"""Noises that speech is drowned in: a folder of recordings, or babble made of other speakers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from multitalk.eval.settings import LipReadingSettings
from multitalk.manifests.media import MediaError, read_sound

Samples = npt.NDArray[np.int16]
SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg")


class Noise(Protocol):
    """A named noise."""

    @property
    def name(self) -> str:
        """How tables call it."""

    @property
    def digest(self) -> str:
        """Hash of what it is made of."""

    def samples(self, source: str, length: int) -> Samples:
        """`length` samples of noise for a clip of the source video `source`."""


@dataclass(frozen=True, slots=True)
class RecordedNoise:
    """A recording, from its first sample, repeated as long as needed: as the paper does."""

    name: str
    recording: Samples

    @property
    def digest(self) -> str:
        """Hash of the recording."""
        return _digest(self.recording)

    def samples(self, source: str, length: int) -> Samples:
        """Return the same for every clip."""
        return np.resize(self.recording, length)


@dataclass(frozen=True, slots=True)
class Babble:
    """Several speakers at once, each as loud as the others, none of them the clip's own."""

    speech: Mapping[str, Samples]
    """Sound by source video."""
    speakers: int = 8
    seed: int = 0
    name: str = "babble"

    @property
    def digest(self) -> str:
        """Hash of all voices, how many speak at once, and the seed."""
        names = [f"{source}:{_digest(sound)}" for source, sound in sorted(self.speech.items())]
        return hashlib.sha256(" ".join([*names, str(self.speakers), str(self.seed)]).encode()).hexdigest()

    def samples(self, source: str, length: int) -> Samples:
        """Make a babble that depends on nothing but the source, the length and the seed.

        Raises
        ------
        ValueError
            Fewer than two other speakers are there.
        """
        others = sorted(name for name, sound in self.speech.items() if name != source and np.any(sound))
        if len(others) < 2:
            raise ValueError(
                "babble needs speech of at least two other source videos: give a folder of noises"
            )
        random = np.random.default_rng([self.seed, *source.encode()])
        chosen = random.choice(len(others), size=min(self.speakers, len(others)), replace=False)
        mixed = np.zeros(length)
        for index in chosen:
            voice = self.speech[others[index]].astype(np.float64)
            begin = int(random.integers(len(voice)))
            mixed += np.resize(np.roll(voice, -begin), length) / np.sqrt(np.mean(voice**2))
        loudest = np.abs(mixed).max(initial=0)
        if loudest == 0:
            raise ValueError("babble is silent for all of the clip: give a folder of noises")
        return np.asarray(mixed / loudest * 32767, dtype=np.int16)


def _digest(samples: Samples) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


def choose_noises(settings: LipReadingSettings, sounds: Mapping[str, Path]) -> list[Noise]:
    """Return the noises that settings ask for: those of a folder, or babble.

    Parameters
    ----------
    settings
    sounds
        Speech that babble is made of: a sound file by source video.

    Raises
    ------
    MediaError
        A noise can not be read.
    ValueError
        Babble would need more speakers.
    """
    if settings.noises is not None:
        return list(read_noises(settings.noises))
    if len(sounds) < 3:
        raise ValueError("babble needs speech of at least three source videos: give a folder of noises")
    speech: dict[str, Samples] = {}
    for source in sorted(sounds)[: 4 * settings.babble_speakers]:
        with suppress(MediaError):  # the clip's own row says so
            speech[source] = read_sound(sounds[source])
    if len(speech) < 3:
        raise ValueError("babble needs three sounds that can be read: give a folder of noises")
    return [Babble(speech, settings.babble_speakers, settings.seed)]


def read_noises(folder: Path) -> list[RecordedNoise]:
    """Read every recording below a folder; a noise is called by its path without the suffix.

    Raises
    ------
    MediaError
        There is none, or one can not be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise MediaError(f"{folder}: holds no noise ({', '.join(SUFFIXES)})")
    return [
        RecordedNoise(path.relative_to(folder).with_suffix("").as_posix(), read_sound(path)) for path in files
    ]


def mix(speech: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise to speech, as MuAViC does.

    Parameters
    ----------
    speech, noise
        (N,) 16-bit samples.
    snr_db
        Signal-to-noise ratio of the root mean squares over the whole clip.

    Returns
    -------
    array
        (N,); scaled down as a whole where the sum would not fit 16 bits. Silence on either side leaves the
        speech.
    """
    if speech.shape != noise.shape:
        raise ValueError(f"speech {speech.shape} and noise {noise.shape} must be as long as each other")
    clean, added = speech.astype(np.float64), noise.astype(np.float64)
    clean_rms, added_rms = (np.sqrt(np.mean(x**2)) if len(x) else 0.0 for x in (clean, added))
    if clean_rms == 0 or added_rms == 0:
        return speech
    mixed = clean + added * (clean_rms / added_rms / 10 ** (snr_db / 20))
    overshoot = max(mixed.max() / 32767, mixed.min() / -32768, 1.0)
    return np.asarray(mixed / overshoot, dtype=np.int16)
