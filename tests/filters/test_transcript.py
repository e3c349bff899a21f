import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitalk.filters.language_codes import CONFUSABLE, MULTITALK_LANGUAGES, NAME_OF_CODE, whisper_code
from multitalk.filters.transcript import (
    MAX_CHARACTERS,
    character_error_rate,
    edit_distance,
    normalise_transcript,
)


@pytest.mark.parametrize(
    ("code", "annotated", "recognised"),
    [
        ("en", "By that, one feels -- that MAGNETIC forces", "by that one feels that magnetic forces."),
        ("fr", "comme d'habitude", "Comme d\u2019habitude !"),
        ("fr", "l'amour", "l\u00b4amour"),
        ("de", "die Straße", "DIE STRASSE"),
        ("ar", "السَّلامُ عَلَيْكُمْ، أهلاً إلى مدرسةٍ", "السلام عليكم اهلا الي مدرسه"),
        ("ar", "مـــرحبا", "مرحبا"),
        ("zh", "這兩天央視播出", "这 两天,央视播出。"),
        ("ja", "ｶﾞﾗｽ を 見る。", "ガラスを見る"),
        ("th", "สวัสดี ครับ ๆ", "สวัสดีครับๆ"),
        ("ru", "Ещё всё", "еще все"),
        ("el", "Καλημέρα, κόσμος", "ΚΑΛΗΜΕΡΑ ΚΟΣΜΟΣ"),
        ("hi", "क़लम है।", "क\u093cलम है"),
        ("he", "שָׁלוֹם", "שלום"),
    ],
)
def test_the_same_words_are_equal_after_normalisation(code, annotated, recognised):
    assert normalise_transcript(annotated, code) == normalise_transcript(recognised, code) != ""
    assert character_error_rate(annotated, recognised, code) == 0


@pytest.mark.parametrize(
    ("code", "one", "other"),
    [
        ("uk", "їжак", "іжак"),
        ("ru", "мой", "мои"),
        ("th", "มา", "ม้า"),  # a tone mark makes another word
        ("hi", "कि", "की"),
        ("fr", "ou", "où"),
        ("tr", "\u0131l\u0131k", "ilik"),
        ("tr", "ILIK", "ilik"),
        ("en", "now here", "nowhere"),
    ],
)
def test_different_words_stay_different(code, one, other):
    assert normalise_transcript(one, code) != normalise_transcript(other, code)


def test_error_rate_counts_edits_over_the_reference():
    assert character_error_rate("abcd", "abxd", "en") == 0.25
    assert character_error_rate("abcd", "", "en") == 1
    assert character_error_rate("ab", "abcdef", "en") == 2


@pytest.mark.parametrize("reference", ["", "  ", "...", "\u200b", "x" * (MAX_CHARACTERS + 1)])
def test_no_usable_reference_gives_no_rate(reference):
    assert character_error_rate(reference, "anything", "en") is None


@pytest.mark.parametrize(
    ("one", "other", "edits"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2)]
)
def test_known_distances(one, other, edits):
    assert edit_distance(one, other) == edits


@given(st.text("abcd", max_size=12), st.text("abcd", max_size=12))
def test_distance_is_the_recursive_definition(one, other):
    previous = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        current = [i]
        for j, b in enumerate(other, start=1):
            current.append(min(previous[j - 1] + (a != b), previous[j] + 1, current[-1] + 1))
        previous = current
    assert edit_distance(one, other) == previous[-1]


@given(st.text(max_size=40), st.sampled_from(sorted(NAME_OF_CODE)))
def test_any_text_normalises_to_a_fixed_point(text, code):
    once = normalise_transcript(text, code)
    assert normalise_transcript(once, code) == once


def test_every_multitalk_language_has_a_code():
    codes = [whisper_code(name) for name in MULTITALK_LANGUAGES]
    assert len(set(codes)) == 20
    assert None not in codes
    assert whisper_code("mandarin") == whisper_code("Chinese") == "zh"
    assert whisper_code(" Icelandic ") == "is"
    assert whisper_code("klingon") is None


def test_confusable_languages_are_ones_that_whisper_knows():
    for language, others in CONFUSABLE.items():
        assert language in MULTITALK_LANGUAGES
        assert all(whisper_code(other) not in (None, whisper_code(language)) for other in others)
