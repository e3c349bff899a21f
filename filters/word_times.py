"""When each word of a known transcript is spoken, from Whisper's attention to the sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.ground.units import AUDIO_RATE

LONGEST_SEC = 30.0
_WINDOW_FRAMES = 3000  # of 10 ms, as Whisper was trained


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word, in scripts without spaces a character, with its punctuation."""

    word: str
    start_sec: float
    """Seconds from the beginning of the sound."""
    end_sec: float


def timed_words(whisper: Any, tokenizer: Any, samples: npt.NDArray[np.float32], text: str) -> list[TimedWord]:
    """Align a transcript with its sound.

    The model is shown the words and told to speak them; dynamic time warping through the cross-attention of the heads
    that follow the sound gives each token its time (Radford et al. 2022, as OpenAI's code has it; CTranslate2's
    `align`). Good to about 0.1 s.

    Parameters
    ----------
    whisper
        A `faster_whisper.WhisperModel`.
    tokenizer
        Its tokenizer, of the language spoken.
    samples
        (N,) float32 in -1..1, 16 kHz, at most 30 s.
    text
        What is said in them.

    Raises
    ------
    ValueError
        The sound is longer than 30 s.
    """
    if len(samples) > LONGEST_SEC * AUDIO_RATE:
        raise ValueError(
            f"{len(samples) / AUDIO_RATE:.1f} s of sound can not be aligned at once, at most 30 s"
        )
    if not text.strip():
        return []
    features = whisper.feature_extractor(samples)
    frames = min(features.shape[1], _WINDOW_FRAMES)
    window = np.zeros((features.shape[0], _WINDOW_FRAMES), np.float32)
    window[:, :frames] = features[:, :frames]
    tokens = tokenizer.encode(" " + text.strip())
    [aligned] = whisper.find_alignment(tokenizer, [tokens], whisper.encode(window), frames)
    length = len(samples) / AUDIO_RATE
    words: list[TimedWord] = []
    for found in aligned:
        start, end = (min(float(found[name]), length) for name in ("start", "end"))
        if words and not any(map(str.isalnum, found["word"])):  # punctuation belongs to the word before
            words[-1] = TimedWord(
                words[-1].word + found["word"].strip(), words[-1].start_sec, words[-1].end_sec
            )
        elif found["word"].strip():
            words.append(TimedWord(found["word"].strip(), start, end))
    return words
