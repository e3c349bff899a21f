import time
from types import SimpleNamespace

import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.filters.language import (
    LanguageIdentifier,
    LanguageMetrics,
    LanguageSettings,
    Utterance,
    VideoLanguageMetrics,
)
from multitalk.filters.speech import measure_speech
from multitalk.filters.speech_windows import batched, joined_window, speech_windows

RATE = 16_000


@pytest.fixture(scope="module")
def identifier() -> LanguageIdentifier:
    return LanguageIdentifier(require("whisper_base"))


@pytest.fixture(scope="module")
def listener() -> LanguageIdentifier:
    """Tells languages only."""
    return LanguageIdentifier(require("whisper_base"), LanguageSettings(transcribe=False))


def test_synthetic_german_is_recognised_word_by_word(identifier, detector, german):
    text = "Guten Abend, meine Damen und Herren, und herzlich willkommen zu unserer Sendung."
    _, intervals = measure_speech(german, detector)
    metrics = identifier.measure(german, intervals, "german", text)
    assert metrics.detected_language == "german"
    assert metrics.annotated_language_probability == metrics.detected_language_probability > 0.9
    assert metrics.transcript_cer is not None
    assert metrics.transcript_cer < 0.1
    assert identifier.measure(german, intervals, "german", text) == metrics, "not deterministic"


def test_a_wrong_annotation_has_a_low_probability_and_the_words_are_those_spoken(
    identifier, detector, german
):
    _, intervals = measure_speech(german, detector)
    metrics = identifier.measure(german, intervals, "italian", "buongiorno a tutti")
    assert metrics.detected_language == "german"
    assert metrics.annotated_language_probability < 0.05
    assert "abend" in metrics.recognised_transcript.lower()
    assert metrics.transcript_cer > 0.5


def test_no_speech_gives_no_language_and_no_words(identifier):
    assert identifier.measure(np.zeros(5 * RATE, np.int16), (), "french", "bonjour") == LanguageMetrics()
    assert identifier.measure(np.zeros(0, np.int16), (), "french") == LanguageMetrics()


def test_only_the_speech_is_heard(listener, detector, german, synthesise):
    """Five seconds of loud music-like tones around the speech change nothing."""
    tones = sum(np.sin(2 * np.pi * f * np.arange(3 * RATE) / RATE) for f in (220, 277, 330))
    tones = (tones / 3 * 8000).astype(np.int16)
    audio = np.concatenate([tones, np.zeros(RATE, np.int16), german, np.zeros(RATE, np.int16), tones])
    start = 4 * RATE
    metrics = listener.measure(audio, [(start, start + len(german))], "german")
    assert metrics.annotated_language_probability > 0.9
    assert metrics.recognised_transcript is None
    assert metrics.transcript_cer is None


def test_a_language_unknown_to_whisper_has_no_probability(listener, german):
    metrics = listener.measure(german, [(0, len(german))], "klingon")
    assert metrics.detected_language == "german"
    assert metrics.annotated_language_probability is None


