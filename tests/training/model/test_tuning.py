"""An audio encoder trained along with the talker: additions of low rank, last layers, or all of its transformer."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from multitalk.ground.untrusted.checkpoint_file import CheckpointError
from multitalk.training.errors import TrainingError
from multitalk.training.layers.wav2vec2 import normalise_sound
from multitalk.training.model.audio_encoder import Wav2Vec2Encoder
from multitalk.training.model.model_files import load_prior, load_talker
from multitalk.training.model.tuning import TunedEncoder, lower_part, merged_encoder
from multitalk.training.run.loop import train_prior, train_talker
from multitalk.training.run_settings import (
    AudioSettings,
    DataSettings,
    OptimiserSettings,
    PriorRun,
    TalkerRun,
    TrainingSettings,
)
from multitalk.training.settings import AudioEncoderError, MotionPriorSettings, TalkerSettings, TuningSettings
from multitalk.training.talk import TalkSettings, talk

KINDS = {
    "lora": TuningSettings(kind="lora", rank=2),
    "top_layers": TuningSettings(kind="top_layers", layers=1),
    "full": TuningSettings(kind="full"),
}
PRIOR = MotionPriorSettings(hidden=8, blocks=1, codes_per_frame=2, codebook_size=8, code_dim=4)
TALKER = TalkerSettings(
    hidden=8, layers=1, heads=2, feed_forward=8, own_feedback=0.5, languages=("french", "thai")
)


@pytest.fixture
def encoder(wav2vec2_folder):
    return Wav2Vec2Encoder(wav2vec2_folder)


@pytest.fixture
def audio():
    return np.random.default_rng(0).normal(0, 0.1, 10 * 640).astype(np.float32)


def heard(encoder, tuned_encoder, audio):
    with torch.no_grad():
        return tuned_encoder(
            torch.from_numpy(lower_part(encoder, tuned_encoder.tuning).features(audio, 10))[None]
        )[0]


@pytest.mark.parametrize("kind", KINDS)
def test_untrained_it_hears_what_the_frozen_encoder_hears(encoder, audio, kind):
    tuned_encoder = TunedEncoder(encoder.model, KINDS[kind]).eval()
    expected = torch.from_numpy(encoder.features(audio, 10))
    torch.testing.assert_close(heard(encoder, tuned_encoder, audio), expected, atol=1e-6, rtol=1e-5)


def trained_for_a_step(tuned_encoder):
    """All that may change is changed by its gradient and noise; the gradients are kept."""
    features = torch.randn(2, 20, 16 if tuned_encoder.entry is None else 8)
    for parameter in tuned_encoder.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    tuned_encoder.train()(features).square().mean().backward()
    return {name for name, p in tuned_encoder.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_what_is_to_be_trained_and_nothing_else(encoder, kind):
    torch.manual_seed(0)
    # No layer is left out by chance.
    encoder.model.settings = encoder.model.settings.model_copy(update={"layer_drop": 0})
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    tuned_encoder = TunedEncoder(encoder.model, KINDS[kind])
    assert all(module.training for module in tuned_encoder.modules())
    reached = trained_for_a_step(tuned_encoder)
    if kind == "lora":
        adapted = ("q_proj", "k_proj", "v_proj", "out_proj")
        wanted = {
            f"layers.{i}.attention.{n}.{m}.weight" for i in (0, 1) for n in adapted for m in ("down", "up")
        }
    elif kind == "top_layers":
        wanted = {
            name for name in before_names(tuned_encoder) if name.startswith(("layers.0.", "layer_norm."))
        }
    else:
        wanted = before_names(tuned_encoder)
    # A key's bias adds the same to all scores: its gradient is zero but for rounding.
    assert {n for n in reached if "k_proj.bias" not in n} == {n for n in wanted if "k_proj.bias" not in n}
    assert wanted == set(tuned_encoder.state_dict())
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.model.state_dict().items())


def before_names(tuned_encoder):
    return {name for name, _ in tuned_encoder.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_merges_into_a_plain_encoder(encoder, audio, kind):
    tuned_encoder = TunedEncoder(encoder.model, KINDS[kind])
    trained_for_a_step(tuned_encoder)
    tuned_encoder.eval()
    plain = merged_encoder(encoder.model, tuned_encoder)
    assert plain.state_dict().keys() == encoder.model.state_dict().keys()
    with torch.no_grad():
        (ours,) = plain([normalise_sound(torch.from_numpy(audio))], [10])
    torch.testing.assert_close(heard(encoder, tuned_encoder, audio), ours, atol=1e-5, rtol=1e-4)
    assert (ours - torch.from_numpy(encoder.features(audio, 10))).abs().max() > 1e-2


def test_what_can_not_be_tuned_is_refused(encoder, loudness, toy_dataset, head_model, experiment, tmp_path):
    with pytest.raises(ValidationError, match="can only be frozen"):
        AudioSettings(tuning=KINDS["full"])
    with pytest.raises(AudioEncoderError, match="has 2 layers"):
        TunedEncoder(encoder.model, TuningSettings(kind="top_layers", layers=2))
    with pytest.raises(TrainingError, match="loudness can only be frozen"):
        train(toy_dataset, head_model, experiment, tmp_path / "out", loudness, KINDS["lora"])


@pytest.fixture(scope="module")
def experiment(toy_dataset, head_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned")
    train_prior(toy_dataset, PriorRun(model=PRIOR, training=training(4)), out, head_model)
    return out


def training(steps):
    return TrainingSettings(
        data=DataSettings(batch_size=4, max_frames=20),
        optimiser=OptimiserSettings(learning_rate=1e-2, warmup_steps=0, ema_decay=0.9, audio_share=0.5),
        steps=steps, round_steps=2, validation_clips=2, revive_steps=0, accelerator="cpu", logger="none",
    )  # fmt: skip


def train(root, head_model, experiment, out, encoder, tuning, **more):
    audio = AudioSettings(encoder="wav2vec2", tuning=tuning)
    run = TalkerRun(model=TALKER, audio=audio, training=training(4))
    prior = experiment / "prior" / "best.pt"
    return train_talker(root, run, out, head_model, prior=prior, audio_encoder=encoder, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tuned_talker_is_trained_cut_off_and_used(
    kind, toy_dataset, head_model, experiment, encoder, tmp_path, monkeypatch
):
    cut = tmp_path / "cut"
    whole = train(toy_dataset, head_model, experiment, tmp_path / "whole", encoder, KINDS[kind])

    def crash(task, *_):
        if task.global_step == 3:
            raise KeyError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr("multitalk.training.run.tasks.TalkerTask.on_before_zero_grad", crash)
        with pytest.raises(KeyError, match="cut off"):
            train(toy_dataset, head_model, experiment, cut, encoder, KINDS[kind])
    trained = train(toy_dataset, head_model, experiment, cut, encoder, KINDS[kind], resume=True)
    state, expected = (torch.load(t.last, weights_only=True)["state_dict"] for t in (trained, whole))
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())

    prior = load_prior(experiment / "prior" / "best.pt").prior
    tuned_encoder = load_talker(trained.last, prior, encoder).talker.tuned_encoder
    assert {name for name in state if name.startswith("tuned_encoder.")} == {
        f"tuned_encoder.{n}" for n in tuned_encoder.state_dict()
    }
    checkpoint = torch.load(cut / "talker" / "last.ckpt", weights_only=True)["state_dict"]
    assert {n for n in checkpoint if n.startswith("model.")} == {f"model.{name}" for name in state}
    untrained = TunedEncoder(encoder.model, KINDS[kind]).state_dict()
    assert any(
        not torch.equal(untrained[name], tensor) for name, tensor in tuned_encoder.state_dict().items()
    )
    with pytest.raises(CheckpointError, match="give its folder; given: none"):
        load_talker(trained.last, prior)
    sound = next((toy_dataset / "wav").rglob("*.wav"))
    style = TalkSettings(languages={"thai": 1.0})
    spoken = next(talk([sound], experiment / "prior" / "best.pt", trained.last, head_model, style, encoder))
    assert np.isfinite(spoken.vertices).all()
