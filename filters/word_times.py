"""When each word of a known transcript is spoken, from Whisper's attention to the sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.filters.speech_windows import SpeechWindow
from multitalk.ground.units import AUDIO_RATE

LONGEST_SEC = 30.0
_LONGEST_FRAMES, _SHORTEST_FRAMES = 3000, 800  # of 10 ms; Whisper was trained with the longest


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
    frames = min(features.shape[1], _LONGEST_FRAMES)
    # A window that is not longer than it need be: three times faster, words move by less than 0.1 s.
    size = min(_LONGEST_FRAMES, max(_SHORTEST_FRAMES, 500 * ceil((frames + 50) / 500)))
    window = np.zeros((features.shape[0], size), np.float32)
    window[:, :frames] = features[:, :frames]
    tokens = tokenizer.encode(" " + text.strip())
    [aligned] = whisper.find_alignment(tokenizer, [tokens], whisper.encode(window), frames)
    length = len(samples) / AUDIO_RATE
    return _words(aligned, lambda start, end: (min(start, length), min(end, length)))


def timed_words_of_windows(
    whisper: Any, tokenizer: Any, encoded: Any, windows: Sequence[SpeechWindow], tokens: Sequence[list[int]]
) -> list[list[TimedWord]]:
    """Align the tokens that were recognised in windows of speech with their sound, as `timed_words` does.

    Parameters
    ----------
    whisper, tokenizer
        As in `timed_words`.
    encoded
        Whisper's encoder output of the windows, which recognition needed anyway.
    windows
        N windows.
    tokens
        What was recognised in each.

    Returns
    -------
    Words of each window, in seconds of the clip's sound.
    """
    frames = [
        min(ceil(window.used_sec * _LONGEST_FRAMES / LONGEST_SEC), int(window.length_sec * 100))
        for window in windows
    ]
    known = [index for index, some in enumerate(tokens) if some]
    aligned = (
        whisper.find_alignment(tokenizer, list(tokens), encoded, frames) if known else [[] for _ in windows]
    )
    return [_words(found, window.in_clip) for found, window in zip(aligned, windows, strict=True)]


def _words(
    aligned: Sequence[Mapping[str, Any]], place: Callable[[float, float], tuple[float, float]]
) -> list[TimedWord]:
    """Put the punctuation to the words; `place` says where in the sound a start and an end lie."""
    words: list[TimedWord] = []
    for found in aligned:
        start, end = place(float(found["start"]), float(found["end"]))
        if words and not any(map(str.isalnum, found["word"])):  # punctuation belongs to the word before
            words[-1] = TimedWord(
                words[-1].word + found["word"].strip(), words[-1].start_sec, words[-1].end_sec
            )
        elif found["word"].strip():
            words.append(TimedWord(found["word"].strip(), start, end))
    return words
