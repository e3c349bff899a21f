"""Word and character error rates, and the text normalisation that goes before them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance.Levenshtein import distance as edit_distance

Rules = Literal["fair", "multitalk"]

_MULTITALK_PUNCTUATION = str.maketrans("", "", ".,!;:?/")
_APOSTROPHES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'"})
_TATWEEL = "\u0640"


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Errors of a hypothesis against its reference."""

    word_errors: int
    words: int
    character_errors: int
    characters: int
    """Of the reference, spaces between words included."""

    @property
    def word_error_rate(self) -> float:
        """Share of the reference's words; above 1 where much is inserted."""
        return self.word_errors / self.words

    @property
    def character_error_rate(self) -> float:
        """Share of the reference's characters."""
        return self.character_errors / self.characters


def normalise_text(text: str, rules: Rules) -> str:
    """Make texts comparable.

    Parameters
    ----------
    text
        Reference or hypothesis.
    rules
        `multitalk` drops `. , ! ; : ? /` and lowers the case, as the paper's script does. `fair` composes
        compatible Unicode forms, lowers the case, and drops every mark of punctuation and every symbol, in
        any script, but for apostrophes within words, and characters that are not seen; hyphens become spaces.

    Returns
    -------
    str
        Words with single spaces between.
    """
    if rules == "multitalk":
        return " ".join(text.translate(_MULTITALK_PUNCTUATION).lower().split())
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    kept = "".join(_kept(character) for character in text)
    return " ".join(word for part in kept.split() if (word := part.strip("'")))


def count_errors(reference: str, hypothesis: str) -> ErrorCount | None:
    """Count edits between two normalised texts; None where the reference is empty: there is nothing to miss."""
    words = reference.split()
    if not words:
        return None
    return ErrorCount(
        edit_distance(words, hypothesis.split()),
        len(words),
        edit_distance(reference, hypothesis),
        len(reference),
    )


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or character == _TATWEEL:  # marks of direction, soft hyphens, lengthened letters
        return ""
    if character == "'" or category[0] not in "PS":
        return character
    return " " if category == "Pd" else ""
