"""A clip's speech cut into the windows that are shown to Whisper."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from multitalk.filters.speech import Interval, speech_part
from multitalk.ground.units import AUDIO_RATE

LONGEST_WINDOW_SEC = 30.0
"""What Whisper was trained on."""

_PADDING = AUDIO_RATE // 5  # kept on both sides of speech
_PAUSE = AUDIO_RATE // 2  # kept where shorter; also put in front of the speech
_SHORTEST_TAIL_SEC = 1.0  # a rest of a long speech shorter than this says nothing about the language


@dataclass(frozen=True, slots=True)
class SpeechWindow:
    """A piece of a clip's speech that Whisper hears at once."""

    clip: int
    """Number of the clip that it belongs to."""
    speech: npt.NDArray[np.float32]
    """(N,) up to 30 s less the pause in front, 16 kHz."""
    length_sec: float
    """Length of the window with the silence around the speech, seconds."""
    pieces: tuple[Interval, ...] = ()
    """Where the speech lies in the clip's sound, one stretch after the other."""

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return len(self.speech) / AUDIO_RATE

    @property
    def used_sec(self) -> float:
        """Length of the speech and the pause in front of it."""
        return (_PAUSE + len(self.speech)) / AUDIO_RATE

    def in_clip(self, start_sec: float, end_sec: float) -> tuple[float, float]:
        """Return where a time of the window lies in the clip's sound: in the stretch that has most of it."""
        first, last = (
            min(max(round(sec * AUDIO_RATE) - _PAUSE, 0), len(self.speech)) for sec in (start_sec, end_sec)
        )
        places, before = [], 0
        for start, end in self.pieces:
            low, high = (min(max(at - before, 0), end - start) for at in (first, last))
            places.append((high - low, (start + low) / AUDIO_RATE, (start + high) / AUDIO_RATE))
            before += end - start
        _, start_of_clip, end_of_clip = max(places, key=lambda place: place[0])
        return start_of_clip, end_of_clip

    def padded(self) -> npt.NDArray[np.float32]:
        """Put some silence on both sides, as a model of padded windows expects."""
        rest = int(self.length_sec * AUDIO_RATE) - _PAUSE - len(self.speech)
        return np.pad(self.speech, (_PAUSE, max(0, rest)))


def speech_windows(
    clip: int, audio: npt.NDArray[np.float32], intervals: Sequence[Interval], shortest_sec: float
) -> list[SpeechWindow]:
    """Cut a clip's speech into windows; none without speech.

    Parameters
    ----------
    clip
        Number of the clip.
    audio
        (N,) in -1..1, 16 kHz.
    intervals
        Its stretches of speech.
    shortest_sec
        Shortest window; longer ones are whole multiples of 5 s up to 30.
    """
    if not intervals:
        return []
    stretches = _with_surroundings(intervals, len(audio))
    speech = speech_part(audio, stretches)
    size = int(LONGEST_WINDOW_SEC * AUDIO_RATE) - _PAUSE
    parts = [speech[start : start + size] for start in range(0, len(speech), size)]
    parts = [part for part in parts if part is parts[0] or len(part) >= _SHORTEST_TAIL_SEC * AUDIO_RATE]
    lengths = [max(shortest_sec, 5 * ceil((len(part) / AUDIO_RATE + 1) / 5)) for part in parts]
    return [
        SpeechWindow(
            clip, part, min(LONGEST_WINDOW_SEC, length), _pieces(stretches, number * size, len(part))
        )
        for number, (part, length) in enumerate(zip(parts, lengths, strict=True))
    ]


def _pieces(stretches: Sequence[Interval], first: int, count: int) -> tuple[Interval, ...]:
    """Return the parts of stretches in which `count` samples of them lie, from the `first` on."""
    found, before = [], 0
    for start, end in stretches:
        low, high = max(first - before, 0), min(first + count - before, end - start)
        if low < high:
            found.append((start + low, start + high))
        before += end - start
    return tuple(found)


def speech_of(audio: npt.NDArray[np.float32], intervals: Sequence[Interval]) -> npt.NDArray[np.float32]:
    """Put a clip's stretches of speech one after the other, with what surrounds them."""
    return speech_part(audio, _with_surroundings(intervals, len(audio)))


def joined_window(spoken: Sequence[npt.NDArray[np.float32]], shortest_sec: float) -> SpeechWindow | None:
    """Put the speech of several clips into one window; of more than it holds, an even share of each.

    Parameters
    ----------
    spoken
        (N,) each, from `speech_of`.
    shortest_sec
        Shortest window.
    """
    most = int(LONGEST_WINDOW_SEC * AUDIO_RATE) - _PAUSE
    # A word cut at its edge costs dearly: rather whole stretches of some clips than a second of each.
    step = max(1, sum(map(len, spoken)) // most)
    speech = np.concatenate([np.zeros(0, np.float32), *spoken[::step]])[:most]
    if len(speech) == 0:
        return None
    seconds = max(shortest_sec, 5 * ceil((len(speech) / AUDIO_RATE + 1) / 5))
    return SpeechWindow(0, speech, min(LONGEST_WINDOW_SEC, seconds))


def batched(windows: Sequence[SpeechWindow], size: int) -> list[list[SpeechWindow]]:
    """Put up to `size` windows of one length together; those of one clip keep their order."""
    if size > 1:
        # Longest first: of a clip's windows only the last may be shorter.
        windows = sorted(windows, key=lambda window: -window.length_sec)
    batches: list[list[SpeechWindow]] = []
    for window in windows:
        last = batches[-1] if batches else []
        if last and len(last) < size and last[0].length_sec == window.length_sec:
            last.append(window)
        else:
            batches.append([window])
    return batches


def _with_surroundings(intervals: Sequence[Interval], n_samples: int) -> tuple[Interval, ...]:
    """Pad the stretches of speech, and join those between which only a short pause is left."""
    joined: list[Interval] = []
    for start, end in intervals:
        padded = (max(0, start - _PADDING), min(n_samples, end + _PADDING))
        if joined and padded[0] - joined[-1][1] < _PAUSE:
            joined[-1] = (joined[-1][0], padded[1])
        else:
            joined.append(padded)
    return tuple(joined)
