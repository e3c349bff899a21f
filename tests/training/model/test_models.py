"""The default models: what a frame depends on, and that kept work changes nothing."""

import pytest
import torch

from multitalk.training.model.face_decoder import FaceDecoder
from multitalk.training.model.motion_prior import MotionPrior, statistics
from multitalk.training.model.talker import Talker, mean_latents, with_language
from multitalk.training.reference.talker import UnknownLanguageError
from multitalk.training.settings import MotionPriorSettings, TalkerSettings

PRIOR = MotionPriorSettings(hidden=16, blocks=3, codes_per_frame=2, codebook_size=8, code_dim=4)
TALKER = TalkerSettings(hidden=16, layers=2, heads=2, feed_forward=16, window=6, languages=("french", "thai"))


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    prior = MotionPrior(PRIOR, torch.randn(6), torch.rand(6) + 0.5).eval()
    torch.nn.init.normal_(prior.quantise_latents.embedding.weight)
    return prior


@pytest.fixture(scope="module")
def talker():
    torch.manual_seed(1)
    return Talker(TALKER, 5, PRIOR).eval()


def features(frames, seed=0):
    return torch.randn(2 * frames, 5, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_a_frame_of_the_prior_depends_on_its_surroundings_only(prior):
    motion = torch.randn(1, 60, 6)
    changed = motion.clone()
    changed[:, 30] += 1
    differs = (prior.encode(motion) != prior.encode(changed)).any(-1)[0].nonzero().flatten()
    assert differs.min() == 30 - 7 and differs.max() == 30 + 7  # dilations 1, 2, 4


@torch.no_grad()
def test_a_batch_of_the_prior_equals_single_clips(prior):
    motion = torch.randn(3, 17, 6)
    single = torch.cat([prior(clip[None]).motion for clip in motion])
    torch.testing.assert_close(prior(motion).motion, single)


def test_statistics_of_a_value_that_never_moves():
    mean, deviation = statistics(torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
    assert mean.tolist() == [2, 2] and deviation.tolist() == [1, 1]


@torch.no_grad()
def test_generation_with_kept_keys_is_the_whole_at_once(prior, talker):
    styles = talker.style({"thai": 1.0})[None]
    frames = 20  # longer than the window
    motion = talker.generate(prior, [features(frames)], styles)[0]
    heard = talker.encode_audio(features(frames)[None])
    told = torch.zeros(1, frames, PRIOR.latent)
    for _ in range(frames):  # a fixed point: frame t is right after t + 1 rounds
        told = mean_latents(talker._all_frames(heard, styles, told), prior)
    torch.testing.assert_close(motion, prior.decode(told)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_lock_step_equals_single_clips(prior, talker):
    clips = [features(frames, frames) for frames in (4, 21, 1, 9)]
    styles = torch.stack([talker.style({"thai": 1.0}), talker.style({"french": 1.0})])[[0, 1, 1, 0]]
    together = talker.generate(prior, clips, styles)
    for clip, style, ours in zip(clips, styles, together, strict=True):
        alone = talker.generate(prior, [clip], style[None])[0]
        torch.testing.assert_close(ours, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_first_frame_hears_its_sound(prior, talker):
    styles = talker.style({"thai": 1.0})[None]
    first = [talker.generate(prior, [features(5, seed)], styles)[0][0] for seed in (1, 2)]
    assert not torch.allclose(*first)


@torch.no_grad()
def test_no_frame_looks_far_ahead(prior, talker):
    styles = talker.style({"thai": 1.0})[None]
    short, long = features(30), features(30)
    long[2 * 20 :] = 1 - long[2 * 20 :] ** 2
    a, b = (talker.encode_audio(f[None]) for f in (short, long))
    told = torch.randn(1, 30, PRIOR.latent)
    logits = [talker._all_frames(heard, styles, told) for heard in (a, b)]
    # Two frames of sound are heard ahead, as mouths shape before they sound.
    torch.testing.assert_close(logits[0][:, :18], logits[1][:, :18])
    assert not torch.allclose(logits[0][:, 18], logits[1][:, 18])


@torch.no_grad()
def test_drawn_motion_differs_and_repeats_with_its_seed(prior, talker):
    styles = talker.style({"thai": 1.0})[None]

    def draw(seed):
        torch.manual_seed(seed)
        return talker.generate(prior, [features(10)], styles, temperature=1.0)[0]

    assert torch.equal(draw(3), draw(3)) and not torch.equal(draw(3), draw(4))


def test_styles_mix(talker):
    mixed = talker.style({"french": 0.25, "thai": 0.75})
    rows = talker.languages.weight
    torch.testing.assert_close(mixed, 0.25 * rows[0] + 0.75 * rows[1])
    with pytest.raises(UnknownLanguageError, match=r"'dutch'.*french, thai"):
        talker.style({"dutch": 1})


@torch.no_grad()
def test_a_new_language_changes_nothing_for_the_others(prior, talker):
    wider = with_language(talker, "maltese", PRIOR).eval()
    assert wider.settings.languages == ("french", "thai", "maltese")
    styles = [model.style({"thai": 1.0})[None] for model in (talker, wider)]
    a, b = (m.generate(prior, [features(6)], s)[0] for m, s in zip((talker, wider), styles, strict=True))
    assert torch.equal(a, b)
    torch.testing.assert_close(wider.languages.weight[2], talker.languages.weight.mean(0))


def test_training_feeds_predictions_back(prior, talker):
    styles, heard = talker.style({"thai": 1.0})[None], talker.encode_audio(features(8)[None])
    truth = torch.randn(1, 8, PRIOR.latent)
    talker.train()
    own = talker.settings.own_feedback
    try:
        torch.manual_seed(0)
        told_own = talker(prior, heard, styles, truth)
        talker.settings = talker.settings.model_copy(update={"own_feedback": 0.0})
        torch.manual_seed(0)
        told_truth = talker(prior, heard, styles, truth)
    finally:
        talker.settings = talker.settings.model_copy(update={"own_feedback": own})
        talker.eval()
    assert not torch.allclose(told_own, told_truth)


@torch.no_grad()
def test_the_face_agrees_with_the_full_forward_model(head_model):
    from multitalk.fit_flame.parameters.decode import ForwardModel

    face, full = FaceDecoder(head_model), ForwardModel(head_model)
    motion = torch.randn(7, face.motion_values)
    vertices = full(torch.zeros(7, 2), motion[:, :-3], jaw=motion[:, -3:])
    torch.testing.assert_close(face(motion).view(7, -1, 3), vertices - face.template, atol=1e-6, rtol=0)


def test_lip_error_is_the_mean_of_the_worst_squared_distance(head_model):
    face = FaceDecoder(head_model)
    assert face.lips.tolist() == [1, 5]
    truth, offsets = torch.zeros(1, 2, 60), torch.zeros(1, 2, 20, 3)
    offsets[0, 0, 1] = torch.tensor([3.0, 4.0, 0.0])
    offsets[0, 0, 5] = torch.tensor([1.0, 0.0, 0.0])
    offsets[0, 1, 0] = 9.0  # no lip
    assert face.lip_error(offsets.flatten(2), truth).item() == 12.5
