"""What is heard in a raw video, before anything is looked at: where there is speech, and in which language."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.assets.fetch import require
from multitalk.extract.faces.candidates import SpeechActivity
from multitalk.extract.source_frames import source_sound
from multitalk.filters.language import LanguageIdentifier, Utterance
from multitalk.filters.speech import Interval, SpeechDetector
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.ground.units import AUDIO_RATE, FPS

_VAD_WINDOW = 512
_PART_SEC, _MOST_PARTS = 60.0, 6  # of speech that the language is listened for in
_HEARD_SEC = 30.0  # of each part
_AROUND = AUDIO_RATE // 4  # samples on both sides of speech


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of a video and the speech in it."""

    samples: npt.NDArray[np.int16]
    """(N,) 16 kHz; of a file, so that hours of it need no memory."""
    intervals: tuple[Interval, ...]
    """Stretches of speech, in samples."""
    activity: SpeechActivity
    """The same on the grid of frames."""


class Hearing:
    """Listens to the sound of raw videos; models are loaded when first needed, and kept."""

    def __init__(self, settings: DiscoverSettings) -> None:
        self._settings = settings

    def listen(self, source: Path, place: Path) -> Sound:
        """Find the speech of a video, whose sound is written to `place`."""
        samples = source_sound(source, place)
        windows = self._speech_detector.probabilities(samples)
        intervals = self._speech_detector.stretches(windows, len(samples))
        per_frame = AUDIO_RATE // FPS
        frames = np.arange(-(-len(samples) // per_frame))
        at = np.minimum(frames * per_frame // _VAD_WINDOW, max(0, len(windows) - 1))
        probability = windows[at] if len(windows) else np.zeros(0, np.float32)
        return Sound(
            samples,
            intervals,
            SpeechActivity([(a / per_frame, b / per_frame) for a, b in intervals], probability),
        )

    def is_other_language(self, sound: Sound) -> bool:
        """Whether the wanted language is nowhere in the speech, listened to at up to six places."""
        speech_sec = sum(end - start for start, end in sound.intervals) / AUDIO_RATE
        count = int(np.clip(speech_sec / _PART_SEC, 1, _MOST_PARTS))
        for part in np.array_split(np.arange(len(sound.intervals)), min(count, len(sound.intervals))):
            found = self._identifier.measure_video([self._heard(sound, [sound.intervals[k] for k in part])])
            probability = found.video_annotated_language_probability
            if probability is None or probability >= self._settings.min_language_probability:
                return False
        return True

    def _heard(self, sound: Sound, intervals: Sequence[Interval]) -> Utterance:
        """Return the first half minute of some stretches of speech, without what lies between them."""
        pieces, taken, at, left = [], [], 0, int(_HEARD_SEC * AUDIO_RATE)
        for start, end in intervals:
            if left <= 0:
                break
            stop = min(end, start + left)
            first = max(0, start - _AROUND)
            pieces.append(np.array(sound.samples[first : stop + _AROUND]))
            taken.append((at + start - first, at + stop - first))
            at, left = at + len(pieces[-1]), left - (stop - start)
        return Utterance(np.concatenate(pieces), tuple(taken), self._settings.language.lower())

    @cached_property
    def _speech_detector(self) -> SpeechDetector:
        return SpeechDetector(require("silero_vad"), self._settings.build.speech)

    @cached_property
    def _identifier(self) -> LanguageIdentifier:
        return LanguageIdentifier(require("whisper_base"), self._settings.build.language)