def test_a_video_is_told_from_the_words_of_all_its_clips(listener, german):
    """Of single words Whisper is unsure; clips without speech count for nothing."""
    words = [german[start : start + RATE // 2] for start in range(RATE // 2, 3 * RATE, RATE // 2)]
    alone = [
        listener.measure(word, [(0, len(word))], "german").annotated_language_probability for word in words
    ]
    clips = [Utterance(word, [(0, len(word))], "german") for word in words]
    video = listener.measure_video([Utterance(german, [], "german"), *clips])
    assert video.video_language == "german"
    assert video.video_annotated_language_probability > max(0.8, np.median(alone))
    assert listener.measure_video([Utterance(german, [], "german")]) == VideoLanguageMetrics()


def test_of_more_than_a_window_each_third_clip_is_heard():
    clips = [np.full(10 * RATE, number, np.float32) for number in range(9)]
    window = joined_window(clips, 15.0)
    assert window.length_sec == 30 and set(window.speech) == {0, 3, 6}
    assert joined_window([], 15.0) is None


def test_two_languages_in_long_speech_share_the_probability(listener, german, synthesise):
    english = synthesise("Good evening ladies and gentlemen, and a very warm welcome to our programme.", "en")
    half = 30 * RATE - RATE // 2
    audio = np.concatenate([np.resize(german, half), np.resize(english, half)])
    metrics = listener.measure(audio, [(0, len(audio))], "english")
    assert 0.3 < metrics.annotated_language_probability < 0.7


@pytest.mark.parametrize("order", [0, 1], ids=["german first", "english first"])
def test_switching_languages_within_one_window_lowers_the_probability(listener, german, synthesise, order):
    english = synthesise("Good evening ladies and gentlemen, and a very warm welcome to our programme.", "en")
    audio = np.concatenate([english, german] if order else [german, english])
    assert len(audio) < 15 * RATE
    metrics = listener.measure(audio, [(0, len(audio))], "english")
    assert 0.2 < metrics.annotated_language_probability < 0.85
    assert listener.measure(english, [(0, len(english))], "english").annotated_language_probability > 0.9


def test_recognition_is_bounded_by_tokens_not_by_what_whisper_invents(detector):
    noise = (np.random.default_rng(0).normal(0, 0.2, 10 * RATE) * 32767).clip(-32768, 32767).astype(np.int16)
    identifier = LanguageIdentifier(require("whisper_base"), LanguageSettings(max_tokens_per_sec=1))
    started = time.monotonic()
    metrics = identifier.measure(noise, [(0, len(noise))], "thai")
    assert time.monotonic() - started < 20
    if metrics.recognised_transcript:
        tokens = identifier._whisper.hf_tokenizer.encode(
            metrics.recognised_transcript, add_special_tokens=False
        )
        assert len(tokens.ids) <= 14


def test_clips_in_batches_are_measured_as_one_by_one(identifier, german, synthesise):
    """As on a GPU: windows of one length go through Whisper together, whatever their clips and languages."""
    french = synthesise("Bonsoir mesdames et messieurs, et bienvenue dans notre émission.", "fr")
    clips = [
        Utterance(french, [(0, len(french))], "french", "Bonsoir mesdames et messieurs"),
        Utterance(np.zeros(RATE, np.int16), (), "french", "bonjour"),
        Utterance(np.tile(german, 7), [(0, 7 * len(german))], "german"),
        Utterance(german, [(0, len(german))], "italian", "buongiorno"),
    ]
    together = LanguageIdentifier(require("whisper_base"), LanguageSettings(batch_size=3)).measure_all(clips)
    assert together[1] == LanguageMetrics()
    for clip, found in zip(clips, together, strict=True):
        alone = identifier.measure(clip.samples, clip.intervals, clip.language, clip.transcript)
        assert found.detected_language == alone.detected_language
        # int8 arithmetic rounds by the batch
        assert found.detected_language_probability == pytest.approx(
            alone.detected_language_probability, abs=0.03
        )
        assert found.transcript_cer == pytest.approx(alone.transcript_cer, abs=0.1)


def test_batches_are_full_and_of_one_length():
    audio = np.zeros(40 * RATE, np.float32)
    windows = [
        w for n, end in enumerate((3, 40, 4, 12, 5)) for w in speech_windows(n, audio, [(0, end * RATE)], 15)
    ]
    assert [(w.clip, w.length_sec) for w in windows] == [(0, 15), (1, 30), (1, 15), (2, 15), (3, 15), (4, 15)]
    assert [[w.clip for w in batch] for batch in batched(windows, 4)] == [[1], [0, 1, 2, 3], [4]]
    assert [[w.clip for w in batch] for batch in batched(windows, 1)] == [[0], [1], [1], [2], [3], [4]]
    assert {len(w.padded()) for w in windows} == {15 * RATE, 30 * RATE}


@pytest.mark.parametrize("size", [1, 4])
def test_the_words_of_long_speech_keep_their_order(size):
    audio = np.arange(65 * RATE, dtype=np.float32)
    windows = [w for n in range(2) for w in speech_windows(n, audio, [(0, len(audio))], 15)]
    assert [w.length_sec for w in windows] == [30, 30, 15] * 2
    for clip in range(2):
        starts = [w.speech[0] for batch in batched(windows, size) for w in batch if w.clip == clip]
        assert starts == sorted(starts)


def test_a_language_unknown_to_the_model_has_no_probability_and_no_words():
    """Cantonese came with Whisper's third large model; the others know it no better than Klingon."""
    identifier = LanguageIdentifier(
        require("whisper_base"), LanguageSettings(min_transcribe_probability=0, max_tokens_per_sec=1)
    )
    noise = np.random.default_rng(0).normal(0, 0.05, 3 * RATE).astype(np.float32)
    metrics = identifier.measure(noise, [(0, len(noise))], "cantonese")
    assert metrics.annotated_language_probability is None
    assert metrics.detected_language_probability is not None
    for language in ("cantonese", "klingon"):
        assert identifier.timed_words(noise, language, "你好") == []


def test_a_folder_without_the_model_says_what_is_missing(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"model\.bin, tokenizer\.json, vocabulary\.txt missing"):
        LanguageIdentifier(tmp_path)


@pytest.mark.parametrize(
    ("video", "language"),
    [
        ("deTalkerAAA", "german"),
        ("frTalkerBBB", "french"),
        ("ruSyncedJJJ", "russian"),
        ("zhTalkerDDD", "mandarin"),
        ("jaTalkerEEE", "japanese"),
        ("enSyncedKKK", "english"),
        ("itFilm24fps", "italian"),
    ],
)
def test_real_speech(listener, detector, sample_audio, video, language):
    audio = sample_audio(video)
    _, intervals = measure_speech(audio, detector)
    metrics = listener.measure(audio, intervals, language)
    assert metrics.detected_language == language
    assert metrics.annotated_language_probability > 0.5


def test_real_german_annotated_italian(listener, detector, sample_audio):
    audio = sample_audio("itWrongLang")
    _, intervals = measure_speech(audio, detector)
    assert listener.measure(audio, intervals, "italian").annotated_language_probability < 0.1


def test_a_looping_transcript_is_no_transcript(identifier, german, monkeypatch):
    loop = identifier._whisper.hf_tokenizer.encode(" un altra parte di" * 30, add_special_tokens=False).ids
    real = identifier._whisper
    model = SimpleNamespace(
        detect_language=real.model.detect_language,
        generate=lambda *_, **__: [SimpleNamespace(sequences_ids=[loop])],
    )
    looping = SimpleNamespace(
        encode=real.encode,
        feature_extractor=real.feature_extractor,
        hf_tokenizer=real.hf_tokenizer,
        model=model,
    )
    monkeypatch.setattr(identifier, "_whisper", looping)
    metrics = identifier.measure(german, [(0, len(german))], "german", "guten abend")
    assert metrics.detected_language == "german"
    assert metrics.recognised_transcript is None
    assert metrics.transcript_cer is None
