import random

import pytest

from multitalk.eval.lip_reading.error_rates import count_errors, edit_distance, normalise_text


def test_edit_distance_of_known_cases():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance("abc", "abc") == 0


def test_rates_are_jiwers():
    jiwer = pytest.importorskip("jiwer")
    rng = random.Random(0)
    words = ["a", "bb", "ccc", "dd", "e"]
    for _ in range(50):
        reference = " ".join(rng.choices(words, k=rng.randint(1, 8)))
        hypothesis = " ".join(rng.choices(words, k=rng.randint(0, 8)))
        count = count_errors(reference, hypothesis)
        assert count.word_error_rate == pytest.approx(jiwer.wer(reference, hypothesis))
        assert count.character_error_rate == pytest.approx(jiwer.cer(reference, hypothesis))


def test_an_empty_reference_has_no_rate():
    assert count_errors("", "words") is None
    assert count_errors("two words", "").word_error_rate == 1


@pytest.mark.parametrize(
    ("text", "fair", "multitalk"),
    [
        ("Hello, World!", "hello world", "hello world"),
        ("\u00bfQu\u00e9 tal?", "qu\u00e9 tal", "\u00bfqu\u00e9 tal"),
        ("It\u2019s  'fine'", "it's fine", "it\u2019s 'fine'"),
        ("e-mail / and/or", "e mail andor", "e-mail andor"),
        (
            "\u0440\u0430\u0437\u2026 \u0434\u0432\u0430 \u2014 \u0442\u0440\u0438",
            "\u0440\u0430\u0437 \u0434\u0432\u0430 \u0442\u0440\u0438",
            None,
        ),
        ("\u0645\u0631\u062d\u0628\u0627\u061f", "\u0645\u0631\u062d\u0628\u0627", None),
    ],
)
def test_normalisation(text, fair, multitalk):
    assert normalise_text(text, "fair") == fair
    if multitalk is not None:
        assert normalise_text(text, "multitalk") == multitalk


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("\u200fمرحبا بك", "مرحبا بك"),  # noqa: RUF001
        ("مرحـــبا", "مرحبا"),
        ("\ufeffhello\u200b there", "hello there"),
        ("co\u00adoperate", "cooperate"),
        ("l\u2018amour", "l\u2019amour"),
    ],
)
def test_what_is_not_seen_is_no_error(text, same):
    assert normalise_text(text, "fair") == normalise_text(same, "fair")


def test_words_are_compared_as_wholes():
    assert edit_distance(["an", "apple"], ["an", "apples"]) == 1
    assert edit_distance(["one", "two"], ["two", "one"]) == 2
