"""What is kept of a clip to tell its person, and the recording itself, from others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.filters.persons.face import FaceDescriptor
from multitalk.filters.persons.sound_print import sound_print
from multitalk.filters.persons.voice import VoiceEncoder
from multitalk.filters.speech import Interval, as_float, speech_part
from multitalk.ground.units import AUDIO_RATE


@dataclass(frozen=True, slots=True)
class DescribedPerson:
    """Face and voice of a clip, and a print of its sound. Biometric: it stays beside the dataset."""

    face: npt.NDArray[np.float32] | None
    """(128,)"""
    voice: npt.NDArray[np.float32] | None
    """(256,)"""
    voice_sec: float
    """Speech that was heard, seconds."""
    sound_print: npt.NDArray[np.uint32]
    """(T,)"""


class PersonDescriber:
    """The networks of faces and voices on one device.

    Parameters
    ----------
    face_weights, voice_weights
        The assets `face_descriptor` and `voice_encoder`.
    """

    def __init__(self, face_weights: Path, voice_weights: Path) -> None:
        self._face = FaceDescriptor(face_weights)
        self._voice = VoiceEncoder(voice_weights)

    def describe(
        self,
        clip: Path,
        landmarks: npt.NDArray[np.float32],
        valid: npt.NDArray[np.bool_],
        samples: npt.NDArray[Any],
        speech: Sequence[Interval],
    ) -> DescribedPerson:
        """Describe who is seen and heard in a clip.

        Parameters
        ----------
        clip
            Its video.
        landmarks, valid
            (T, N, 3) pixels and (T,) of the face.
        samples
            (N,) its sound, int16 or floats in -1..1, 16 kHz.
        speech
            Stretches of speech, in samples.

        Raises
        ------
        ClipError
            The video can not be decoded.
        """
        audio = as_float(samples)
        spoken = speech_part(audio, tuple(speech))
        seen = self._face.of_clip(clip, landmarks, valid)
        return DescribedPerson(
            face=None if seen is None else seen.descriptor,
            voice=self._voice.embed(spoken),
            voice_sec=len(spoken) / AUDIO_RATE,
            sound_print=sound_print(audio, len(landmarks)),
        )
