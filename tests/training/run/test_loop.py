"""Training on a small dataset: it learns, goes on where it was cut off, and two processes do as one."""

import json
from pathlib import Path

import pytest
import torch

from multitalk.training.errors import TrainingError
from multitalk.training.model.model_files import load_prior, load_talker
from multitalk.training.presets import prior_preset, talker_preset
from multitalk.training.run.loop import train_prior, train_talker
from multitalk.training.run_settings import (
    DataSettings,
    OptimiserSettings,
    PriorRun,
    TalkerRun,
    TrainingSettings,
)
from multitalk.training.settings import (
    MotionPriorSettings,
    ReferencePriorSettings,
    ReferenceTalkerSettings,
    TalkerSettings,
    Wav2Vec2Settings,
)


def training(steps, **changes):
    values = {
        "data": DataSettings(batch_size=4, max_frames=24),
        "optimiser": OptimiserSettings(learning_rate=3e-3, warmup_steps=5, ema_decay=0.9),
        "steps": steps,
        "round_steps": 10,
        "revive_steps": 5,
        "accelerator": "cpu",
        "logger": "none",
    }
    return TrainingSettings(**(values | changes))


PRIOR = MotionPriorSettings(hidden=16, blocks=2, codes_per_frame=2, codebook_size=16, code_dim=4)
TALKER = TalkerSettings(hidden=32, layers=1, heads=2, feed_forward=32, window=10, dropout=0)


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same(a, b, tolerance=0.0):
    for (name, x), y in zip(weights(a).items(), weights(b).values(), strict=True):
        torch.testing.assert_close(
            x, y, atol=tolerance, rtol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.fixture(scope="module")
def experiment(toy_dataset, head_model, tmp_path_factory) -> Path:
    """A prior and a talker."""
    out = tmp_path_factory.mktemp("experiment")
    train_prior(toy_dataset, PriorRun(model=PRIOR, training=training(60)), out, head_model)
    return out


def test_learns(toy_dataset, head_model, experiment, loudness):
    run = TalkerRun(model=TALKER, training=training(80))
    trained = train_talker(toy_dataset, run, experiment, head_model, audio_encoder=loudness)
    assert trained.figures["val/lve"] < trained.figures["val/lve_mean_motion"]
    assert trained.figures["val/lve"] < trained.figures["val/lve_mean_face"]
    assert {"val/lve/french", "val/lve/thai"} <= trained.figures.keys()
    prior = load_prior(experiment / "prior" / "best.pt")
    assert prior.head_model == head_model.key
    assert load_talker(trained.best, prior.prior).audio_encoder == "loudness"


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("after", [13, 20])
def test_prior_goes_on_bit_for_bit(toy_dataset, head_model, tmp_path, monkeypatch, after):
    run = PriorRun(model=PRIOR, training=training(30))
    train_prior(toy_dataset, run, tmp_path / "whole", head_model)

    def crash(task, *_):
        if task.global_step == after:
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr("multitalk.training.run.tasks.PriorTask.on_before_zero_grad", crash)
        with pytest.raises(CutOffError):
            train_prior(toy_dataset, run, tmp_path / "cut", head_model)
    train_prior(toy_dataset, run, tmp_path / "cut", head_model, resume=True)
    for name in ("best.pt", "last.pt"):
        assert_same(tmp_path / "whole" / "prior" / name, tmp_path / "cut" / "prior" / name)


def test_talker_goes_on_bit_for_bit(toy_dataset, head_model, tmp_path, monkeypatch, experiment, loudness):
    # With dropout and its own predictions fed back: both are random.
    model = TALKER.model_copy(update={"dropout": 0.1})
    run, prior = TalkerRun(model=model, training=training(20)), experiment / "prior" / "best.pt"
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_talker(toy_dataset, run, whole, head_model, prior=prior, audio_encoder=loudness)

    def crash(task, *_):
        if task.global_step == 14:
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr("multitalk.training.run.tasks.TalkerTask.on_before_zero_grad", crash)
        with pytest.raises(CutOffError):
            train_talker(toy_dataset, run, cut, head_model, prior=prior, audio_encoder=loudness)
    train_talker(toy_dataset, run, cut, head_model, prior=prior, audio_encoder=loudness, resume=True)
    assert_same(whole / "talker" / "last.pt", cut / "talker" / "last.pt")


def test_a_run_is_neither_overwritten_nor_mixed(toy_dataset, head_model, tmp_path):
    run = PriorRun(model=PRIOR, training=training(10))
    train_prior(toy_dataset, run, tmp_path, head_model)
    with pytest.raises(TrainingError, match="--resume"):
        train_prior(toy_dataset, run, tmp_path, head_model)
    other = PriorRun(model=PRIOR, training=training(10, seed=1))
    with pytest.raises(TrainingError, match=r"training\.seed"):
        train_prior(toy_dataset, other, tmp_path, head_model, resume=True)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_reference_trains_too(toy_dataset, head_model, tmp_path, precision):
    prior = ReferencePriorSettings(
        vertex_values=60,
        hidden=16,
        layers=2,
        heads=2,
        feed_forward=16,
        codes_per_frame=4,
        codebook_size=8,
        code_dim=4,
    )
    audio = Wav2Vec2Settings(
        conv_dim=4, hidden=8, layers=1, heads=1, feed_forward=8, position_kernel=8, position_groups=2
    )
    talker = ReferenceTalkerSettings(
        vertex_values=60, latent=16, hidden=16, layers=2, languages=("french", "thai"), audio=audio
    )
    one = prior_preset("multitalk-reference").training.data
    changes = {"validation_clips": 2, "round_steps": 2, "precision": precision}
    settings = training(4, data=one, revive_steps=0, **changes)
    train_prior(toy_dataset, PriorRun(model=prior, training=settings), tmp_path, head_model)
    trained = train_talker(toy_dataset, TalkerRun(model=talker, training=settings), tmp_path, head_model)
    assert trained.figures["val/lve"] > 0
    loaded = load_talker(trained.last, load_prior(tmp_path / "prior" / "best.pt").prior)
    assert loaded.talker.settings.languages == ("french", "thai")


def test_a_language_without_a_row_is_named(toy_dataset, head_model, experiment, loudness, tmp_path):
    run = TalkerRun(model=TALKER.model_copy(update={"languages": ("french",)}), training=training(10))
    with pytest.raises(TrainingError, match="no row for thai"):
        train_talker(
            toy_dataset,
            run,
            tmp_path,
            head_model,
            prior=experiment / "prior" / "best.pt",
            audio_encoder=loudness,
        )
    assert not (tmp_path / "talker").exists()


def test_a_finished_run_tells_its_figures_again(toy_dataset, head_model, tmp_path):
    run = PriorRun(model=PRIOR, training=training(4))
    first = train_prior(toy_dataset, run, tmp_path, head_model)
    again = train_prior(toy_dataset, run, tmp_path, head_model, resume=True)
    assert {"val/lve", "val/lve/thai", "train/loss"} <= again.figures.keys()
    assert again.figures == first.figures


def test_a_run_that_left_nothing_is_begun_anew(toy_dataset, head_model, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("multitalk.training.run.lightning_run.find_spec", lambda _: None)
        with pytest.raises(TrainingError, match="wandb"):
            run = PriorRun(model=PRIOR, training=training(4, logger="wandb"))
            train_prior(toy_dataset, run, tmp_path, head_model)
    changed = PriorRun(model=PRIOR, training=training(2, seed=5))
    assert train_prior(toy_dataset, changed, tmp_path, head_model).best.exists()
    assert json.loads((tmp_path / "prior" / "run.json").read_text())["training"]["seed"] == 5


def test_a_talker_does_not_go_on_over_something_else(
    toy_dataset, head_model, tmp_path, experiment, loudness, monkeypatch
):
    run, prior = TalkerRun(model=TALKER, training=training(2)), experiment / "prior" / "best.pt"
    train_talker(toy_dataset, run, tmp_path, head_model, prior=prior, audio_encoder=loudness)

    def go_on(prior):
        options = {"prior": prior, "audio_encoder": loudness, "resume": True}
        return train_talker(toy_dataset, run, tmp_path, head_model, **options)

    train_prior(
        toy_dataset, PriorRun(model=PRIOR, training=training(2, seed=1)), tmp_path / "other", head_model
    )
    with pytest.raises(TrainingError, match=r"begun with prior .*give that one to go on"):
        go_on(tmp_path / "other" / "prior" / "best.pt")
    with monkeypatch.context() as patch:
        patch.setattr(type(loudness), "fingerprint", "another")
        with pytest.raises(TrainingError, match="begun with audio encoder loudness, this is another"):
            go_on(prior)
    path = tmp_path / "talker" / "run.json"
    older = json.loads(path.read_text())
    del older["built_on"]
    path.write_text(json.dumps(older))
    assert go_on(prior).figures


def test_presets_follow_the_reference():
    prior, talker = prior_preset("multitalk-reference"), talker_preset("multitalk-reference")
    optimiser = prior.training.optimiser
    assert (optimiser.kind, optimiser.learning_rate, optimiser.halving_epochs) == ("adamw", 1e-4, 20)
    assert (prior.training.epochs, prior.training.data.batch_size, optimiser.clip_norm) == (200, 1, 0)
    assert (talker.training.optimiser.kind, talker.training.epochs) == ("adam", 100)
