import numpy as np
import pytest
import torch

from multitalk.assets.fetch import require
from multitalk.filters.persons.voice import VoiceEncoder, mel_spectrum
from multitalk.filters.speech import as_float


@pytest.fixture(scope="module")
def encoder():
    return VoiceEncoder(require("voice_encoder"), "cpu")


def test_voices_are_those_of_resemblyzer(encoder):
    """Numbers of its version 0.1.4, `VoiceEncoder.embed_utterance`, of the same 1.6 s."""
    t = np.arange(25_600) / 16_000
    tones = 0.2 * np.sin(2 * np.pi * 180 * t + 6 * np.sin(5 * t))
    tones += 0.1 * np.sin(2 * np.pi * 1500 * t) * np.sin(9 * t) + 0.05 * np.sin(2 * np.pi * 3100 * t**1.5)
    found = encoder.embed(tones.astype(np.float32))
    expected = {201: 0.27198, 134: 0.25346, 122: 0.21291, 79: 0.20292, 143: 0.20227, 67: 0.19987, 9: 0.18857}
    np.testing.assert_allclose(found[list(expected)], list(expected.values()), atol=2e-4)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_loudness_does_not_matter_and_length_little(encoder, german):
    speech = as_float(german)
    voice = encoder.embed(speech)
    assert encoder.embed(speech * np.float32(0.001)) @ encoder.embed(speech * np.float32(0.01)) > 0.999
    assert encoder.embed(speech[: len(speech) // 2]) @ voice > 0.8


def test_two_synthetic_voices_are_further_apart_than_halves_of_one(encoder, synthesise):
    text = "Guten Abend, meine Damen und Herren, und herzlich willkommen zu unserer Sendung."
    low, high = (as_float(synthesise(text, voice)) for voice in ("de+m7", "de+f5"))
    half = len(low) // 2
    of_one = encoder.embed(low[:half]) @ encoder.embed(low[half:])
    assert of_one > encoder.embed(low) @ encoder.embed(high) + 0.05


@pytest.mark.parametrize("samples", [0, 100, 12_000])
def test_of_hardly_any_speech_no_voice_is_told(encoder, german, samples):
    assert encoder.embed(as_float(german)[:samples]) is None


def test_silence_has_no_voice(encoder):
    assert encoder.embed(np.zeros(32_000, np.float32)) is None


def test_bands_hear_a_tone_where_it_is():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    spectrum = mel_spectrum(tone)
    assert spectrum.shape == (101, 40)
    # 15 of the 45.2 mel up to 8 kHz, in 41 steps
    assert spectrum[50].argmax() in (12, 13)


def test_another_file_is_refused(tmp_path):
    place = tmp_path / "other.pt"
    torch.save({"model_state": {"linear.weight": torch.zeros(2)}}, place)
    with pytest.raises(ValueError, match="Resemblyzer"):
        VoiceEncoder(place)
