"""The reference-mode models against a plain evaluation of the same weights."""

import pytest
import torch

from multitalk.training.layers.wav2vec2 import normalise_sound
from multitalk.training.reference.decoding import ReferenceDecoder
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker, UnknownLanguageError


@pytest.fixture
def heads(plain):
    return plain.Heads(prior=4, talker=4, audio=2, period=5)


def clip(frames, seed=1, missing=0.0):
    """Random sound of `frames` frames, `missing` of it cut off, and random offsets."""
    generator = torch.Generator().manual_seed(seed)
    samples = int(frames * 640 * (1 - missing)) + 80
    audio = normalise_sound(torch.randn(samples, generator=generator))
    return audio, torch.randn(frames, 30, generator=generator)


def plain_prediction(plain, pair, heads, audio, style, frames, given=True):
    prior, talker = pair.weights
    tokens = plain.audio_tokens(talker, audio, frames if given else None, heads)
    memory = torch.nn.functional.linear(
        tokens, talker["audio_feature_map.weight"], talker["audio_feature_map.bias"]
    )
    return plain.predict(prior, talker, memory, style, heads, frames)


@torch.no_grad()
def test_prior_reconstructs_as_the_plain_evaluation(plain, pair, heads):
    _, offsets = clip(20)
    weights = pair.weights[0]
    latents = plain.encode(weights, offsets, heads)
    entries, codes = plain.quantise(weights, latents)
    ours = pair.prior(offsets[None])
    torch.testing.assert_close(ours.offsets[0], plain.decode(weights, entries, heads), atol=1e-5, rtol=0)
    assert torch.equal(ours.quantised.codes[0], codes)
    torch.testing.assert_close(ours.quantised.loss[0], 1.25 * (entries - latents).square().mean())
    share = torch.bincount(codes.flatten()) / codes.numel()
    share = share[share > 0]
    torch.testing.assert_close(ours.quantised.perplexity(16), (-(share * share.log()).sum()).exp())


@torch.no_grad()
def test_a_batch_equals_single_runs(pair):
    batch = torch.stack([clip(12, seed)[1] for seed in range(3)])
    single = torch.cat([pair.prior(x[None]).offsets for x in batch])
    torch.testing.assert_close(pair.prior(batch).offsets, single, atol=1e-5, rtol=0)


@torch.no_grad()
def test_teacher_forced_losses(plain, pair, heads):
    audio, offsets = clip(23)
    prior, talker = pair.weights
    style = pair.talker.style({"german": 1.0})
    tokens = plain.audio_tokens(talker, audio, 23, heads)
    memory = pair.talker.audio_feature_map(tokens)
    expected = plain.teacher_forced(prior, talker, memory, style, offsets, heads)
    losses = pair.talker(pair.prior, [audio], style[None], offsets[None])
    torch.testing.assert_close((losses.motion[0], losses.latent[0]), expected)


@torch.no_grad()
@pytest.mark.parametrize(("frames", "missing"), [(1, 0), (2, 0), (3, 0), (17, 0), (17, 0.1)])
def test_kept_work_changes_nothing(plain, pair, heads, frames, missing):
    audio, _ = clip(frames, missing=missing)
    style = pair.talker.style({"french": 0.3, "thai": 0.7})
    offsets, codes = plain_prediction(plain, pair, heads, audio, style, frames)
    decoder = ReferenceDecoder(pair.talker, pair.prior)
    ours = decoder.predict([audio], style[None], [frames])[0]
    torch.testing.assert_close(ours, offsets, atol=1e-5, rtol=0)
    latents = decoder.latents(pair.talker.memory([audio], [frames]), style[None], [frames])[0]
    assert torch.equal(pair.prior.quantize.nearest(latents), codes)


@torch.no_grad()
def test_length_follows_the_sound_when_none_is_given(plain, pair, heads):
    audio, _ = clip(15, missing=0.03)
    style = pair.talker.style({"french": 1.0})
    ours = ReferenceDecoder(pair.talker, pair.prior).predict([audio], style[None])[0]
    assert len(ours) == 14
    expected, _ = plain_prediction(plain, pair, heads, audio, style, 14, given=False)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("samples", [640, 719, 720])
def test_a_frame_of_sound_is_enough(pair, samples):
    audio = normalise_sound(torch.randn(samples, generator=torch.Generator().manual_seed(0)))
    style = pair.talker.style({"french": 1.0})[None]
    assert ReferenceDecoder(pair.talker, pair.prior).predict([audio], style)[0].shape == (1, 30)
    assert pair.talker.audio_encoder([audio], [1])[0].shape == (2, 24)


@torch.no_grad()
def test_lock_step_equals_single_runs(pair):
    clips = [clip(frames, seed=frames)[0] for frames in (5, 19, 1, 12, 19)]
    styles = torch.stack(
        [pair.talker.style({name: 1.0}) for name in ("thai", "french", "german", "thai", "thai")]
    )
    decoder = ReferenceDecoder(pair.talker, pair.prior)
    together = decoder.predict(clips, styles, [5, 19, 1, 12, 19])
    for audio, style, frames, ours in zip(clips, styles, (5, 19, 1, 12, 19), together, strict=True):
        alone = decoder.predict([audio], style[None], [frames])[0]
        torch.testing.assert_close(ours, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_clips_of_more_than_600_frames(pair):
    """Beyond the reference's tables: positions and masks go on as their formulas do."""
    prior = ReferencePrior(pair.prior.settings.model_copy(update={"layers": 1})).eval()
    talker = ReferenceTalker(pair.talker.settings.model_copy(update={"layers": 1})).eval()
    decoder, memory = ReferenceDecoder(talker, prior), torch.randn(1220, 32)
    latents = decoder.latents([memory], torch.zeros(1, 32), [610])
    assert decoder.decode(latents)[0].shape == (610, 30)


def test_unknown_language_names_the_known(pair):
    with pytest.raises(UnknownLanguageError, match=r"'dutch'.*french, german, thai"):
        pair.talker.style({"dutch": 1.0})


def test_training_mode_masks_and_drops_but_stays_finite(pair):
    audio, offsets = clip(12)
    pair.talker.train()
    try:
        losses = pair.talker(pair.prior, [audio], pair.talker.style({"thai": 1.0})[None], offsets[None])
        (losses.motion + losses.latent).sum().backward()
    finally:
        pair.talker.eval()
    gradients = {name for name, p in pair.talker.named_parameters() if p.grad is not None}
    assert {"audio_encoder.masked_spec_embed", "feat_map.weight", "vertice_map.weight"} <= gradients
    pair.talker.zero_grad()
    pair.prior.zero_grad()
