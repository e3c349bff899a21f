"""How far a recognised transcript is from the annotated one, in characters.

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
from functools import lru_cache
from typing import TYPE_CHECKING

from rapidfuzz.distance.Levenshtein import distance as edit_distance

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


def character_error_rate(reference: str, hypothesis: str, code: str) -> float | None:
    """Edits that turn the reference into the hypothesis, over the reference's length, both normalised.

    Parameters
    ----------
    reference
        The annotated transcript.
    hypothesis
        The recognised one.
    code
        Whisper's code of their language.

    Returns
    -------
    0 for equality, above 1 where the hypothesis is much longer; None where nothing is left of the reference,
    or where it is longer than `MAX_CHARACTERS`.
    """
    if len(reference) > MAX_CHARACTERS:
        return None
    expected = normalise_transcript(reference, code)
    if not expected:
        return None
    return edit_distance(expected, normalise_transcript(hypothesis, code)) / len(expected)


def _spoken(character: str) -> str:
    category = unicodedata.category(character)
    if character in _JOINERS or category == "Cf":
        return ""
    return character if category[0] in "LMN" else " "


@lru_cache(maxsize=1)
def _simplified() -> "OpenCC":
    from opencc import OpenCC

    return OpenCC("t2s")
