"""Times of words, on speech whose words were put where they are."""

from itertools import pairwise

import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.filters.language import LanguageIdentifier, LanguageSettings

RATE = 16_000
TOLERANCE_SEC = 0.25


@pytest.fixture(scope="module")
def identifier():
    return LanguageIdentifier(require("whisper_base"), LanguageSettings(transcribe=False))


def spoken(synthesise, voice, parts, pause_sec):
    """Sound with pauses between its parts, and where each part's sound lies, seconds."""
    sound, places = [np.zeros(RATE // 2, np.int16)], []
    for part in parts:
        said = synthesise(part, voice)
        loud = np.flatnonzero(np.abs(said) > 300)
        at = sum(map(len, sound))
        places.append(((at + loud[0]) / RATE, (at + loud[-1]) / RATE))
        sound += [said, np.zeros(int(pause_sec * RATE), np.int16)]
    return np.concatenate(sound), places


@pytest.mark.parametrize(
    ("voice", "language", "parts"),
    [
        ("de", "german", ["Heute ist das Wetter schön,", "und morgen kommt der Regen."]),
        ("es", "spanish", ["Buenas tardes a todos,", "hoy hablamos", "de la ciudad."]),
    ],
)
def test_words_are_where_they_were_put(identifier, synthesise, voice, language, parts):
    sound, places = spoken(synthesise, voice, parts, pause_sec=0.8)
    found = identifier.timed_words(sound, language, " ".join(parts))
    assert [word.word for word in found] == " ".join(parts).split()
    assert all(0 <= a.start_sec <= a.end_sec <= len(sound) / RATE for a in found)
    assert all(a.end_sec <= b.start_sec + 0.021 for a, b in pairwise(found))
    first = 0
    for part, (start, end) in zip(parts, places, strict=True):
        last = first + len(part.split()) - 1
        assert found[last].end_sec == pytest.approx(end, abs=TOLERANCE_SEC)
        if first:  # a word after a pause is often said to begin within it
            assert start - 0.8 - TOLERANCE_SEC < found[first].start_sec < start + TOLERANCE_SEC
        first = last + 1


def test_recognised_words_come_with_their_times_in_the_clip(synthesise):
    """Though Whisper hears the speech without its pauses."""
    parts = ["Heute ist das Wetter schön,", "und morgen kommt der Regen."]
    sound, places = spoken(synthesise, "de", parts, pause_sec=2.5)
    intervals = [(int(start * RATE), int(end * RATE)) for start, end in places]
    listener = LanguageIdentifier(require("whisper_base"), LanguageSettings())
    metrics = listener.measure(sound, intervals, "german", " ".join(parts))
    assert " ".join(word["word"] for word in metrics.words) == metrics.recognised_transcript
    for word in metrics.words:
        assert any(
            start - 0.3 <= word["start_sec"] < word["end_sec"] <= end + 0.3 for start, end in places
        ), word
    late = [word for word in metrics.words if word["start_sec"] > places[1][0] - 0.3]
    assert late[0]["word"] == "und"


def test_a_script_without_spaces_is_timed_by_characters(identifier, synthesise):
    sound = synthesise("今天天气很好。", "cmn")
    found = identifier.timed_words(sound, "mandarin", "今天天气很好。")
    assert "".join(word.word for word in found) == "今天天气很好。"
    assert found[-1].word.endswith("。")


def test_nothing_said_and_too_much(identifier):
    assert identifier.timed_words(np.zeros(RATE, np.int16), "german", " ") == []
    with pytest.raises(ValueError, match="at most 30 s"):
        identifier.timed_words(np.zeros(31 * RATE, np.int16), "german", "so")
