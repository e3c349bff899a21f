"""Choices of a run: mixed precision, accumulated and clipped gradients, averaged weights, curves."""

import ctypes
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from multitalk.training.errors import TrainingError
from multitalk.training.run.codebook import Codebook
from multitalk.training.run.loop import train_prior
from multitalk.training.run.optimiser import averaged_copy, make_optimiser
from multitalk.training.run_settings import DataSettings, OptimiserSettings, PriorRun, TrainingSettings
from multitalk.training.settings import MotionPriorSettings, TalkerSettings

PRIOR = MotionPriorSettings(hidden=16, blocks=1, codes_per_frame=2, codebook_size=8, code_dim=4)


def run_of(**changes):
    values = {
        "data": DataSettings(batch_size=4, max_frames=20),
        "optimiser": OptimiserSettings(learning_rate=3e-3, warmup_steps=0, ema_decay=0.9),
        "steps": 4, "round_steps": 2, "validation_clips": 4, "revive_steps": 2, "accelerator": "cpu",
    }  # fmt: skip
    return PriorRun(model=PRIOR, training=TrainingSettings(**(values | changes)))


def test_all_of_them_together_leave_curves_and_a_model(toy_dataset, head_model, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = run_of(precision="bf16-mixed", accumulate=2)
    trained = train_prior(toy_dataset, run, tmp_path, head_model)
    state = torch.load(trained.last, weights_only=True)["state_dict"]
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in state.values())
    curves = EventAccumulator(str(tmp_path / "prior" / "curves")).Reload()
    assert {"train/loss", "train/lips", "val/lve", "val/lve/thai", "codebook/perplexity"} <= set(
        curves.Tags()["scalars"]
    )
    assert [event.step for event in curves.Scalars("val/lve")] == [1, 3]
    assert torch.load(tmp_path / "prior" / "last.ckpt", weights_only=True)["global_step"] == 4


def test_the_codebook_begins_once_however_many_batches_make_a_step(
    toy_dataset, head_model, tmp_path, monkeypatch
):
    begun, begin = [], Codebook.begin
    monkeypatch.setattr(
        Codebook, "begin", lambda self, latents, seed: (begun.append(latents), begin(self, latents, seed))
    )
    train_prior(toy_dataset, run_of(accumulate=3, logger="none"), tmp_path, head_model)
    assert len(begun) == 1


def test_a_checkpoint_is_written_beside_its_place(toy_dataset, head_model, tmp_path, monkeypatch):
    """Between file systems a move is a copy, and a run killed meanwhile would lose its only checkpoint."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    train_prior(toy_dataset, run_of(logger="none"), tmp_path, head_model)
    left = {path.name for path in (tmp_path / "prior").iterdir()}
    assert left == {"best.pt", "last.pt", "last.ckpt", "run.json"}


def test_a_run_that_diverges_says_so(toy_dataset, head_model, tmp_path):
    wild = OptimiserSettings(learning_rate=1e20, warmup_steps=0, ema_decay=0, clip_norm=0)
    with pytest.raises(TrainingError, match=r"not a number at step 2: lower the learning rate"):
        train_prior(toy_dataset, run_of(optimiser=wild, logger="none"), tmp_path, head_model)
    assert not list((tmp_path / "prior").glob("*.pt"))


@pytest.mark.parametrize(
    ("model", "values", "said"),
    [
        (TrainingSettings, {"seed": -1}, "seed"),
        (TalkerSettings, {"hidden": 30, "heads": 4}, "twice the heads"),
        (TalkerSettings, {"hidden": 30, "heads": 2}, "twice the heads"),
        (PriorRun, {"model": {"architecture": "reference"}}, "set training.revive_steps to 0"),
    ],
)
def test_settings_that_can_not_work_are_refused(model, values, said):
    with pytest.raises(ValueError, match=said):
        model(**values)


def test_gradients_are_clipped_and_accumulated(toy_dataset, head_model, tmp_path, monkeypatch):
    norms = []

    def look(task, optimiser):
        gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
        if gradients:  # those of the step before, as the optimiser had them
            norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm().item())

    monkeypatch.setattr("multitalk.training.run.tasks.PriorTask.on_before_zero_grad", look)
    optimiser = OptimiserSettings(learning_rate=3e-3, warmup_steps=0, clip_norm=1e-3)
    run = run_of(optimiser=optimiser, accumulate=3, logger="none")
    train_prior(toy_dataset, run, tmp_path, head_model)
    assert norms and norms == pytest.approx([1e-3] * len(norms), rel=1e-3)


def test_averaged_weights_follow_slowly():
    model = torch.nn.Linear(2, 2)
    averaged = averaged_copy(model, 0.9)
    start = model.weight.detach().clone()
    averaged.update_parameters(model)
    for _ in range(40):
        torch.nn.init.constant_(model.weight, 5.0)
        averaged.update_parameters(model)
    far, near = (start - 5).abs(), (averaged.module.weight - 5).abs()
    assert ((near > 0) & (near < 0.2 * far)).all()
    assert not averaged.module.weight.requires_grad


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_a_tuned_encoder_learns_more_slowly(kind):
    model = torch.nn.ModuleDict({"tuned_encoder": torch.nn.Linear(2, 2), "rest": torch.nn.Linear(2, 2)})
    optimiser = make_optimiser(OptimiserSettings(kind=kind, learning_rate=1e-3, audio_share=0.1), model)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([1e-3, 1e-4])
    assert type(optimiser).__name__.lower() == kind


def test_a_logger_that_is_not_installed_is_named(toy_dataset, head_model, tmp_path, monkeypatch):
    monkeypatch.setattr("multitalk.training.run.lightning_run.find_spec", lambda _: None)
    with pytest.raises(TrainingError, match="pip install wandb"):
        train_prior(toy_dataset, run_of(logger="wandb"), tmp_path, head_model)


def test_weights_and_biases_without_a_network(toy_dataset, head_model, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train_prior(toy_dataset, run_of(logger="wandb"), tmp_path, head_model)
    wandb.finish()
    (written,) = (tmp_path / "prior" / "wandb").glob("offline-run-*/*.wandb")
    assert b"val/lve" in written.read_bytes()


def test_settings_and_presets_are_light():
    modules = "multitalk.training.presets, multitalk.flows.modelling.settings"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_signal_that_native_code_ignores_stays_ignored(toy_dataset, head_model, tmp_path):
    """MediaPipe ignores SIGPROF behind Python's back; the process would end at its next timer."""
    ctypes.CDLL(None).signal(signal.SIGPROF, ctypes.c_void_p(1))
    train_prior(toy_dataset, run_of(logger="none"), tmp_path, head_model)
    ignored = re.search(r"SigIgn:\t(\w+)", Path("/proc/self/status").read_text())
    assert int(ignored[1], 16) >> (signal.SIGPROF - 1) & 1
