"""`multitalk train`: a killed run goes on to the same curves, on a release, with any setting changed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from multitalk.flows.commands.main import main
from multitalk.flows.modelling.settings import TrainSettings
from multitalk.flows.modelling.trained_models import train
from multitalk.ground.settings import SettingsError
from multitalk.manifests.releases.release import read_release

PROJECT = Path(__file__).parents[2]


def curve(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "prior" / "curves")).Reload().Scalars(name)
    return {event.step: event.value for event in events}  # of a step done twice the second


@pytest.mark.exhaustive  # that training goes on bit for bit is `training/run/test_processes.py`'s
def test_a_killed_run_goes_on_to_the_same_curve(released, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    changes = {"training": {"round_steps": 3, "revive_steps": 5, "data": {"batch_size": 4}}}
    config.write_text(yaml.safe_dump({"root": str(released), "preset": "tiny", "changes": changes}))

    def arguments(out, *more):
        given = ["--config", config, "--release", "v1", "--steps", 39, "--out", tmp_path / out]
        return ["train", "prior", *map(str, given), *more]

    def begin(out, *more):
        """Start a run as a user would: other libraries of the tests' own process change how numbers are rounded."""
        command = [sys.executable, "-m", "multitalk.flows.commands.main", *arguments(out, *more)]
        environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=environment, text=True, **pipes)

    whole = begin("whole")
    process = begin("killed")
    deadline, checkpoint = time.monotonic() + 300, tmp_path / "killed" / "prior" / "last.ckpt"
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 < torch.load(checkpoint, weights_only=True)["global_step"] < 39
    assert main(arguments("killed")) == 2
    assert "go on with --resume" in capsys.readouterr().err
    resumed = begin("killed", "--resume")
    printed, told = resumed.communicate()
    assert resumed.returncode == 0 and "val/lve/german" in printed
    whole.communicate()
    assert whole.returncode == 0
    held_out = read_release(released, "v1")["split"].to_pylist().count("val")
    assert ("no clip is held out" in told) == (held_out == 0)
    for name in ("train/loss", "val/lve"):
        whole = curve(tmp_path / "whole", name)
        assert len(whole) == 13 and curve(tmp_path / "killed", name) == whole
    states = (
        torch.load(tmp_path / out / "prior" / "last.pt", weights_only=True) for out in ("whole", "killed")
    )
    whole, killed = (state["state_dict"] for state in states)
    assert all(torch.equal(killed[name], tensor) for name, tensor in whole.items())


def test_a_change_that_fits_no_setting_is_named(talking_dataset, tmp_path):
    settings = TrainSettings(root=talking_dataset, out=tmp_path, changes={"training": {"rounds": 3}})
    with pytest.raises(SettingsError, match=r"training\.rounds"):
        train("prior", settings)


TUNED = {"encoder": "wav2vec2", "directory": "/models/xlsr", "tuning": {"kind": "lora", "rank": 4}}


@pytest.mark.parametrize(
    ("changes", "options", "opened"),
    [
        ({}, {}, ("whisper", "whisper_base", "frozen", 16)),
        ({"audio": TUNED}, {}, ("wav2vec2", "/models/xlsr", "lora", 4)),
        ({"audio": TUNED}, {"audio_encoder": "/mine"}, ("wav2vec2", "/mine", "lora", 4)),
        ({"audio": TUNED}, {"audio_tuning": "frozen"}, ("wav2vec2", "/models/xlsr", "frozen", 4)),
        (
            {"audio": {"tuning": {"kind": "full"}}},
            {"audio_encoder": "/mine"},
            ("wav2vec2", "/mine", "full", 16),
        ),
    ],
)
def test_the_audio_encoder_is_what_changes_say_and_then_the_options(
    tmp_path, monkeypatch, changes, options, opened
):
    asked, trained = [], []
    monkeypatch.setattr("multitalk.flows.modelling.trained_models.require", Path)
    monkeypatch.setattr("multitalk.flows.modelling.trained_models.load_audio_encoder", asked.append)
    monkeypatch.setattr("multitalk.flows.modelling.trained_models._head_model", lambda settings: None)
    monkeypatch.setattr(
        "multitalk.flows.modelling.trained_models.train_talker",
        lambda root, run, *_, **more: trained.append(run.audio),
    )
    train("talker", TrainSettings(root=tmp_path, out=tmp_path, preset="tiny", changes=changes, **options))
    (audio,) = asked
    assert (audio.encoder, str(audio.directory), audio.tuning.kind, audio.tuning.rank) == opened
    assert trained == [audio.model_copy(update={"directory": None})]


def test_the_references_audio_encoder_starts_from_the_folder_that_changes_name(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr("multitalk.flows.modelling.trained_models._head_model", lambda settings: None)
    monkeypatch.setattr(
        "multitalk.flows.modelling.trained_models.train_talker",
        lambda root, run, *_, **more: trained.append(run.audio),
    )
    changes = {"audio": {"directory": "/models/xlsr"}}
    settings = {"root": tmp_path, "out": tmp_path, "preset": "multitalk-reference"}
    train("talker", TrainSettings(**settings, changes=changes))
    assert [(audio.encoder, str(audio.directory)) for audio in trained] == [("wav2vec2", "/models/xlsr")]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--audio-tuning", "lora"], "Whisper's encoder can only be frozen"),
        (["--audio-tuning", "full", "--preset", "multitalk-reference"], "always trains its audio encoder"),
        (["--release", "v9"], "no release 'v9'"),
        (["--preset", "huge"], "there are multitalk-reference, multitalk, tiny"),
    ],
)
def test_what_can_not_be_trained_is_said_before_anything_is_written(
    talking_dataset, tmp_path, capsys, more, said
):
    out = tmp_path / "out"
    assert main(["train", "talker", "--root", str(talking_dataset), "--out", str(out), *more]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
