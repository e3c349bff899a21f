import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance.Levenshtein import distance as edit_distance

from multitalk.filters.language_codes import CONFUSABLE, MULTITALK_LANGUAGES, NAME_OF_CODE, whisper_code
from multitalk.filters.transcript import MAX_CHARACTERS, match_transcript, normalise_transcript


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
    found = match_transcript(annotated, recognised, code)
    assert (found.error_rate, found.coverage) == (0, 1)


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


@pytest.mark.parametrize(
    ("annotated", "recognised", "error_rate", "coverage"),
    [
        ("abcd", "abxd", 0.25, 1),
        ("abcd", "", 1, None),
        ("ab", "xxabyyyy", 0, 0.25),
        ("guten Abend", "also guten Abend meine Damen", 0, 11 / 28),
        ("guten Abend", "also gute Abend meine Damen", 1 / 11, 10 / 27),
        ("also guten Abend meine Damen", "guten Abend", 17 / 28, 1),
        ("abcd", "wxyz", 1, 0),
    ],
)
def test_a_transcript_is_found_within_what_was_heard(annotated, recognised, error_rate, coverage):
    found = match_transcript(annotated, recognised, "de")
    assert (found.error_rate, found.coverage) == (
        pytest.approx(error_rate),
        coverage and pytest.approx(coverage),
    )


@pytest.mark.parametrize("reference", ["", "  ", "...", "\u200b", "x" * (MAX_CHARACTERS + 1)])
def test_no_usable_reference_gives_no_rate(reference):
    assert match_transcript(reference, "anything", "en") is None


@given(st.text("abcd", min_size=1, max_size=6), st.text("abcd", max_size=8))
def test_the_error_is_the_least_distance_to_any_part(annotated, recognised):
    parts = {recognised[i:j] for i in range(len(recognised) + 1) for j in range(i, len(recognised) + 1)}
    least = min(edit_distance(annotated, part) for part in parts)
    found = match_transcript(annotated, recognised, "en")
    assert found.error_rate == pytest.approx(least / len(annotated))
    if recognised:
        best = [len(part) for part in parts if edit_distance(annotated, part) == least]
        assert found.coverage * len(recognised) in [pytest.approx(length) for length in best]


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
