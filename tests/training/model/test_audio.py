"""Audio encoders."""

import json

import numpy as np
import pytest
import torch

from multitalk.assets.fetch import find
from multitalk.training.layers.wav2vec2 import normalise_sound
from multitalk.training.model.audio_encoder import Wav2Vec2Encoder, WhisperEncoder, load_audio_encoder
from multitalk.training.model.pretrained import load_wav2vec2
from multitalk.training.run_settings import AudioSettings
from multitalk.training.settings import AudioEncoderError


@pytest.fixture
def model(wav2vec2_folder):
    return load_wav2vec2(wav2vec2_folder).eval()


@torch.no_grad()
def test_clips_of_different_length_run_together_as_alone(model):
    audio = [normalise_sound(torch.randn(samples)) for samples in (9000, 4000, 16000)]
    for counts in (None, [14, 7, 20]):
        together = model(audio, counts)
        for i, clip in enumerate(audio):
            alone = model([clip], counts and [counts[i]])[0]
            torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)


def test_the_hubs_files_load(wav2vec2_folder, model):
    folder = wav2vec2_folder
    loaded = load_wav2vec2(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    (folder / "pytorch_model.bin").unlink()
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / "model.safetensors")
    assert torch.equal(load_wav2vec2(folder).masked_spec_embed, model.masked_spec_embed)


@pytest.mark.parametrize("damage", ["config.json", "pytorch_model.bin"])
def test_damaged_folders_are_refused(wav2vec2_folder, damage):
    folder = wav2vec2_folder
    (folder / damage).write_bytes(b"{}")
    with pytest.raises(AudioEncoderError, match=r"not a wav2vec 2\.0 model"):
        load_wav2vec2(folder)
    (folder / damage).unlink()
    with pytest.raises(AudioEncoderError):
        load_wav2vec2(folder)


@pytest.mark.parametrize("channels", [16, []])
def test_sizes_that_are_none_are_refused(wav2vec2_folder, channels):
    place = wav2vec2_folder / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"conv_dim": channels}))
    with pytest.raises(AudioEncoderError, match="conv_dim is"):
        load_wav2vec2(wav2vec2_folder)


def test_features_are_two_rows_a_frame_however_short_the_sound(wav2vec2_folder):
    encoder = Wav2Vec2Encoder(wav2vec2_folder)
    for samples in (640 * 10, 640 * 9, 640 * 12):
        assert encoder.features(np.ones(samples, np.float32), 10).shape == (20, 16)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(AudioEncoderError, match=r"model\.bin is missing"):
        load_audio_encoder(AudioSettings(directory=tmp_path))
    with pytest.raises(AudioEncoderError, match="needs the folder"):
        load_audio_encoder(AudioSettings())


@pytest.fixture(scope="module")
def whisper():
    folder = find("whisper_base")
    if folder is None:
        pytest.skip("Whisper base is not here: multitalk assets fetch whisper_base")
    return WhisperEncoder(folder, threads=1)


def test_whispers_features(whisper):
    audio = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    features = whisper.features(audio, 25)
    assert features.shape == (50, 512) and features.dtype == np.float32
    assert whisper.fingerprint.startswith("whisper-512-")
    assert whisper.features(audio[:300], 3).shape == (6, 512)


def test_whisper_hears_long_sound_in_chunks(whisper):
    random = np.random.default_rng(0)
    audio = (random.normal(0, 0.1, 16000 * 31) * (1 + np.sin(np.arange(16000 * 31) / 3000))).astype(
        np.float32
    )
    features = whisper.features(audio, 31 * 25)
    assert features.shape == (31 * 50, 512)
    # The second chunk begins at 28 s. What is heard there is heard at the right time.
    late = whisper.features(audio[27 * 16000 :], 4 * 25)[60:190]

    def likeness(shift):
        a = features[28 * 50 + 10 + shift :][:130]
        return np.median((a * late).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(late, axis=1))

    assert likeness(0) == max(likeness(shift) for shift in range(-3, 4)) > 0.75
