import re

import pytest
import torch

from multitalk.eval.lip_reading.network import av_hubert_frontend
from multitalk.eval.lip_reading.network.av_hubert_weights import WeightsError, encoder_from_tensors

HEADS = 4


@pytest.fixture(scope="module")
def encoder(encoder_tensors):
    return encoder_from_tensors(encoder_tensors, HEADS)


def hub_name(name: str) -> str:
    """The name that the export on the Hugging Face hub gives to a tensor of the original checkpoint."""
    name = name.replace("encoder.w2v_model.", "model.encoder.")
    for ours, theirs in (
        ("pos_conv.0.weight_g", "pos_conv_embed.conv.parametrizations.weight.original0"),
        ("pos_conv.0.weight_v", "pos_conv_embed.conv.parametrizations.weight.original1"),
        ("pos_conv.0", "pos_conv_embed.conv"),
        ("self_attn_layer_norm", "layer_norm"),
        ("self_attn.", "attention."),
        ("fc1", "feed_forward.intermediate_dense"),
        ("fc2", "feed_forward.output_dense"),
    ):
        name = name.replace(ours, theirs)
    return name


def test_sizes_are_read_off_the_tensors(encoder):
    shape = encoder.shape
    assert (shape.width, shape.layers, shape.feed_forward, shape.audio_features) == (32, 2, 48, 104)
    assert (shape.position_kernel, shape.position_groups) == (8, 4)


def test_the_hub_export_gives_the_same_encoder(encoder, encoder_tensors):
    other = encoder_from_tensors({hub_name(name): t for name, t in encoder_tensors.items()}, HEADS)
    audio = other.audio_features(torch.randn(1, 6, 104))
    assert torch.equal(other(audio, None), encoder(audio, None))


def test_folded_weight_norm_is_torchs(encoder, encoder_tensors):
    convolution = torch.nn.Conv1d(32, 32, 8, padding=4, groups=4)
    normed = torch.nn.utils.parametrizations.weight_norm(convolution, dim=2)
    prefix = "encoder.w2v_model.encoder.pos_conv.0."
    normed.load_state_dict({key: encoder_tensors[prefix + key] for key in ("bias", "weight_g", "weight_v")})
    x = torch.randn(1, 32, 20)
    assert torch.allclose(normed(x), encoder.encoder.pos_conv(x), atol=1e-6)


def test_a_missing_modality_counts_as_zeros(encoder):
    audio = encoder.audio_features(torch.randn(1, 6, 104))
    assert torch.equal(encoder(audio, None), encoder(audio, torch.zeros_like(audio)))
    assert torch.equal(encoder(None, audio), encoder(torch.zeros_like(audio), audio))
    with pytest.raises(ValueError, match="either"):
        encoder(None, None)
    with pytest.raises(ValueError, match="differ"):
        encoder(audio, audio[:, :3])


def test_long_clips_go_through_the_front_end_in_parts(encoder, monkeypatch):
    video = torch.randn(1, 1, 11, 24, 24)
    whole = encoder.video_features(video)
    monkeypatch.setattr(av_hubert_frontend, "FRAMES_AT_ONCE", 4)
    assert torch.allclose(encoder.video_features(video), whole, atol=1e-6)
    assert whole.shape == (1, 11, 32)


def test_every_tensor_must_be_there_and_fit(encoder_tensors):
    fc1 = "encoder.w2v_model.encoder.layers.1.fc1.weight"
    lacking = {name: t for name, t in encoder_tensors.items() if name != fc1}
    with pytest.raises(WeightsError, match=r"1 missing \(encoder.layers.1.fc1.weight\)"):
        encoder_from_tensors(lacking, HEADS)
    with pytest.raises(WeightsError, match=r"1 not known \(extra\)"):
        encoder_from_tensors(encoder_tensors | {"encoder.w2v_model.extra": torch.zeros(1)}, HEADS)
    with pytest.raises(WeightsError, match=re.escape("(48, 31) is not (48, 32)")):
        encoder_from_tensors(encoder_tensors | {fc1: torch.zeros(48, 31)}, HEADS)
    with pytest.raises(WeightsError, match="not an AV-HuBERT checkpoint"):
        encoder_from_tensors({"model.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="weight_g"):
        encoder_from_tensors({n: t for n, t in encoder_tensors.items() if "weight_g" not in n})


def test_heads_must_divide_the_width(encoder_tensors):
    with pytest.raises(WeightsError, match="5 heads"):
        encoder_from_tensors(encoder_tensors, 5)


@pytest.mark.slow  # importing transformers takes seconds
def test_transformer_is_huberts(encoder, encoder_tensors):
    hubert = pytest.importorskip("transformers.models.hubert")
    config = hubert.HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=48,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
        do_stable_layer_norm=True,
    )
    oracle = hubert.modeling_hubert.HubertEncoderStableLayerNorm(config).eval()
    prefix = "model.encoder.encoder."
    named = {hub_name(name): t for name, t in encoder_tensors.items()}
    oracle.load_state_dict({n.removeprefix(prefix): t for n, t in named.items() if n.startswith(prefix)})
    x = torch.randn(1, 15, 32)
    with torch.inference_mode():
        theirs = oracle(x).last_hidden_state
        assert torch.allclose(encoder.encoder(x), theirs, atol=1e-5)
