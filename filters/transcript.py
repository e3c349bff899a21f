"""How far a recognised transcript is from the annotated one, in characters, and how much of it that covers.

A transcript often covers part of what is said in its interval: one sentence of two, or all but an aside. So it is
looked for within what was heard (an alignment whose ends are free), and two questions are answered apart: how
much of what was heard it covers, and how many errors there are in that part.

Both are normalised first, so that only what was said counts. For every language: NFKC, case folded;
apostrophes and hyphens go; other punctuation, symbols and control characters become spaces; runs of spaces
become one. Then by script:

=========  ===============================================================================================
Arabic     harakat, tatweel and other marks go; alef with hamza, madda or wasla becomes alef, alef maqsura
           yeh, teh marbuta heh (also for Persian, Urdu, Pashto, Sindhi)
Chinese    spaces go; traditional characters become simplified (OpenCC t2s): transcripts come in both
Japanese   spaces go; kanji and kana are not equated
Thai       spaces go (also Lao, Khmer, Burmese, Tibetan, Cantonese); vowel and tone marks stay
Cyrillic   yo becomes ye in Russian and Belarusian, which print it at will; short i and yi stay letters
Greek      accents and diaereses go; final sigma counts as sigma (case folding)
Hebrew     points go
Turkish    dotted and dotless i are two letters, in capitals too (also Azerbaijani)
others     diacritics stay: they are spelling
=========  ===============================================================================================

Numerals are not spelled out: "20" against "twenty" is an error.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from opencc import OpenCC

MAX_CHARACTERS = 5_000
"""A longer reference is no transcript of a clip: it is not compared."""

_UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my", "bo"})
_ARABIC_SCRIPT = frozenset({"ar", "fa", "ur", "ps", "sd"})
_UNMARKED = _ARABIC_SCRIPT | {"el", "he", "yi"}
_ARABIC_LETTERS = str.maketrans("أإآٱىة", "اااايه", "ـ")
_TURKIC_CAPITALS = str.maketrans("Iİ", "\u0131i")
_JOINERS = frozenset("'`-\u02bc\u2019\u2010\u2011")  # apostrophes and hyphens


@dataclass(frozen=True, slots=True)
class TranscriptMatch:
    """An annotated transcript within a recognised one."""

    error_rate: float
    """Edits between the annotated transcript and the part of the recognised one that it matches best, over the
    annotated one's length: 0 where that part is equal to it, 1 where no part has anything of it."""
    coverage: float | None
    """Share of the recognised transcript's length, 0..1, that this part has; None where nothing was recognised."""


def normalise_transcript(text: str, code: str) -> str:
    """Reduce a transcript to what was said.

    Parameters
    ----------
    text
        Transcript as annotated or recognised.
    code
        Whisper's code of its language, for instance "ar".
    """
    # The acute accent that stands for an apostrophe: NFKC would make it a space and a mark.
    text = unicodedata.normalize("NFKC", text.replace("\u00b4", "'"))
    if code in ("tr", "az"):
        text = text.translate(_TURKIC_CAPITALS)
    text = text.casefold()
    if code in _ARABIC_SCRIPT:
        # Before marks go: decomposition would also turn these letters into others plus a mark.
        text = text.translate(_ARABIC_LETTERS)
    if code in _UNMARKED:
        decomposed = unicodedata.normalize("NFD", text)
        text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    elif code in ("ru", "be"):
        text = text.replace("ё", "е")  # noqa: RUF001
    elif code == "zh":
        text = _simplified().convert(text)
    text = "".join(_spoken(character) for character in text)
    return "".join(text.split()) if code in _UNSPACED else " ".join(text.split())


def match_transcript(annotated: str, recognised: str, code: str) -> TranscriptMatch | None:
    """Look for the annotated transcript within the recognised one, both normalised.

    Parameters
    ----------
    annotated
        The annotated transcript.
    recognised
        The recognised one.
    code
        Whisper's code of their language.

    Returns
    -------
    None where nothing is left of the annotated one, or where one of them is longer than `MAX_CHARACTERS`.
    """
    if max(len(annotated), len(recognised)) > MAX_CHARACTERS:
        return None
    expected, heard = normalise_transcript(annotated, code), normalise_transcript(recognised, code)
    if not expected:
        return None
    edits = _edits_up_to(expected, heard, start_is_free=True)
    end = int(edits.argmin())
    length = int(_edits_up_to(expected[::-1], heard[:end][::-1], start_is_free=False).argmin())
    return TranscriptMatch(
        error_rate=float(edits[end]) / len(expected),
        coverage=length / len(heard) if heard else None,
    )


def _edits_up_to(text: str, other: str, *, start_is_free: bool) -> npt.NDArray[np.int64]:
    """Edits (M + 1,) between a text and another's part up to each place.

    The part begins with the other, or, where its start is free, wherever it fits best (P. Sellers, 1980).
    """
    places = np.arange(len(other) + 1)
    letters = np.array([ord(letter) for letter in other], np.int64)
    edits = np.zeros_like(places) if start_is_free else places
    for number, letter in enumerate(text, start=1):
        row = np.empty_like(edits)
        row[0] = number
        np.minimum(edits[:-1] + (letters != ord(letter)), edits[1:] + 1, out=row[1:])
        edits = np.minimum.accumulate(row - places) + places  # letters left out, one after the other
    return edits


def _spoken(character: str) -> str:
    category = unicodedata.category(character)
    if character in _JOINERS or category == "Cf":
        return ""
    return character if category[0] in "LMN" else " "


@lru_cache(maxsize=1)
def _simplified() -> "OpenCC":
    from opencc import OpenCC

    return OpenCC("t2s")
