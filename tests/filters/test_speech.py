import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from multitalk.filters.speech import (
    SILENCE_DBFS,
    SNR_RANGE_DB,
    SpeechDetector,
    SpeechSettings,
    _signal_to_noise,
    measure_speech,
)

RATE = 16_000


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.int16)


def test_speech_between_silences_is_found_where_it_is(german, detector):
    audio = np.concatenate([silence(1.5), german, silence(2)])
    metrics, intervals = measure_speech(audio, detector)
    assert abs(intervals[0][0] / RATE - 1.5) < 0.15
    assert abs(intervals[-1][1] / RATE - (1.5 + len(german) / RATE)) < 0.3
    assert abs(metrics.speech_ratio - len(german) / len(audio)) < 0.08


def test_a_pause_parts_two_intervals(german, detector):
    intervals = detector.intervals(np.concatenate([german, silence(1), german]))
    gaps = [b[0] - a[1] for a, b in pairwise(intervals)]
    assert any(gap > 0.7 * RATE for gap in gaps)
    assert all(start < end for start, end in intervals)


@pytest.mark.parametrize("seconds", [0, 0.08, 0.01, 1 / RATE, 5])
def test_silence_and_nothing_have_no_speech(seconds, detector):
    metrics, intervals = measure_speech(silence(seconds), detector)
    assert intervals == ()
    assert metrics.speech_ratio == 0
    assert metrics.loudness_dbfs == SILENCE_DBFS
    assert metrics.clipping_ratio == 0
    assert metrics.snr_db is None


def test_a_tone_and_noise_are_not_speech(detector):
    time = np.arange(4 * RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32) * 0.5
    noise = np.random.default_rng(0).normal(0, 0.1, len(time)).astype(np.float32)
    for audio in (tone, noise):
        assert measure_speech(audio, detector)[0].speech_ratio < 0.1


def test_music_is_not_speech(detector):
    """Chords of plucked strings with overtones and a beat of noise, which change twice a second."""
    rng = np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    bars = []
    for root in (220.0, 174.6, 261.6, 196.0) * 4:
        notes = [
            np.exp(-3 * time) * np.sin(2 * np.pi * harmonic * root * step * time) / harmonic
            for step in (1, 1.26, 1.5)
            for harmonic in (1, 2, 3, 4)
        ]
        beat = np.exp(-40 * time) * rng.normal(0, 1, len(time))
        bars.append(sum(notes) + beat)
    music = np.concatenate(bars)
    assert (
        measure_speech((0.5 * music / np.abs(music).max()).astype(np.float32), detector)[0].speech_ratio < 0.1
    )


def test_loudness_of_a_full_scale_sine_is_minus_3_dbfs(detector):
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert measure_speech(sine, detector)[0].loudness_dbfs == pytest.approx(-3.01, abs=0.01)


def test_loudness_is_that_of_the_speech_not_of_the_pauses(german, detector):
    alone = measure_speech(german, detector)[0].loudness_dbfs
    padded = measure_speech(np.concatenate([silence(10), german, silence(10)]), detector)[0].loudness_dbfs
    assert padded == pytest.approx(alone, abs=0.5)
    quieter = measure_speech((german // 10).astype(np.int16), detector)[0].loudness_dbfs
    assert quieter == pytest.approx(alone - 20, abs=1)


def test_clipping_grows_with_gain(german, detector):
    loud = german.astype(np.float64) * 32767 / np.abs(german).max()
    ratios = [
        measure_speech(np.clip(loud * gain, -32768, 32767).astype(np.int16), detector)[0].clipping_ratio
        for gain in (0.9, 3, 10)
    ]
    assert ratios[0] == 0
    assert 0.001 < ratios[1] < ratios[2] < 1


@pytest.mark.parametrize("truth", [0, 5, 10, 20])
def test_signal_to_noise_of_mixed_white_noise(german, detector, truth):
    audio = np.concatenate([silence(0.7), german, silence(0.7)]).astype(np.float64)
    start, end = int(0.7 * RATE), len(audio) - int(0.7 * RATE)
    speech_power = np.mean(audio[start:end] ** 2)
    noise = np.random.default_rng(1).normal(0, np.sqrt(speech_power / 10 ** (truth / 10)), len(audio))
    mixed = ((audio + noise) / 65536).astype(np.float32)
    assert measure_speech(mixed, detector)[0].snr_db == pytest.approx(truth, abs=3)


def test_speech_too_short_to_measure_has_no_signal_to_noise():
    audio = np.random.default_rng(0).normal(0, 0.01, 512 * 30 + 10).astype(np.float32)
    assert _signal_to_noise(audio, ((512 * 30, len(audio)),)) is None


def test_clean_speech_reaches_the_upper_end_of_the_range(german, detector):
    assert measure_speech(np.concatenate([silence(1), german]), detector)[0].snr_db == SNR_RANGE_DB[1]


def test_int16_and_float_mean_the_same(german, detector):
    assert measure_speech(german, detector) == measure_speech(german.astype(np.float32) / 32768, detector)


def test_long_audio_is_judged_as_if_in_one_piece(german, detector):
    # More windows than one call takes: the state must pass from call to call.
    audio = np.tile(german, 6)
    whole = detector.probabilities(audio)
    assert len(whole) == -(-len(audio) // 512) > 512
    np.testing.assert_allclose(whole[:300], detector.probabilities(audio[: 300 * 512]), atol=1e-5)
    assert detector.probabilities(audio)[512:].mean() > 0.5


def test_a_threshold_decides_what_counts(german):
    strict = SpeechDetector(settings=SpeechSettings(min_speech_sec=60))
    assert strict.intervals(german) == ()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((100, 2), np.int16), r"\(100, 2\)"),
        (np.zeros(100, np.int32), "int32"),
        (np.full(100, np.nan, np.float32), "finite"),
    ],
)
def test_what_is_not_audio_is_refused(samples, message, detector):
    with pytest.raises(ValueError, match=message):
        measure_speech(samples, detector)


def test_a_missing_model_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"silent\.onnx"):
        SpeechDetector(tmp_path / "silent.onnx")


def test_real_videos(sample_audio, detector):
    for video in ("deTalkerAAA", "ruSyncedJJJ", "zhTalkerDDD"):
        assert measure_speech(sample_audio(video), detector)[0].speech_ratio > 0.7
    assert measure_speech(sample_audio("frSilent000"), detector)[0].speech_ratio == 0


def test_importing_the_settings_is_cheap():
    code = (
        "import sys; import multitalk.filters.speech, multitalk.filters.language, multitalk.filters.transcript; "
        "heavy = {'torch', 'onnxruntime', 'faster_whisper', 'scipy', 'opencc'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("truth", [5, 10, 20])
def test_signal_to_noise_of_real_speech_in_real_music(sample_audio, detector, truth):
    import wave

    speech = sample_audio("deTalkerAAA").astype(np.float64) / 32768
    music_file = Path(__file__).parents[2].parent / "shared/noise/music/leave_it_to_the_experts.wav"
    with wave.open(str(music_file)) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (RATE, 1)
        music = np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768
    assert measure_speech(music, detector)[0].speech_ratio == 0, "music is not speech"
    music = np.resize(music, len(speech))
    inside = np.concatenate([speech[start:end] for start, end in detector.intervals(speech)])
    gain = np.sqrt(np.mean(inside**2) / np.mean(music**2) / 10 ** (truth / 10))
    mixed = (speech + gain * music) / 2
    assert measure_speech(mixed, detector)[0].snr_db == pytest.approx(truth, abs=4)
