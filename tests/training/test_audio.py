"""Audio encoders."""

import json

import numpy as np
import pytest
import torch

from assets.fetch import find
from training.audio_encoder import Wav2Vec2Encoder, WhisperEncoder, load_audio_encoder
from training.pretrained import load_wav2vec2
from training.run_settings import AudioSettings
from training.settings import AudioEncoderError, Wav2Vec2Settings
from training.wav2vec2 import Wav2Vec2, normalise

SETTINGS = Wav2Vec2Settings(
    conv_dim=8, hidden=16, layers=2, heads=2, feed_forward=16, position_kernel=8, position_groups=2
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Wav2Vec2(SETTINGS).eval()


@torch.no_grad()
def test_clips_of_different_length_run_together_as_alone(model):
    audio = [normalise(torch.randn(samples)) for samples in (9000, 4000, 16000)]
    for counts in (None, [14, 7, 20]):
        together = model(audio, counts)
        for i, clip in enumerate(audio):
            alone = model([clip], counts and [counts[i]])[0]
            torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)


@pytest.fixture
def folder(model, tmp_path):
    """A model as the hub has it, from pretraining: with a prefix and parts that are not the encoder's."""
    config = {
        "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_dim": [8] * 7, "hidden_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = {"quantizer.codevectors": torch.zeros(3)}
    for name, tensor in model.state_dict().items():
        old = next((name.replace(new, old) for new, old in names.items() if new in name), name)
        state["wav2vec2." + old] = tensor
    torch.save(state, tmp_path / "pytorch_model.bin")
    return tmp_path


def test_the_hubs_files_load(folder, model):
    loaded = load_wav2vec2(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    (folder / "pytorch_model.bin").unlink()
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / "model.safetensors")
    assert torch.equal(load_wav2vec2(folder).masked_spec_embed, model.masked_spec_embed)


@pytest.mark.parametrize("damage", ["config.json", "pytorch_model.bin"])
def test_damaged_folders_are_refused(folder, damage):
    (folder / damage).write_bytes(b"{}")
    with pytest.raises(AudioEncoderError, match=r"not a wav2vec 2\.0 model"):
        load_wav2vec2(folder)
    (folder / damage).unlink()
    with pytest.raises(AudioEncoderError):
        load_wav2vec2(folder)


def test_features_are_two_rows_a_frame_however_short_the_sound(folder):
    encoder = Wav2Vec2Encoder(folder)
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
        pytest.skip("Whisper base is not on this machine")
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
