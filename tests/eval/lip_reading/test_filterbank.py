import numpy as np
import pytest

from multitalk.eval.lip_reading.filterbank import audio_input, log_filterbank


def speech_like(samples: int) -> np.ndarray:
    rng = np.random.default_rng(samples)
    tone = 6000 * np.sin(2 * np.pi * 220 * np.arange(samples) / 16000)
    return (tone + rng.normal(scale=800, size=samples)).astype(np.int16)


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 560, 16000, 16037])
def test_log_filterbank_is_python_speech_features(samples):
    oracle = pytest.importorskip("python_speech_features")
    signal = speech_like(samples)
    ours = log_filterbank(signal)
    np.testing.assert_allclose(ours, oracle.logfbank(signal, samplerate=16000), rtol=1e-9, atol=1e-9)


def test_a_tone_sounds_in_its_band():
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    bands = log_filterbank(tone).mean(axis=0)
    mel = 2595 * np.log10(1 + 1000 / 700) / (2595 * np.log10(1 + 8000 / 700)) * 27 - 1
    assert abs(int(bands.argmax()) - mel) <= 1


def test_silence_is_finite():
    assert np.isfinite(audio_input(np.zeros(16000, np.int16))).all()


def test_four_frames_become_one_normalised_frame():
    features = audio_input(speech_like(16000))
    assert features.shape == (25, 104)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(features.std(axis=1), 1, atol=1e-4)


def test_features_are_as_long_as_the_video():
    sound = speech_like(16000)
    whole = audio_input(sound)
    np.testing.assert_array_equal(audio_input(sound, 20), whole[:20])
    longer = audio_input(sound, 28)
    np.testing.assert_array_equal(longer[:25], whole)
    assert not longer[25:].any()


def test_sound_must_be_mono():
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        log_filterbank(np.zeros((2, 5)))
