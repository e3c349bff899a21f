import wave

import numpy as np
import pytest

from multitalk.eval.lip_reading.noise import Babble, RecordedNoise, choose_noises, mix, read_noises
from multitalk.eval.settings import LipReadingSettings
from multitalk.manifests.media import MediaError


def sound(seed: int, length: int = 16000, loudness: float = 1000) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=loudness, size=length).astype(np.int16)


def rms(samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


@pytest.mark.parametrize("snr", [-10, -7.5, 0, 10])
def test_noise_has_the_wanted_level(snr):
    speech, noise = sound(0), sound(1, loudness=200)
    added = mix(speech, noise, snr).astype(float) - speech
    assert 20 * np.log10(rms(speech) / rms(added)) == pytest.approx(snr, abs=0.05)


def test_what_does_not_fit_is_scaled_as_a_whole():
    speech, noise = sound(0, loudness=8000), sound(1)
    mixed = mix(speech, noise, -10)
    assert np.abs(mixed.astype(int)).max() in (32767, 32768)
    ratio = 10 ** (10 / 20) * rms(speech) / rms(noise)
    unscaled = speech + noise * ratio
    assert np.corrcoef(mixed, unscaled)[0, 1] == pytest.approx(1, abs=1e-6)


def test_silence_stays_speech():
    speech = sound(0)
    assert np.array_equal(mix(speech, np.zeros_like(speech), -10), speech)
    assert not mix(np.zeros_like(speech), speech, -10).any()
    with pytest.raises(ValueError, match="as long"):
        mix(speech, speech[:5], 0)


def test_recordings_repeat_from_their_start():
    noise = RecordedNoise("n", np.arange(5, dtype=np.int16))
    assert noise.samples("x", 12).tolist() == [0, 1, 2, 3, 4] * 2 + [0, 1]


def test_babble_is_of_others_and_reproducible():
    speech = {name: sound(k, 4000 + 100 * k, 10 ** (k + 1)) for k, name in enumerate("abc")}
    babble = Babble(speech)
    made = babble.samples("a", 9000)
    assert np.array_equal(made, Babble(speech).samples("a", 9000))
    assert not np.array_equal(made, Babble(speech, seed=1).samples("a", 9000))
    assert np.array_equal(made, Babble({**speech, "a": sound(9)}).samples("a", 9000)), (
        "its own speech is not in it"
    )
    assert np.abs(made.astype(int)).max() == pytest.approx(32767, abs=1)
    with pytest.raises(ValueError, match="two other"):
        Babble({"a": sound(0), "b": sound(1)}).samples("a", 100)


def test_voices_of_a_babble_are_as_loud_as_each_other():
    quiet, loud = np.zeros(1000, np.int16), np.zeros(1000, np.int16)
    quiet[::2], quiet[1::2] = 10, -10
    loud[:] = 5000
    made = Babble({"q": quiet, "l": loud}).samples("x", 1000).astype(float)
    assert made.mean() == pytest.approx(np.abs(made - made.mean()).mean(), rel=0.01)


def test_noises_by_settings(tmp_path):
    for k in range(4):
        with wave.open(str(tmp_path / f"{k}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(sound(k).tobytes())
    sounds = {f"video{k}": tmp_path / f"{k}.wav" for k in range(4)}
    (babble,) = choose_noises(LipReadingSettings(), sounds)
    assert babble.name == "babble"
    assert len(babble.samples("video0", 500)) == 500
    assert len(choose_noises(LipReadingSettings(noises=tmp_path), {})) == 4
    with pytest.raises(ValueError, match="three source videos"):
        choose_noises(LipReadingSettings(), dict(list(sounds.items())[:2]))


def test_a_folder_of_noises(tmp_path):
    (tmp_path / "indoors").mkdir()
    for name, rate in (("indoors/dog.wav", 16000), ("music.wav", 48000)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(sound(0, rate).tobytes())
    noises = read_noises(tmp_path)
    assert [noise.name for noise in noises] == ["indoors/dog", "music"]
    assert [len(noise.recording) for noise in noises] == pytest.approx([16000, 16000], abs=50)
    with pytest.raises(MediaError, match="holds no noise"):
        read_noises(tmp_path / "nothing")


def test_a_babble_leaves_out_voices_that_can_not_be_read(tmp_path):
    sounds = {}
    for k in range(4):
        sounds[f"v{k}"] = tmp_path / f"{k}.wav"
        with wave.open(str(sounds[f"v{k}"]), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(sound(k).tobytes())
    sounds["v0"].write_bytes(b"no sound")
    (babble,) = choose_noises(LipReadingSettings(), sounds)
    assert np.any(babble.samples("v1", 800))
    sounds["v1"].write_bytes(b"no sound")
    with pytest.raises(ValueError, match="three sounds"):
        choose_noises(LipReadingSettings(), sounds)


def test_a_babble_of_pauses_alone_is_refused():
    paused = np.zeros(160_000, np.int16)
    paused[-1] = 1
    with pytest.raises(ValueError, match="silent for all of the clip"):
        Babble({"a": paused, "b": paused, "c": paused}).samples("c", 10)
